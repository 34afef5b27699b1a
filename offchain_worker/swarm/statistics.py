"""What one run was like, for operators: a plain value for one structured line of the log.

Everything is bounded whatever peers do: one entry for each peer and phase, the machine's fixed
words for refusals, and at most `MAX_REASONS` different reasons of lost connections for each peer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from offchain_worker.coinflip.effects import (
    Exit,
    GaveUp,
    Malicious,
    Offline,
    Outcome,
    Seen,
    Success,
)
from offchain_worker.coinflip.envelope import Kind

MAX_REASONS = 8
MAX_REASON_LENGTH = 120
OTHER_REASON = "other reasons"

PHASES = ("commit", "echo", "reveal", "serve")
"""Until the own echo, until the own reveal, until the exit, until Tx."""


@dataclass(frozen=True)
class Traffic:
    """Messages of the channel, and their bytes without framing, by direction."""

    messages_in: int = 0
    bytes_in: int = 0
    messages_out: int = 0
    bytes_out: int = 0


@dataclass(frozen=True)
class PhaseStatistics:
    """One phase of the run, as this member went through it.

    Attributes:
        name: one of `PHASES`.
        began_ms: after s_a, the attempt's start; negative for a run started before it.
        traffic: with all peers.
    """

    name: str
    began_ms: int
    traffic: Traffic


@dataclass(frozen=True)
class PeerStatistics:
    """One fellow attestor.

    Attributes:
        index: in the attempt's roster.
        connects: connections that stood.
        losses: connections, or attempts to make one, that ended: how often for which reason.
        traffic: on all its connections.
        refusals: messages that were dropped: how many for which reason.
        commit_ms, echo_ms, reveal_ms: when its commit, its first echo and its fitting reveal were
            known here, from anybody, in ms after s_a; None if never.
        gave_up_ms: the same of its echo(0).
    """

    index: int
    connects: int
    losses: Mapping[str, int]
    traffic: Traffic
    refusals: Mapping[str, int]
    commit_ms: int | None
    echo_ms: int | None
    reveal_ms: int | None
    gave_up_ms: int | None


@dataclass(frozen=True)
class RunStatistics:
    """One attempt.

    Attributes:
        exit: `Success`, `Malicious` or `Offline`.
        reason: why, in words.
        exit_ms: when, in ms after s_a.
        phases: those that were reached, in order.
        peers: all other members, ascending.
    """

    exit: str
    reason: str
    exit_ms: int
    phases: tuple[PhaseStatistics, ...]
    peers: tuple[PeerStatistics, ...]

    def fields(self) -> dict[str, Any]:
        """Nested dicts, lists and numbers only, for a log that writes JSON."""
        plain = asdict(self)
        return {**plain, "phases": list(plain["phases"]), "peers": list(plain["peers"])}


def exit_reason(outcome: Outcome) -> str:
    """Why a run ended so, in words."""
    match outcome:
        case Success():
            return "every reveal, or the anchor, is there"
        case Malicious(peers):
            return f"proof against {_members(peers)}"
        case Offline(peers, phase):
            return f"no {phase.value} of {_members(peers)}"


def _members(peers: tuple[int, ...]) -> str:
    return f"member{'s' * (len(peers) != 1)} {', '.join(map(str, peers))}"


@dataclass
class _Count:
    messages_in: int = 0
    bytes_in: int = 0
    messages_out: int = 0
    bytes_out: int = 0

    def frozen(self) -> Traffic:
        return Traffic(self.messages_in, self.bytes_in, self.messages_out, self.bytes_out)


@dataclass
class _Peer:
    connects: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    traffic: _Count = field(default_factory=_Count)
    seen: dict[Kind, int] = field(default_factory=dict)
    gave_up_ms: int | None = None


class RunLedger:
    """Counts while a run goes on.

    Args:
        size: of the roster.
        index: the own one.
        start_ms: s_a, ms since 1970.
        clock_ms: ms since 1970.
    """

    def __init__(self, size: int, index: int, start_ms: int, clock_ms: Callable[[], int]) -> None:
        self._index = index
        self._start_ms = start_ms
        self._clock_ms = clock_ms
        self._peers = {peer: _Peer() for peer in range(size) if peer != index}
        self._phases: list[tuple[str, int, _Count]] = []
        self._exit: tuple[Outcome, int] | None = None
        self._enter(PHASES[0])

    def received(self, peer: int, size: int) -> None:
        """A message of so many bytes came from `peer`."""
        for count in (self._peers[peer].traffic, self._phases[-1][2]):
            count.messages_in += 1
            count.bytes_in += size

    def sent(self, peer: int, size: int) -> None:
        """A message of so many bytes was queued for `peer`."""
        for count in (self._peers[peer].traffic, self._phases[-1][2]):
            count.messages_out += 1
            count.bytes_out += size

    def connected(self, peer: int) -> None:
        """A connection stands."""
        self._peers[peer].connects += 1

    def lost(self, peer: int, reason: str) -> None:
        """A connection, or the attempt to make one, ended."""
        losses = self._peers[peer].losses
        reason = reason[:MAX_REASON_LENGTH]
        if reason not in losses and len(losses) >= MAX_REASONS:
            reason = OTHER_REASON
        losses[reason] += 1

    def happened(self, effect: object) -> None:
        """The machine reported something."""
        match effect:
            case Seen(kind, member) if member == self._index:
                if kind is not Kind.COMMIT:
                    self._enter(PHASES[1] if kind is Kind.ECHO else PHASES[2])
            case Seen(kind, member):
                self._peers[member].seen.setdefault(kind, self._now())
            case GaveUp(member) if member != self._index:
                peer = self._peers[member]
                peer.gave_up_ms = self._now() if peer.gave_up_ms is None else peer.gave_up_ms
            case Exit(outcome) if self._exit is None:
                self._exit = outcome, self._now()
                self._enter(PHASES[3])
            case _:
                pass

    def close(self, refusals: Mapping[tuple[int, str], int]) -> RunStatistics:
        """What came of it, with the machine's count of refusals.

        Raises:
            RuntimeError: there was no exit.
        """
        if self._exit is None:
            raise RuntimeError("a run that is over has its exit")
        outcome, exit_ms = self._exit
        phases = (PhaseStatistics(name, ms, count.frozen()) for name, ms, count in self._phases)
        return RunStatistics(
            exit=type(outcome).__name__,
            reason=exit_reason(outcome),
            exit_ms=exit_ms,
            phases=tuple(phases),
            peers=tuple(self._peer(index, refusals) for index in self._peers),
        )

    def _peer(self, index: int, refusals: Mapping[tuple[int, str], int]) -> PeerStatistics:
        peer = self._peers[index]
        return PeerStatistics(
            index=index,
            connects=peer.connects,
            losses=dict(peer.losses),
            traffic=peer.traffic.frozen(),
            refusals={reason: n for (who, reason), n in sorted(refusals.items()) if who == index},
            commit_ms=peer.seen.get(Kind.COMMIT),
            echo_ms=peer.seen.get(Kind.ECHO),
            reveal_ms=peer.seen.get(Kind.REVEAL),
            gave_up_ms=peer.gave_up_ms,
        )

    def _now(self) -> int:
        return self._clock_ms() - self._start_ms

    def _enter(self, name: str) -> None:
        if all(name != entered for entered, _ms, _count in self._phases):
            self._phases.append((name, self._now(), _Count()))
