"""Peers that read and serve on one channel, and the feed that they hold."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypercore_feeds import CLIENT, HOSTER, KEY, MemoryFeed, block
from hypercore_network import QUICK, host

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.connection import Connection, open_connection
from offchain_worker.hypercore.errors import (
    Disconnected,
    HypercoreError,
    NoData,
    NotHosted,
    ProtocolViolation,
)
from offchain_worker.hypercore.manifest import discovery_key
from offchain_worker.hypercore.peer import PeerEvents, accept_feed, join_feed
from offchain_worker.hypercore.sparse import MAX_BLOCKS, SparseFeed


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Connection, Connection]]:
    """Two ends of a connection."""
    near, far = trio.testing.memory_stream_pair()
    ends: list[Connection] = []
    over = trio.Event()

    async def answer() -> None:
        async with open_connection(far, HOSTER, initiator=False, timeout=5) as connection:
            ends.append(connection)
            await over.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        async with open_connection(near, CLIENT, initiator=True, timeout=5) as connection:
            while not ends:
                await trio.lowlevel.checkpoint()
            yield connection, ends[0]
            over.set()


async def filled(length: int, *indices: int) -> SparseFeed:
    """A feed of which some blocks were read from a hoster."""
    feed = SparseFeed(KEY, capacity=10_000)
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host, far, MemoryFeed(length))
        opened = open_connection(near, CLIENT, initiator=True, timeout=5)
        async with opened as connection, join_feed(connection, feed, timeouts=QUICK) as peer:
            for index in indices:
                await peer.get(index)
    return feed


async def test_it_tells_what_was_asked_and_answered(autojump_clock: object) -> None:
    seen: list[tuple[str, int]] = []
    events = PeerEvents(
        requested=lambda index, _at: seen.append(("requested", index)),
        answered=lambda index, _at: seen.append(("answered", index)),
    )
    mine, theirs = await filled(20, 4, 5, 9), SparseFeed(KEY, capacity=10_000)
    async with linked() as (client, server), trio.open_nursery() as nursery:

        async def serve() -> None:
            accepted = accept_feed(server, mine, timeouts=QUICK, events=events)
            async with accepted as peer:
                await peer.reader.connection.wait_closed()

        nursery.start_soon(serve)
        async with join_feed(client, theirs, timeouts=QUICK) as peer:
            for index in (5, 9):
                assert (await peer.get(index)).data == block(index)
            with pytest.raises(NoData):
                await peer.get(6, timeout=1)
            assert peer.newest == 10
        client.close()
    assert seen[:4] == [("requested", 5), ("answered", 5), ("requested", 9), ("answered", 9)]
    assert theirs.held == {5, 9}


async def test_a_feed_without_a_head_cannot_be_given(autojump_clock: object) -> None:
    async with linked() as (client, server), trio.open_nursery() as nursery:

        async def serve() -> None:
            empty = SparseFeed(KEY, capacity=1)
            with pytest.raises((NotHosted, Disconnected)):
                async with accept_feed(server, empty, timeouts=QUICK):
                    raise AssertionError("it was accepted")

        nursery.start_soon(serve)
        with pytest.raises(NotHosted, match="does not have the feed"):
            async with join_feed(client, SparseFeed(KEY, capacity=1), timeouts=QUICK):
                raise AssertionError("it was joined")
        client.close()


async def test_nobody_opens_the_feed(autojump_clock: object) -> None:
    feed = await filled(3)
    async with linked() as (_client, server):
        with pytest.raises(NotHosted, match="was not opened in 5 s"):
            async with accept_feed(server, feed, timeouts=QUICK):
                raise AssertionError("it was accepted")


async def test_who_does_not_know_the_feeds_key_is_sent_away(autojump_clock: object) -> None:
    feed = await filled(3)
    async with linked() as (client, server), trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(ProtocolViolation, match="a wrong capability"):
                async with accept_feed(server, feed, timeouts=QUICK):
                    raise AssertionError("it was accepted")

        nursery.start_soon(serve)
        handshake = m.Handshake(seeks=True, capability=bytes(32)).encode()
        with pytest.raises(HypercoreError):
            await client.open_channel(m.PROTOCOL, discovery_key(KEY), handshake, timeout=5)


async def test_an_unreadable_message_ends_the_peer(autojump_clock: object) -> None:
    feed = await filled(3)
    async with linked() as (client, server), trio.open_nursery() as nursery:

        async def serve() -> None:
            async with accept_feed(server, feed, timeouts=QUICK) as peer:
                async for _message in peer.reader.extensions:
                    raise AssertionError("nothing was sent")
                assert isinstance(peer.error, ProtocolViolation)

        nursery.start_soon(serve)
        async with join_feed(client, SparseFeed(KEY, capacity=99), timeouts=QUICK) as peer:
            await peer._session.send(m.Type.RANGE, b"\xff")
            await client.wait_closed()
            with pytest.raises(HypercoreError):
                await peer.get(1)


async def test_a_feed_holds_the_latest_blocks_that_fit() -> None:
    feed = SparseFeed(KEY, capacity=10)
    for index in range(5):
        feed.add(index, b"1234")
    assert feed.held == {3, 4}
    feed.add(3, b"1234")
    feed.add(9, b"1234")
    assert feed.held == {3, 9}
    assert feed.held_in(0, 9) == [3]
    feed.add(7, bytes(100))
    assert feed.held == {7}
    assert feed.contiguous_length() == 0
    feed.add(0, b"1")
    assert feed.contiguous_length() == 1
    feed.forget()
    assert feed.held == frozenset()


async def test_a_feed_holds_only_so_many_blocks_however_short_they_are() -> None:
    feed = SparseFeed(KEY, capacity=1_000_000)
    for index in range(MAX_BLOCKS + 10):
        feed.add(index, b"")
    assert len(feed.held) == MAX_BLOCKS
    assert min(feed.held) == 10
