"""Rows 19 to 28 of coinflip.md §9: bad links and clocks, floods, the chain, outsiders, mutations.

The rules of these tests and the letters of each row: `row_tools`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from row_tools import Ran, against, all_success
from trio_world import Plan, TrioWorld, run_on_trio, simulate

from chain_types.records import Feed, FeedKind
from chain_types.report import Failure, Reason, Report, decode_report
from offchain_worker.audit import report as rules
from offchain_worker.audit.receipt import Entry, Receipt, decode_receipt
from offchain_worker.audit.report import ReportContext, check_report, sign_report
from offchain_worker.coinflip.attempts import Attempt
from offchain_worker.coinflip.draws import join_number, moment_uniform
from offchain_worker.coinflip.effects import Success
from offchain_worker.coinflip.envelope import (
    BulkData,
    BulkRequest,
    Hello,
    Kind,
    Need,
    Ping,
    Pong,
    encode,
)
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.hypercore.connection import open_connection
from offchain_worker.hypercore.errors import HypercoreError
from offchain_worker.hypercore.manifest import decode_manifest
from offchain_worker.keys import KeyPair
from offchain_worker.simulation import judge
from offchain_worker.simulation import strategies as bad
from offchain_worker.simulation.adversary import Deviant, Dishonest, commit_of, own_of, sign
from offchain_worker.simulation.chain import (
    AnchorCall,
    Anchored,
    ChainPlan,
    CommitCall,
    FellBack,
    ReportCall,
    Void,
)
from offchain_worker.simulation.clock import ClockFault
from offchain_worker.simulation.dice import stream
from offchain_worker.simulation.draw import break_lines, heal, only, split
from offchain_worker.simulation.network import (
    QUEUE_MESSAGES,
    LinkPlan,
    heavy_tailed,
    uniform,
)
from offchain_worker.simulation.scenario import DEVELOPMENT, LONG, Trouble
from offchain_worker.simulation.seat import Crash, Run, Seat
from offchain_worker.simulation.world import World
from offchain_worker.swarm.roster import PROTOCOL, SwarmLimits

DELTA = DEVELOPMENT.delta_ms
GOOD = LinkPlan(uniform(1, 50))

# Row 19


@dataclass
class Fate:
    """What became of messages between live seats, noted at both ends of every line."""

    sent: int = 0
    arrived: int = 0
    altered: int = 0
    overtaken: int = 0
    longest_ms: int = 0

    @classmethod
    def of(cls, ran: Ran, deliveries: Sequence[tuple[int, int, int, bytes]]) -> Fate:
        fate = cls(sent=len(ran.said), arrived=len(deliveries))
        waiting: dict[tuple[int, int], list[tuple[int, bytes]]] = {}
        for said in ran.said:
            key = said.sender.ident, said.receiver.ident
            waiting.setdefault(key, []).append((said.at_ms, said.data))
        for at, sender, receiver, data in deliveries:
            queue = waiting.get((sender, receiver), [])
            place = next((i for i, (_at, sent) in enumerate(queue) if sent == data), None)
            if place is None:
                fate.altered += 1
                continue
            fate.overtaken += place > 0
            fate.longest_ms = max(fate.longest_ms, at - queue[place][0])
        return fate


def watched(scenario: Any) -> tuple[Ran, Fate]:
    """Run it with all lines tapped."""
    deliveries: list[tuple[int, int, int, bytes]] = []
    deliver = Seat.deliver

    def note(self: Seat, line: Any, data: bytes) -> None:
        if line.alive:
            now = self.world.scheduler.now
            deliveries.append((now, line.other(self).ident, self.ident, data))
        deliver(self, line, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Seat, "deliver", note)
        ran = Ran(scenario, listen=True)
    return ran, Fate.of(ran, deliveries)


LINKS: dict[str, tuple[LinkPlan, Callable[[Fate, Ran], bool]]] = {
    "drop": (
        replace(GOOD, loss=0.3),
        lambda fate, _ran: fate.arrived < 0.8 * fate.sent,
    ),
    "duplicate": (
        replace(GOOD, duplication=0.5),
        lambda fate, _ran: fate.arrived > 1.3 * fate.sent,
    ),
    "reorder": (
        LinkPlan(uniform(1, 2 * DELTA), reorder=True),
        lambda fate, _ran: fate.overtaken > 10,
    ),
    "heavy-tailed delay": (
        LinkPlan(heavy_tailed(DELTA // 2, 20 * DELTA)),
        lambda fate, _ran: fate.longest_ms > 4 * DELTA,
    ),
    "corrupt bytes": (
        replace(GOOD, corruption=0.3),
        lambda fate, ran: (
            fate.altered > 10 and sum(sum(seat.refusals.values()) for seat in ran.honest) > 0
        ),
    ),
    "all of it": (
        LinkPlan(
            heavy_tailed(DELTA // 2, 20 * DELTA),
            loss=0.2,
            duplication=0.2,
            corruption=0.1,
            reorder=True,
        ),
        lambda fate, _ran: fate.altered > 0 and fate.overtaken > 0,
    ),
}


@pytest.mark.parametrize("name", LINKS)
def test_row_19_bad_links(name: str) -> None:
    plan, happened = LINKS[name]
    times = 0
    for seed in range(6):
        ran, fate = watched(against(seed=seed, timing=DEVELOPMENT, links=plan))
        times += happened(fate, ran)
        # A B T.
        ran.one_result()
        ran.blames_only()
        ran.all_end()
        ran.all_letters()
    assert times >= 4


@pytest.mark.parametrize("name", LINKS)
def test_row_19_bad_links_that_heal_in_time(name: str) -> None:
    plan, _happened = LINKS[name]

    def mend(world: World) -> None:
        world.network.replan(GOOD)
        for line in world.network.lines:
            world.network.disturb(line)

    for seed in range(6):
        heals = Trouble(DEVELOPMENT.join_ms // 2, mend)
        ran, fate = watched(
            against(seed=seed, timing=DEVELOPMENT, links=plan, troubles=[heals], live=True)
        )
        assert fate.sent > 0
        # L: links are good from J / 2 on, so all have R, and it is anchored.
        assert all_success(ran.outcomes(0))
        assert isinstance(ran.verdict, Anchored)
        ran.all_letters()


# Row 20


def flapping(dice: Any) -> list[Trouble]:
    troubles = []
    for at in range(0, 3_000, 500):
        troubles.append(Trouble(at, split(dice, one_way=False)))
        troubles.append(Trouble(at + 10, break_lines(dice)))
        troubles.append(Trouble(at + 250, heal))
    return troubles


def bridged(dice: Any) -> list[Trouble]:
    """Two sides of two that meet in one member only."""

    def act(world: World) -> None:
        idents = [seat.ident for seat in world.seats]
        dice.shuffle(idents)
        _middle, *rest = idents
        pairs = {(a, b) for a in rest[:2] for b in rest[2:]}
        world.network.block(frozenset(pairs | {(b, a) for a, b in pairs}))

    return [Trouble(0, act)]


SHAPES: dict[str, Callable[[Any], list[Trouble]]] = {
    "symmetric": lambda dice: [Trouble(0, split(dice, one_way=False))],
    "one-way": lambda dice: [Trouble(0, split(dice, one_way=True))],
    "bridge": bridged,
    "flapping": flapping,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("breaks", [False, True])
def test_row_20_partitions(shape: str, waits: bool, breaks: bool) -> None:
    """They begin at any time of the attempt and last until it is over, or flap."""
    successes = 0
    for seed in range(12):
        dice = stream(seed)
        begins = 0 if shape == "flapping" else seed * 40
        troubles = [replace(one, at_ms=one.at_ms + begins) for one in SHAPES[shape](dice)]
        blocked: list[int] = []

        def look(world: World, blocked: list[int] = blocked) -> None:
            blocked.append(len(world.network.blocked))

        ran = Ran(
            against(
                seed=seed,
                size=5,
                timing=DEVELOPMENT,
                links=LinkPlan(uniform(1, 50), waits=waits, breaks=breaks),
                troubles=[*troubles, Trouble(begins + 100, look), Trouble(4_500, heal)],
                start_within_ms=100,
            )
        )
        assert blocked[0] >= 4
        # A B T: sides may fail, but never differ.
        ran.one_result()
        ran.blames_only()
        ran.all_end()
        ran.all_letters()
        successes += all_success(ran.outcomes(0))
    # A side without a bridge misses somebody, unless all was done before.
    assert successes < 12 if shape in ("symmetric", "one-way") else successes > 0


# Row 21

CLOCKS: dict[str, ClockFault] = {
    "ahead": ClockFault(skew_ms=DELTA),
    "behind": ClockFault(skew_ms=-DELTA),
    "far ahead": ClockFault(skew_ms=10 * DELTA),
    "far behind": ClockFault(skew_ms=-10 * DELTA),
    "jump ahead": ClockFault(jump_at_ms=1_800_000_000_120, jump_ms=1_500),
    "jump back": ClockFault(jump_at_ms=1_800_000_000_120, jump_ms=-1_500),
    "drift ahead": ClockFault(drift_ppm=200_000),
    "drift behind": ClockFault(drift_ppm=-200_000),
}


@pytest.mark.parametrize("name", CLOCKS)
@pytest.mark.parametrize("wrong", [1, 3])
@pytest.mark.parametrize("attacked", [False, True])
def test_row_21_clock(name: str, wrong: int, attacked: bool) -> None:
    fault = CLOCKS[name]
    liar = only(lambda world, place: bad.SplitCommit(world, place, [1, 2]))
    ran = Ran(
        against(
            {0: liar} if attacked else {},
            timing=DEVELOPMENT,
            clocks=dict.fromkeys(range(1, 1 + wrong), fault),
        )
    )
    off = [seat for seat in ran.honest if seat.now != ran.world.scheduler.now]
    assert len(off) == wrong
    # B: whatever the clocks say, nobody honest is blamed; and A.
    to_blame = (0,) if attacked else ()
    ran.blames_only(*to_blame)
    assert ran.expelled <= set(to_blame)
    ran.one_result()
    ran.one_body()
    ran.no_early_number()
    if name in ("ahead", "behind") and not attacked:
        assert all_success(ran.outcomes(0))
    assert ran.world.chain.verdict is not None


# Row 22


class DeafAndGreedy(Dishonest):
    """Asks and asks, while it takes nothing of what is sent to it."""

    asked = 0

    def on_attempt(self, attempt: Attempt) -> None:
        self.budget = 5_000
        self.attempt = attempt
        self.lost = 0

    def on_line(self, attempt: Attempt, place: int) -> None:
        blocked = set(self.world.network.blocked)
        blocked |= {(seat.ident, self.ident) for seat in self.world.honest_seats}
        self.world.network.block(frozenset(blocked))
        for number in range(40):
            self.after(200 + 20 * number, self.greed, attempt, place)

    def greed(self, attempt: Attempt, place: int) -> None:
        for _ in range(10):
            self.asked += 1
            self.ask(attempt, [place], Kind.COMMIT)

    def line_lost(self, line: Any) -> None:
        self.lost += 1
        super().line_lost(line)


@pytest.mark.parametrize("size", [3, 5])
def test_row_22_slow_reader_with_full_buffers(size: int) -> None:
    ran = Ran(against({0: only(DeafAndGreedy)}, size=size, timing=LONG), listen=True)
    (deaf,) = (seat for seat in ran.world.seats if isinstance(seat, DeafAndGreedy))
    assert deaf.asked > 500
    assert deaf.lost > 0
    answers = [said for said in ran.said if said.receiver is deaf]
    assert len(answers) > QUEUE_MESSAGES
    assert (
        max(len(line.waiting) for line in ran.world.network.lines or [_Nothing]) <= QUEUE_MESSAGES
    )
    # R T: the queue ends the connection; the others end in time, without it.
    ran.bounded()
    ran.all_end()
    assert len(ran.outcomes(0)) == size - 1
    assert not any(isinstance(outcome, Success) for outcome in ran.outcomes(0))
    ran.all_letters()


class _Nothing:
    """Where no line is left."""

    waiting: tuple[()] = ()


class Slowloris(TrioWorld):
    """Row 22 over real connections: one member's bytes come one at a time."""

    pause_ms = 10
    frames = 0

    async def pipe(self, sender: int, source: Any, sink: Any, delay: float) -> None:
        if sender != 0:
            await super().pipe(sender, source, sink, delay)
            return
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            while data := await source.receive_some():
                self.frames += 1
                for byte in bytes(data):
                    await trio.sleep(self.pause_ms / 1_000)
                    await sink.send_all(bytes([byte]))


