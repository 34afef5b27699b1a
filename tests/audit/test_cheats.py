"""Each fault of `hoster.adversary` in a whole audit: its reason within its time-out, or figures.

On memory streams and a mock clock, so that times are exact: an honest hoster takes none at all.
"""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from audit_world import AUTHOR, HOSTER, START_MS, World, accepted, chunk, context_for, manifest_of

from chain_types.report import Failure, Metrics, Reason, Served
from offchain_worker.hoster.adversary import Fault, faulty_hoster
from offchain_worker.hoster.adversary.pace import DELAY_S, OPEN_MS, PERIOD_MS
from offchain_worker.hoster.adversary.proxy import AWAY_S
from offchain_worker.hoster.feeds import append
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore import reader
from offchain_worker.keys import KeyPair

EXPECTED = {
    Fault.FLIP_BIT: Reason.BAD_PROOF,
    Fault.WRONG_CHUNK: Reason.BAD_PROOF,
    Fault.PREFIX: Reason.NO_DATA,
    Fault.HALF: Reason.NO_DATA,
    Fault.OLD_HEAD: Reason.NOT_HOSTED,
    Fault.FORGED_HEAD: Reason.BAD_PROOF,
    Fault.NO_RECEIPT: Reason.NO_RECEIPT,
    Fault.RECEIPT_LATE: Reason.NO_RECEIPT,
    Fault.RECEIPT_EARLY: Reason.BAD_RECEIPT,
    Fault.RECEIPT_OTHER_TIME: Reason.BAD_RECEIPT,
    Fault.RECEIPT_OTHER_CHUNKS: Reason.BAD_RECEIPT,
    Fault.RECEIPT_OTHER_CLIENT: Reason.BAD_RECEIPT,
    Fault.OTHER_KEY: Reason.WRONG_IDENTITY,
    Fault.SILENT: Reason.WRONG_IDENTITY,
    Fault.BYTE_BY_BYTE: Reason.TIMEOUT,
    Fault.CLOSE_99: Reason.NO_DATA,
    Fault.PART_OF_WINDOW: Reason.WRONG_IDENTITY,
    Fault.FLOOD_MESSAGES: Reason.NO_DATA,
    Fault.FLOOD_NO_DATA: Reason.NO_DATA,
    Fault.FLOOD_RANGES: Reason.NO_DATA,
    Fault.FLOOD_FRAMES: Reason.NO_DATA,
}
SHOWN_BY_FIGURES = {Fault.SLOW, Fault.THROTTLE, Fault.PROXY}
OF_CHUNKS = {Fault.PREFIX, Fault.HALF, Fault.FLIP_BIT, Fault.WRONG_CHUNK, Fault.BYTE_BY_BYTE}
"""The audit tells which chunk it was, so that it can be demanded."""


@pytest.fixture
def world(tmp_path: Path, nursery):
    """150 chunks, of which 140 are vouched for."""
    with Library(tmp_path / "library") as library:
        context, w = context_for(140, windowed=False)
        store = library.create(context.feed.key, manifest_of(context.feed))
        append(store, [chunk(index) for index in range(130)], AUTHOR)
        append(store, [chunk(index) for index in range(130, 150)], AUTHOR)
        world = World(library, store, nursery, context, w, trio.current_time())
        yield world
        assert not any(hoster.counters["crashes"] for hoster in world.hosters)
        nursery.cancel_scope.cancel()


def test_every_fault_is_tried() -> None:
    assert set(EXPECTED) | SHOWN_BY_FIGURES == set(Fault)
    assert not set(EXPECTED) & SHOWN_BY_FIGURES


@pytest.mark.parametrize(
    ("fault", "windowed"),
    [
        (fault, windowed)
        for fault in EXPECTED
        for windowed in (False, True)
        # On memory streams nothing holds back a hoster that has 48 such frames to write.
        if not (fault is Fault.FLOOD_FRAMES and windowed)
    ],
)
async def test_each_fault_gives_its_reason_in_time(autojump_clock, world, fault, windowed):
    world.context, world.w = context_for(140, windowed=windowed)
    # In the part of the window in which one of them turns clients away, and to its end.
    moment = START_MS - START_MS % PERIOD_MS + PERIOD_MS + OPEN_MS
    world.context = replace(world.context, window_start_ms=moment, window_ms=1)
    result = await world.audit(world.hoster(fault))
    assert result.outcome == Failure(reason=EXPECTED[fault], demand=None), result.detail
    assert result.detail
    assert accepted(world, result)
    # The clock's tolerance for connections made again, and then one time-out after the other for
    # handshake, head, a chunk and the receipt.
    assert world.clock_ms() <= moment + 2_000 + 4 * 1_000
    assert (result.failed_chunk is not None) >= (fault in OF_CHUNKS)


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("fault", [Fault.PREFIX, Fault.HALF])
async def test_the_chunk_that_is_named_is_one_that_is_gone(autojump_clock, world, fault, windowed):
    """With a window, chunks that would have come are open as well: these prove nothing."""
    world.context, world.w = context_for(140, windowed=windowed)
    hoster = world.hoster(fault)
    feed = hoster.source.find(world.store.discovery_key)
    result = await world.audit(hoster)
    assert not feed.has(result.failed_chunk)


