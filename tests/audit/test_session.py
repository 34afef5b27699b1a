"""Whole audits against the own hoster: on memory streams with a mock clock, and on loopback.

Rules: no real time passes but in the tests on loopback; what is a fault of the hoster is a peer
made here; the faults of `hoster.adversary` are in test_cheats.py.
"""

import random
from bisect import bisect_right
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import trio
import trio.testing
from audit_world import (
    AUDITOR,
    AUTHOR,
    HOSTER,
    START_MS,
    World,
    accepted,
    before_each_write,
    chunk,
    context_for,
    manifest_of,
    open_world,
)

from chain_types.report import Failure, Reason, Served
from offchain_worker.audit.demand import chunk_to_demand
from offchain_worker.audit.session import (
    SESSION_BYTES,
    AuditPlan,
    MomentMissed,
    audit,
    least_length,
    reading_order,
    session_length,
)
from offchain_worker.coinflip.draws import SessionHabit
from offchain_worker.hoster.feeds import append
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.connection import wall_clock_ms
from offchain_worker.hypercore.order import DownloadOrder


@pytest.fixture
def world(tmp_path: Path, nursery):
    """150 chunks, of which 140 are vouched for; compat feeds are in the tests on loopback."""
    with open_world(tmp_path, nursery) as world:
        yield world
        assert not any(hoster.counters["crashes"] for hoster in world.hosters)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("length", [1, 33, 140])
async def test_an_honest_hoster_serves_and_the_report_is_accepted(
    autojump_clock, world, windowed, length
):
    world.context, world.w = context_for(length, windowed=windowed)
    result = await world.audit(world.hoster())
    assert isinstance(result.outcome, Served), result.detail
    assert accepted(world, result)
    assert (result.outcome.metrics.throughput is not None) == windowed
    assert (result.outcome.metrics.latency_us is None) == windowed
    assert result.chunks == min(world.plan().habit.multiple * 100, 150)
    assert len(result.receipt.entries) == 100
    assert 0 <= result.opened_ms - world.context.moment(world.w) < 200
    assert result.connections == 1
    assert result.failed_chunk is None


async def test_a_feed_that_grows_during_the_session_still_passes(autojump_clock, world):
    hoster = world.hoster()
    served = []

    class Growing(type(world.store)):
        def block(self, index: int) -> bytes | None:
            served.append(index)
            if len(served) in (20, 90):
                append(self, [b"grown", b"again"], AUTHOR)
                self.notify()
            return super().block(index)

    world.store.__class__ = Growing
    result = await world.audit(hoster)
    assert isinstance(result.outcome, Served), result.detail
    assert accepted(world, result)
    assert result.receipt.length > 150


async def test_nobody_there(autojump_clock, world):
    async def refused() -> trio.abc.Stream:
        world.dialled += 1
        raise ConnectionRefusedError(111, "Connection refused")

    result = await audit(world.plan(), refused, clock_ms=world.clock_ms, choices=random.Random(1))
    assert result.outcome == Failure(reason=Reason.UNREACHABLE, demand=None)
    assert world.dialled == result.connections
    # Tried again as long as the clock's tolerance allows, and no longer.
    assert world.dialled > 1
    assert world.clock_ms() <= world.plan().moment + 2_000


async def test_a_connection_that_never_comes(autojump_clock, world):
    result = await audit(
        world.plan(), trio.sleep_forever, clock_ms=world.clock_ms, choices=random.Random(1)
    )
    assert result.outcome == Failure(reason=Reason.UNREACHABLE, demand=None)
    assert world.clock_ms() <= world.plan().moment + 3_000


async def test_another_identity(autojump_clock, world):
    result = await world.audit(world.hoster(), hoster=AUTHOR.public)
    assert result.outcome == Failure(reason=Reason.WRONG_IDENTITY, demand=None)
    assert result.connections == 1


async def test_a_peer_that_is_silent_in_the_handshake(autojump_clock, world):
    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        world.nursery.start_soon(partial(sink, theirs))
        return ours

    result = await audit(world.plan(), dial, clock_ms=world.clock_ms, choices=random.Random(1))
    assert result.outcome == Failure(reason=Reason.WRONG_IDENTITY, demand=None)