def test_row_22_slowloris_frames() -> None:
    plan = Plan(seed=3, size=4)
    world = Slowloris(plan, replace(simulate(plan), anchors=[]))
    ended: list[float] = []

    async def run() -> None:
        await world.run()
        ended.append(trio.current_time())

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert world.frames > 3
    # R T: it is as if it were absent; the others have their exit, and the runs end at Tx.
    ends = {place: end for (place, _attempt), end in world.ends.items() if place != 0}
    assert {(end.exit, end.peers, end.phase) for end in ends.values()} == {
        ("Offline", (0,), "commit")
    }
    assert len(ends) == 3
    tx = world.attempts.first().schedule.end_ms - world.world.t0
    assert ended[0] <= (tx + 50) / 1_000


# Row 23


class Floods(Deviant):
    """Follows the rules, and floods every peer from some moment on."""

    def __init__(self, world: World, place: int, flood: Any, messages: int) -> None:
        super().__init__(world, place)
        self.flood, self.messages, self.poured = flood, messages, 0

    def connect(self, run: Run, line: Any, index: int) -> None:
        super().connect(run, line, index)
        if self.poured == 0:
            self.world.scheduler.at(self.now + 40, self.pour, run, index)

    def pour(self, run: Run, index: int) -> None:
        data = self.flood(run, self.dice)
        while self.poured < self.messages and run.lines[index] is not None:
            self.poured += 1
            self.say(run, index, data)


