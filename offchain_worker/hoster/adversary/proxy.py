"""A hoster that keeps nothing but the hashes, and fetches what it is asked for elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog
import trio

from offchain_worker.hoster.adversary.feeds import FaultyFeed, FaultySource
from offchain_worker.hoster.hoster import Hoster, Session
from offchain_worker.hoster.replicate import DialPeer
from offchain_worker.hoster.store import FeedStore
from offchain_worker.hypercore.connection import Connection
from offchain_worker.hypercore.errors import Disconnected, HypercoreError
from offchain_worker.hypercore.messages import Request
from offchain_worker.hypercore.reader import Reader, open_reader
from offchain_worker.hypercore.server import FeedSession, serve_connection
from offchain_worker.keys import KeyPair

_log = structlog.get_logger()

AWAY_S = 0.01
"""The other hoster is as far away as this; on one machine it would be nowhere."""


class Proxy(Hoster):
    """Fetches each chunk from the first of `upstream` when it is asked for it.

    For each client it keeps one connection open, and on it as many requests as wait for an answer.
    It serves one feed of a client's at a time.
    """

    upstream: Sequence[DialPeer] = ()

    def session(self, connection: Connection, host: str | None) -> Session:
        return _Fetching(self, connection, host)

    async def answer(self, connection: Connection, session: Session) -> None:
        if not isinstance(session, _Fetching):
            raise TypeError("a proxy fetches")
        async with trio.open_nursery() as nursery:
            session.nursery, session.dial = nursery, self.upstream[0]
            source = FaultySource(self.library, partial(_Fetched, session.chunks))
            await serve_connection(connection, source, session)
            nursery.cancel_scope.cancel()


class _Fetched(FaultyFeed):
    """A feed whose chunks are there only for the answer for which they were fetched."""

    def __init__(self, chunks: dict[int, bytes], store: FeedStore) -> None:
        super().__init__(store)
        self._chunks = chunks

    def block(self, index: int) -> bytes | None:
        return self._chunks.pop(index, None)


class _Fetching(Session):
    """The client's requests, each of which waits for its chunk from upstream."""

    nursery: trio.Nursery
    dial: DialPeer

    def __init__(self, hoster: Hoster, connection: Connection, host: str | None) -> None:
        super().__init__(hoster, connection, host)
        self.chunks: dict[int, bytes] = {}
        self._reader: Reader | None = None
        self._fetches: dict[int, trio.Event] = {}

    async def on_request(self, session: FeedSession, request: Request) -> None:
        if request.block is None:
            return
        if self._reader is None:
            self._reader = await self.nursery.start(self._connect, session.feed.key)
        for one in (request, *session.waiting):
            if one.block is not None and one.block.index not in self._fetches:
                self._fetches[one.block.index] = trio.Event()
                self.nursery.start_soon(self._fetch, self._reader, one.block.index)
        await self._fetches[request.block.index].wait()
        del self._fetches[request.block.index]

    async def _connect(self, key: bytes, task_status: trio.TaskStatus[Reader | None]) -> None:
        try:
            opened = open_reader(
                await self.dial(), feed_key=key, keypair=KeyPair.generate(), expected_remote=None
            )
            async with opened as reader:
                task_status.started(reader)
                await trio.sleep_forever()
        except (OSError, HypercoreError) as error:
            self._give_up(error)
            task_status.started(None)

    async def _fetch(self, reader: Reader | None, index: int) -> None:
        try:
            if reader is not None:
                await trio.sleep(AWAY_S)
                self.chunks[index] = (await reader.get(index)).data
        except HypercoreError as error:
            self._give_up(error)
        self._fetches[index].set()

    def _give_up(self, error: Exception) -> None:
        _log.warning("adversary.upstream_failed", reason=str(error))
        self._connection.close(Disconnected("the other hoster is gone"))
