"""A reader that stays: order, growth, read-ahead, a lost origin, a rewritten feed, on loopback."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing
from feed_world import QUICK, Street
from hypercore_feeds import HOSTER, KEY, MemoryFeed, Shelf, block

from chain_types.records import Endpoint
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hypercore.errors import NotHosted
from offchain_worker.swarm.watching import READ_AHEAD, WatchPlan, watch

PLACE = Endpoint.of("10.0.0.1", 4001)
ME = "10.0.0.9"


class Sink:
    """Takes blocks in order."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self._news = trio.Event()

    def __call__(self, index: int, data: bytes) -> None:
        assert index == len(self.blocks)
        self.blocks.append(data)
        self._news.set()
        self._news = trio.Event()

    async def until(self, length: int) -> None:
        with trio.fail_after(100):
            while len(self.blocks) < length:
                await self._news.wait()
        assert self.blocks == [block(index) for index in range(length)]


async def test_it_reads_in_order_and_follows_growth(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street, feed, sink = Street(nursery), MemoryFeed(40), Sink()
        street.host(feed, PLACE)
        plan = WatchPlan(KEY, PLACE, HOSTER.public)
        nursery.start_soon(partial(watch, plan, street.dial_from(ME), sink, timeouts=QUICK))
        await sink.until(40)
        feed.append([block(index) for index in range(40, 90)])
        await sink.until(90)
        nursery.cancel_scope.cancel()


async def test_it_reads_no_faster_than_it_may(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street, sink = Street(nursery), Sink()
        hoster = street.host(MemoryFeed(100), PLACE)
        plan = WatchPlan(KEY, PLACE, rate=10)
        began = trio.current_time()
        nursery.start_soon(partial(watch, plan, street.dial_from(ME), sink, timeouts=QUICK))
        await sink.until(50)
        assert trio.current_time() - began == pytest.approx(5, abs=0.3)
        assert hoster.counters["chunks"] <= 51
        nursery.cancel_scope.cancel()


async def test_it_goes_on_when_its_origin_comes_back(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street, feed, sink = Street(nursery), MemoryFeed(60), Sink()
        plan = WatchPlan(KEY, PLACE, rate=10)
        nursery.start_soon(partial(watch, plan, street.dial_from(ME), sink, timeouts=QUICK))
        await trio.sleep(3)
        assert sink.blocks == []
        async with trio.open_nursery() as first:

            async def welcome(stream: trio.abc.Stream, host: str) -> None:
                hoster = Hoster(Shelf(feed), HOSTER)  # type: ignore[arg-type]
                first.start_soon(hoster.serve_stream, stream, host)

            street.places[PLACE.host, PLACE.port] = welcome
            await sink.until(10)
            first.cancel_scope.cancel()
        street.host(feed, PLACE)
        await sink.until(60)
        nursery.cancel_scope.cancel()


async def test_a_block_that_is_missing_holds_up_what_is_behind_it(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street, feed, sink = Street(nursery), MemoryFeed(60), Sink()
        missing = feed.blocks.pop(12)
        hoster = street.host(feed, PLACE)
        plan = WatchPlan(KEY, PLACE)
        nursery.start_soon(partial(watch, plan, street.dial_from(ME), sink, timeouts=QUICK))
        await sink.until(12)
        await trio.sleep(60)
        assert hoster.counters["chunks"] <= 12 + READ_AHEAD
        feed.blocks[12] = missing
        feed.changes.notify()
        await sink.until(60)
        nursery.cancel_scope.cancel()


async def test_again_it_reads_everything_anew(autojump_clock: object) -> None:
    read: list[int] = []
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        hoster = street.host(MemoryFeed(30), PLACE)
        plan = WatchPlan(KEY, PLACE, rate=10, again=True)
        dial = street.dial_from(ME)
        nursery.start_soon(
            partial(watch, plan, dial, lambda index, _data: read.append(index), timeouts=QUICK)
        )
        await trio.sleep(10)
        assert read[:90] == [*range(30)] * 3
        assert hoster.counters["chunks"] >= 90
        nursery.cancel_scope.cancel()


async def test_a_rewritten_feed_ends_it(autojump_clock: object) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(NotHosted, match=r"rewritten the feed \(fork 1\)"), flatten_subgroups=True
    ):
        async with trio.open_nursery() as nursery:
            street, sink = Street(nursery), Sink()
            feed = MemoryFeed(10)
            street.host(feed, PLACE)
            plan = WatchPlan(KEY, PLACE)
            nursery.start_soon(partial(watch, plan, street.dial_from(ME), sink, timeouts=QUICK))
            await sink.until(10)
            rewritten = MemoryFeed(20, fork=1)
            feed.fork, feed.blocks, feed.nodes = 1, rewritten.blocks, rewritten.nodes
            feed.set_head(rewritten.head())
            feed.changes.notify()
            await trio.sleep(30)
            nursery.cancel_scope.cancel()


async def test_others_call_it_where_it_listens() -> None:
    async with trio.open_nursery() as nursery:
        hoster = Hoster(Shelf(MemoryFeed(40)), HOSTER)  # type: ignore[arg-type]
        host, port = await nursery.start(hoster.serve, "127.0.0.1", 0)
        origin = Endpoint.of(host, port)
        sinks, ports = [], []
        for _ in range(2):
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            ports.append(listeners[0].socket.getsockname()[1])
            sink = Sink()
            sinks.append(sink)
            plan = WatchPlan(KEY, origin)
            nursery.start_soon(
                partial(watch, plan, trio.open_tcp_stream, sink, listeners=listeners)
            )
            await sink.until(40)
        # The second was told of the first by the hoster, and joined it.
        plan = WatchPlan(KEY, Endpoint.of("127.0.0.1", ports[0]))
        late = Sink()
        nursery.start_soon(partial(watch, plan, trio.open_tcp_stream, late))
        await late.until(40)
        assert hoster.counters["peers_answered"] == 2
        nursery.cancel_scope.cancel()