def header(kind: int, run: Run) -> bytes:
    return bytes([kind]) + run.topic + run.machine.index.to_bytes(2, "little")


FLOODS: dict[str, tuple[Callable[[Run, Any], bytes], int, str]] = {
    "10^5 needs": (
        lambda run, _dice: encode(
            Need(Kind.COMMIT, frozenset(range(run.attempt.flip.size))),
            run.attempt.flip,
            run.machine.index,
        ),
        100_000,
        "flood",
    ),
    "huge": (lambda run, _dice: header(Kind.BULK_DATA, run) + bytes(70_000), 2_000, "length"),
    "truncated": (lambda run, _dice: header(Kind.COMMIT, run)[:20], 10_000, "length"),
    "unknown kinds": (lambda run, _dice: header(99, run) + bytes(40), 10_000, "kind"),
    "another's name": (
        lambda run, _dice: bytes([Kind.PING]) + run.topic + b"\2\0" + bytes(48),
        10_000,
        "sender",
    ),
    "false signatures": (
        lambda run, dice: header(Kind.ECHO, run) + dice.randbytes(32) + bytes(64),
        10_000,
        "signature",
    ),
    "bulk that nobody asked for": (
        lambda run, _dice: header(Kind.BULK_DATA, run) + bytes(60_000),
        2_000,
        "bulk data not asked for",
    ),
    "empty bundles": (
        lambda run, _dice: header(Kind.BUNDLE, run) + bytes(2),
        10_000,
        "count",
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_row_23_flood(name: str) -> None:
    flood, messages, reason = FLOODS[name]
    seat = only(lambda world, place: Floods(world, place, flood, messages))
    ran = Ran(against({0: seat}, timing=DEVELOPMENT))
    (flooder,) = (seat for seat in ran.world.seats if isinstance(seat, Floods))
    assert flooder.poured == messages
    # R: cut off, told once for each reason, bounded answers and memory; the others end well.
    assert ran.counts["cut off for flooding"] >= 1
    victim = next(seat for seat in ran.honest if seat.refusals)
    assert victim.refusals[reason] == 1
    assert victim.refusals["flood"] == 1
    assert sum(seat.refusals.total() for seat in ran.honest) <= 4
    ran.bounded(most_sent=500)
    ran.all_end()
    assert len(ran.outcomes(0)) == 3
    ran.all_letters()


class Besieged(TrioWorld):
    """Row 23 over real connections: strangers at every member's door, all at once."""

    strangers = 200
    turned_away: dict[int, dict[str, int]]

    async def _attend(self, swarm: Any, place: int, *arguments: Any) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(self.strangers):
                nursery.start_soon(self._knock, place, number)
            await super()._attend(swarm, place, *arguments)
            nursery.cancel_scope.cancel()
        self.turned_away[place] = dict(swarm.refused)

    async def _knock(self, place: int, number: int) -> None:
        near, far = trio.testing.memory_stream_pair()
        self.listeners[place].push.send_nowait(far)
        if number % 2:
            # Says nothing at all.
            with suppress(trio.BrokenResourceError):
                await near.receive_some()
            return
        stranger = KeyPair.from_seed(number.to_bytes(32, "little"))
        with suppress(HypercoreError):
            async with open_connection(near, stranger, initiator=True, timeout=2) as connection:
                topic = self.attempts.first().flip.topic
                await connection.open_channel(PROTOCOL, topic, b"", timeout=2)
                raise AssertionError("a stranger got a channel")


def test_row_23_strangers() -> None:
    plan = Plan(seed=4, size=4, start_within_ms=0)
    simulated = simulate(plan)
    world = Besieged(plan, simulated)
    world.turned_away = {}
    run_on_trio(world)
    # R: all are turned away, silent ones displaced or timed out; it costs the run nothing.
    for refused in world.turned_away.values():
        assert refused["WrongIdentity"] == Besieged.strangers // 2
        assert refused["displaced"] >= Besieged.strangers // 2 - SwarmLimits().newcomers
        assert set(refused) == {"WrongIdentity", "displaced"}
    assert len(world.turned_away) == 4
    assert world.ends == simulated.ends
    assert {end.exit for end in world.ends.values()} == {"Success"}


# Row 24


@pytest.mark.parametrize(
    ("late_ms", "attempt"), [(250, 0), (900, 1), (2_000, None)], ids=["J/2", "after Tc", "after Tx"]
)
def test_row_24_events_that_come_late(late_ms: int, attempt: int | None) -> None:
    plan = ChainPlan(late=dict.fromkeys((1, 2), late_ms), finality_ms=LONG.finality_ms)
    for seed in range(4):
        ran = Ran(against(seed=seed, timing=LONG, chain=plan))
        known = [seat.start_known_ms - ran.world.t0 for seat in ran.honest]
        assert known == [0, late_ms, late_ms, 0]
        # A F B: later means another attempt; after Tx nobody joins one, and who hears too late of
        # the fallback, too, is missing there.
        if attempt is None:
            assert len(ran.outcomes(0)) == 2
            assert ran.verdict == Void("active")
            assert ran.world.chain.absent == (1, 2)
        else:
            assert all_success(ran.outcomes(attempt))
            assert len(ran.outcomes(attempt)) == 4
            assert isinstance(ran.verdict, Anchored)
            assert ran.verdict.attempt == attempt
        ran.one_result()
        ran.one_body()
        ran.blames_only()
        ran.all_letters()


@pytest.mark.parametrize("believers", [(1,), (1, 2), (0, 1, 2, 3)])
def test_row_24_reorganised_start_block(believers: tuple[int, ...]) -> None:
    plan = ChainPlan(other_start=dict.fromkeys(believers, 700))
    ran = Ran(against(timing=DEVELOPMENT, chain=plan))
    assert ran.counts["other start block first"] == len(believers)
    # A F B: another start block is another topic with other secrets; nothing said there counts,
    # not even an R, if all believed in it for long enough.
    elsewhere = {act.topic for act in ran.notes.out} - {ran.topic(0)}
    assert len(elsewhere) == (len(believers) > 1)
    exits = [run.topic for _at, _place, run, _outcome in ran.notes.exits]
    assert exits.count(ran.topic(0)) == 4
    assert len(exits) == (8 if len(believers) == 4 else 4)
    assert all_success(ran.outcomes(0))
    assert isinstance(ran.verdict, Anchored)
    for seat in ran.honest:
        assert len(seat.disk._secrets) == 1 + (seat.place in believers)
    ran.one_result()
    ran.one_body()
    ran.blames_only()
    ran.no_early_number()


@pytest.mark.parametrize("until", ["half", "the end"])
def test_row_24_censored_anchor(until: str) -> None:
    last = LONG.flip_ms // 2 if until == "half" else LONG.flip_ms + LONG.block_ms
    ran = Ran(against(timing=LONG, chain=ChainPlan(censored_ms=(0, last))))
    assert ran.world.chain.refused["censored"] >= 4
    # A F B: R is known to all; if no anchor gets through, the fallback's R counts on chain.
    assert all_success(ran.outcomes(0))
    if until == "half":
        assert isinstance(ran.verdict, Anchored)
        assert ran.one_result() == Success(ran.verdict.result, ran.verdict.root)
    else:
        assert isinstance(ran.verdict, FellBack)
        assert ran.verdict.active == (0, 1, 2, 3)
    ran.one_body()
    ran.blames_only()
    ran.all_letters()


class ExpelledAt(bad.ExpelledNearStart):
    """Has itself expelled at a chosen time around the one that settles the next roster."""

    def __init__(self, world: World, place: int, offset: int) -> None:
        super().__init__(world, place)
        self.offset = offset

    def on_attempt(self, attempt: Attempt) -> None:
        if attempt.flip.attempt == 0:
            timing, following = self.world.timing, attempt.schedule.following(attempt.flip.topic)
            settled = following.start_ms - 2 * timing.block_ms - timing.finality_ms
            self.at(settled + self.offset, self.report, attempt)


def test_row_24_expulsion_near_the_start_of_an_attempt() -> None:
    sizes = []
    for offset in range(-3 * LONG.block_ms, 3 * LONG.block_ms, 50):
        seat = only(lambda world, place, offset=offset: ExpelledAt(world, place, offset))
        ran = Ran(against({0: seat}, timing=LONG, chain=ChainPlan(finality_ms=LONG.finality_ms)))
        assert ran.expelled == {0}
        # A F B: all members and the chain have one roster for attempt 1.
        begun = {
            run.topic: run.attempt.places
            for _at, _place, run, _outcome in ran.notes.exits
            if run.attempt.flip.attempt == 1
        }
        assert list(begun) == [ran.topic(1)]
        assert begun[ran.topic(1)] == ran.world.chain.attempt(1)[1]
        assert len(ran.outcomes(1)) == 3
        sizes.append(len(begun[ran.topic(1)]))
        ran.one_result()
        ran.one_body()
        ran.blames_only(0)
        ran.all_letters(0)
    # Soon enough it is out, later it is in: with one change between.
    assert sizes[0] == 3
    assert sizes[-1] == 4
    assert sizes == sorted(sizes)


def test_row_24_events_that_come_twice() -> None:
    split_commit = only(lambda world, place: bad.SplitCommit(world, place, [1, 2]))
    silent = only(bad.Silent)
    hear = Seat.hear
    for dishonest in ({}, {0: split_commit}, {0: silent}):
        heard: list[Any] = []

        def note(self: Seat, event: Any, heard: list[Any] = heard) -> None:
            heard.append((self.place, event))
            hear(self, event)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Seat, "hear", note)
            ran = Ran(against(dishonest, chain=ChainPlan(twice=1.0)))
        honest = [(place, event) for place, event in heard if ran.world.is_honest(place)]
        assert len(honest) == 2 * len(set(honest)) > 0
        # A F B: the second time changes nothing.
        for seat in ran.honest:
            assert len(seat.expulsions) == len(ran.expelled)
        commits = [place for place, call in ran.calls if isinstance(call, CommitCall)]
        assert len(commits) == len(set(commits))
        ran.all_letters(*ran.expelled)


# Row 25


@pytest.mark.parametrize(("size", "liars", "least"), [(5, 1, 4), (5, 2, 3), (6, 2, 4), (4, 2, 2)])
def test_row_25_expulsions_down_to_min_active(size: int, liars: int, least: int) -> None:
    seats = {place: only(lambda w, p: bad.SplitCommit(w, p, [size - 1])) for place in range(liars)}
    ran = Ran(against(seats, size=size, min_active=least, timing=LONG))
    assert ran.expelled == set(range(liars))
    assert size - liars == least
    # Just enough are left: they go on and have R.
    assert all_success(ran.outcomes(1))
    assert isinstance(ran.verdict, Anchored)
    assert ran.world.chain.active == tuple(range(liars, size))
    ran.all_letters(*range(liars))


@pytest.mark.parametrize(("size", "liars", "least"), [(5, 2, 4), (5, 3, 3), (6, 3, 4), (3, 2, 2)])
def test_row_25_expulsions_below_min_active(size: int, liars: int, least: int) -> None:
    seats = {place: only(lambda w, p: bad.SplitCommit(w, p, [size - 1])) for place in range(liars)}
    ran = Ran(against(seats, size=size, min_active=least, timing=LONG))
    assert ran.expelled == set(range(liars))
    assert size - liars < least
    # Void, never a tiny roster: neither another attempt nor a fallback, and nobody pays.
    assert ran.verdict == Void("roster")
    assert ran.world.chain.opened is None
    assert ran.world.chain.absent == ()
    rosters = [places for _topic, places, _start in ran.world.chain.attempts()]
    assert all(len(places) >= least for places in rosters)
    assert ran.counts["too few members for a further attempt"] >= 1
    assert all(len(run.attempt.places) >= least for _at, _place, run, _out in ran.notes.exits)
    ran.all_letters(*range(liars))


# Row 26


def outsiders(ran: Ran) -> Iterable[bytes]:
    """Everything that anybody but its owner can read until END: all lines and the whole chain."""
    for said in ran.said:
        yield said.data
    for _place, call in ran.calls:
        if isinstance(call, AnchorCall):
            yield b"".join(b"".join(opening) for opening in call.openings) + b"".join(call.echoes)
        elif isinstance(call, ReportCall):
            yield call.proof
        else:
            yield call.seal
    for _at, event in ran.world.chain.events:
        yield b"".join(value for value in vars(event).values() if isinstance(value, bytes))


SITUATIONS: dict[str, dict[str, Any]] = {
    "success": {},
    "retry": {"dishonest": {0: only(lambda w, p: bad.SplitCommit(w, p, [1, 2]))}},
    "fallback": {"dishonest": {0: only(bad.Silent)}},
    "bad reveal": {"dishonest": {0: only(lambda w, p: bad.BadReveal(w, p, [1, 2, 3]))}},
    "floods": {"dishonest": {0: only(bad.Flooder)}},
    "restarts": {"crashes": {1: [Crash(at_write=3, down_ms=20)], 2: [Crash(at_write=4)]}},
    "bad links": {"links": LinkPlan(uniform(1, 100), loss=0.2, duplication=0.2, reorder=True)},
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_row_26_what_outsiders_can_read_until_the_end(name: str) -> None:
    given = dict(SITUATIONS[name])
    ran = Ran(against(given.pop("dishonest", None), **given), listen=True)
    read = b"\0\0\0".join(outsiders(ran))
    found = {"z": 0, "x": 0}
    for seat in ran.honest:
        assert seat.disk._secrets
        for topic, secrets in seat.disk._secrets.items():
            key = seat.keypair.public
            # S: neither w nor the audit key, of this or any topic.
            for secret in (secrets.w, secrets.audit_seed, secrets.audit_keypair.public):
                assert secret not in read
            # The reading is real: what is public, or is revealed, is there.
            found["z"] += secrets.audit_seal(topic, key) in read
            found["x"] += secrets.x in read
            verdict = ran.verdict
            if isinstance(verdict, Anchored | FellBack):
                number = join_number(topic, verdict.result, key, secrets.w)
                window = ran.world.timing.window_ms
                moment = moment_uniform(number, ran.world.t0, window)
                for hidden in (number, moment):
                    assert hidden.to_bytes(8, "little") not in read
                    assert hidden.to_bytes(8, "big") not in read
                    assert str(hidden).encode() not in read
    assert found["z"] >= 3
    if name != "fallback":
        assert found["x"] >= 3
    ran.all_letters(*ran.expelled)


# Row 27

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "challenge.json").read_text())


