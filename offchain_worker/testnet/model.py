"""What the testnet knows at one instant: fed by the chain's heads and the processes' logs.

Sans-IO: the view draws it, the plain printer prints the lines it returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chain_types.records import Closed, Stage
from offchain_worker.explorer.show import stage_name


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


@dataclass
class ChallengeState:
    """One challenge, as the chain tells it, with what the attestors' logs add.

    Attributes:
        id, hosting, hoster: which.
        attestors: by name, in roster order.
        stage: Flip, Audit, Report, or the outcome.
        reported: how many reports the chain has.
        outcome: once it is settled.
        paid: amounts by name.
    """

    id: int
    hosting: int
    hoster: str
    attestors: dict[str, AuditState]
    stage: str = "Flip"
    reported: int = 0
    outcome: str | None = None
    paid: dict[str, int] = field(default_factory=dict)

    @classmethod
    def drawn(
        cls, identifier: int, hosting: int, hoster: str, members: Sequence[str]
    ) -> ChallengeState:
        """A challenge that just started."""
        attestors = {name: AuditState() for name in members}
        return cls(identifier, hosting, hoster, attestors)

    def update(self, stage: Stage, reported: int) -> str | None:
        """Take in what the chain says; returns a line when the stage changed."""
        self.reported = reported
        name = stage_name(stage)
        if isinstance(stage, Closed):
            self.outcome = name
        if name == self.stage:
            return None
        self.stage = name
        return f"challenge {self.id}: {name} ({reported} of {len(self.attestors)} reported)"


@dataclass
class Network:
    """The whole testnet."""

    block: int = 0
    timestamp_ms: int = 0
    challenges: dict[int, ChallengeState] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def hear(self, process: str, entry: Mapping[str, Any]) -> str | None:
        """Take in one line of a process's log; returns what a person should read, if anything."""
        event = entry.get("event")
        if event == "attestor.not_registered":
            # The testnet starts attestors before it registers them.
            return None
        if entry.get("level") in {"warning", "error"}:
            return f"{process}: {_sentence(entry)}"
        challenge = self.challenges.get(entry.get("challenge", -1))
        if challenge is None or process not in challenge.attestors:
            return None
        audit = challenge.attestors[process]
        label = f"challenge {challenge.id}: {process}"
        if event == "coinflip.progress":
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
        return None


def _sentence(entry: Mapping[str, Any]) -> str:
    rest = {
        key: value for key, value in entry.items() if key not in {"event", "level", "timestamp"}
    }
    details = ", ".join(f"{key}={value}" for key, value in rest.items())
    return f"{entry.get('event')}" + (f" ({details})" if details else "")