async def sink(stream: trio.abc.Stream) -> None:
    async with stream:
        while await stream.receive_some(65_536):
            pass


@pytest.mark.parametrize(
    "changes", [{"feed_key": bytes(32)}, {"fork": 1}, {"length": 151, "drawn": [150]}]
)
async def test_not_hosted(autojump_clock, world, changes):
    result = await world.audit(world.hoster(), **changes)
    assert result.outcome == Failure(reason=Reason.NOT_HOSTED, demand=None)


@pytest.mark.parametrize("windowed", [False, True])
async def test_a_chunk_that_is_lost(autojump_clock, world, windowed):
    world.context, world.w = context_for(140, windowed=windowed)
    lost = world.plan().drawn[7]
    world.store._forget(lost)
    result = await world.audit(world.hoster())
    assert result.outcome == Failure(reason=Reason.NO_DATA, demand=None)
    assert result.failed_chunk == lost
    assert chunk_to_demand(result, world.plan().drawn) == lost


async def test_a_stall_is_a_timeout(autojump_clock, world):
    stalled = trio.Event()

    hoster = world.hoster()
    writes = 0

    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        world.nursery.start_soon(hoster.serve_stream, theirs)

        async def hold() -> None:
            nonlocal writes
            writes += 1
            if writes > 60:
                stalled.set()
                await trio.sleep_forever()

        before_each_write(theirs, hold)
        return ours

    result = await audit(world.plan(), dial, clock_ms=world.clock_ms, choices=random.Random(1))
    assert stalled.is_set()
    assert result.outcome == Failure(reason=Reason.TIMEOUT, demand=None)
    assert result.failed_chunk == world.plan().drawn[result.chunks]


async def test_a_receipt_that_came_in_time_counts_however_long_the_session_goes_on(
    autojump_clock, world
):
    """After the hundredth chunk come fifty more, at 50 ms each: beyond the receipt's time-out."""
    hoster = world.hoster()

    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        world.nursery.start_soon(hoster.serve_stream, theirs)

        async def slowly() -> None:
            await trio.sleep(0.05)

        before_each_write(theirs, slowly)
        return ours

    result = await audit(world.plan(), dial, clock_ms=world.clock_ms, choices=random.Random(1))
    assert result.chunks == 150
    assert accepted(world, result)


async def test_a_lost_connection_is_made_again_with_the_same_key(autojump_clock, world):
    hoster = world.hoster()
    honest = world.dial(hoster)

    async def dial() -> trio.abc.Stream:
        stream = await honest()

        async def cut() -> None:
            if world.dialled == 1 and hoster.counters["chunks"] > 10:
                await trio.aclose_forcefully(stream)

        before_each_write(stream, cut)
        return stream

    result = await audit(world.plan(), dial, clock_ms=world.clock_ms, choices=random.Random(1))
    assert isinstance(result.outcome, Served), result.detail
    assert result.connections == 2
    assert accepted(world, result)


async def test_a_connection_lost_too_late_is_a_failure(autojump_clock, world):
    hoster = world.hoster()
    honest = world.dial(hoster)

    async def dial() -> trio.abc.Stream:
        stream = await honest()

        async def slow_then_cut() -> None:
            if hoster.counters["chunks"] > 10:
                await trio.sleep(0.9)
            if world.clock_ms() > world.plan().moment + 2_000:
                await trio.aclose_forcefully(stream)

        before_each_write(stream, slow_then_cut)
        return stream

    result = await audit(world.plan(), dial, clock_ms=world.clock_ms, choices=random.Random(1))
    assert result.outcome == Failure(reason=Reason.NO_DATA, demand=None)
    assert result.chunks > 10
    assert result.connections == 1


