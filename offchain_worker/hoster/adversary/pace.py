"""Faults of time: who is served, when, how fast, and for how long."""

from __future__ import annotations

import trio

from offchain_worker.hoster.hoster import Hoster, Session
from offchain_worker.hypercore.connection import Connection
from offchain_worker.hypercore.feed import Feed
from offchain_worker.hypercore.messages import Request
from offchain_worker.hypercore.server import FeedSession
from offchain_worker.hypercore.tree import Node
from offchain_worker.swarm.listen import remote_host

DELAY_S = 0.005
FAST_CHUNKS = 100
LAST_CHUNK = 99
PERIOD_MS, OPEN_MS = 8_000, 2_000
FAST_BYTES = 4_096
"""Enough for handshake and head."""
BYTE_S = 0.01
CHUNKS_BYTES = 65_536


class Silent(Hoster):
    """Takes connections and what is sent on them, and says nothing."""

    async def serve_stream(self, stream: trio.abc.Stream, host: str | None = None) -> None:
        async with stream:
            try:
                while await stream.receive_some(CHUNKS_BYTES):
                    pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return


class PartOfWindow(Hoster):
    """Takes connections only in the first two of every eight seconds."""

    async def serve_stream(self, stream: trio.abc.Stream, host: str | None = None) -> None:
        if self.clock_ms() % PERIOD_MS < OPEN_MS:
            await super().serve_stream(stream, host)
        else:
            self.counters["turned_away"] += 1
            await trio.aclose_forcefully(stream)


class ByteByByte(Hoster):
    """Writes one byte at a time once handshake and head are over."""

    async def serve_stream(self, stream: trio.abc.Stream, host: str | None = None) -> None:
        await super().serve_stream(_Trickle(stream), host or remote_host(stream))


class _Trickle(trio.abc.Stream):
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._fast = FAST_BYTES

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        fast = min(self._fast, len(data))
        self._fast -= fast
        if fast:
            await self._stream.send_all(data[:fast])
        for position in range(fast, len(data)):
            await trio.sleep(BYTE_S)
            await self._stream.send_all(data[position : position + 1])

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class Slow(Hoster):
    """Takes its time for each chunk, but for those of the first client."""

    _first: bytes | None = None

    def session(self, connection: Connection, host: str | None) -> Session:
        client = connection.remote_public_key
        self._first = self._first or client
        kind = Session if client == self._first else _Delaying
        return kind(self, connection, host)


class Throttles(Hoster):
    """Takes its time for each chunk after the hundredth of a session."""

    def session(self, connection: Connection, host: str | None) -> Session:
        session = _Delaying(self, connection, host)
        session.fast_chunks = FAST_CHUNKS
        return session


class _Delaying(Session):
    fast_chunks = 0

    async def on_request(self, session: FeedSession, request: Request) -> None:
        if request.block is not None:
            if self.fast_chunks:
                self.fast_chunks -= 1
            else:
                await trio.sleep(DELAY_S)


class ClosesAt99(Hoster):
    """Ends the connection when 99 chunks have been sent on it."""

    def session(self, connection: Connection, host: str | None) -> Session:
        return _Closing(self, connection, host)


class _Closing(Session):
    _left = LAST_CHUNK

    async def on_upload(
        self, session: FeedSession, feed: Feed, index: int, leaf: Node, size: int
    ) -> None:
        await super().on_upload(session, feed, index, leaf, size)
        self._left -= 1
        if self._left == 0:
            await session.connection.flush()
            session.connection.close()
