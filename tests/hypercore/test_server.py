"""A hoster of ours, asked by a client that says exactly what the test wants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypercore_feeds import CLIENT, HOSTER, KEY, MemoryFeed, Shelf, block
from hypercore_network import host

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.connection import (
    QUEUE_BYTES,
    Channel,
    Connection,
    open_connection,
)
from offchain_worker.hypercore.errors import (
    ChannelClosed,
    ChannelRejected,
    Disconnected,
    ProtocolViolation,
)
from offchain_worker.hypercore.feed import Feed, Head
from offchain_worker.hypercore.manifest import discovery_key
from offchain_worker.hypercore.server import (
    MAX_INVALID,
    FeedSession,
    NoEvents,
    ServerEvents,
    serve_connection,
)
from offchain_worker.hypercore.tree import Node


@asynccontextmanager
async def asking(*feeds: Feed, events: ServerEvents | None = None) -> AsyncIterator[Connection]:
    """A connection to a hoster of these feeds; nothing waits between the two ends."""
    near, far = trio.testing.lockstep_stream_pair()
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await host(far, *feeds, events=events)

        nursery.start_soon(run)
        try:
            async with open_connection(near, CLIENT, initiator=True, timeout=5) as connection:
                yield connection
        except BaseException as error:
            failure = error
    if failure is not None:
        raise failure


async def open_feed(connection: Connection, key: bytes = KEY) -> Channel:
    own = m.capability(connection.handshake_hash, key, initiator=True)
    channel = await connection.open_channel(
        m.PROTOCOL, discovery_key(key), m.Handshake(True, own).encode(), timeout=5
    )
    theirs = m.Handshake.decode(channel.remote_handshake)
    assert theirs.capability == m.capability(connection.handshake_hash, key, initiator=False)
    return channel


async def ask(channel: Channel, *requests: m.Request) -> None:
    for request in requests:
        await channel.send(m.Type.REQUEST, request.encode())


async def answers(channel: Channel, count: int) -> list[m.Data | m.NoData]:
    found: list[m.Data | m.NoData] = []
    while len(found) < count:
        incoming = await channel.receive()
        if incoming.type == m.Type.DATA:
            found.append(m.Data.decode(incoming.body))
        if incoming.type == m.Type.NO_DATA:
            found.append(m.NoData.decode(incoming.body))
    return found


def of_block(number: int, index: int, nodes: int = 0) -> m.Request:
    return m.Request(number, 0, block=m.RequestBlock(index, nodes))


async def test_greets_with_sync_and_range_in_one_frame() -> None:
    async with asking(MemoryFeed(33)) as connection:
        channel = await open_feed(connection)
        sync, has = await channel.receive(), await channel.receive()
        assert sync.batched
        assert sync.body == bytes.fromhex("0f002100")
        assert has.body == bytes.fromhex("000021")


async def test_a_feed_with_holes_says_so_when_asked() -> None:
    feed = MemoryFeed(40)
    del feed.blocks[0]
    async with asking(feed) as connection:
        channel = await open_feed(connection)
        sync = await channel.receive()
        assert not sync.batched
        await channel.send(m.Type.WANT, m.Want(0, 32).encode())
        bitfield = await channel.receive()
        assert m.Bitfield.decode(bitfield.body) == m.Bitfield(0, (0xFFFFFFFE,))


async def test_answers_syncs_of_those_who_are_behind() -> None:
    async with asking(MemoryFeed(33)) as connection:
        channel = await open_feed(connection)
        await channel.receive()
        await channel.receive()
        await channel.send(m.Type.SYNC, m.Sync(0, 5, 33, downloading=True).encode())
        assert m.Sync.decode((await channel.receive()).body) == m.Sync(
            0, 33, 5, can_upgrade=True, uploading=True, downloading=True, has_manifest=True
        )


async def test_several_feeds_and_unknown_ones() -> None:
    one, two = MemoryFeed(3), MemoryFeed(5, compat=True)
    async with asking(one, two) as connection:
        first, second = await open_feed(connection), await open_feed(connection, two.key)
        with pytest.raises(ChannelRejected):
            await open_feed(connection, bytes(32))
        await ask(first, of_block(1, 2))
        await ask(second, of_block(1, 4))
        [a], [b] = await answers(first, 1), await answers(second, 1)
        assert isinstance(a, m.Data)
        assert isinstance(b, m.Data)
        assert a.block == m.DataBlock(2, block(2), ())
        assert b.block == m.DataBlock(4, block(4), ())


async def test_who_knows_only_the_discovery_key_is_cut_off() -> None:
    async with asking(MemoryFeed(3)) as connection:
        with pytest.raises(Disconnected):
            await connection.open_channel(
                m.PROTOCOL, discovery_key(KEY), m.Handshake(True, bytes(32)).encode(), timeout=5
            )


async def test_a_message_that_cannot_be_read_ends_the_connection() -> None:
    async with asking(MemoryFeed(3)) as connection:
        channel = await open_feed(connection)
        await channel.send(m.Type.REQUEST, b"\xff")
        await connection.wait_closed()


async def test_what_a_server_does_not_need_is_ignored() -> None:
    async with asking(MemoryFeed(3)) as connection:
        channel = await open_feed(connection)
        for kind in (m.Type.NO_DATA, m.Type.RANGE, m.Type.DATA, 77):
            await channel.send(kind, b"\xff")
        await channel.send(m.Type.EXTENSION, m.Extension("nobody's", b"\xff").encode())
        await ask(channel, of_block(1, 0))
        assert await answers(channel, 1)


async def test_invalid_requests_are_answered_late(autojump_clock: trio.testing.MockClock) -> None:
    async with asking(MemoryFeed(3)) as connection:
        channel = await open_feed(connection)
        began = trio.current_time()
        await ask(channel, of_block(1, 0, nodes=40), of_block(2, 0))
        first, second = await answers(channel, 2)
        assert isinstance(first, m.Data)
        assert second == m.NoData(1, m.Reason.INVALID_REQUEST)
        assert trio.current_time() - began == pytest.approx(0.2, abs=0.01)


async def test_too_many_invalid_requests_end_the_connection() -> None:
    async with asking(MemoryFeed(3)) as connection:
        channel = await open_feed(connection)
        with trio.fail_after(5):
            try:
                for i in range(MAX_INVALID + 6):
                    await ask(channel, of_block(i + 1, 0, nodes=40))
            except Disconnected:
                assert connection.error is not None
            await connection.wait_closed()


async def test_strange_wants_count_as_invalid() -> None:
    async with asking(MemoryFeed(3)) as connection:
        channel = await open_feed(connection)
        with trio.fail_after(5):
            try:
                for _ in range(MAX_INVALID):
                    await channel.send(m.Type.WANT, m.Want(1, 31).encode())
            except Disconnected:
                assert connection.error is not None
            await connection.wait_closed()


async def test_a_cancelled_request_and_a_repeated_id() -> None:
    """With the way back blocked, requests wait; what is cancelled then is never answered."""
    feed = MemoryFeed(0)
    feed.append([bytes([i]) * 60_000 for i in range(60)])
    async with asking(feed) as connection:
        channel = await open_feed(connection)
        # 2 MB of answers fill both queues, so that the rest waits.
        await ask(channel, *(of_block(i + 1, i) for i in range(60)))
        await trio.testing.wait_all_tasks_blocked()
        await channel.send(m.Type.CANCEL, m.Cancel(60).encode())
        await ask(channel, of_block(59, 0))
        await trio.testing.wait_all_tasks_blocked()
        found = await answers(channel, 59)
        assert [reply.request for reply in found] == [*range(1, 60)]
        last = found[-1]
        assert isinstance(last, m.Data)
        assert last.block is not None
        assert last.block.index == 0
        await ask(channel, of_block(1, 0))
        assert (await answers(channel, 1))[0].request == 1


async def test_a_slow_reader_cannot_fill_the_memory() -> None:
    feed = MemoryFeed(0)
    feed.append([bytes(60_000)])
    near, far = trio.testing.lockstep_stream_pair()
    served: list[Connection] = []

    async def run() -> None:
        async with open_connection(far, HOSTER, initiator=False, timeout=5) as connection:
            served.append(connection)
            await serve_connection(connection, Shelf(feed))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        async with open_connection(near, CLIENT, initiator=True, timeout=5) as connection:
            channel = await open_feed(connection)
            with trio.move_on_after(0.5):
                number = 0
                while True:
                    number += 1
                    await ask(channel, of_block(number, 0))
            assert served[0]._outgoing.weight <= QUEUE_BYTES + 61_000
            connection.close()


async def test_growth_is_announced() -> None:
    feed = MemoryFeed(3)
    async with asking(feed) as connection:
        channel = await open_feed(connection)
        await channel.receive()
        await channel.receive()
        feed.append([b"x"])
        sync, has = await channel.receive(), await channel.receive()
        assert m.Sync.decode(sync.body).length == 4
        assert m.Range.decode(has.body) == m.Range(0, 4)


async def test_news_only_when_there_are_some() -> None:
    feed = MemoryFeed(3)
    async with asking(feed) as connection:
        channel = await open_feed(connection)
        await channel.receive()
        await channel.receive()
        feed.changes.notify()
        await ask(channel, of_block(1, 0))
        assert (await channel.receive()).type == m.Type.DATA
        del feed.blocks[2]
        feed.changes.notify()
        lost = await channel.receive()
        assert m.Range.decode(lost.body) == m.Range(2, 1, drop=True)


async def test_a_block_that_fits_no_frame_is_not_available() -> None:
    feed = MemoryFeed(0)
    feed.append([bytes(2**24)])
    async with asking(feed) as connection:
        channel = await open_feed(connection)
        await ask(channel, of_block(1, 0))
        assert await answers(channel, 1) == [m.NoData(1, m.Reason.NOT_AVAILABLE)]


async def test_hooks_know_what_was_sent() -> None:
    log: list[object] = []

    class Log(NoEvents):
        async def on_head_sent(self, session: FeedSession, head: Head) -> None:
            assert session.head == head
            log.append(("head", head.length, session.first_length))

        async def on_upload(
            self, session: FeedSession, feed: Feed, index: int, leaf: Node, size: int
        ) -> None:
            assert session.connection.remote_public_key == CLIENT.public
            log.append((index, leaf, size))
            await session.send_extension("datdot/receipt/1", b"after block %d" % index)

    feed = MemoryFeed(5)
    async with asking(feed, events=Log()) as connection:
        channel = await open_feed(connection)
        upgrade = m.Request(1, 0, upgrade=m.RequestUpgrade(0, 3), manifest=True)
        await ask(channel, upgrade, of_block(2, 3), of_block(3, 9))
        kinds = [(await channel.receive()).type for _ in range(6)]
    assert kinds == [
        m.Type.SYNC,
        m.Type.RANGE,
        m.Type.DATA,
        m.Type.DATA,
        m.Type.EXTENSION,
        m.Type.NO_DATA,
    ]
    assert log == [("head", 5, 5), (3, feed.nodes[6], len(block(3)))]


async def test_a_session_that_has_ended_sends_nothing() -> None:
    sessions: list[FeedSession] = []

    class Keep(NoEvents):
        async def on_head_sent(self, session: FeedSession, head: Head) -> None:
            sessions.append(session)

    async with asking(MemoryFeed(5), events=Keep()) as connection:
        channel = await open_feed(connection)
        await ask(channel, m.Request(1, 0, upgrade=m.RequestUpgrade(0, 5)))
        await answers(channel, 1)
        channel.close()
        await open_feed(connection)
        with pytest.raises(ChannelClosed):
            await sessions[0].send_extension("datdot/receipt/1", b"late")


async def test_cancelled_serving_ends_its_channels() -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def run() -> None:
            async with open_connection(far, HOSTER, initiator=False, timeout=5) as connection:
                with scope:
                    await serve_connection(connection, Shelf(MemoryFeed(3)))
                await connection.wait_closed()

        nursery.start_soon(run)
        async with open_connection(near, CLIENT, initiator=True, timeout=5) as connection:
            channel = await open_feed(connection)
            scope.cancel()
            async for _ in channel:
                pass
            assert isinstance(channel.error, ChannelClosed)
            with pytest.raises(ChannelRejected):
                await open_feed(connection)


async def test_an_opening_that_cannot_be_read() -> None:
    async with asking(MemoryFeed(3)) as connection:
        with pytest.raises(Disconnected) as caught:
            await connection.open_channel(m.PROTOCOL, discovery_key(KEY), b"\x01", timeout=5)
        assert not isinstance(caught.value, ProtocolViolation)