async def test_never_past_the_end(autojump_clock, world):
    plan = world.plan()
    hoster = world.hoster()
    honest = world.dial(hoster)

    async def dial() -> trio.abc.Stream:
        stream = await honest()

        async def slow() -> None:
            if hoster.counters["chunks"]:
                await trio.sleep(0.9)

        before_each_write(stream, slow)
        return stream

    end = plan.moment + 20_000
    result = await audit(
        replace(plan, end_ms=end), dial, clock_ms=world.clock_ms, choices=random.Random(1)
    )
    assert result.outcome == Failure(reason=Reason.TIMEOUT, demand=None)
    assert "END" in result.detail
    assert world.clock_ms() == end
    assert 0 < result.chunks < 100


async def test_a_missed_moment_is_not_reported_as_a_failure(autojump_clock, world):
    plan = world.plan()
    await trio.sleep((plan.moment - START_MS + 2_001) / 1_000)
    with pytest.raises(MomentMissed):
        await world.audit(world.hoster())
    assert world.dialled == 0


async def test_a_clock_that_is_off_makes_a_bad_receipt(autojump_clock, world):
    late = world.hoster(clock_ms=lambda: world.clock_ms() + 2_001)
    result = await world.audit(late)
    assert result.outcome == Failure(reason=Reason.BAD_RECEIPT, demand=None)
    assert "audit moment" in result.detail


@pytest.mark.parametrize(("vouched", "length"), [(1, 1), (1, 3), (33, 40), (99, 101)])
@pytest.mark.parametrize("windowed", [False, True])
async def test_small_feeds(autojump_clock, tmp_path, nursery, vouched, length, windowed):
    """A receipt may be due after more chunks than were drawn; the session reads that far."""
    context, w = context_for(vouched, windowed=windowed, compat=True)
    with Library(tmp_path / "library") as library:
        store = library.create(context.feed.key, None)
        append(store, [chunk(index) for index in range(length)], AUTHOR)
        world = World(library, store, nursery, context, w, trio.current_time())
        once = SessionHabit(windowed=windowed, multiple=1)
        result = await world.audit(world.hoster(), chunks=10, habit=once)
        assert isinstance(result.outcome, Served), result.detail
        assert accepted(world, result)
        assert len(result.receipt.entries) == min(length, 100) <= result.chunks
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("windowed", [False, True])
async def test_cancelled_at_any_moment_it_leaves_nothing_open(autojump_clock, world, windowed):
    world.context, world.w = context_for(140, windowed=windowed)
    streams = []
    honest = world.dial(world.hoster())

    async def dial() -> trio.abc.Stream:
        await trio.sleep(0.01)
        stream = await honest()
        streams.append(stream)
        before_each_write(stream, partial(trio.sleep, 0.01))
        return stream

    cancelled = 0
    for step in range(60):
        plan = replace(world.plan(), moment=world.clock_ms(), end_ms=world.clock_ms() + 60_000)
        with trio.move_on_after(step * 0.0051) as scope:
            await audit(plan, dial, clock_ms=world.clock_ms, choices=random.Random(1))
        cancelled += scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        for stream in streams:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some(1)
    assert cancelled > 20


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("compat", [False, True])
async def test_on_loopback_with_real_time(tmp_path, nursery, windowed, compat):
    context, w = context_for(140, windowed=windowed, compat=compat)
    context = replace(context, window_start_ms=wall_clock_ms() + 50, window_ms=1)
    with Library(tmp_path / "library") as library:
        store = library.create(context.feed.key, manifest_of(context.feed))
        append(store, [chunk(index) for index in range(150)], AUTHOR)
        hoster = Hoster(library, HOSTER)
        host, port = await nursery.start(hoster.serve, "127.0.0.1", 0)
        world = World(library, store, nursery, context, w, trio.current_time())
        plan = world.plan(end_ms=wall_clock_ms() + 30_000, chunk_timeout_ms=20_000)
        result = await audit(
            plan,
            partial(trio.open_tcp_stream, host, port),
            clock_ms=wall_clock_ms,
            choices=random.Random(1),
        )
        assert isinstance(result.outcome, Served), result.detail
        assert accepted(world, result)
        metrics = result.outcome.metrics
        assert metrics.connect_us > 1
        assert metrics.handshake_us > 1
        assert hoster.counters["receipts"] >= 1
        nursery.cancel_scope.cancel()


