"""The pallet of a challenge, as far as its coinflip goes: blocks, finality, and the verdict.

Written from coinflip.md §3–§5 and challenge.md §2.2, §5 alone; it is the judge of a run. Blocks
in which nothing happens are not simulated, only dated.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from offchain_worker.simulation import judge
from offchain_worker.simulation.judge import CheckSignature, Combine, Refused
from offchain_worker.simulation.scheduler import Scheduler

BOND = 1_000_000
ABSENCE_FEE = 10_000
LEAST_AUDIT_MS = 500


@dataclass(frozen=True)
class ChainTiming:
    """The part of a challenge's Timing that decides its randomness, ms unless told otherwise."""

    block_ms: int
    join_ms: int
    delta_ms: int
    finality_ms: int
    flip_ms: int
    commit_ms: int
    commit_blocks: int
    window_ms: int
    tail_ms: int


@dataclass(frozen=True)
class ChainPlan:
    """What goes wrong on the chain.

    Attributes:
        jitter_ms: a block comes up to so much late.
        finality_ms: from a block to its finality, at most.
        delivery_ms: from there to a seat, at most.
        late: place → so much later a seat hears of everything.
        twice: how often an event comes twice.
        inclusion_ms: from a submission to its block, besides waiting for one, at most.
        censored_ms: (from, to) after T0 between which no anchor gets into a block.
        other_start: place → so long after T0 the seat believes in another start block.
    """

    jitter_ms: int = 0
    finality_ms: int = 0
    delivery_ms: int = 20
    late: dict[int, int] = field(default_factory=dict)
    twice: float = 0.0
    inclusion_ms: int = 0
    censored_ms: tuple[int, int] | None = None
    other_start: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class AnchorCall:
    """`anchor_flip`: (z, salt, x) and echo signatures in roster order."""

    attempt: int
    openings: tuple[tuple[bytes, bytes, bytes], ...]
    echoes: tuple[bytes, ...]


@dataclass(frozen=True)
class ReportCall:
    """`report_fraud` with the bytes of its argument."""

    proof: bytes


@dataclass(frozen=True)
class CommitCall:
    """`commit_flip`."""

    seal: bytes


Call = AnchorCall | ReportCall | CommitCall


@dataclass(frozen=True)
class Anchored:
    """R is there, from an attempt."""

    attempt: int
    topic: bytes
    root: bytes
    result: bytes


@dataclass(frozen=True)
class Expelled:
    """A member is expelled, by a block of that timestamp."""

    place: int
    timestamp_ms: int


@dataclass(frozen=True)
class CommitOpened:
    """The fallback began, among these places of the start roster."""

    places: tuple[int, ...]
    topic: bytes
    opened_ms: int


@dataclass(frozen=True)
class FellBack:
    """R is there, from the fallback."""

    root: bytes
    result: bytes
    active: tuple[int, ...]


@dataclass(frozen=True)
class Void:
    """There is no R."""

    reason: str


Event = Anchored | Expelled | CommitOpened | FellBack | Void


@dataclass(frozen=True)
class Fraud:
    """An accepted proof."""

    place: int
    attempt: int
    bad_reveal: bool
    kind: int
    zero: bool
    reporter: int
    timestamp_ms: int


class Listener(Protocol):
    """Somebody who follows the chain."""

    place: int

    def hear(self, event: Event) -> None:
        """A finalized event arrived."""