class Audited:
    """An audit of one of the members of a coinflip: w and audit key are the ones behind its z."""

    def __init__(self) -> None:
        vector = VECTORS["reports"][1]
        report = decode_report(bytes.fromhex(vector["report"]))
        self.hoster = KeyPair.from_seed(bytes([2]) * 32)
        self.secrets = FlipSecrets(bytes(32), bytes(32), report.w, bytes([1]) * 32)
        self.topic = bytes.fromhex(vector["topic"])
        self.session_key = bytes.fromhex(vector["session_key"])
        self.report = report
        receipt = decode_receipt(report.body.outcome.receipt)
        self.context = ReportContext(
            topic=self.topic,
            result=bytes.fromhex(vector["result"]),
            account=bytes.fromhex(vector["account"]),
            session_key=self.session_key,
            commitment=self.secrets.audit_seal(self.topic, self.session_key),
            roster_size=10,
            roster_index=9,
            feed=Feed(
                key=bytes.fromhex(vector["feed"]),
                signer=decode_manifest(bytes.fromhex(vector["manifest"])).signers[0].public_key,
                kind=FeedKind.MANIFEST,
            ),
            hoster=self.hoster.public,
            fork=vector["fork"],
            length=vector["L"],
            chunks=vector["N"],
            proved=vector["K"],
            window_start_ms=receipt.opened,
            window_ms=1,
            clock_tolerance_ms=2_000,
        )
        self.receipt = replace(receipt, client=self.secrets.audit_keypair.public)

    def sign(self, receipt: Receipt | None = None, *, w: bytes | None = None) -> Report:
        outcome = replace(
            self.report.body.outcome, receipt=(receipt or self.receipt).sign(self.hoster)
        )
        return self.signed(outcome, w=w)

    def signed(self, outcome: Any, *, w: bytes | None = None) -> Report:
        return sign_report(
            w=w or self.secrets.w,
            audit_key=self.secrets.audit_keypair,
            topic=self.topic,
            account=self.context.account,
            outcome=outcome,
        )

    @property
    def drawn(self) -> list[int]:
        return self.context.drawn(self.secrets.w)