@pytest.mark.parametrize("fault", [Fault.PREFIX, Fault.HALF])
def test_what_is_gone_does_not_depend_on_when_somebody_asked_first(tmp_path: Path, fault) -> None:
    """A peer may come while the hoster has nothing of the feed yet."""
    with Library(tmp_path / "library") as library:
        feed_key = context_for(140, windowed=False)[0].feed
        store = library.create(feed_key.key, manifest_of(feed_key))
        feed = faulty_hoster(library, HOSTER, fault).source.find(store.discovery_key)
        assert not feed.has(0)
        append(store, [chunk(index) for index in range(100)], AUTHOR)
        kept = [index for index in range(100) if feed.has(index)]
        assert kept == [index for index in range(100) if feed.block(index) is not None]
        assert 30 < len(kept) < 70
        assert feed.contiguous_length() == 100
        assert (kept == list(range(50))) == (fault is Fault.PREFIX)


async def test_who_serves_in_part_of_the_window_serves_then(autojump_clock, world):
    hoster = world.hoster(Fault.PART_OF_WINDOW)
    period = START_MS - START_MS % PERIOD_MS
    for offset, served in ((0, True), (OPEN_MS - 1, True), (OPEN_MS, False), (5_900, False)):
        period += PERIOD_MS
        at = period + offset
        result = await world.audit(hoster, moment=at, end_ms=at + 60_000)
        assert isinstance(result.outcome, Served) == served, result.detail
    assert hoster.counters["turned_away"] > 2
    # Within the clock's tolerance a connection is made again, and is served if it is time by then.
    at = period + 2 * PERIOD_MS - 1_000
    result = await world.audit(hoster, moment=at, end_ms=at + 60_000)
    assert isinstance(result.outcome, Served)
    assert result.connections > 1


async def audits(world: World, fault: Fault | None, *, windowed: bool) -> list[Metrics]:
    """The figures of three attestors who audit a hoster one after the other."""
    world.context, world.w = context_for(140, windowed=windowed)
    hoster = world.hoster(fault, upstream=[world.dial(world.hoster())])
    metrics = []
    for _ in range(3):
        now = world.clock_ms()
        client = KeyPair.generate()
        result = await world.audit(hoster, moment=now, end_ms=now + 60_000, audit_key=client)
        assert isinstance(result.outcome, Served), result.detail
        metrics.append(result.outcome.metrics)
    return metrics


async def latencies(world: World, fault: Fault | None) -> list[tuple[int, int]]:
    """The median and the greatest latency that each of three attestors saw, microseconds."""
    found = [metrics.latency_us for metrics in await audits(world, fault, windowed=False)]
    return [(one.p50, one.max) for one in found]


WINDOW_ASKED_S = 0.015
DELAY_US, AWAY_US = round(1e6 * DELAY_S), round(1e6 * AWAY_S)
AT_ONCE = 1
"""Microseconds: the least that a report can say."""


async def test_an_honest_hoster_takes_no_time_here(autojump_clock, world):
    assert await latencies(world, None) == 3 * [(AT_ONCE, AT_ONCE)]


async def test_slow_for_all_but_the_first_shows_with_all_but_the_first(autojump_clock, world):
    assert await latencies(world, Fault.SLOW) == [(1, 1), *2 * [(DELAY_US, DELAY_US)]]


async def test_a_throttle_after_a_hundred_shows_in_who_reads_on(autojump_clock, world):
    """Of 150 chunks the last fifty are slow: the median is not, the greatest is."""
    assert await latencies(world, Fault.THROTTLE) == 3 * [(AT_ONCE, DELAY_US)]


async def test_a_proxy_shows_by_its_way_to_the_other_hoster(autojump_clock, world):
    """Its own client takes as long as a stock one from what comes to what follows from it."""
    for median, greatest in await latencies(world, Fault.PROXY):
        assert AWAY_US <= median < AWAY_US + 1_000
        assert AWAY_US <= greatest < AWAY_US + 100_000


@pytest.mark.parametrize(("fault", "slow"), [(Fault.SLOW, 150), (Fault.THROTTLE, 50)])
async def test_they_show_in_throughput_too(autojump_clock, world, fault, slow, monkeypatch):
    """In the time that the chunks take, and the milliseconds until a whole window is asked for."""
    monkeypatch.setattr(reader, "_dice", random.Random(1))
    size = sum(len(chunk(index)) for index in range(150))
    last = (await audits(world, fault, windowed=True))[-1]
    assert slow * DELAY_S <= size / last.throughput <= slow * DELAY_S + WINDOW_ASKED_S


async def test_a_proxy_fetches_a_window_at_once_and_shows_less_in_throughput(autojump_clock, world):
    size = sum(len(chunk(index)) for index in range(150))
    last = (await audits(world, Fault.PROXY, windowed=True))[-1]
    assert last.throughput > 10 * size / (150 * AWAY_S)
    assert last.first_chunk_us >= AWAY_US


async def test_a_proxy_whose_other_hoster_is_gone_has_nothing(autojump_clock, world):
    async def refused() -> trio.abc.Stream:
        raise ConnectionRefusedError(111, "Connection refused")

    result = await world.audit(world.hoster(Fault.PROXY, upstream=[refused]))
    assert result.outcome == Failure(reason=Reason.NO_DATA, demand=None)
