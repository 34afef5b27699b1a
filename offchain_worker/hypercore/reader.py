"""An ordinary reader of a feed, on Trio (hypercore.md §4.3).

Audits and plain downloads use the same reader, so that a hoster cannot tell them apart.
"""

from __future__ import annotations

import math
import operator
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import trio

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.client import (
    PRIORITY_DOWNLOAD,
    PRIORITY_GET,
    AnsweredLate,
    AvailabilityChanged,
    BlockVerified,
    ClientSession,
    Event,
    ExtensionReceived,
    Frame,
    HeadVerified,
    RequestFailed,
    SessionFailed,
)
from offchain_worker.hypercore.connection import Channel, Connection, Incoming, open_connection
from offchain_worker.hypercore.errors import (
    ChannelClosed,
    ChannelRejected,
    Disconnected,
    HandshakeFailed,
    HypercoreError,
    NoData,
    NotHosted,
    ProtocolViolation,
    ReadTimeout,
)
from offchain_worker.hypercore.feed import Head
from offchain_worker.hypercore.manifest import discovery_key
from offchain_worker.hypercore.pace import MANY, LookUps, NoPace, Pace, Writing
from offchain_worker.hypercore.secret_stream import MAX_FRAME_BYTES
from offchain_worker.hypercore.tree import Node
from offchain_worker.keys import KeyPair

WINDOW = 48
SETTLING_S = 0.1
"""For so long at most a head is new if nothing else comes."""
FAST_S = 0.000_8
"""Where many answers come faster one after the other, the stock client's event loop is late by as
much: it takes 0.3 ms of the processor for each 64 KiB."""
_dice = random.SystemRandom()
_STATES = (m.Type.SYNC, m.Type.DATA, m.Type.NO_DATA, m.Type.BITFIELD, m.Type.RANGE)
"""Messages upon which the stock client looks for what else it could ask for."""
_ANSWERS = (BlockVerified, RequestFailed, AnsweredLate)
"""What comes of an answer to a request, which was asked for."""
EXTENSION_QUEUE = 64
MAX_EXTENSION_BYTES = 64 * 1024
UNASKED_BYTES = 8 * 1024 * 1024
UNASKED_BYTES_PER_S = 4 * 1024 * 1024
"""What a hoster may say unasked: so much at once, and so much more for each second. A hoster that
fetches the feed itself tells each block that it gets: some eight thousand a second."""
UNASKED_MESSAGE_BYTES = 512
"""What a message weighs besides its bytes."""
MAX_STRAYS = 65_536
"""Messages for no channel, keep-alives among them: those of four days."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds for each step that waits for the hoster.

    Attributes:
        handshake: for the whole handshake.
        head: from the opening of the channel to the verified head.
        block: from a request to its block.
    """

    handshake: float = 10.0
    head: float = 10.0
    block: float = 20.0


@dataclass(slots=True)
class Block:
    """A verified block.

    Attributes:
        index: its number.
        data: its bytes.
        leaf: its tree node; `leaf.hash` is the leaf hash.
        requested, arrived: seconds of `trio.current_time`; when the request was handed to the
            transport, and when the last byte of the answer came in (`Incoming.arrived`).
    """

    index: int
    data: bytes
    leaf: Node
    requested: float
    arrived: float


@dataclass(frozen=True, slots=True)
class ExtensionMessage:
    """An extension message, with the time (`trio.current_time`) at which it came in."""

    name: str
    payload: bytes
    arrived: float


class _Request:
    """A request for a block that somebody waits for."""

    __slots__ = ("index", "owner", "requested")

    def __init__(self, index: int, owner: _Waiter | None, requested: float) -> None:
        self.index = index
        self.owner = owner
        self.requested = requested

    def sent(self, at: float) -> None:
        self.requested = at


class _Asked(NamedTuple):
    """A request, and what to send for it."""

    request: _Request
    frame: Frame


