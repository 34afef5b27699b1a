"""What the testnet knows at one instant: fed by the chain's heads and the processes' logs.

Sans-IO: the view draws it, the plain printer prints the lines it returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chain_types.records import Closed, Flip, Fraud, Stage
from offchain_worker.explorer.show import stage_name
from offchain_worker.testnet.genesis import UNIT

TOLD_OTHERWISE = frozenset({"attestor.not_registered", "attestor.expelled"})
"""Warnings that are no news: attestors are started before they are registered, and the chain
tells of expulsions."""


@dataclass
class AuditState:
    """One attestor's part in one challenge, as its own log tells it."""

    committed: bool = False
    echoed: bool = False
    revealed: bool = False
    moment_ms: int | None = None
    windowed: bool | None = None
    outcome: str | None = None
    receipt_chunks: int | None = None
    observed: str | None = None


@dataclass
class ReaderState:
    """A reader, as its log tells it: chunks read so far, and peers that it is connected to."""

    chunks: int = 0
    peers: int = 0


@dataclass
class ChallengeState:
    """One challenge, as the chain tells it, with what the attestors' logs add.

    Attributes:
        id, hosting, hoster: which.
        attestors: by name, in roster order.
        attempt: of the coinflip, the newest that a log tells of.
        stage: Flip, Commit, Audit, Report, or the outcome.
        reported: how many reports the chain has.
        active: how many are to report, once R is fixed.
        frauds: what was proven, by the evidence's id.
        outcome: once it is settled.
        paid: amounts by name.
    """

    id: int
    hosting: int
    hoster: str
    attestors: dict[str, AuditState]
    attempt: int = 0
    stage: str = "Flip"
    reported: int = 0
    active: int | None = None
    frauds: dict[bytes, Fraud] = field(default_factory=dict)
    outcome: str | None = None
    paid: dict[str, int] = field(default_factory=dict)

    @classmethod
    def drawn(
        cls, identifier: int, hosting: int, hoster: str, members: Sequence[str]
    ) -> ChallengeState:
        """A challenge that just started."""
        attestors = {name: AuditState() for name in members}
        return cls(identifier, hosting, hoster, attestors)

    def begin(self, attempt: int) -> bool:
        """Take in that an attempt goes on; False: an older one than is known."""
        if attempt > self.attempt:
            self.attempt = attempt
            for audit in self.attestors.values():
                audit.committed = audit.echoed = audit.revealed = False
        return attempt == self.attempt

    def fix(self, flip: Flip | None) -> str | None:
        """Take in R, once it is there; returns a line when the fallback gave it."""
        if flip is None or self.active is not None:
            return None
        self.active = len(flip.places)
        if not flip.fell_back:
            return None
        return (
            f"challenge {self.id}: nobody anchored; the fallback drew R among {self.active} of "
            f"{len(self.attestors)}"
        )

    def prove(self, frauds: Mapping[bytes, Fraud], names: Mapping[bytes, str]) -> Iterator[str]:
        """Take in what was proven; yields a line for each fraud that is new.

        Args:
            frauds: by the evidence's id.
            names: of the accounts.
        """
        for identifier, fraud in sorted(frauds.items(), key=lambda item: item[1].block):
            if identifier not in self.frauds:
                self.frauds[identifier] = fraud
                kind = fraud.proof.name.lower().replace("_", " ")
                yield (
                    f"challenge {self.id}: {names[fraud.offender]} was expelled: {kind}; "
                    f"{fraud.slashed / UNIT:g} slashed, {fraud.reward / UNIT:g} to "
                    f"{names.get(fraud.reporter, fraud.reporter.hex())}"
                )

    @property
    def expected(self) -> int:
        """How many reports there will be at most, as far as is known."""
        return len(self.attestors) if self.active is None else self.active

    def update(self, stage: Stage, reported: int) -> str | None:
        """Take in what the chain says; returns a line when the stage changed."""
        self.reported = reported
        name = stage_name(stage)
        if isinstance(stage, Closed):
            self.outcome = name
        if name == self.stage:
            return None
        self.stage = name
        return f"challenge {self.id}: {name} ({reported} of {self.expected} reported)"


@dataclass
class Network:
    """The whole testnet."""

    block: int = 0
    timestamp_ms: int = 0
    challenges: dict[int, ChallengeState] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    readers: dict[str, ReaderState] = field(default_factory=dict)

    def hear(self, process: str, entry: Mapping[str, Any]) -> str | None:
        """Take in one line of a process's log; returns what a person should read, if anything."""
        event = entry.get("event")
        if event in TOLD_OTHERWISE:
            return None
        challenge = self.challenges.get(entry.get("challenge", -1))
        if event == "coinflip.evidence" and challenge is not None:
            offender = list(challenge.attestors)[entry["offender"]]
            return f"challenge {challenge.id}: {process} holds evidence against {offender}"
        if event == "reader.status":
            self.readers[process] = ReaderState(entry["chunks"], entry["peers"])
            return None
        if entry.get("level") in {"warning", "error"}:
            return f"{process}: {_sentence(entry)}"
        if challenge is None or process not in challenge.attestors:
            return None
        audit = challenge.attestors[process]
        label = f"challenge {challenge.id}: {process}"
        if event == "coinflip.progress":
            if not challenge.begin(entry.get("attempt", 0)):
                return None
            for flag in ("committed", "echoed", "revealed"):
                members = entry.get(flag, [])
                for name, state in zip(challenge.attestors, members, strict=False):
                    if state:
                        setattr(challenge.attestors[name], flag, True)
            return None
        if event == "audit.opened":
            audit.moment_ms = entry["moment_ms"]
            audit.windowed = entry["windowed"]
            kind = "throughput" if audit.windowed else "latency"
            return f"{label} audits ({kind})"
        if event == "audit.finished":
            audit.outcome = entry["outcome"]
            audit.receipt_chunks = entry.get("receipt_chunks")
            receipt = (
                f", receipt over {audit.receipt_chunks} chunks" if audit.receipt_chunks else ""
            )
            return f"{label}: {audit.outcome}{receipt}"
        if event == "observe.finished":
            audit.observed = f"{entry['latency_p50_us'] / 1e3:.1f} ms"
            seen = (
                f"{entry['requests']} requests of readers"
                if entry["source"] == "readers"
                else f"nobody, so a model: {entry['source']}"
            )
            return f"{label} observed {seen}; {entry['pattern']}: {audit.observed}"
        return None


def _sentence(entry: Mapping[str, Any]) -> str:
    rest = {
        key: value for key, value in entry.items() if key not in {"event", "level", "timestamp"}
    }
    details = ", ".join(f"{key}={value}" for key, value in rest.items())
    return f"{entry.get('event')}" + (f" ({details})" if details else "")