@pytest.fixture
def audited() -> Audited:
    made = Audited()
    assert check_report(made.sign(), made.context) == made.receipt
    return made


def test_row_27_wrong_w(audited: Audited) -> None:
    """Another w would be another moment and other chunks, chosen at leisure."""
    for number in range(256):
        w = bytes([number]) * 32
        assert audited.context.drawn(w) != audited.drawn
        with pytest.raises(rules.WrongOpening):
            check_report(audited.sign(w=w), audited.context)
    other_key = replace(audited.sign(), audit_key=KeyPair.from_seed(bytes(32)).public)
    with pytest.raises(rules.WrongOpening):
        check_report(other_key, audited.context)


@pytest.mark.parametrize("off_ms", [-3_600_000, -2_001, 2_001, 3_600_000])
def test_row_27_early_or_late_audit(audited: Audited, off_ms: int) -> None:
    opened = audited.receipt.opened + off_ms
    receipt = replace(audited.receipt, opened=opened, issued=opened + 1)
    with pytest.raises(rules.ReceiptOffMoment):
        check_report(audited.sign(receipt), audited.context)
    later = replace(audited.context, window_start_ms=audited.context.window_start_ms + off_ms)
    with pytest.raises(rules.ReceiptOffMoment):
        check_report(audited.sign(), later)


