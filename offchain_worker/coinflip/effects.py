"""What a run asks of the world around it, and what it says about itself.

Effects are carried out in order. A `Journal` is on disk before anything after it is sent: that is
the whole durability rule (coinflip.md §1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from chain_types.records import Opening
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.coinflip.evidence import Evidence


class Phase(Enum):
    """Where a run stands or got stuck."""

    COMMIT = "commit"
    ECHO = "echo"
    REVEAL = "reveal"


@dataclass(frozen=True)
class Success:
    """Certificate and all reveals: R, final once it is anchored and finalized."""

    result: bytes
    root: bytes


@dataclass(frozen=True)
class Malicious:
    """No R, and proof of who broke the protocol."""

    peers: tuple[int, ...]
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Offline:
    """No R and no proof: who was missing, as seen from here. A suspicion, never evidence."""

    peers: tuple[int, ...]
    phase: Phase


Outcome = Success | Malicious | Offline


@dataclass(frozen=True)
class Send:
    """Send `data`, one whole envelope, to a connected peer."""

    peer: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Journal:
    """Put an own envelope on disk, with the peers' envelopes that it rests on."""

    envelope: SignedEnvelope
    support: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class Anchor:
    """R is computable: `anchor_flip` with these, not before `not_before_ms`.

    Openings and echo signatures (64 bytes each) are in roster order.
    """

    attempt: int
    root: bytes
    result: bytes
    openings: tuple[Opening, ...]
    echoes: tuple[bytes, ...] = field(repr=False)
    not_before_ms: int = 0


@dataclass(frozen=True)
class Exit:
    """The run's verdict, once. It goes on serving its peers until Tx."""

    outcome: Outcome


@dataclass(frozen=True)
class Found:
    """A new verified proof against another member: keep it, report it on chain."""

    evidence: Evidence


@dataclass(frozen=True)
class Seen:
    """Progress for whoever watches: a member's commit, echo of a root, or fitting reveal."""

    kind: Kind
    member: int


@dataclass(frozen=True)
class GaveUp:
    """A member will never echo in this topic: no certificate with it."""

    member: int


@dataclass(frozen=True)
class Confirmed:
    """A peer proved that it knows the same R (coinflip.md §7)."""

    peer: int


@dataclass(frozen=True)
class Silenced:
    """My key signed something that I did not: I sign nothing more in this topic."""

    kind: Kind


@dataclass(frozen=True)
class Refused:
    """A peer's message was dropped; told once for each peer and reason."""

    peer: int
    reason: str


@dataclass(frozen=True)
class Disconnect:
    """Close the connection: the peer costs more than an honest one ever does."""

    peer: int
    reason: str


@dataclass(frozen=True)
class PongHeard:
    """A peer answered a ping; whoever sent it knows when."""

    peer: int
    nonce: bytes


@dataclass(frozen=True)
class BulkAsked:
    """Send that many bytes in bulk frames, after everything else."""

    peer: int
    size: int


@dataclass(frozen=True)
class BulkHeard:
    """A frame of the bulk transfer that was asked for arrived."""

    peer: int
    size: int


Effect = (
    Send
    | Journal
    | Anchor
    | Exit
    | Found
    | Seen
    | GaveUp
    | Confirmed
    | Silenced
    | Refused
    | Disconnect
    | PongHeard
    | BulkAsked
    | BulkHeard
)
