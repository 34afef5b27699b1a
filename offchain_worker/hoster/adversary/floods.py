"""Faults of measure: much that nobody asked for, beside answers that are right."""

from __future__ import annotations

from offchain_worker.hoster.hoster import Hoster, Session
from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.connection import MAX_MESSAGE_BYTES, Connection
from offchain_worker.hypercore.server import FeedSession

TIMES = 1_000
NEVER_ASKED = 1 << 40
EVERYTHING = 1 << 50


class Floods(Hoster):
    """Sends a message many times before each chunk."""

    kind: m.Type
    body: bytes
    times = TIMES

    def session(self, connection: Connection, host: str | None) -> Session:
        session = _Flooding(self, connection, host)
        session.flood = self
        return session


class _Flooding(Session):
    flood: Floods

    async def on_request(self, session: FeedSession, request: m.Request) -> None:
        if request.block is not None:
            for _ in range(self.flood.times):
                await session.send(self.flood.kind, self.flood.body)


class FloodsMessages(Floods):
    """Extension messages of a name that nobody knows."""

    kind = m.Type.EXTENSION
    body = m.Extension("nonsense", bytes(1_024)).encode()


class FloodsNoData(Floods):
    """Refusals of requests that nobody made."""

    kind = m.Type.NO_DATA
    body = m.NoData(NEVER_ASKED).encode()


class FloodsRanges(Floods):
    """Ranges, the cheapest messages of all, over as many chunks as there can be."""

    kind = m.Type.RANGE
    body = m.Range(1, EVERYTHING, drop=False).encode()


class FloodsFrames(Floods):
    """One message as long as a frame can be."""

    kind = m.Type.EXTENSION
    body = m.Extension("nonsense", bytes(MAX_MESSAGE_BYTES - 64)).encode()
    times = 1