def test_row_27_other_chunks_than_drawn(audited: Audited) -> None:
    drawn = audited.drawn
    others = [index for index in range(audited.context.length) if index not in drawn]
    entries = audited.receipt.entries
    proved = set(drawn[: audited.context.proved])
    for at, entry in enumerate(entries):
        if entry.index in proved:
            swapped = (*entries[:at], Entry(others[at], entry.leaf), *entries[at + 1 :])
            with pytest.raises(rules.ReceiptLacksDrawn):
                check_report(
                    audited.sign(replace(audited.receipt, entries=swapped)), audited.context
                )
    with pytest.raises(rules.ReceiptTooShort):
        check_report(audited.sign(replace(audited.receipt, entries=entries[:-1])), audited.context)
    with pytest.raises(rules.DemandNotDrawn):
        check_report(audited.signed(Failure(Reason.NO_DATA, others[0])), audited.context)
    assert check_report(audited.signed(Failure(Reason.NO_DATA, drawn[0])), audited.context) is None


# Row 28

SHAPE: dict[Kind, dict[str, int]] = {
    Kind.HELLO: {"capabilities": 35, "evidence": 39},
    Kind.COMMIT: {"y": 35, "z": 67, "signature R": 99, "signature S": 131},
    Kind.ECHO: {"root": 35, "signature R": 67, "signature S": 99},
    Kind.REVEAL: {"salt": 35, "x": 67, "signature R": 99, "signature S": 131},
    Kind.NEED: {"kind wanted": 35, "bitmap": 36},
    Kind.BUNDLE: {
        "count": 35,
        "kind inside": 37,
        "topic inside": 38,
        "index inside": 70,
        "body inside": 72,
    },
    Kind.EVIDENCE: {
        "proof kind": 35,
        "challenge": 36,
        "attempt": 44,
        "length": 48,
        "kind inside": 50,
        "index inside": 83,
        "body inside": 85,
    },
    Kind.PING: {"nonce": 35, "confirmation": 51},
    Kind.PONG: {"nonce": 35, "confirmation": 51},
    Kind.BULK_REQUEST: {"bytes": 35},
    Kind.BULK_DATA: {"data": 35},
}
HEADER = {"kind": 0, "topic": 1, "topic's end": 32, "index": 33}


