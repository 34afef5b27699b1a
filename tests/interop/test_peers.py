"""Our peers that read and serve on one channel, with npm peers on the other end."""

from pathlib import Path

import pytest
import trio
from npm_feeds import PLAIN, VERSIONS, make_feed
from npm_peers import block, stock_peer
from our_peers import PATIENT, listening, our_feed, serving
from test_serving import check_blocks, follow

from chain_types.records import Endpoint
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.sparse import SparseFeed
from offchain_worker.swarm.feed_swarm import FeedSwarm, open_feed_swarm
from offchain_worker.swarm.watching import WatchPlan, watch

LENGTH = 60
MIB = 1024 * 1024


async def dial(host: str, port: int) -> trio.abc.Stream:
    return await trio.open_tcp_stream(host, port)


async def held(swarm: FeedSwarm, *indices: int) -> None:
    for index in indices:
        assert (await swarm.get(index, timeout=60)).data == block(index, 1024)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_peer_of_ours_reads_from_an_npm_hoster(version: int) -> None:
    async with stock_peer(version) as author:
        key = await make_feed(author, PLAIN, LENGTH)
        port = await listening(author)
        feed = SparseFeed(key, capacity=MIB)
        async with open_feed_swarm(feed, dial, timeouts=PATIENT) as swarm:
            await swarm.join("127.0.0.1", port)
            await held(swarm, 0, 7, 8, 59, 30)
            await author.do("append", core="feed", count=3)
            while True:
                head = feed.head()
                assert head is not None
                if head.length == LENGTH + 3:
                    break
                await feed.next_change().wait()
            await held(swarm, LENGTH + 2, *range(20, 30))
            assert not swarm.counters["failed"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_npm_reader_gets_from_a_peer_of_ours_what_it_holds(
    version: int, tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Library(tmp_path / "feeds") as library:
        key = our_feed(library, LENGTH).key
        port = await serving(nursery, library)
        feed = SparseFeed(key, capacity=MIB)
        async with open_feed_swarm(feed, dial, timeouts=PATIENT) as swarm:
            await swarm.join("127.0.0.1", port)
            await held(swarm, *range(10), 33, 34)

            async def welcome(stream: trio.SocketStream) -> None:
                await swarm.welcome(stream, "127.0.0.1")

            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, welcome, listeners)
            own_port = listeners[0].socket.getsockname()[1]
            async with stock_peer(version) as reader:
                # The npm reader knows nobody but us; what we hold later it gets later.
                assert await follow(reader, key, own_port) == LENGTH
                await check_blocks(reader, [33, 0, 9, 34, 5])
                async with trio.open_nursery() as waiting:
                    waiting.start_soon(check_blocks, reader, [50])
                    await held(swarm, 50)
                assert not swarm.counters["failed"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_reader_of_ours_that_stays_follows_an_npm_author(version: int) -> None:
    async with stock_peer(version) as author:
        key = await make_feed(author, PLAIN, 5)
        port = await listening(author)
        read: list[bytes] = []
        news = trio.Event()

        def sink(index: int, data: bytes) -> None:
            nonlocal news
            assert index == len(read)
            read.append(data)
            news.set()
            news = trio.Event()

        async with trio.open_nursery() as nursery:
            plan = WatchPlan(key, Endpoint.of("127.0.0.1", port))
            nursery.start_soon(watch, plan, dial, sink)
            with trio.fail_after(60):
                for length in (5, 25, 26):
                    while len(read) < length:
                        await news.wait()
                    if length < 26:
                        more = {5: 20, 25: 1}[length]
                        await author.do("append", core="feed", count=more)
            nursery.cancel_scope.cancel()
        assert read == [block(index, 1024) for index in range(26)]
