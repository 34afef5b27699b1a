"""Serving feeds to a connection, as an ordinary hoster does (hypercore.md §4.2)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Protocol

import trio

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.announcements import Announcement, Announcements
from offchain_worker.hypercore.answers import answer, sync_of
from offchain_worker.hypercore.connection import (
    MAX_MESSAGE_BYTES,
    Channel,
    Connection,
    Incoming,
    Offer,
)
from offchain_worker.hypercore.errors import (
    ChannelClosed,
    DecodeError,
    Disconnected,
    InvalidRequest,
    ProtocolViolation,
)
from offchain_worker.hypercore.feed import Feed, FeedSource, Head
from offchain_worker.hypercore.tree import Node

MAX_FEEDS = 256
MAX_PENDING = 512
MAX_INVALID = 64
# Seconds before an invalid request is answered, by how many there were; the last one repeats.
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class ServerEvents(Protocol):
    """What the hoster learns while it serves; an exception of a hook ends the serving."""

    async def on_request(self, session: FeedSession, request: m.Request) -> None:
        """A request is about to be answered; further ones wait until the hook returns."""
        ...

    async def on_head_sent(self, session: FeedSession, head: Head) -> None:
        """An upgrade to `head` has been queued for the peer."""
        ...

    async def on_upload(
        self, session: FeedSession, feed: Feed, index: int, leaf: Node, size: int
    ) -> None:
        """Block `index` (`size` bytes, tree node `leaf`) has been queued for the peer.

        What the hook sends with `session.send_extension` comes behind it.
        """
        ...

    async def on_extension(self, session: FeedSession, name: str, message: bytes) -> None:
        """The peer sent an extension message, of any content; `name` is filled in."""
        ...


class NoEvents:
    """`ServerEvents` for somebody who wants to know nothing."""

    async def on_request(self, session: FeedSession, request: m.Request) -> None:
        """Do nothing."""

    async def on_head_sent(self, session: FeedSession, head: Head) -> None:
        """Do nothing."""

    async def on_upload(
        self, session: FeedSession, feed: Feed, index: int, leaf: Node, size: int
    ) -> None:
        """Do nothing."""

    async def on_extension(self, session: FeedSession, name: str, message: bytes) -> None:
        """Do nothing."""


class FeedSession:
    """One feed served on one connection.

    Attributes:
        connection: it tells who the peer is and which session this is.
        feed: what is served.
        first_length: the length in the first sync that was sent to the peer.
        head: the newest head whose upgrade the peer was sent, or None.
    """

    def __init__(
        self, connection: Connection, feed: Feed, channel: Channel, invalid: InvalidCount
    ) -> None:
        """Made by `serve_connection` only."""
        self.connection = connection
        self.feed = feed
        self.first_length = 0
        self.head: Head | None = None
        self._channel = channel
        self._invalid = invalid
        self._remote: m.Sync | None = None
        self._pending: OrderedDict[int, m.Request] = OrderedDict()
        self._pending_changed = trio.lowlevel.ParkingLot()
        self._announcements = Announcements(feed)
        # What is said of the blocks arrives in the order in which the feed was looked at.
        self._announcing = trio.Lock()
        self._last_extension = ""

    @property
    def waiting(self) -> Iterable[m.Request]:
        """The requests that wait to be answered, in order."""
        return self._pending.values()

    async def send_extension(self, name: str, message: bytes) -> None:
        """Queue an extension message for the peer; waits for room. Cancelled, it is not sent.

        Raises:
            ChannelClosed, Disconnected: the session has ended.
        """
        await self.send(m.Type.EXTENSION, m.Extension(name, message).encode())

    async def send(self, message_type: int, body: bytes) -> None:
        """Queue any message for the peer, as `send_extension`."""
        await self._channel.send(message_type, body)

    async def run(self, events: ServerEvents) -> None:
        """Serve until the channel or the connection ends; cancellation closes the channel."""
        try:
            async with trio.open_nursery() as nursery:
                for loop in (
                    partial(self._take_messages, events),
                    partial(self._answer_requests, nursery, events),
                    self._follow_feed,
                ):
                    nursery.start_soon(self._until_ended, nursery, loop)
        finally:
            self._channel.close()

    async def _until_ended(
        self, nursery: trio.Nursery, loop: Callable[[], Awaitable[None]]
    ) -> None:
        """Run one of the loops; the end of the channel, whose reason it keeps, ends all."""
        try:
            await loop()
        except (ChannelClosed, Disconnected):
            nursery.cancel_scope.cancel()

    async def _take_messages(self, events: ServerEvents) -> None:
        while True:
            incoming = await self._channel.receive()
            try:
                await self._on_message(incoming, events)
            except DecodeError as error:
                self.connection.close(ProtocolViolation(f"a message cannot be read: {error}"))

    async def _on_message(self, incoming: Incoming, events: ServerEvents) -> None:
        frame, offset = incoming.frame, incoming.offset
        match incoming.type:
            case m.Type.SYNC:
                self._remote = m.Sync.decode(frame, offset)
                head = self.feed.head()
                if head is not None and self._remote.length < head.length:
                    sync = sync_of(self.feed, head, self._remote)
                    await self._channel.send(m.Type.SYNC, sync.encode())
            case m.Type.REQUEST:
                request = m.Request.decode(frame, offset)
                # A second request with the same id replaces the first, behind all others.
                self._pending.pop(request.id, None)
                while len(self._pending) >= MAX_PENDING:
                    await self._pending_changed.park()
                self._pending[request.id] = request
                if self._pending_changed:
                    self._pending_changed.unpark_all()
            case m.Type.CANCEL:
                self._pending.pop(m.Cancel.decode(frame, offset).request, None)
            case m.Type.WANT:
                try:
                    async with self._announcing:
                        for message in self._announcements.want(m.Want.decode(frame, offset)):
                            await self._channel.send(*_typed(message))
                            # Asking a store about so many blocks takes its time.
                            await trio.lowlevel.checkpoint()
                except InvalidRequest:
                    self._invalid.add(self.connection)
            case m.Type.UNWANT:
                self._announcements.unwant(m.Unwant.decode(frame, offset))
            case m.Type.EXTENSION:
                extension = m.Extension.decode(frame, offset)
                self._last_extension = extension.name or self._last_extension
                await events.on_extension(self, self._last_extension, extension.message)
            case _:
                # What the peer has does not matter to one who only serves; unknown types are
                # ignored (§3).
                return

    async def _answer_requests(self, nursery: trio.Nursery, events: ServerEvents) -> None:
        while True:
            while not self._pending:
                await self._pending_changed.park()
            _, request = self._pending.popitem(last=False)
            if self._pending_changed:
                self._pending_changed.unpark_all()
            await events.on_request(self, request)
            try:
                reply = answer(self.feed, request)
            except InvalidRequest:
                refuse = partial(self._refuse, request.id, self._invalid.add(self.connection))
                nursery.start_soon(self._until_ended, nursery, refuse)
                continue
            if isinstance(reply, m.NoData):
                await self._channel.send(m.Type.NO_DATA, reply.encode())
            else:
                await self._send_data(reply, events)

    async def _refuse(self, request_id: int, delay: float) -> None:
        await trio.sleep(delay)
        refusal = m.NoData(request_id, m.Reason.INVALID_REQUEST)
        await self._channel.send(m.Type.NO_DATA, refusal.encode())

    async def _send_data(self, data: m.Data, events: ServerEvents) -> None:
        head = self.feed.head()
        encoded = data.encode()
        if len(encoded) > MAX_MESSAGE_BYTES:
            refusal = m.NoData(data.request, m.Reason.NOT_AVAILABLE)
            await self._channel.send(m.Type.NO_DATA, refusal.encode())
            return
        await self._channel.send(m.Type.DATA, encoded)
        if data.upgrade is not None and head is not None:
            self.head = head
            await events.on_head_sent(self, head)
        if data.block is not None:
            leaf = self.feed.node(2 * data.block.index)
            if leaf is not None:
                size = len(data.block.value)
                await events.on_upload(self, self.feed, data.block.index, leaf, size)

    async def _follow_feed(self) -> None:
        """Tell the peer what there is, and again whenever it changes."""
        told: Head | None = None
        first = True
        while True:
            changed = self.feed.next_change()
            async with self._announcing:
                head = self.feed.head()
                if first:
                    self.first_length = head.length if head is not None else 0
                news = []
                if first or head != told:
                    news.append((int(m.Type.SYNC), sync_of(self.feed, head, self._remote).encode()))
                news += [_typed(message) for message in self._announcements.news()]
                told, first = head, False
                if news:
                    await self._channel.send_batch(news)
            await changed.wait()


def _typed(message: Announcement) -> tuple[int, bytes]:
    kind = m.Type.RANGE if isinstance(message, m.Range) else m.Type.BITFIELD
    return int(kind), message.encode()


class InvalidCount:
    """How many invalid requests a connection has made, over all its feeds."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, connection: Connection) -> float:
        """Count one; returns the seconds to wait before it is answered.

        Too many end the connection.
        """
        delay = BACK_OFF_S[min(self._count, len(BACK_OFF_S) - 1)]
        self._count += 1
        if self._count >= MAX_INVALID:
            connection.close(ProtocolViolation(f"{MAX_INVALID} invalid requests"))
        return delay


