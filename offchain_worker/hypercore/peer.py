"""A peer of a feed that reads and serves on one channel, as Hypercore's own peers do.

A plain reader and a hoster each use one half of a channel: the ordinary client of `reader`, and
the server of `server`. A peer that holds some blocks uses both: what the other side requests or
wants goes to the server, all else to the reader. Both work on one `SparseFeed`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.client import ClientSession
from offchain_worker.hypercore.connection import Channel, Connection, Incoming, Offer
from offchain_worker.hypercore.errors import (
    ChannelRejected,
    Disconnected,
    HypercoreError,
    NotHosted,
    ProtocolViolation,
    ReadTimeout,
)
from offchain_worker.hypercore.feed import Feed
from offchain_worker.hypercore.manifest import discovery_key
from offchain_worker.hypercore.reader import Block, Reader, Timeouts
from offchain_worker.hypercore.server import FeedSession, InvalidCount, NoEvents, ServerEvents
from offchain_worker.hypercore.sparse import SparseFeed
from offchain_worker.hypercore.tree import Node

TELL_S = 0.05
"""What a peer holds is told at most so often, in seconds; what changes meanwhile goes together."""
_SERVED = frozenset({m.Type.REQUEST, m.Type.CANCEL, m.Type.WANT})


def _ignore(_index: int, _at: float) -> None:
    return


def _nothing() -> None:
    return


@dataclass(frozen=True)
class PeerEvents:
    """What a peer's owner wants to know.

    Attributes:
        requested: called with the number of a block that the other side asks for, and when its
            request came in, in seconds of `trio.current_time`.
        answered: called with the number of a block that has been queued for the other side, and
            when.
        announced: called when the other side has said more about what it has.
    """

    requested: Callable[[int, float], None] = _ignore
    answered: Callable[[int, float], None] = _ignore
    announced: Callable[[], None] = _nothing


class Peer:
    """One other peer of a feed; made by `join_feed` and `accept_feed`.

    Attributes:
        reader: reads from it. Its extension messages come to `reader.extensions`.
        feed: what this side holds; blocks that `get` read are in it.
        newest: the block behind those that the other side announced last, 0 at first.
    """

    def __init__(self, reader: Reader, feed: SparseFeed, session: _PeerSession) -> None:
        """Made by this module only."""
        self.reader = reader
        self.feed = feed
        self._session = session

    @property
    def newest(self) -> int:
        """The block behind the last that the other side announced, 0 as long as it has none."""
        return self._session.newest

    @property
    def error(self) -> HypercoreError | None:
        """Why it ended, or None as long as it is there."""
        return self.reader.error

    def announces(self, index: int) -> bool:
        """Whether the other side said that it has a block."""
        return self._session.client.remote_blocks.has(index)

    async def get(self, index: int, *, timeout: float | None = None) -> Block:
        """Read a block and hold it from now on; otherwise as `Reader.get`."""
        block = await self.reader.get(index, timeout=timeout)
        self.feed.add(block.index, block.data)
        return block

    async def send_extension(self, name: str, message: bytes) -> None:
        """Queue an extension message; waits for room. Cancelled, it is not sent.

        Raises:
            ChannelClosed, Disconnected: the peer has ended.
        """
        await self._session.send_extension(name, message)


class _Served(NoEvents):
    """Tells the owner what was answered."""

    def __init__(self, events: PeerEvents) -> None:
        self._events = events

    async def on_upload(
        self, session: FeedSession, feed: Feed, index: int, leaf: Node, size: int
    ) -> None:
        self._events.answered(index, trio.current_time())


class _PeerSession(FeedSession):
    """The server's half, which hands over what is the reader's."""

    def __init__(
        self,
        connection: Connection,
        feed: SparseFeed,
        channel: Channel,
        client: ClientSession,
        reader: Reader,
        events: PeerEvents,
    ) -> None:
        super().__init__(connection, feed, channel, InvalidCount())
        self.client = client
        self.newest = 0
        self._sparse = feed
        self._reader = reader
        self._peer_events = events

    async def run(self, events: ServerEvents) -> None:
        try:
            await super().run(events)
        finally:
            self._reader.ended(self._channel.error or Disconnected("the peer ended"))

    async def _on_message(self, incoming: Incoming, events: ServerEvents) -> None:
        if incoming.type in _SERVED:
            if incoming.type == m.Type.REQUEST:
                request = m.Request.decode(incoming.frame, incoming.offset)
                if request.block is not None:
                    self._peer_events.requested(request.block.index, incoming.arrived)
            await super()._on_message(incoming, events)
            return
        if incoming.type == m.Type.RANGE:
            announced = m.Range.decode(incoming.frame, incoming.offset)
            if not announced.drop:
                self.newest = announced.start + announced.length
        elif incoming.type == m.Type.SYNC:
            self._remote = m.Sync.decode(incoming.frame, incoming.offset)
        try:
            self._reader.message(incoming)
        except ProtocolViolation as error:
            self.connection.close(error)
            raise
        if incoming.type in (m.Type.RANGE, m.Type.BITFIELD):
            self._peer_events.announced()
        self._share_head()

    def _share_head(self) -> None:
        """What one session of the feed verified, all others build on."""
        head = self.client.head
        if head is not None:
            self._sparse.take_head(head)
        known = self._sparse.head()
        if known is not None:
            self.client.advance(known)
            self._reader._flush_now()

    async def _follow_feed(self) -> None:
        """Tell the other side what is held, and again as it changes."""
        told: frozenset[int] = frozenset()
        while True:
            changed = self._sparse.next_change()
            self._share_head()
            held = self._sparse.held
            has = self.client.remote_blocks.has
            gained = [index for index in held - told if not has(index)]
            news = [
                (int(m.Type.RANGE), m.Range(start, length).encode())
                for start, length in _runs(gained)
            ]
            news += [
                (int(m.Type.RANGE), m.Range(start, length, drop=True).encode())
                for start, length in _runs(told - held)
            ]
            # What the other side has is not announced to it, and need not be taken back.
            told = told & held | frozenset(gained)
            if news:
                await self._channel.send_batch(news)
            await changed.wait()
            await trio.sleep(TELL_S)


def _runs(indices: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers as runs (start, length), ascending."""
    runs: list[tuple[int, int]] = []
    for index in sorted(indices):
        if runs and sum(runs[-1]) == index:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((index, 1))
    return runs