class OffByOne(Deviant):
    """Sends messages of every kind, and one field of one kind is off by one, always."""

    def __init__(self, world: World, place: int, kind: Kind, at: int, by: int) -> None:
        super().__init__(world, place)
        self.kind, self.field, self.by, self.changed = kind, at, by, 0

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        out = [self.off(data)]
        if own_of(data, run.machine.index) is not None:
            out += [self.off(extra) for extra in self.extras(run)]
        return out

    def extras(self, run: Run) -> list[bytes]:
        """What an honest seat sends on occasion only."""
        flip, own = run.attempt.flip, run.machine.index
        held = [
            envelope.raw
            for member in run.machine._members
            for kind in (Kind.COMMIT, Kind.ECHO, Kind.REVEAL)
            for envelope in member.of_kind(kind)
        ]
        bundle = header(Kind.BUNDLE, run) + len(held).to_bytes(2, "little") + b"".join(held)
        lives = [FlipSecrets.generate(self.dice.randbytes) for _ in range(2)]
        pair = [commit_of(self, run.attempt, life).raw for life in lives]
        # Its own contradiction, shown only where the row is about evidence.
        proof = bad.proof_of(flip.challenge_id, flip.attempt, *pair, bad_reveal=False)
        evidence = [header(Kind.EVIDENCE, run) + proof] if self.kind is Kind.EVIDENCE else []
        return [
            bundle,
            *evidence,
            encode(Need(Kind.COMMIT, frozenset(range(flip.size))), flip, own),
            encode(Ping(bytes(16), bytes(32)), flip, own),
            encode(Pong(bytes(16), bytes(32)), flip, own),
            encode(BulkRequest(1_000), flip, own),
            encode(BulkData(bytes(10)), flip, own),
            encode(Hello(0, bytes(32)), flip, own),
        ]

    def off(self, data: bytes) -> bytes:
        if data[0] != self.kind:
            return data
        self.changed += 1
        at = self.field
        return data[:at] + bytes([(data[at] + self.by) % 256]) + data[at + 1 :]