async def serve_connection(
    connection: Connection, feeds: FeedSource, events: ServerEvents | None = None
) -> None:
    """Serve every feed of `feeds` that the peer opens, until the connection ends.

    It must be called before anything else is awaited on the connection. Channels of unknown feeds
    are rejected; a wrong capability ends the connection, since it shows that the peer knows
    only the feed's discovery key. Cancelled, it closes its channels; the connection stays.

    Args:
        connection: open.
        feeds: looked up at each opening.
        events: the hoster's hooks.
    """
    hooks: ServerEvents = events if events is not None else NoEvents()
    invalid = InvalidCount()
    running = 0

    async def run(session: FeedSession) -> None:
        nonlocal running
        running += 1
        try:
            await session.run(hooks)
        finally:
            running -= 1

    async with trio.open_nursery() as nursery:

        def on_offer(offer: Offer) -> None:
            feed = feeds.find(offer.id)
            if feed is None or running >= MAX_FEEDS:
                return
            handshake = m.Handshake.decode(offer.handshake)
            expected = m.capability(
                connection.handshake_hash, feed.key, initiator=not connection.initiator
            )
            if handshake.capability != expected:
                raise ProtocolViolation("a wrong capability")
            own = m.capability(connection.handshake_hash, feed.key, initiator=connection.initiator)
            channel = offer.accept(m.Handshake(seeks=False, capability=own).encode())
            nursery.start_soon(run, FeedSession(connection, feed, channel, invalid))

        connection.pair(m.PROTOCOL, None, on_offer)
        try:
            await connection.wait_closed()
        finally:
            connection.unpair(m.PROTOCOL, None)
            nursery.cancel_scope.cancel()
