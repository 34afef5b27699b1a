"""What the testnet knows at one instant: fed by the chain's heads and the processes' logs.

Sans-IO: the view draws it, the plain printer prints the lines it returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
    """One challenge, as the chain tells it, with what the attestors' logs add."""

    id: int
    hosting: int
    hoster: str
    stage: str
    attestors: dict[str, AuditState]
    reported: int = 0
    outcome: str | None = None
    paid: dict[str, int] = field(default_factory=dict)


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
                for name, state in zip(sorted_members(challenge), members, strict=False):
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


def sorted_members(challenge: ChallengeState) -> list[str]:
    """The attestors in roster order (the order in which they were entered)."""
    return list(challenge.attestors)


def _sentence(entry: Mapping[str, Any]) -> str:
    rest = {
        key: value for key, value in entry.items() if key not in {"event", "level", "timestamp"}
    }
    details = ", ".join(f"{key}={value}" for key, value in rest.items())
    return f"{entry.get('event')}" + (f" ({details})" if details else "")