FIELDS = [
    (kind, name, at) for kind, fields in SHAPE.items() for name, at in {**HEADER, **fields}.items()
]


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(
    ("kind", "name", "at"), FIELDS, ids=[f"{kind.name}-{name}" for kind, name, _at in FIELDS]
)
def test_row_28_one_field_off_by_one(kind: Kind, name: str, at: int, by: int) -> None:
    seat = only(lambda world, place: OffByOne(world, place, kind, at, by))
    ran = Ran(against({0: seat}, calm=True))
    (off,) = (seat for seat in ran.world.seats if isinstance(seat, OffByOne))
    assert off.changed >= 3
    # All: whatever it was taken for, no letter breaks.
    ran.all_letters(0)
    if name in ("kind", "topic", "topic's end", "index") and kind in SHAPE:
        assert any(sum(seat.refusals.values()) for seat in ran.honest)


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(
    ("kind", "at"),
    [
        (kind, at)
        for kind in (Kind.COMMIT, Kind.ECHO, Kind.REVEAL)
        for at in range(0, judge.BODY[kind], 9)
    ],
)
def test_row_28_one_field_off_by_one_and_signed(kind: Kind, at: int, by: int) -> None:
    """As its key allows: the receiver sees a valid envelope that says something else."""

    class Signed(OffByOne):
        def off(self, data: bytes) -> bytes:
            run = self.run
            if run is None or own_of(data, run.machine.index) is not self.kind:
                return data
            body = data[35:-64]
            self.changed += 1
            changed = bytes([(body[self.field] + self.by) % 256])
            body = body[: self.field] + changed + body[self.field + 1 :]
            return sign(self, run.attempt, self.kind, body).raw

    seat = only(lambda world, place: Signed(world, place, kind, at, by))
    ran = Ran(against({0: seat}, calm=True))
    (off,) = (seat for seat in ran.world.seats if isinstance(seat, Signed))
    assert off.changed >= 3
    # All; and what it said to its peers differs from what it shows in bundles: proof.
    ran.all_letters(0)
    assert ran.expelled == {0}