def plan_for(multiple: int, *, length: int = 140, chunks: int = 100, **changes) -> AuditPlan:
    plan = AuditPlan(
        feed_key=b"",
        hoster=b"",
        audit_key=AUDITOR,
        fork=0,
        length=length,
        drawn=range(min(chunks, length)),
        habit=SessionHabit(windowed=False, multiple=multiple),
        chunks=chunks,
        proved=32,
        moment=0,
        end_ms=0,
        chunk_timeout_ms=0,
        clock_tolerance_ms=0,
    )
    return replace(plan, **changes)


@pytest.mark.parametrize(
    ("length", "head", "multiple", "total"),
    [(140, 150, 1, 100), (140, 150, 2, 150), (33, 33, 1, 33), (20, 1_000, 6, 600), (1, 1, 6, 1)],
)
def test_how_many_chunks_at_least(length, head, multiple, total):
    assert least_length(plan_for(multiple, length=length), head) == total
    short = plan_for(multiple, length=length, chunks=10)
    assert least_length(short, head) == min(head, 100)


def drawn_multiple(dice: random.Random) -> int:
    return next((m for m in range(1, 6) if dice.random() < 0.5), 6)


def session_lengths(count: int, feed: int, **changes) -> list[int]:
    """Lengths as many audits have them, each with its own m; chunks of 64 KiB."""
    dice = random.Random(7)
    lengths = []
    for _ in range(count):
        plan = plan_for(drawn_multiple(dice), **changes)
        lengths.append(session_length(plan, feed, feed << 16, dice))
        assert least_length(plan, feed) <= lengths[-1] <= feed
    return lengths


def largest_gap(one: list[int], other: list[int]) -> float:
    """The statistic of Kolmogorov and Smirnov: how far two distributions are apart."""
    points = sorted({*one, *other})
    one, other = sorted(one), sorted(other)
    return max(
        abs(bisect_right(one, point) / len(one) - bisect_right(other, point) / len(other))
        for point in points
    )


@pytest.mark.parametrize("length", [101, 250, 1_000])
def test_lengths_are_those_of_readers(length):
    """Of readers of whom half read everything and half stop anywhere; those with a receipt."""
    dice = random.Random(8)
    readers = [length if dice.random() < 0.5 else dice.randint(1, length) for _ in range(9_000)]
    readers = [read for read in readers if read >= 100]
    assert largest_gap(session_lengths(9_000, length), readers) < 0.025


def test_lengths_that_step_at_the_multiples_would_be_seen():
    """The check above can fail: m·N chunks and no more."""
    dice = random.Random(9)
    readers = [1_000 if dice.random() < 0.5 else dice.randint(100, 1_000) for _ in range(9_000)]
    stepping = [100 * drawn_multiple(dice) for _ in range(9_000)]
    assert largest_gap(stepping, readers) > 0.3


def test_a_budget_bounds_the_length():
    """1,000 chunks of 64 KiB are paid for of a feed that has 50,000."""
    lengths = session_lengths(4_000, 50_000, length=50_000, session_bytes=1_000 << 16)
    assert max(lengths) == 1_000
    uniform = [random.Random(n).randint(100, 1_000) for n in range(4_000)]
    assert largest_gap(lengths, uniform) < 0.04
    small = session_lengths(100, 50_000, length=50_000, session_bytes=0)
    assert set(small) <= {100 * m for m in range(1, 7)}
    tiny = session_length(plan_for(6), 10_000_000, 10_000_000, random.Random(1))
    assert tiny <= SESSION_BYTES // 8192


@pytest.mark.parametrize("length", [10, 40, 5_000])
def test_reading_order(length):
    drawn = [7, 2, 9]
    order = list(islice(reading_order(DownloadOrder(length, random.Random(5)), drawn), 10))
    assert order[:3] == drawn
    assert len(order) == len(set(order)) == 10
    assert all(0 <= index < length for index in order)