class Chain:
    """One challenge on chain.

    Attributes:
        t0: timestamp of its start block, block 0 here.
        verdict: how its randomness ended; None as long as it has not.
        expelled: in order of time, one for each place.
        balances: what each member's bond lost and what it was paid.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        timing: ChainTiming,
        plan: ChainPlan,
        dice: random.Random,
        keys: Sequence[bytes],
        min_active: int,
        check: CheckSignature,
        combine: Combine = judge.result_of,
    ) -> None:
        self.t0 = scheduler.now
        self.genesis = dice.randbytes(32)
        self.challenge_id = dice.randrange(1 << 32)
        self.start_hash = dice.randbytes(32)
        self.keys = tuple(keys)
        self.timing = timing
        self.min_active = min_active
        self.verdict: Anchored | FellBack | Void | None = None
        self.expelled: list[Expelled] = []
        self.frauds: dict[bytes, Fraud] = {}
        self.refused: dict[str, int] = {}
        self.late_anchors = 0
        self.slashed = 0
        self.rewarded: dict[int, int] = {}
        self.absent: tuple[int, ...] = ()
        self.active: tuple[int, ...] = ()
        self.commits: dict[int, bytes] = {}
        self.opened: CommitOpened | None = None
        self.events: list[tuple[int, Event]] = []
        self.listeners: list[Listener] = []
        self.on_anchor: Callable[[Anchored, AnchorCall, tuple[int, ...], int], None] | None = None
        self.on_fraud: Callable[[Fraud], None] | None = None
        self.on_event: Callable[[Event], None] | None = None
        self.on_refused: Callable[[int, Call, str], None] | None = None
        self._scheduler = scheduler
        self._plan = plan
        self._dice = dice
        self._check = check
        self._combine = combine
        self._stamps = [self.t0]
        self._pending: dict[int, list[tuple[int, Call]]] = {}
        self._attempts: tuple[int, list[tuple[bytes, tuple[int, ...], int]]] | None = None
        self._commit_block = 0
        start = self._block_from(self.t0 + timing.flip_ms)
        self._flip_block = start
        scheduler.at(self._stamps[start], self._open_fallback)

    # Time

    def stamp(self, block: int) -> int:
        """When a block is made: its timestamp."""
        stamps, timing = self._stamps, self.timing
        while len(stamps) <= block:
            regular = self.t0 + len(stamps) * timing.block_ms
            jitter = int(self._dice.random() * self._plan.jitter_ms) if self._plan.jitter_ms else 0
            stamps.append(max(stamps[-1] + 1, regular + jitter))
        return stamps[block]

    def head_ms(self) -> int:
        """The timestamp of the newest finalized block, at least."""
        timing = self.timing
        return self._scheduler.now - timing.finality_ms - timing.block_ms - self._plan.jitter_ms

    def _block_from(self, when: int) -> int:
        """The first block of at least that timestamp."""
        block = max(0, (when - self.t0) // self.timing.block_ms - 2)
        while self.stamp(block) < when or (block and self.stamp(block - 1) >= when):
            block += -1 if self.stamp(block) >= when else 1
        return block

    # Calls

    def submit(self, place: int, call: Call) -> None:
        """A member's account submits a call; it is in one of the next blocks, or in none."""
        if self.verdict is not None and not isinstance(call, ReportCall):
            self._refuse(place, call, "too late")
            return
        now, plan = self._scheduler.now, self._plan
        delay = 1 + int(self._dice.random() * plan.inclusion_ms)
        block = self._block_from(now + delay)
        if isinstance(call, AnchorCall) and plan.censored_ms is not None:
            first, last = plan.censored_ms
            if first <= self.stamp(block) - self.t0 < last:
                self.refused["censored"] = self.refused.get("censored", 0) + 1
                return
        waiting = self._pending.get(block)
        if waiting is None:
            self._pending[block] = [(place, call)]
            self._scheduler.at(self.stamp(block), self._make_block, block)
        else:
            waiting.append((place, call))

    def _make_block(self, block: int) -> None:
        if block >= self._flip_block and self.verdict is None and self.opened is None:
            self._open_fallback()
        if self.opened is not None and self.verdict is None and block >= self._commit_block:
            self._close_fallback()
        for place, call in self._pending.pop(block):
            try:
                if isinstance(call, AnchorCall):
                    self._anchor(place, call, block)
                elif isinstance(call, ReportCall):
                    self._report(place, call, block)
                else:
                    self._commit(place, call, block)
            except Refused as refusal:
                self._refuse(place, call, refusal.reason)

    def _refuse(self, place: int, call: Call, reason: str) -> None:
        name = f"{type(call).__name__} {reason}"
        self.refused[name] = self.refused.get(name, 0) + 1
        if self.on_refused is not None:
            self.on_refused(place, call, reason)

    def _anchor(self, place: int, call: AnchorCall, block: int) -> None:
        if isinstance(self.verdict, Anchored):
            self.late_anchors += 1
            raise Refused("already anchored")
        if self.verdict is not None or block >= self._flip_block:
            raise Refused("stage")
        topic, places = self.attempt(call.attempt)
        keys = [self.keys[at] for at in places]
        root, result = judge.anchored_by(
            topic, keys, call.openings, call.echoes, self._check, self._combine
        )
        self.verdict = Anchored(call.attempt, topic, root, result)
        self.active = places
        if self.on_anchor is not None:
            self.on_anchor(self.verdict, call, places, place)
        self._announce(block, self.verdict)

    def _report(self, place: int, call: ReportCall, block: int) -> None:
        fraud = judge.read_proof(call.proof)
        if fraud.challenge != self.challenge_id:
            raise Refused("challenge")
        topic, places = self.attempt(fraud.attempt)
        keys = [self.keys[at] for at in places]
        offender = places[judge.offender_of(fraud, topic, keys, self._check)]
        known = judge.digest(self.keys[offender], topic, bytes([fraud.bad_reveal]))
        if known in self.frauds:
            raise Refused("known")
        zero = not (any(fraud.first.body) and any(fraud.second.body))
        self.frauds[known] = done = Fraud(
            offender,
            fraud.attempt,
            fraud.bad_reveal,
            fraud.first.kind,
            zero,
            place,
            self.stamp(block),
        )
        if all(one.place != offender for one in self.expelled):
            self.slashed += BOND
            self.rewarded[place] = self.rewarded.get(place, 0) + BOND // 2
            expelled = Expelled(offender, self.stamp(block))
            self.expelled.append(expelled)
            self._announce(block, expelled)
        if self.on_fraud is not None:
            self.on_fraud(done)

    def _commit(self, place: int, call: CommitCall, block: int) -> None:
        if self.opened is None or self.verdict is not None or block >= self._commit_block:
            raise Refused("stage")
        if place not in self.opened.places:
            raise Refused("member")
        if place in self.commits:
            raise Refused("committed")
        self.commits[place] = call.seal

    # Fallback

    def _open_fallback(self) -> None:
        if self.verdict is not None or self.opened is not None:
            return
        block = self._flip_block
        gone = {one.place for one in self.expelled}
        places = tuple(at for at in range(len(self.keys)) if at not in gone)
        if len(places) < self.min_active:
            self._decide(block, Void("roster"))
            return
        stamp, timing = self.stamp(block), self.timing
        topic = self._topic(judge.FALLBACK, places)
        self.opened = CommitOpened(places, topic, stamp)
        self._commit_block = max(
            self._block_from(stamp + timing.commit_ms), block + timing.commit_blocks
        )
        self._announce(block, self.opened)
        self._scheduler.at(self.stamp(self._commit_block), self._close_fallback)

    def _close_fallback(self) -> None:
        opened, block = self.opened, self._commit_block
        if opened is None or self.verdict is not None:
            return
        active = tuple(place for place in opened.places if place in self.commits)
        self.active = active
        low = self.stamp(block) + 2 * self.timing.block_ms
        window = self.t0 + self.timing.window_ms - self.timing.tail_ms - low
        if window < LEAST_AUDIT_MS:
            self._decide(block, Void("window"))
            return
        self.absent = tuple(place for place in opened.places if place not in self.commits)
        if len(active) < self.min_active:
            self._decide(block, Void("active"))
            return
        seals = [self.commits[place] for place in active]
        root, result = judge.fallback_of(opened.topic, seals, self._dice.randbytes(32))
        self._decide(block, FellBack(root, result, active))

    def _decide(self, block: int, verdict: FellBack | Void) -> None:
        self.verdict = verdict
        self._announce(block, verdict)

    # Attempts

    def attempt(self, number: int) -> tuple[bytes, tuple[int, ...]]:
        """Topic and places of an attempt's roster, as of what is expelled now (§3)."""
        known = self.attempts()
        if not 0 <= number < len(known):
            raise Refused("attempt")
        return known[number][:2]

    def attempts(self) -> list[tuple[bytes, tuple[int, ...], int]]:
        """Topic, places and s_a of every attempt that exists."""
        if self._attempts is None or self._attempts[0] != len(self.expelled):
            self._attempts = len(self.expelled), self._all_attempts()
        return self._attempts[1]

    def _all_attempts(self) -> list[tuple[bytes, tuple[int, ...], int]]:
        timing, found = self.timing, []
        begins = self.t0
        for number in range(judge.MOST_ATTEMPTS):
            delta = min(timing.delta_ms * 2**number, judge.LONGEST_DELTA_MS)
            join = timing.join_ms if number == 0 else timing.join_ms // 3
            ends = begins + join + 12 * delta
            if ends + 2 * timing.block_ms > self.t0 + timing.flip_ms:
                break
            agreed = begins - 2 * timing.block_ms - timing.finality_ms
            gone = {one.place for one in self.expelled if one.timestamp_ms <= agreed}
            places = tuple(at for at in range(len(self.keys)) if at not in gone)
            if number > 0 and len(places) < self.min_active:
                break
            topic = self._topic(number, places)
            found.append((topic, places, begins))
            pause = 4 * timing.block_ms + timing.finality_ms
            begins = ends + pause + judge.jitter_of(topic, delta)
        return found

    def _topic(self, number: int, places: Sequence[int]) -> bytes:
        keys = [self.keys[at] for at in places]
        return judge.topic_of(self.genesis, self.challenge_id, self.start_hash, number, keys)

    # Finality

    def follow(self, listener: Listener) -> None:
        """Have a seat hear what becomes final from now on."""
        self.listeners.append(listener)

    def _announce(self, block: int, event: Event) -> None:
        if self.on_event is not None:
            self.on_event(event)
        plan, dice = self._plan, self._dice
        final = self.stamp(block) + int(dice.random() * plan.finality_ms)
        if self.events:
            final = max(final, self.events[-1][0])
        self.events.append((final, event))
        for listener in self.listeners:
            when = self._arrival(listener.place, final)
            self._scheduler.at(when, listener.hear, event)
            if plan.twice and dice.random() < plan.twice:
                self._scheduler.at(when + 1 + int(dice.random() * 1_000), listener.hear, event)

    def _arrival(self, place: int, final: int) -> int:
        plan = self._plan
        return final + 1 + int(self._dice.random() * plan.delivery_ms) + plan.late.get(place, 0)

    def history(self, place: int) -> list[Event]:
        """What a seat that starts now reads of the finalized state."""
        seen_until = self._scheduler.now - self._plan.late.get(place, 0)
        return [event for final, event in self.events if final <= seen_until]

    def start_arrival(self, place: int, within_ms: int) -> int:
        """When a seat hears of the finalized start."""
        spread = int(self._dice.random() * (within_ms + 1))
        return self.t0 + spread + self._plan.late.get(place, 0)
