"""Faults of receipts: what they say, and when they come."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import trio

from offchain_worker.audit.receipt import Receipt, receipt_period
from offchain_worker.hoster.hoster import Hoster, Session
from offchain_worker.hoster.receipts import SignReceipt
from offchain_worker.hypercore.connection import Connection
from offchain_worker.hypercore.errors import ChannelClosed, Disconnected
from offchain_worker.hypercore.server import FeedSession
from offchain_worker.keys import KeyPair

LATE_S = 25.0
"""After the time-out for a receipt, the production one of 20 s too."""
HOUR_MS = 3_600_000


def no_receipt(_sign: SignReceipt) -> SignReceipt:
    """Sign nothing."""
    return lambda _receipt: None


def other_chunks(sign: SignReceipt) -> SignReceipt:
    """Sign for the chunks behind those that were served."""

    def message(receipt: Receipt) -> bytes | None:
        entries = tuple(
            replace(entry, index=(entry.index + 1) % receipt.length) for entry in receipt.entries
        )
        return sign(replace(receipt, entries=entries))

    return message


def other_client(sign: SignReceipt) -> SignReceipt:
    """Sign for somebody else."""
    return lambda receipt: sign(replace(receipt, client=KeyPair.generate().public))


def other_time(sign: SignReceipt) -> SignReceipt:
    """Sign for a session of an hour ago."""
    return lambda receipt: sign(replace(receipt, opened=receipt.opened - HOUR_MS))


class EarlyReceipts(Hoster):
    """Gives its receipts after half of the chunks for which they are due."""

    def session(self, connection: Connection, host: str | None) -> Session:
        return _Early(self, connection, host)


class _Early(Session):
    def first_length(self, session: FeedSession) -> int:
        return max(1, receipt_period(session.first_length) // 2)


class LateReceipts(Hoster):
    """Gives its receipts `LATE_S` late, and serves on meanwhile."""

    def session(self, connection: Connection, host: str | None) -> Session:
        return _Late(self, connection, host)

    async def answer(self, connection: Connection, session: Session) -> None:
        async with trio.open_nursery() as nursery:
            if isinstance(session, _Late):
                session.nursery = nursery
            await super().answer(connection, session)
            nursery.cancel_scope.cancel()


class _Late(Session):
    nursery: trio.Nursery

    async def give(self, session: FeedSession, message: bytes) -> None:
        self.nursery.start_soon(self._give_late, session, message)

    async def _give_late(self, session: FeedSession, message: bytes) -> None:
        await trio.sleep(LATE_S)
        with contextlib.suppress(ChannelClosed, Disconnected):
            await super().give(session, message)