class _Read:
    """A block that has arrived, and what is said and known when it counts as read."""

    __slots__ = ("block", "frames", "learnt", "owner")

    def __init__(
        self,
        block: Block,
        owner: _Waiter | None,
        frames: Sequence[Frame],
        learnt: Sequence[int],
    ) -> None:
        self.block = block
        self.owner = owner
        self.frames = frames
        self.learnt = learnt


class _Waiter:
    """Collects the results of requests for one caller.

    Attributes:
        open: requests that have no answer yet, by id, the oldest first: when they were made.
        results: those that are there, oldest first.
        arrived: how many blocks have arrived that do not count as read yet.
        go_on: called at the end of the turn in which blocks were read, whoever waits.
    """

    def __init__(self, go_on: Callable[[], None] | None = None) -> None:
        self.open: dict[int, float] = {}
        self.arrived = 0
        self.go_on = go_on
        self.goes_on = False
        self.results: deque[Block | HypercoreError] = deque()
        self._changed = trio.lowlevel.ParkingLot()

    def put(self, result: Block | HypercoreError) -> None:
        self.results.append(result)
        if self._changed:
            self._changed.unpark_all()

    async def wait(self) -> None:
        """Wait for a result."""
        while not self.results:
            await self._changed.park()

    async def get(self) -> Block:
        while not self.results:
            await self._changed.park()
        return self.take()

    def take(self) -> Block:
        """The oldest result; raises it if it is an error."""
        result = self.results.popleft()
        if isinstance(result, HypercoreError):
            raise result
        return result


class Allowance:
    """What a peer may send without having been asked; only time refills it."""

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = float(UNASKED_BYTES)
        self._at = now

    def take(self, cost: int, now: float) -> None:
        """Pay for a message that came at `now`, seconds of any steady clock.

        Raises:
            ProtocolViolation: the allowance is used up.
        """
        refilled = self._left + (now - self._at) * UNASKED_BYTES_PER_S
        self._left = min(refilled, UNASKED_BYTES) - cost
        self._at = now
        if self._left < 0:
            raise ProtocolViolation("the peer sends far more than it was asked for")


