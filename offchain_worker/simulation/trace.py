"""What happened in a run, one line for each event, for people and for comparing two runs."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from offchain_worker.coinflip.effects import Malicious, Offline, Outcome, Success
from offchain_worker.coinflip.evidence import BAD_REVEAL, Evidence
from offchain_worker.simulation import chain as on_chain
from offchain_worker.simulation import judge

if TYPE_CHECKING:
    from offchain_worker.simulation.seat import Run, Seat
    from offchain_worker.simulation.world import World

_UNSIGNED = {
    0: "hello",
    16: "need",
    17: "bundle",
    18: "evidence",
    32: "ping",
    33: "pong",
    34: "bulk request",
    35: "bulk data",
}


class Trace:
    """Lines of one run; the digest is over all of them.

    Args:
        write: takes each line, without a line end; None: only the digest is kept.
    """

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write
        self._state = blake2b(digest_size=16)
        self.world: World | None = None

    @property
    def digest(self) -> str:
        """Of all lines so far, hexadecimal."""
        return self._state.hexdigest()

    def say(self, text: str) -> None:
        """One more line, with the time before it."""
        world = self.world
        at = 0 if world is None else world.scheduler.now - world.t0
        line = f"{at:>8} {text}"
        self._state.update(line.encode() + b"\n")
        if self._write is not None:
            self._write(line)

    def sent(self, seat: Seat, run: Run, data: bytes) -> None:
        """An honest seat sends something new."""
        self.say(f"{seat.place} says     {describe(data, run)}")

    def arrived(self, seat: Seat, run: Run, index: int, data: bytes) -> None:
        """Something arrived at a seat."""
        place = run.attempt.places[index]
        self.say(f"{seat.place} hears  {place}: {describe(data, run)}")

    def exited(self, seat: Seat, run: Run, outcome: Outcome) -> None:
        """A run has its verdict."""
        attempt = run.attempt.flip.attempt
        self.say(f"{seat.place} ends attempt {attempt}: {say_outcome(outcome, run)}")

    def found(self, seat: Seat, run: Run, evidence: Evidence) -> None:
        """A seat holds proof."""
        what = "a bad reveal" if evidence.proof_kind == BAD_REVEAL else "equivocation"
        self.say(f"{seat.place} proves {what} of {run.attempt.places[evidence.offender]}")


def describe_scenario(world: World) -> list[str]:
    """What a run is made of, in a few lines."""
    scenario = world.scenario
    players = [
        f"  {seat.place}: {'honest' if seat.honest else type(seat).__name__}"
        for seat in world.seats
    ]
    return [
        f"run {scenario.seed}: {scenario.size} members, {scenario.timing}",
        *players,
        f"crashes {dict(scenario.crashes)}",
        f"clocks {dict(scenario.clocks)}",
        f"chain {scenario.chain}",
        f"troubles after ms {[trouble.at_ms for trouble in scenario.troubles]}",
    ]


def describe_event(event: on_chain.Event) -> str:
    """What the chain says, without long hashes."""
    match event:
        case on_chain.Anchored():
            return f"anchored attempt {event.attempt}, R {event.result.hex()[:8]}"
        case on_chain.Expelled():
            return f"expelled {event.place}"
        case on_chain.CommitOpened():
            return f"fallback among {list(event.places)}"
        case on_chain.FellBack():
            return f"fell back, active {list(event.active)}, R {event.result.hex()[:8]}"
        case on_chain.Void():
            return f"void: {event.reason}"


def say_outcome(outcome: Outcome | None, run: Run) -> str:
    """An exit in words."""
    match outcome:
        case Success():
            return f"success, R {outcome.result.hex()[:8]}, root {outcome.root.hex()[:8]}"
        case Malicious():
            return f"malicious: {[run.attempt.places[at] for at in outcome.peers]}"
        case Offline():
            places = [run.attempt.places[at] for at in outcome.peers]
            return f"offline in {outcome.phase.value}: {places}"
        case None:
            return "nothing"


def describe(data: bytes, run: Run) -> str:
    """A message in words; whatever it is, this does not raise."""
    if len(data) < 35:
        return f"{len(data)} bytes"
    elsewhere = "" if data[1:33] == run.topic else " of another topic"
    kind = data[0]
    if kind in judge.BODY:
        index = int.from_bytes(data[33:35], "little")
        body = data[35:39].hex()
        known = index < len(run.attempt.places)
        owner = run.attempt.places[index] if known else f"index {index}"
        return f"{judge.NAME[kind].decode()} of {owner} {body}{elsewhere}"
    if kind == 16 and len(data) > 36:
        bits = int.from_bytes(data[36:40], "little")
        wanted = judge.NAME.get(data[35], b"?").decode()
        return f"need {wanted} {bits:b}{elsewhere}"
    if kind == 17 and len(data) > 37:
        return f"bundle of {int.from_bytes(data[35:37], 'little')}{elsewhere}"
    return f"{_UNSIGNED.get(kind, f'kind {kind}')}, {len(data)} bytes{elsewhere}"
