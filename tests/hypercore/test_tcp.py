"""Reader and hoster over real sockets, with connections that are reset."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypercore_feeds import CLIENT, HOSTER, KEY, MemoryFeed
from hypercore_network import QUICK, host

from offchain_worker.hypercore.connection import Channel, open_connection
from offchain_worker.hypercore.errors import Disconnected, NoData
from offchain_worker.hypercore.feed import Feed
from offchain_worker.hypercore.reader import Reader, open_reader

BLOCK_BYTES = 65_536


def big_feed(length: int) -> MemoryFeed:
    feed = MemoryFeed(0)
    feed.append([bytes([i % 256]) * BLOCK_BYTES for i in range(length)])
    return feed


@asynccontextmanager
async def tcp(feed: Feed, accepted: list[trio.SocketStream]) -> AsyncIterator[Reader]:
    """A reader over loopback; the hoster's sockets are put into `accepted`."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def serve() -> None:
            async with listener:
                stream = await listener.accept()
            accepted.append(stream)
            await host(stream, feed)

        nursery.start_soon(serve)
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        try:
            async with open_reader(
                near, feed_key=KEY, keypair=CLIENT, expected_remote=HOSTER.public, timeouts=QUICK
            ) as reader:
                yield reader
        except BaseException as error:
            failure = error
    if failure is not None:
        raise failure


async def test_a_whole_feed() -> None:
    feed = big_feed(100)
    async with tcp(feed, []) as reader:
        got = {block.index: block.data async for block in reader.download(range(100))}
        assert got == feed.blocks
        one = await reader.get(7)
        assert one.data == feed.blocks[7]
        assert reader.connection.bytes_in > 101 * BLOCK_BYTES


def reset(stream: trio.SocketStream) -> None:
    """Close with a TCP reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def test_a_reset_in_the_middle_of_a_download() -> None:
    accepted: list[trio.SocketStream] = []
    async with tcp(big_feed(200), accepted) as reader:
        download = reader.download(range(200))
        await download.__anext__()
        reset(accepted[0])
        with pytest.raises((NoData, Disconnected)):
            async for _ in download:
                pass
        assert isinstance(await reader.connection.wait_closed(), Disconnected)
        with pytest.raises(Disconnected):
            await reader.get(0)


async def test_a_reset_while_nothing_is_asked() -> None:
    accepted: list[trio.SocketStream] = []
    async with tcp(big_feed(2), accepted) as reader:
        reset(accepted[0])
        assert isinstance(await reader.connection.wait_closed(), Disconnected)
        with pytest.raises(Disconnected):
            await reader.get(0)


async def test_messages_apart_through_a_socket_that_is_full() -> None:
    """What the socket does not take at once, the event loop writes later, in order."""
    bodies = [bytes([number]) * 60_000 for number in range(100)]
    received: list[bytes] = []
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        let_go, done = trio.Event(), trio.Event()

        async def take() -> None:
            async with listener:
                stream = await listener.accept()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            async with open_connection(stream, HOSTER, initiator=False, timeout=5) as connection:
                channels: list[Channel] = []
                connection.pair("pile", None, lambda offer: channels.append(offer.accept(b"")))
                await let_go.wait()
                received.extend([(await channels[0].receive()).body for _ in bodies])
                done.set()

        nursery.start_soon(take)
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        async with open_connection(
            near, CLIENT, initiator=True, timeout=5, apart=True
        ) as connection:
            channel = await connection.open_channel("pile", b"", b"", timeout=5)
            async with trio.open_nursery() as sending:

                async def send() -> None:
                    for body in bodies:
                        await channel.send(0, body)

                sending.start_soon(send)
                await trio.testing.wait_all_tasks_blocked(0.01)
                let_go.set()
                await done.wait()
    assert received == bodies