class Reader:
    """Reads one feed on one connection; made by `open_reader` or `read_feed`.

    Attributes:
        connection: the connection it uses.
        feed_key: the feed's 32-byte key.
        extensions: extension messages in the order in which they came. At most 64 wait; of more,
            or of messages above 64 KiB with their name, the oldest or the long ones are dropped
            and counted.
        extensions_dropped: how many that were.
        error: why reading ended, or None as long as it goes on.
    """

    def __init__(
        self,
        connection: Connection,
        feed_key: bytes,
        timeouts: Timeouts,
        session: ClientSession | None = None,
        *,
        paced: bool = True,
    ) -> None:
        """Made by `read_feed`, which lets it begin with a new session, and by peers only."""
        self.connection = connection
        self.feed_key = feed_key
        self.timeouts = timeouts
        self.extensions_dropped = 0
        self.error: HypercoreError | None = None
        self._extensions_in, self.extensions = trio.open_memory_channel[ExtensionMessage](
            EXTENSION_QUEUE
        )
        self._channel: Channel | None = None
        self._their_capability = m.capability(
            connection.handshake_hash, feed_key, initiator=not connection.initiator
        )
        self._session = session or ClientSession(feed_key)
        self._requests: dict[int, _Request] = {}
        self._window = trio.Semaphore(WINDOW, max_value=WINDOW)
        self._unasked = Allowance(trio.current_time())
        self._changed = trio.lowlevel.ParkingLot()
        self._starting: list[Download] = []
        self._head_settles_until = -math.inf
        self._pace = Pace(_dice) if paced else NoPace()
        self._storing_head: list[Frame] | None = None
        self._writing = Writing(self._write, self._count_as_read)
        self._look_ups = LookUps(self._pace, connection.call_at, self._send_request)
        self._last_arrival = -math.inf

    @property
    def head(self) -> Head:
        """The newest verified head."""
        head = self._session.head
        if head is None:
            raise RuntimeError("a reader is handed out with its head")
        return head

    @property
    def nodes(self) -> Mapping[int, Node]:
        """All verified tree nodes by index, a live view: of the heads and of what was read."""
        return self._session.nodes

    @property
    def remote_fork(self) -> int | None:
        """The fork that the hoster announced last; it differs from the head's after a rewrite."""
        return None if self._session.remote is None else self._session.remote.fork

    @property
    def handshake_s(self) -> float:
        """Seconds that the handshake took."""
        return self.connection.handshake_s

    async def get(self, index: int, *, timeout: float | None = None) -> Block:
        """Read one block, as `core.get` does.

        Cancelled, the request is taken back; the reader can be used further.

        Args:
            index: below the head's length.
            timeout: seconds, instead of `timeouts.block`.

        Raises:
            NoData: the hoster has it not, does not announce it in time, or closed.
            BadProof: what came does not verify.
            ReadTimeout: nothing came in time.
            Disconnected: the connection had ended before.
            ValueError: the block is not below the verified length.
        """
        limit = self.timeouts.block if timeout is None else timeout
        waiter = _Waiter()
        async with self._window:
            requested = False
            try:
                with trio.fail_after(limit):
                    await self._wait_announced(index)
                    self._request([index], PRIORITY_GET, waiter)
                    requested = True
                    return await waiter.get()
            except trio.TooSlowError as error:
                if not requested:
                    raise _not_announced(index, limit) from error
                self._writing.finish()
                if waiter.results:
                    return waiter.take()
                raise _late(index, limit) from None
            finally:
                self._cancel(waiter)

    def download(
        self, indices: Iterable[int], window: int = WINDOW, *, timeout: float | None = None
    ) -> Download:
        """Read blocks with up to `window` requests in flight, as `core.download` does.

        Iterate over the result; the blocks come in the order of their arrival. What is left when
        it is not used up is taken back by `Download.close`, or comes and is thrown away.

        Args:
            indices: below the head's length; taken one by one, in the order of the requests, by
                the connection's task. It must not raise anything.
            window: 1 to 48.
            timeout: seconds for each block from its request, instead of `timeouts.block`.
        """
        if not 1 <= window <= WINDOW:
            raise ValueError(f"a window of {window} requests")
        limit = self.timeouts.block if timeout is None else timeout
        return Download(self, iter(indices), window, limit)

    async def wait_longer(self, length: int) -> Head:
        """Wait until a head longer than `length` is verified; it has no time limit of its own.

        Raises:
            HypercoreError: reading ended before.
        """
        while self.error is None and not self._has_longer(length):
            await self._changed.park()
        if self.error is not None:
            raise self.error
        return self.head

    async def wait_moved_on(self, length: int) -> bool:
        """Wait until a head longer than `length` is verified, which gives True.

        False when the hoster went on on another fork, which takes a new reader to follow.

        Raises:
            HypercoreError: reading ended before.
        """
        while self.error is None and not self._has_longer(length):
            if self.remote_fork not in (None, self.head.fork):
                return False
            await self._changed.park()
        self._check()
        return True

    # --- inside ---------------------------------------------------------------------------------

    def _has_longer(self, length: int) -> bool:
        """Whether a longer head is there and, as the stock client would, has been told of."""
        return self.head.length > length and self._storing_head is None

    async def _wait_announced(self, index: int) -> None:
        """Wait until the hoster says that it has the block, asking once where it has not."""
        self._check()
        if not 0 <= index < self.head.length:
            raise ValueError(f"block {index} is not below length {self.head.length}")
        while not self._session.want(index):
            self._flush_now()
            if self._session.remote_blocks.denied(index):
                raise NoData(f"the peer says that it does not have block {index}").of_block(index)
            await self._changed.park()
            self._check()

    def _request(self, indices: Sequence[int], priority: int, owner: _Waiter) -> None:
        """Ask for blocks; the window bounds how many small requests can wait to be sent."""
        request_ids = self._session.request_blocks(indices, priority)
        now = trio.current_time()
        for request_id, index in zip(request_ids, indices, strict=True):
            self._requests[request_id] = _Request(index, owner, now)
            owner.open[request_id] = now
        frames = self._session.outgoing()
        asked = [(frame.nodes, _Asked(self._requests[frame.request], frame)) for frame in frames]
        self.connection.together(partial(self._look_ups.begin, asked))

    def _cancel(self, owner: _Waiter) -> None:
        """Take back the requests of `owner` that are still open."""
        for request_id in owner.open:
            del self._requests[request_id]
            self._session.cancel(request_id)
            self._flush_now()

    def _abandon(self, owner: _Waiter) -> None:
        """Let the requests of `owner` that are still open be answered for nobody."""
        for request_id in owner.open:
            self._requests[request_id].owner = None

    def _answered(self, request_id: int) -> _Request | None:
        """The request with that id, which is open no more; None if nobody knows it."""
        request = self._requests.pop(request_id, None)
        if request is not None and request.owner is not None:
            del request.owner.open[request_id]
        return request

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def _flush_now(self) -> None:
        """Queue what the session wants to say by itself: little, and seldom."""
        self._say(self._session.outgoing())

    def _say(self, frames: Sequence[Frame]) -> None:
        if self._storing_head is not None:
            self._storing_head += frames
        else:
            self._send(frames)

    def _send(self, frames: Sequence[Frame]) -> None:
        channel = self._channel
        if channel is None:
            return
        for frame in frames:
            if frame.batch:
                channel.send_batch_nowait(frame.messages)
            else:
                channel.send_nowait(*frame.messages[0])

    def _send_request(self, asked: _Asked) -> None:
        # Else it was taken back meanwhile.
        if self._requests.get(asked.frame.request) is asked.request:
            self._send((asked.frame,))
            self.connection.stamp_next(asked.request.sent)

    def _write(self, size: int, written: Callable[[], None]) -> None:
        self._call_in(self._pace.write(size), written)

    def _call_in(self, seconds: float, call: Callable[[], None]) -> None:
        if seconds:
            self.connection.call_at(trio.current_time() + seconds, call)
        else:
            call()

    def _count_as_read(self, read: _Read) -> None:
        self._session.unwritten.difference_update(read.learnt)
        self._say(read.frames)
        owner = read.owner
        if owner is not None:
            owner.arrived -= 1
            owner.put(read.block)
            if owner.go_on is not None and not owner.goes_on:
                owner.goes_on = True
                self.connection.after_turn(owner.go_on)

    def _fail(self, error: HypercoreError) -> None:
        """End: what was asked for and did not come is missing."""
        if self.error is not None:
            return
        self._writing.finish()
        self.error = error
        ended = isinstance(error, ChannelClosed | Disconnected)
        for request in self._requests.values():
            missing: HypercoreError = error
            if ended and not isinstance(error, ProtocolViolation):
                missing = NoData(f"block {request.index} was asked for, then: {error}")
                missing.__cause__ = error
            if request.owner is not None:
                request.owner.open.clear()
                request.owner.put(missing)
        self._requests.clear()
        self._extensions_in.close()
        self._changed.unpark_all()

    # As the channel's receiver: called in the connection's task, so that no time is lost.

    def opened(self, channel: Channel) -> None:
        """Greet the hoster, if it knows the feed's key."""
        theirs = m.Handshake.decode(channel.remote_handshake).capability
        if theirs != self._their_capability:
            raise ProtocolViolation("the peer does not know the feed's key")
        self._channel = channel
        self._session.opened()
        self._flush_now()

    def message(self, incoming: Incoming) -> None:
        """Take a message of the hoster, and answer it."""
        self._head_settles_until = -math.inf
        if incoming.arrived > self._last_arrival:
            fast = incoming.arrived - self._last_arrival < FAST_S and len(self._requests) >= MANY
            self.connection.be_patient(FAST_S if fast else 0.0)
            self._last_arrival = incoming.arrived
        is_first = self._session.head is None
        events = self._session.receive(
            incoming.type, incoming.frame, incoming.offset, batched=incoming.batched
        )
        frames = self._session.outgoing()
        if not (events and isinstance(events[0], _ANSWERS)):
            self._unasked.take(UNASKED_MESSAGE_BYTES + len(incoming.frame), incoming.arrived)
        if incoming.type == m.Type.SYNC:
            self._changed.unpark_all()
        for event in events:
            if isinstance(event, BlockVerified):
                self._on_block(event, incoming.arrived, frames)
                frames = []
            elif isinstance(event, HeadVerified):
                self._store_head(frames, is_first=is_first)
                frames = []
            else:
                self._on_event(event, incoming.arrived)
        if frames and self._session.head is None:
            self._call_in(self._pace.ask(), partial(self._send, frames))
        else:
            self._say(frames)
        if self._starting and incoming.type in _STATES:
            starting, self._starting = self._starting, []
            for download in starting:
                download._start()

    def ended(self, error: HypercoreError) -> None:
        """Nothing comes any more."""
        self._fail(error)

    def _on_block(self, event: BlockVerified, arrived: float, frames: list[Frame]) -> None:
        request = self._answered(event.request)
        owner, requested = (
            (None, arrived) if request is None else (request.owner, request.requested)
        )
        if owner is not None:
            owner.arrived += 1
        block = Block(event.index, event.data, event.leaf, requested, arrived)
        self._session.unwritten.update(event.learnt)
        read = _Read(block, owner, frames, event.learnt)
        self._writing.add(read, len(block.data), arrived)

    def _store_head(self, frames: list[Frame], *, is_first: bool) -> None:
        """Tell of a head when it would be written; who signs the first one is told at once."""
        if is_first:
            self._say(frames[:1])
            frames = frames[1:]
        if self._storing_head is not None:
            self._storing_head += frames
            return
        self._storing_head = frames
        self._call_in(self._pace.write_head(), self._head_stored)

    def _head_stored(self) -> None:
        frames, self._storing_head = self._storing_head or [], None
        self._send(frames)
        self._head_settles_until = trio.current_time() + SETTLING_S
        self._changed.unpark_all()

    def _on_event(self, event: Event, arrived: float) -> None:
        match event:
            case RequestFailed():
                request = self._answered(event.request)
                if request is not None and request.owner is not None:
                    self._writing.finish()
                    request.owner.put(event.error.of_block(request.index))
            case ExtensionReceived(name, payload):
                self._on_extension(ExtensionMessage(name, payload, arrived))
            case AvailabilityChanged(pages):
                # What covers many pages is paid for like as many messages, at an eighth.
                self._unasked.take(pages * UNASKED_MESSAGE_BYTES // 8, arrived)
                self._changed.unpark_all()
            case SessionFailed(error):
                self._fail(error)

    def _on_extension(self, message: ExtensionMessage) -> None:
        if len(message.name) + len(message.payload) > MAX_EXTENSION_BYTES:
            self.extensions_dropped += 1
            return
        try:
            self._extensions_in.send_nowait(message)
        except trio.WouldBlock:
            self.extensions.receive_nowait()
            self._extensions_in.send_nowait(message)
            self.extensions_dropped += 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The caller does not listen any more, or reading has ended.
            self.extensions_dropped += 1

    async def _wait_head(self) -> None:
        while self.error is None and (self._session.head is None or self._storing_head is not None):
            await self._changed.park()
        if self._session.head is not None:
            self._check()
            return
        if isinstance(self.error, ChannelClosed):
            raise NotHosted("the peer closed the feed's channel without a head") from self.error
        if (
            isinstance(self.error, Disconnected)
            and not isinstance(self.error, ProtocolViolation)
            and self._session.awaits_head
        ):
            raise NoData(f"the head was asked for, then: {self.error}") from self.error
        self._check()


def _not_announced(index: int, limit: float) -> NoData:
    return NoData(f"block {index} was not announced in {limit:g} s").of_block(index)


def _late(index: int, limit: float) -> ReadTimeout:
    return ReadTimeout(f"block {index} did not come in {limit:g} s").of_block(index)


class Download:
    """Blocks in the order of their arrival; made by `Reader.download`.

    As the stock client's, it begins with one request, and fills its window when the hoster says
    anything about the feed after that; from then on each arrival makes a request. Begun with a new
    head it fills its window at once: the stock client is not done with that message then.
    """

    def __init__(self, reader: Reader, indices: Iterable[int], window: int, limit: float) -> None:
        self._reader = reader
        self._indices = iter(indices)
        settled = trio.current_time() > reader._head_settles_until
        self._window = 1 if settled else window
        self._full_window = window
        self._limit = limit
        self._waiter = _Waiter(self._refill)
        self._ready: deque[Block | HypercoreError] = deque()
        self._unannounced: int | None = None
        self._exhausted = False

    def __aiter__(self) -> Download:
        return self

    async def __anext__(self) -> Block:
        """The next block.

        After an error, or cancelled, the download is over, as after `close`.

        Raises:
            As `Reader.get`.
        """
        try:
            while not self._ready:
                waiter = self._waiter
                # What has come together is handed out one by one; its place is free at once.
                self._ready, waiter.results = waiter.results, self._ready
                self._refill()
                if self._ready:
                    break
                if self._unannounced is not None:
                    await self._wait_announced(self._unannounced)
                elif waiter.open or waiter.arrived:
                    await self._wait()
                else:
                    self._reader._check()
                    raise StopAsyncIteration
            result = self._ready.popleft()
            if isinstance(result, HypercoreError):
                raise result
        except BaseException:
            self.close()
            raise
        return result

    def close(self) -> None:
        """End the download. What is in flight comes and is thrown away, as at the stock client."""
        self._exhausted = True
        self._unannounced = None
        self._reader._abandon(self._waiter)
        self._ready.clear()
        # What has arrived already comes to the old one, which nobody looks at.
        self._waiter = _Waiter()

    def _start(self) -> None:
        """The hoster has spoken: the window may be filled."""
        self._window = self._full_window
        self._reader.connection.after_turn(self._refill)

    async def _wait(self) -> None:
        """Wait for a result, as long as the oldest request may take."""
        waiter = self._waiter
        oldest = next(iter(waiter.open.values()), math.inf)
        with trio.move_on_at(oldest + self._limit) as scope:
            await waiter.wait()
        if scope.cancelled_caught:
            self._reader._writing.finish()
            if not waiter.results:
                # Nothing came since: the oldest one is still open.
                request = self._reader._requests[next(iter(waiter.open))]
                raise _late(request.index, self._limit)

    async def _wait_announced(self, index: int) -> None:
        """Wait until the hoster says that it has the block that is next."""
        try:
            with trio.fail_after(self._limit):
                await self._reader._wait_announced(index)
        except trio.TooSlowError as error:
            raise _not_announced(index, self._limit) from error

    def _refill(self) -> None:
        """Fill the window, up to the first block that is not announced.

        It is called where blocks are read, in the connection's task, before anybody looks at them.
        A window of them may wait for that besides.
        """
        waiter = self._waiter
        waiter.goes_on = False
        waiting = len(self._ready) + len(waiter.results)
        if self._reader.error is not None or waiting >= self._full_window:
            return
        wanted: list[int] = []
        while len(waiter.open) + len(wanted) < self._window:
            index = self._next()
            if index is None:
                break
            wanted.append(index)
        if not wanted:
            return
        self._reader._request(wanted, PRIORITY_DOWNLOAD, waiter)
        if self._window < self._full_window:
            self._reader._starting.append(self)

    def _next(self) -> int | None:
        """The next block, unless it has to be waited for or there is none."""
        index, self._unannounced = self._unannounced, None
        if index is None and not self._exhausted:
            index = next(self._indices, None)
            self._exhausted = index is None
        if index is not None and not self._reader._session.remote_blocks.has(index):
            self._unannounced, index = index, None
        return index


@asynccontextmanager
async def read_feed(
    connection: Connection,
    feed_key: bytes,
    timeouts: Timeouts | None = None,
    *,
    paced: bool = True,
) -> AsyncIterator[Reader]:
    """Open a feed on a connection, verify its head, and hold the reader for the body.

    At the end, however it comes, the channel is closed; the connection stays. An error of the
    body leaves as it is.

    Args:
        connection: open; this side opens the feed's channel.
        feed_key: the feed's 32-byte key.
        timeouts: of each step.
        paced: as of `open_reader`.

    Raises:
        HandshakeFailed: of a connection opened early, the handshake came to nothing.
        NotHosted: the peer rejects the feed, shows no head in time, or has no block.
        BadProof: its head does not verify.
        NoData: it announces a head and refuses, or closes instead of, proving it.
        Disconnected: the connection ended.
    """
    limits = timeouts or Timeouts()
    own = m.capability(connection.handshake_hash, feed_key, initiator=connection.initiator)
    deadline = trio.current_time() + limits.head
    reader = Reader(connection, feed_key, limits, paced=paced)
    try:
        channel = await connection.open_channel(
            m.PROTOCOL,
            discovery_key(feed_key),
            m.Handshake(seeks=True, capability=own).encode(),
            timeout=limits.head,
            receiver=reader,
        )
    except ChannelRejected as error:
        raise NotHosted("the peer does not serve the feed") from error
    except (Disconnected, ReadTimeout) as error:
        if not connection.established:
            raise HandshakeFailed(f"the handshake was not answered: {error}") from error
        if isinstance(error, Disconnected):
            raise
        raise NotHosted(f"the peer did not open the feed in {limits.head:g} s") from error
    try:
        try:
            with trio.fail_at(deadline):
                await reader._wait_head()
        except trio.TooSlowError as error:
            raise NotHosted(f"the peer showed no head in {limits.head:g} s") from error
        yield reader
    finally:
        channel.close()


@asynccontextmanager
async def open_reader(
    stream: trio.abc.Stream,
    *,
    feed_key: bytes,
    keypair: KeyPair,
    expected_remote: bytes | None,
    timeouts: Timeouts | None = None,
    max_frame: int = MAX_FRAME_BYTES,
    paced: bool = True,
) -> AsyncIterator[Reader]:
    """Connect to a hoster as the dialling side and read a feed.

    The stream is closed at the end, however it comes. An error of the body leaves as it is.

    Args:
        stream: connected to the hoster.
        feed_key: the feed's 32-byte key.
        keypair: this side's Noise key pair.
        expected_remote: the hoster's 32-byte Noise key; None accepts any.
        timeouts: of each step.
        max_frame: longest frame accepted, in bytes.
        paced: take the stock client's time (`pace`), and send its packets, so that the hoster
            takes this reader for one. Who has nothing to hide is faster without.

    Raises:
        HandshakeFailed: the handshake did not succeed, in time or at all.
        WrongIdentity: the hoster has another key; it has not seen ours then.
        NotHosted, BadProof, NoData, Disconnected: as `read_feed`.
    """
    limits = timeouts or Timeouts()
    accept = None if expected_remote is None else partial(operator.eq, expected_remote)
    async with open_connection(
        stream,
        keypair,
        initiator=True,
        timeout=limits.handshake,
        accept=accept,
        max_frame=max_frame,
        max_strays=MAX_STRAYS,
        early=True,
        apart=paced,
    ) as connection:
        async with read_feed(connection, feed_key, limits, paced=paced) as reader:
            yield reader
        with trio.CancelScope() as leaving:
            connection.be_patient(0.0)
            reader._call_in(reader._pace.close(), leaving.cancel)
            await connection.wait_closed()