@asynccontextmanager
async def join_feed(
    connection: Connection,
    feed: SparseFeed,
    *,
    timeouts: Timeouts | None = None,
    events: PeerEvents | None = None,
) -> AsyncIterator[Peer]:
    """Open a feed on a connection, and read and serve it for the body.

    At the end, however it comes, the channel is closed; the connection stays. An error of the
    body leaves as it is.

    Args:
        connection: open; this side opens the feed's channel.
        feed: held by this side; without a head, the other side must have one.
        timeouts: of the reader.
        events: what the owner wants to know.

    Raises:
        NotHosted: the other side rejects the feed, or shows no head in time.
        BadProof, NoData, Disconnected: as `read_feed`.
    """
    limits = timeouts or Timeouts()
    try:
        channel = await connection.open_channel(
            m.PROTOCOL,
            discovery_key(feed.key),
            _handshake(connection, feed),
            timeout=limits.head,
        )
    except ChannelRejected as error:
        raise NotHosted("the peer does not have the feed") from error
    except ReadTimeout as error:
        raise NotHosted(f"the peer did not open the feed in {limits.head:g} s") from error
    async with _meet(channel, feed, limits, events or PeerEvents()) as peer:
        yield peer


@asynccontextmanager
async def accept_feed(
    connection: Connection,
    feed: SparseFeed,
    *,
    timeouts: Timeouts | None = None,
    events: PeerEvents | None = None,
) -> AsyncIterator[Peer]:
    """Wait until the other side opens the feed; read and serve it for the body.

    It must be entered before anything else is awaited on the connection. Other feeds are
    rejected, and so is this one as long as it has no head. Otherwise as `join_feed`.

    Raises:
        NotHosted: the feed was not opened in `timeouts.head` seconds.
        ProtocolViolation, Disconnected: the connection ended.
    """
    limits = timeouts or Timeouts()
    accepted: list[Channel] = []
    opened = trio.Event()

    def on_offer(offer: Offer) -> None:
        if accepted or feed.head() is None:
            return
        _check_capability(connection, feed, offer.handshake)
        accepted.append(offer.accept(_handshake(connection, feed)))
        opened.set()

    own = discovery_key(feed.key)
    connection.pair(m.PROTOCOL, own, on_offer)
    try:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await connection.wait_closed()
                opened.set()

            nursery.start_soon(watch)
            with trio.move_on_after(limits.head):
                await opened.wait()
            nursery.cancel_scope.cancel()
    finally:
        connection.unpair(m.PROTOCOL, own)
    if not accepted:
        raise connection.error or NotHosted(f"the feed was not opened in {limits.head:g} s")
    async with _meet(accepted[0], feed, limits, events or PeerEvents()) as peer:
        yield peer


def _handshake(connection: Connection, feed: SparseFeed) -> bytes:
    own = m.capability(connection.handshake_hash, feed.key, initiator=connection.initiator)
    return m.Handshake(seeks=True, capability=own).encode()


def _check_capability(connection: Connection, feed: SparseFeed, handshake: bytes) -> None:
    theirs = m.capability(connection.handshake_hash, feed.key, initiator=not connection.initiator)
    if m.Handshake.decode(handshake).capability != theirs:
        raise ProtocolViolation("a wrong capability")


@asynccontextmanager
async def _meet(
    channel: Channel, feed: SparseFeed, limits: Timeouts, events: PeerEvents
) -> AsyncIterator[Peer]:
    connection = channel.connection
    client = ClientSession(feed.key, head=feed.head(), nodes=feed.nodes, announces=False)
    reader = Reader(connection, feed.key, limits, client)
    session = _PeerSession(connection, feed, channel, client, reader, events)
    failure: BaseException | None = None
    try:
        reader.opened(channel)
    except HypercoreError as error:
        channel.close()
        connection.close(ProtocolViolation(str(error)))
        raise
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run, _Served(events))
        try:
            with trio.move_on_after(limits.head) as waiting:
                await reader._wait_head()
            if waiting.cancelled_caught:
                raise NotHosted(f"the peer showed no head in {limits.head:g} s")
            yield Peer(reader, feed, session)
        except BaseException as error:
            # Raised again below, outside the nursery, which would wrap it in a group.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure
