"""A Trio connection: one encrypted stream with channels over any `trio.abc.Stream`.

One task reads, and writes what follows from that at once; another writes what is sent otherwise,
or what the stream does not take at once. All queues are bounded, and the end of the connection,
whoever caused it, reaches every waiting call as a typed error (architecture.md, rules 3 and 5).
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import trio

from offchain_worker.hypercore.alarm import Alarm
from offchain_worker.hypercore.arrival import StampedReader, Stamping
from offchain_worker.hypercore.encoding import blake2b_256
from offchain_worker.hypercore.errors import (
    ChannelClosed,
    ChannelRejected,
    DecodeError,
    Disconnected,
    HandshakeFailed,
    HypercoreError,
    ProtocolViolation,
    ReadTimeout,
    WrongIdentity,
)
from offchain_worker.hypercore.protomux import (
    Closed,
    Message,
    Mux,
    MuxChannel,
    Opened,
    Opening,
    Rejected,
    encode_batch,
    encode_message,
)
from offchain_worker.hypercore.queues import WeightedQueue
from offchain_worker.hypercore.sealing import LENGTH_BYTES, SEAL_BYTES
from offchain_worker.hypercore.secret_stream import MAX_FRAME_BYTES, SecretStream
from offchain_worker.keys import KeyPair

RECEIVE_BYTES = 256 * 1024
SEND_BYTES = 256 * 1024
QUEUE_BYTES = 1024 * 1024
KEEP_ALIVE_S = 5.0
IDLE_S = 60.0
FLUSH_S = 1.0
MIN_WATCH_S = 0.1
TURN_EVENTS = 1_000
# The longest message that fits a frame, whatever the numbers of its channel and type.
MAX_MESSAGE_BYTES = MAX_FRAME_BYTES - SEAL_BYTES - 32
# What a queued message costs besides its bytes, so that empty ones are bounded too.
MESSAGE_WEIGHT = 512


def wall_clock_ms() -> int:
    """Milliseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Incoming:
    """A message of a channel.

    Attributes:
        type: its number.
        frame, offset: `body` is `frame` from `offset` on.
        arrived: when its last byte came in, in seconds of `trio.current_time`: over TCP the
            kernel's stamp, however late this process looks.
        batched: whether it came in one frame with others.
    """

    type: int
    frame: bytes
    offset: int
    arrived: float
    batched: bool = False

    @property
    def body(self) -> bytes:
        """The message's bytes."""
        return self.frame[self.offset :]


Tap = Callable[[bool, bytes, float], None]
"""Told of each plaintext: whether this side sent it, its bytes, and when, in seconds of
`trio.current_time`: handed to the stream, or arrived. It must not wait."""


class Receiver(Protocol):
    """Takes what happens on a channel at once, in the task that reads from the stream.

    The methods must not wait; it saves two task switches for each message.
    """

    def opened(self, channel: Channel) -> None:
        """The channel is up."""
        ...

    def message(self, incoming: Incoming) -> None:
        """A message came. `DecodeError` and `ProtocolViolation` end the connection."""
        ...

    def ended(self, error: HypercoreError) -> None:
        """The channel or the connection has ended."""
        ...


class Channel:
    """One side of an open channel.

    Attributes:
        protocol, id: what both sides call it.
        connection: the connection that carries it.
        error: why it ended, or None as long as it is up.
    """

    def __init__(
        self, connection: Connection, channel: MuxChannel, receiver: Receiver | None = None
    ) -> None:
        """Made by `Connection.open_channel` or `Offer.accept` only."""
        self.connection = connection
        self.protocol = channel.protocol
        self.id = channel.id
        self.error: HypercoreError | None = None
        self._channel = channel
        self._receiver = receiver
        self._incoming: WeightedQueue[Incoming] = WeightedQueue(connection._incoming_bytes)
        self._opened = trio.Event()

    @property
    def remote_handshake(self) -> bytes:
        """What the peer sent when it opened the channel."""
        return self._channel.remote_handshake

    async def send(self, message_type: int, body: bytes) -> None:
        """Queue a message; waits for room. Cancelled, it is not sent.

        Raises:
            ChannelClosed: the channel has ended.
            Disconnected: the connection has ended.
            ValueError: the message has more than `MAX_MESSAGE_BYTES`.
        """
        self._check()
        plaintext = encode_message(self._channel.local_id, message_type, body)
        await self.connection._send(plaintext, self._check)

    async def send_batch(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """Queue several messages in one frame; otherwise as `send`."""
        self._check()
        plaintext = encode_batch(self._channel.local_id, messages)
        await self.connection._send(plaintext, self._check)

    def send_nowait(self, message_type: int, body: bytes) -> None:
        """Queue a message without waiting for room; only for few and small ones.

        After the end of the channel it does nothing.

        Raises:
            ProtocolViolation: far too much waits already, since the peer does not read.
        """
        if self.error is None:
            self.connection._send_control(
                encode_message(self._channel.local_id, message_type, body)
            )

    def send_batch_nowait(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """Queue several messages in one frame; otherwise as `send_nowait`."""
        if self.error is None:
            self.connection._send_control(encode_batch(self._channel.local_id, messages))

    async def receive(self) -> Incoming:
        """Wait for the next message. Cancelled, none is lost.

        Raises:
            ChannelClosed: the channel has ended and everything was received.
            Disconnected: the same for the connection.
        """
        return await self._incoming.get()

    def __aiter__(self) -> Channel:
        return self

    async def __anext__(self) -> Incoming:
        """The next message; the iteration ends with the channel, `error` says why."""
        try:
            return await self.receive()
        except (ChannelClosed, Disconnected):
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Close the channel; what was queued before is still sent."""
        if self.error is None:
            self.connection._close_channel(self._channel)
            self._end(ChannelClosed("the channel was closed by this side"))

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def _open(self) -> None:
        self._opened.set()
        if self._receiver is not None:
            self._receiver.opened(self)

    async def _deliver(self, incoming: Incoming) -> None:
        """Hand over a message; waits while the receiving side is behind."""
        try:
            await self._incoming.put(incoming, len(incoming.frame) + MESSAGE_WEIGHT)
        except (ChannelClosed, Disconnected):
            # Ended by this side meanwhile; nobody takes the message any more.
            return

    def _end(self, error: HypercoreError) -> None:
        if self.error is None:
            self.error = error
            self._incoming.close(error)
            self._opened.set()
            if self._receiver is not None:
                self._receiver.ended(error)


class Offer:
    """A channel that the peer opens and that a handler may accept.

    Attributes:
        protocol, id, handshake: what the peer sent.
        connection: the connection it came on.
    """

    def __init__(self, connection: Connection, opening: Opening) -> None:
        """Made by the connection only."""
        self.connection = connection
        self.protocol = opening.protocol
        self.id = opening.id
        self.handshake = opening.handshake
        self._opening = opening
        self._channel: Channel | None = None

    def accept(self, handshake: bytes) -> Channel:
        """Open the channel from this side too; returns it, up."""
        self._channel = self.connection._accept(self._opening, handshake)
        return self._channel


Handler = Callable[[Offer], None]


def _write_some(sock: trio.socket.SocketType, data: memoryview) -> int:
    """Write what the socket takes at once; returns how many bytes that is.

    None of a broken or closed one: whoever waits for it to take more is told.
    """
    try:
        return os.write(sock.fileno(), data)
    except OSError:
        return 0


def _check_length(plaintext: bytes) -> None:
    if len(plaintext) > MAX_FRAME_BYTES - SEAL_BYTES:
        raise ValueError(f"a message of {len(plaintext)} bytes does not fit a frame")


class Connection:
    """An open connection; made by `open_connection`.

    Attributes:
        initiator: whether this side dialled.
        remote_public_key: the peer's 32-byte static key.
        handshake_hash: 64 bytes, the same on both sides.
        session_id: 32 bytes, its hash (challenge.md §3.4, `session`).
        opened_ms: end of the handshake, ms since 1970.
        handshake_s: how long the handshake took, in seconds.
        bytes_in, bytes_out: on the wire, the handshake included.
        error: why the connection ended, or None as long as it is up.
        tap: told of all plaintexts from the moment that it is set; None by default.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        secret: SecretStream,
        *,
        initiator: bool,
        bytes_in: int,
        bytes_out: int,
        opened_ms: int,
        handshake_s: float,
        keep_alive: float,
        idle_timeout: float,
        incoming_bytes: int,
        max_strays: int | None,
        apart: bool,
    ) -> None:
        """Made by `open_connection` only."""
        if secret.session is None:
            raise RuntimeError("the handshake is not over")
        self.initiator = initiator
        self.remote_public_key = secret.session.remote_public_key
        self.handshake_hash = secret.session.handshake_hash
        self.session_id = blake2b_256(self.handshake_hash)
        self.opened_ms = opened_ms
        self.handshake_s = handshake_s
        self.bytes_in = bytes_in
        self.bytes_out = bytes_out
        self.error: Disconnected | None = None
        self.tap: Tap | None = None
        self._stream = stream
        self._secret = secret
        self._mux = Mux(max_strays)
        self._incoming_bytes = incoming_bytes
        self._keep_alives = 0
        self._channels: dict[MuxChannel, Channel] = {}
        self._handlers: dict[tuple[str, bytes | None], Handler] = {}
        self._socket = stream.socket if isinstance(stream, trio.SocketStream | Stamping) else None
        self._outgoing: WeightedQueue[bytes] = WeightedQueue(QUEUE_BYTES)
        self._apart = apart
        # Of an early connection the handshake's last message goes with what is sent first.
        last = secret.data_to_send()
        self._sealed: deque[memoryview] = deque([memoryview(last)] if last else [])
        self._is_sending = False
        self._to_write = trio.lowlevel.ParkingLot()
        self._in_turn = False
        self._at_end_of_turn: list[Callable[[], None]] = []
        self._keep_alive = keep_alive
        self._idle_timeout = idle_timeout
        self._scope = trio.CancelScope(shield=True)
        self._ended = trio.Event()
        self._last_read = self._last_written = self._last_keep_alive = trio.current_time()
        self._writing_since = math.inf
        self._stamps: list[Callable[[float], None]] = []
        self._alarm: Alarm | None = None
        self._nursery: trio.Nursery | None = None
        self._written = trio.lowlevel.ParkingLot()

    async def open_channel(
        self,
        protocol: str,
        channel_id: bytes,
        handshake: bytes,
        *,
        timeout: float,
        receiver: Receiver | None = None,
    ) -> Channel:
        """Open a channel and wait, at most `timeout` seconds, until the peer opened it too.

        Cancelled, or late, the channel is closed again. With a `receiver`, messages go there, and
        `Channel.receive` has none.

        Raises:
            ChannelRejected: the peer does not know it.
            ReadTimeout: the peer did not answer in time.
            Disconnected: the connection ended.
            ValueError: this side has it open already.
        """
        self._check()
        inner, plaintext = self._mux.open(protocol, channel_id, handshake)
        channel = Channel(self, inner, receiver)
        self._channels[inner] = channel
        try:
            with trio.fail_after(timeout):
                await self._send(plaintext, self._check)
                self._write_at_once()
                await channel._opened.wait()
        except trio.TooSlowError:
            channel.close()
            raise ReadTimeout(f"no answer to the open of {protocol} in {timeout:g} s") from None
        except BaseException:
            channel.close()
            raise
        if channel.error is not None:
            raise channel.error
        return channel

    def pair(self, protocol: str, channel_id: bytes | None, handler: Handler) -> None:
        """Let `handler` decide about channels that the peer opens.

        It is called at once, must not wait, and either calls `Offer.accept` or not, which
        rejects. With `channel_id` None it gets every id of the protocol that has no own handler.
        It may raise `ProtocolViolation` to end the connection.
        """
        self._handlers[protocol, channel_id] = handler

    def unpair(self, protocol: str, channel_id: bytes | None) -> None:
        """Undo `pair`."""
        self._handlers.pop((protocol, channel_id), None)

    def close(self, error: Disconnected | None = None) -> None:
        """End the connection at once; what is queued is lost."""
        self._end(error or Disconnected("the connection was closed by this side"))

    @property
    def established(self) -> bool:
        """Whether the peer has shown that it has the handshake's keys."""
        return self._secret.opened

    async def wait_closed(self) -> Disconnected:
        """Wait for the end of the connection; returns why it ended."""
        await self._ended.wait()
        if self.error is None:
            raise RuntimeError("a connection that ended has its reason")
        return self.error

    async def flush(self) -> None:
        """Wait until everything queued was written, or the connection ended."""
        while self._is_writing and self.error is None:
            await self._written.park()

    def stamp_next(self, stamp: Callable[[float], None]) -> None:
        """Call `stamp` with the time at which what is queued now is handed to the stream.

        A busy process writes later than it queues. It is called once, must not wait, and is
        forgotten when the connection ends before. Exact as long as no more than `SEND_BYTES` wait,
        as with requests.
        """
        self._stamps.append(stamp)

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Call `call` at `when`, seconds of `trio.current_time`, as exactly as `Alarm` can.

        It must not wait, and may raise as what a `Receiver` does. When the connection has ended
        before, it is not called.
        """
        if self._alarm is None:
            if self._nursery is None or self.error is not None:
                return
            self._alarm = Alarm()
            self._nursery.start_soon(self._guard, self._alarm.run)
        self._alarm.call_at(when, partial(self.together, call))

    def after_turn(self, call: Callable[[], None]) -> None:
        """Call `call` when all that came together has been taken; at once where nothing is taken.

        It must not wait, and may raise as what a `Receiver` does.
        """
        if self._in_turn:
            self._at_end_of_turn.append(call)
        else:
            call()

    def together(self, call: Callable[[], None]) -> None:
        """Call `call`, and write what it sends without another task's doing; it must not wait."""
        if self._in_turn:
            call()
            return
        self._begin_turn()
        try:
            call()
        finally:
            self._end_turn()

    def be_patient(self, seconds: float) -> None:
        """Let what `call_at` calls be late by so much, or until something comes from the peer."""
        if self._alarm is not None:
            self._alarm.patience = seconds

    # --- inside ---------------------------------------------------------------------------------

    def _stamp(self, now: float) -> None:
        stamps, self._stamps = self._stamps, []
        for stamp in stamps:
            stamp(now)

    @property
    def _is_writing(self) -> bool:
        """Whether something is queued or on its way to the stream."""
        return len(self._outgoing) > 0 or len(self._sealed) > 0

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    async def _send(self, plaintext: bytes, check: Callable[[], None]) -> None:
        _check_length(plaintext)
        await self._outgoing.put(plaintext, len(plaintext) + MESSAGE_WEIGHT)
        self._to_write.unpark()
        check()

    def _send_control(self, plaintext: bytes) -> None:
        """Queue an answer without waiting; a peer that never reads them is cut off."""
        _check_length(plaintext)
        if self._outgoing.weight > 2 * QUEUE_BYTES:
            raise ProtocolViolation("the peer does not read the answers to its messages")
        self._send_now(plaintext)

    def _send_now(self, plaintext: bytes) -> None:
        self._outgoing.put_nowait(plaintext, len(plaintext) + MESSAGE_WEIGHT)
        if not self._in_turn:
            self._to_write.unpark()

    def _close_channel(self, inner: MuxChannel) -> None:
        self._channels.pop(inner, None)
        plaintext = self._mux.close(inner)
        if plaintext and self.error is None:
            self._send_now(plaintext)

    def _accept(self, opening: Opening, handshake: bytes) -> Channel:
        inner, plaintext = self._mux.accept(opening, handshake)
        channel = Channel(self, inner)
        channel._opened.set()
        self._channels[inner] = channel
        self._send_control(plaintext)
        return channel

    def _end(self, error: Disconnected) -> None:
        if self.error is not None:
            return
        self.error = error
        self._outgoing.close(error)
        for channel in self._channels.values():
            channel._end(error)
        self._channels.clear()
        self._scope.cancel()
        self._ended.set()
        self._written.unpark_all()

    async def _run(self, first: list[bytes]) -> None:
        """Read and write until the connection ends; then close the stream.

        `first` are plaintexts that came together with the end of the handshake.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    nursery = self._nursery
                    nursery.start_soon(self._guard, partial(self._read, first))
                    nursery.start_soon(self._guard, self._write)
                    nursery.start_soon(self._guard, self._watch)
        finally:
            self._end(Disconnected("the connection was abandoned"))
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)

    async def _guard(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Turn what ends a loop into the connection's end."""
        try:
            await loop()
        except Disconnected as error:
            self._end(error)
        except HandshakeFailed as error:
            failure = Disconnected(str(error))
            failure.__cause__ = error
            self._end(failure)
        except DecodeError as error:
            self._end(ProtocolViolation(f"a message cannot be read: {error}"))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            failure = Disconnected("the connection broke")
            failure.__cause__ = error
            self._end(failure)

    async def _read(self, first: list[bytes]) -> None:
        await self._take(first, trio.current_time())
        reader = StampedReader(self._stream)
        buffer = memoryview(bytearray(RECEIVE_BYTES))
        while True:
            size = await reader.read_into(buffer)
            self._last_read = trio.current_time()
            if not size:
                raise Disconnected("the peer closed the connection")
            self.bytes_in += size
            plaintexts = self._secret.receive(buffer[:size])
            if self._secret.keep_alives > self._keep_alives:
                self._mux.stray(self._secret.keep_alives - self._keep_alives)
                self._keep_alives = self._secret.keep_alives
            await self._take(plaintexts, reader.arrived)

    async def _take(self, plaintexts: list[bytes], arrived: float) -> None:
        # It may have ended in the event loop's turn in which they were read.
        self._check()
        taken = 0
        self._begin_turn()
        for plaintext in plaintexts:
            if self.tap is not None:
                self.tap(False, plaintext, arrived)
            for event in self._mux.receive(plaintext):
                if isinstance(event, Message):
                    channel = self._channels.get(event.channel)
                    if channel is not None and channel.error is None:
                        incoming = Incoming(
                            event.type, event.frame, event.offset, arrived, event.batched
                        )
                        if channel._receiver is not None:
                            channel._receiver.message(incoming)
                        else:
                            self._end_turn()
                            await channel._deliver(incoming)
                            self._begin_turn()
                else:
                    self._handle(event)
                taken += 1
                if taken % TURN_EVENTS == 0:
                    # A batch may hold millions; others have their turn in between.
                    self._end_turn()
                    await trio.lowlevel.checkpoint()
                    self._begin_turn()
                # Ended meanwhile: what is left of a batch, however long, is not even looked at.
                self._check()
        if self._alarm is not None:
            self._alarm.ring()
        self._end_turn()

    def _begin_turn(self) -> None:
        """What is sent from now on, without waiting, is written together by `_end_turn`."""
        self._in_turn = True

    def _end_turn(self) -> None:
        """Call what waits for this, then write."""
        while self._at_end_of_turn:
            calls, self._at_end_of_turn = self._at_end_of_turn, []
            for call in calls:
                call()
        self._in_turn = False
        if len(self._outgoing):
            self._write_at_once()

    def _handle(self, event: Opening | Opened | Rejected | Closed) -> None:
        match event:
            case Opening():
                self._on_opening(event)
            case Opened(inner):
                self._channels[inner]._open()
            case Rejected(inner):
                self._channels.pop(inner)._end(
                    ChannelRejected(f"the peer does not serve {inner.protocol}")
                )
            case Closed(inner):
                self._channels.pop(inner)._end(ChannelClosed("the peer closed the channel"))

    def _on_opening(self, opening: Opening) -> None:
        handler = self._handlers.get((opening.protocol, opening.id)) or self._handlers.get(
            (opening.protocol, None)
        )
        offer = Offer(self, opening)
        if handler is not None and not self._mux.is_open(opening.protocol, opening.id):
            handler(offer)
        if offer._channel is None:
            self._send_control(self._mux.reject(opening))

    async def _write(self) -> None:
        """Write what nobody wrote at once."""
        while True:
            while not self._is_writing:
                await self._to_write.park()
            if not self._sealed:
                self._seal()
            self._write_sealed()
            if self._sealed:
                self._is_sending = True
                await self._stream.send_all(self._sealed[0])
                self._is_sending = False
                self._written_all(self._sealed.popleft())

    def _write_at_once(self) -> None:
        """Write what is queued, as far as the socket takes it; the rest is the writing task's.

        To wake that up for each answer would take more of the processor than to write it.
        """
        if self._socket is not None and not self._is_sending:
            self._write_sealed()
            if len(self._outgoing) and not self._sealed:
                self._seal()
                self._write_sealed()
        if self._is_writing:
            self._to_write.unpark()

    def _seal(self) -> None:
        """Seal what is queued: as much as is written at once, or in a packet for each message."""
        outgoing = self._outgoing
        plaintexts: list[bytes] = []
        size = 0
        while len(outgoing) and size < SEND_BYTES:
            plaintexts.append(outgoing.get_nowait())
            size += len(plaintexts[-1])
        frames = memoryview(self._secret.encrypt(*plaintexts))
        self._writing_since = trio.current_time()
        self._stamp(self._writing_since)
        if self.tap is not None:
            for plaintext in plaintexts:
                self.tap(True, plaintext, self._writing_since)
        if not self._apart:
            self._sealed.append(frames)
            return
        start = 0
        for plaintext in plaintexts:
            stop = start + LENGTH_BYTES + len(plaintext) + SEAL_BYTES
            self._sealed.append(frames[start:stop])
            start = stop

    def _write_sealed(self) -> None:
        """Hand over what the socket takes at once."""
        if self._socket is None:
            return
        # Trio's event loop has its turn in each `send_all`: 12 µs, and the next frame later.
        while self._sealed:
            frame = self._sealed[0]
            written = _write_some(self._socket, frame)
            if written < len(frame):
                self._sealed[0] = frame[written:]
                self.bytes_out += written
                return
            self._written_all(self._sealed.popleft())

    def _written_all(self, frame: memoryview) -> None:
        self.bytes_out += len(frame)
        self._last_written = trio.current_time()
        if not self._sealed:
            self._writing_since = math.inf
            self._written.unpark_all()

    async def _watch(self) -> None:
        """Send keep-alives, and end a connection on which nothing moves."""
        while True:
            now = trio.current_time()
            if now >= self._last_read + self._idle_timeout:
                raise Disconnected(f"nothing came for {self._idle_timeout:g} s")
            if now >= self._writing_since + self._idle_timeout:
                raise Disconnected(f"the peer took nothing for {self._idle_timeout:g} s")
            silent_until = max(self._last_written, self._last_keep_alive) + self._keep_alive
            if now >= silent_until and not self._is_writing:
                self._send_now(b"")
                self._last_keep_alive = now
                silent_until = now + self._keep_alive
            await trio.sleep_until(
                min(
                    max(silent_until, now + MIN_WATCH_S),
                    self._last_read + self._idle_timeout,
                    self._writing_since + self._idle_timeout,
                )
            )


@asynccontextmanager
async def open_connection(
    stream: trio.abc.Stream,
    keypair: KeyPair,
    *,
    initiator: bool,
    timeout: float,
    accept: Callable[[bytes], bool] | None = None,
    ephemeral: KeyPair | None = None,
    clock_ms: Callable[[], int] = wall_clock_ms,
    max_frame: int = MAX_FRAME_BYTES,
    keep_alive: float = KEEP_ALIVE_S,
    idle_timeout: float = IDLE_S,
    incoming_bytes: int = QUEUE_BYTES,
    max_strays: int | None = None,
    early: bool = False,
    apart: bool = False,
) -> AsyncIterator[Connection]:
    """Run the handshake over `stream` and hold the connection for the body.

    The stream is closed at the end, however it comes; on a normal end what is queued is written
    first, for at most a second. Cancellation closes it at once. An error of the body leaves as it
    is.

    Handlers (`Connection.pair`) must be set before the body waits for anything: what the peer opens
    is looked at from then on.

    Args:
        stream: connected; owned by the connection from now on.
        keypair: this side's static key pair.
        initiator: whether this side dialled.
        timeout: seconds for the whole handshake.
        accept: called with the peer's static key, before this side shows its own if it dialled;
            False refuses the peer. None accepts everybody.
        ephemeral: a key pair to use instead of a fresh one; for tests only.
        clock_ms: the wall clock.
        max_frame: longest frame accepted, in bytes.
        keep_alive: seconds without writing after which an empty message is sent.
        idle_timeout: seconds without a byte from the peer, or without one taken, that end the
            connection.
        incoming_bytes: what waits at most on a channel until it is received; each message weighs
            `MESSAGE_WEIGHT` more than its frame. Nothing is read from the stream meanwhile.
        max_strays: how much may come that no channel takes, keep-alives among it, until the
            connection is ended; None: any number.
        early: hold the connection as soon as its keys are known, as the stock client does, and
            not only when the peer has shown that it has them too (`Connection.established`).
            Until then what goes wrong with the handshake ends the connection as `Disconnected`.
        apart: hand each message to the stream by itself, which over TCP makes a packet of each, as
            the stock client does; it takes more of the processor.

    Raises:
        HandshakeFailed: wrong bytes, the peer went away, or `timeout`.
        WrongIdentity: `accept` refused the key.
    """
    started = trio.current_time()
    secret = SecretStream(
        initiator=initiator,
        keypair=keypair,
        ephemeral=ephemeral or KeyPair.generate(),
        max_frame=max_frame,
    )
    try:
        with trio.fail_after(timeout):
            first, bytes_in, bytes_out = await _shake_hands(stream, secret, accept, early=early)
    except BaseException as error:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)
        if isinstance(error, trio.TooSlowError):
            raise HandshakeFailed(f"the handshake took more than {timeout:g} s") from None
        if isinstance(error, trio.BrokenResourceError | trio.ClosedResourceError | Disconnected):
            raise HandshakeFailed(f"the connection broke during the handshake: {error}") from error
        raise
    connection = Connection(
        stream,
        secret,
        initiator=initiator,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        opened_ms=clock_ms(),
        handshake_s=trio.current_time() - started,
        keep_alive=keep_alive,
        idle_timeout=idle_timeout,
        incoming_bytes=incoming_bytes,
        max_strays=max_strays,
        apart=apart,
    )
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection._run, first)
        try:
            yield connection
            with trio.move_on_after(FLUSH_S):
                await connection.flush()
        except BaseException as error:
            # Raised again below, outside the nursery, which would wrap it in a group.
            failure = error
        finally:
            connection.close()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure


async def _shake_hands(
    stream: trio.abc.Stream,
    secret: SecretStream,
    accept: Callable[[bytes], bool] | None,
    *,
    early: bool,
) -> tuple[list[bytes], int, int]:
    """Run the handshake; returns plaintexts that came early, bytes received and sent."""
    first: list[bytes] = []
    bytes_in = bytes_out = 0
    accepted = accept is None
    while True:
        if not accepted and accept is not None and secret.session is not None:
            if not accept(secret.session.remote_public_key):
                raise WrongIdentity("the peer has another static key than the expected one")
            accepted = True
        if early and secret.session is not None:
            return first, bytes_in, bytes_out
        data = secret.data_to_send()
        if data:
            await stream.send_all(data)
            bytes_out += len(data)
        if secret.opened:
            return first, bytes_in, bytes_out
        received = await stream.receive_some(RECEIVE_BYTES)
        if not received:
            raise HandshakeFailed("the peer closed the connection during the handshake")
        bytes_in += len(received)
        first += secret.receive(received)
