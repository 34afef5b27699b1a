"""Channels over one stream (hypercore.md §3), without any I/O.

Each side numbers its own channels from 1 on and sends under its own numbers. A channel is up
when both sides have opened the same (protocol, id). A `Mux` keeps the numbers; what it gives to
send are plaintexts for the secret stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from offchain_worker.hypercore.encoding import Decoder, encode_buffer, encode_string, encode_uint
from offchain_worker.hypercore.errors import ProtocolViolation, TooManyStrays

CONTROL = 0
BATCH, OPEN, REJECT, CLOSE = 0, 1, 2, 3

MAX_CHANNELS = 4096


class State(Enum):
    """Of a channel of this side."""

    OPENING = auto()
    OPEN = auto()
    CLOSED = auto()


class MuxChannel:
    """A channel of this side; made by `Mux.open` or `Mux.accept` only.

    Attributes:
        protocol, id: what both sides call it.
        local_id: the number under which this side sends.
        state: see `State`.
        remote_handshake: what the peer sent with its open; empty before.
    """

    __slots__ = ("id", "local_id", "protocol", "remote_handshake", "remote_id", "state")

    def __init__(self, protocol: str, channel_id: bytes, local_id: int) -> None:
        self.protocol = protocol
        self.id = channel_id
        self.local_id = local_id
        self.remote_id = 0
        self.state = State.OPENING
        self.remote_handshake = b""


@dataclass(frozen=True, slots=True)
class Opening:
    """The peer opens a channel that this side has not opened.

    It must be answered by `Mux.accept` or `Mux.reject` before the next event is taken.
    """

    remote_id: int
    protocol: str
    id: bytes
    handshake: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A channel of this side is up."""

    channel: MuxChannel


@dataclass(frozen=True, slots=True)
class Rejected:
    """The peer does not know what this side opened; the channel is closed."""

    channel: MuxChannel


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer closed a channel."""

    channel: MuxChannel


@dataclass(slots=True)
class Message:
    """A message on an open channel.

    Attributes:
        channel: where it came.
        type: its number.
        frame, offset: its body is `frame` from `offset` on.
        batched: whether it came in one frame with others.
    """

    channel: MuxChannel
    type: int
    frame: bytes
    offset: int
    batched: bool = False


Event = Opening | Opened | Rejected | Closed | Message


def encode_message(local_id: int, message_type: int, body: bytes) -> bytes:
    """One message in a plaintext of its own."""
    return encode_uint(local_id) + encode_uint(message_type) + body


def encode_batch(local_id: int, messages: Sequence[tuple[int, bytes]]) -> bytes:
    """Several messages of one channel in one plaintext."""
    return (
        bytes([CONTROL, BATCH])
        + encode_uint(local_id)
        + b"".join(
            encode_buffer(encode_uint(message_type) + body) for message_type, body in messages
        )
    )


class Mux:
    """The channels of one stream.

    Args:
        max_strays: how much may come in all that no channel takes (`stray`); None: any number.
    """

    def __init__(self, max_strays: int | None = None) -> None:
        self._max_strays = max_strays
        self._strays = 0
        self._local: dict[int, MuxChannel] = {}
        self._remote: dict[int, MuxChannel] = {}
        self._pending: dict[int, Opening] = {}
        self._unanswered: dict[tuple[str, bytes], deque[MuxChannel]] = {}
        self._free: list[int] = []
        self._highest_local = 0
        self._highest_remote = 0

    def open(self, protocol: str, channel_id: bytes, handshake: bytes) -> tuple[MuxChannel, bytes]:
        """Open a channel; it is up at the event `Opened`.

        Returns:
            The channel, and the plaintext to send.

        Raises:
            ValueError: it is open already.
        """
        if self.is_open(protocol, channel_id):
            raise ValueError(f"the channel {protocol} is open already")
        channel = self._new_channel(protocol, channel_id)
        self._unanswered.setdefault((protocol, channel_id), deque()).append(channel)
        return channel, self._encode_open(channel, handshake)

    def is_open(self, protocol: str, channel_id: bytes) -> bool:
        """Whether this side has the channel open or opening."""
        return any(
            channel.protocol == protocol and channel.id == channel_id
            for channel in self._local.values()
            if channel.state is not State.CLOSED
        )

    def accept(self, opening: Opening, handshake: bytes) -> tuple[MuxChannel, bytes]:
        """Open the channel that the peer opens; it is up at once.

        Returns:
            The channel, and the plaintext to send.
        """
        del self._pending[opening.remote_id]
        channel = self._new_channel(opening.protocol, opening.id)
        self._connect(channel, opening.remote_id, opening.handshake)
        return channel, self._encode_open(channel, handshake)

    def reject(self, opening: Opening) -> bytes:
        """Refuse the channel that the peer opens; returns the plaintext to send.

        Raises:
            TooManyStrays: see `stray`.
        """
        del self._pending[opening.remote_id]
        self.stray()
        return bytes([CONTROL, REJECT]) + encode_uint(opening.remote_id)

    def close(self, channel: MuxChannel) -> bytes:
        """Close a channel; returns the plaintext to send, empty if it was closed before."""
        if channel.state is State.CLOSED:
            return b""
        plaintext = bytes([CONTROL, CLOSE]) + encode_uint(channel.local_id)
        self._end(channel)
        return plaintext

    def stray(self, count: int = 1) -> None:
        """Count what came and means nothing here: for no channel, a refused open, a keep-alive.

        Raises:
            TooManyStrays: that is more than `max_strays` in all.
        """
        self._strays += count
        if self._max_strays is not None and self._strays > self._max_strays:
            raise TooManyStrays(f"more than {self._max_strays} messages for no channel")

    def receive(self, plaintext: bytes) -> Iterable[Event]:
        """Take a plaintext; gives what happens, to be handled one by one.

        Raises, here or in the iteration:
            ProtocolViolation: the peer breaks the rules of numbering or batching.
            TooManyStrays: see `stray`.
            DecodeError: it is not made of messages.
        """
        decoder = Decoder(plaintext)
        remote_id = decoder.uint()
        message_type = decoder.uint()
        if remote_id in self._remote:
            # What comes for each block takes the shortest way.
            channel = self._remote[remote_id]
            return (Message(channel, message_type, plaintext, decoder.offset),)
        if remote_id != CONTROL or message_type != BATCH:
            return self._one(remote_id, message_type, decoder, batched=False)
        return self._batch(decoder)

    def _batch(self, decoder: Decoder) -> Iterator[Event]:
        remote_id = decoder.uint()
        if not decoder.remaining:
            self.stray()
        batched = False
        while decoder.remaining:
            length = decoder.uint()
            if length == 0:
                self.stray()
                remote_id = decoder.uint()
                continue
            message = Decoder(decoder.fixed(length))
            batched = batched or decoder.remaining > 0
            message_type = message.uint()
            if remote_id == CONTROL and message_type == BATCH:
                raise ProtocolViolation("a batch inside a batch")
            yield from self._one(remote_id, message_type, message, batched)

    def _one(
        self, remote_id: int, message_type: int, decoder: Decoder, batched: bool
    ) -> Iterator[Event]:
        if remote_id != CONTROL:
            channel = self._remote.get(remote_id)
            if channel is None:
                self.stray()
            else:
                yield Message(channel, message_type, decoder.data, decoder.offset, batched)
        elif message_type == OPEN:
            yield from self._on_open(decoder)
        elif message_type == REJECT:
            yield from self._on_reject(decoder.uint())
        elif message_type == CLOSE:
            yield from self._on_close(decoder.uint())
        else:
            self.stray()

    def _on_open(self, decoder: Decoder) -> Iterator[Event]:
        remote_id = decoder.uint()
        protocol = decoder.string()
        channel_id = decoder.buffer()
        handshake = decoder.raw()
        if not 1 <= remote_id <= self._highest_remote + 1 or remote_id in self._remote:
            raise ProtocolViolation(f"the peer opens its channel {remote_id} out of order")
        if len(self._remote) >= MAX_CHANNELS:
            raise ProtocolViolation(f"more than {MAX_CHANNELS} channels")
        self._highest_remote = max(self._highest_remote, remote_id)
        waiting = self._unanswered.get((protocol, channel_id))
        if waiting:
            channel = waiting.popleft()
            if not waiting:
                del self._unanswered[protocol, channel_id]
            if channel.state is State.CLOSED:
                # Closed by this side before the answer came; the peer has learnt it by now.
                self._release(channel)
                return
            self._connect(channel, remote_id, handshake)
            yield Opened(channel)
            return
        opening = Opening(remote_id, protocol, channel_id, handshake)
        self._pending[remote_id] = opening
        yield opening
        if remote_id in self._pending:
            raise RuntimeError("an opening was neither accepted nor rejected")

    def _on_reject(self, local_id: int) -> Iterator[Event]:
        channel = self._local.get(local_id)
        key = None if channel is None else (channel.protocol, channel.id)
        waiting = self._unanswered.get(key) if key is not None else None
        if channel is None or key is None or not waiting or channel not in waiting:
            raise ProtocolViolation("the peer rejects a channel that is not opening")
        waiting.remove(channel)
        if not waiting:
            del self._unanswered[key]
        was_closed = channel.state is State.CLOSED
        channel.state = State.CLOSED
        self._release(channel)
        if not was_closed:
            yield Rejected(channel)

    def _on_close(self, remote_id: int) -> Iterator[Event]:
        channel = self._remote.get(remote_id)
        if channel is None:
            self.stray()
        else:
            self._end(channel)
            yield Closed(channel)

    def _new_channel(self, protocol: str, channel_id: bytes) -> MuxChannel:
        if self._free:
            local_id = self._free.pop()
        else:
            self._highest_local += 1
            local_id = self._highest_local
        channel = MuxChannel(protocol, channel_id, local_id)
        self._local[local_id] = channel
        return channel

    def _encode_open(self, channel: MuxChannel, handshake: bytes) -> bytes:
        return (
            bytes([CONTROL, OPEN])
            + encode_uint(channel.local_id)
            + encode_string(channel.protocol)
            + encode_buffer(channel.id)
            + handshake
        )

    def _connect(self, channel: MuxChannel, remote_id: int, handshake: bytes) -> None:
        channel.remote_id = remote_id
        channel.remote_handshake = handshake
        channel.state = State.OPEN
        self._remote[remote_id] = channel

    def _end(self, channel: MuxChannel) -> None:
        """Close; the number is free again unless the peer's answer to the open is due."""
        answered = channel.state is State.OPEN
        channel.state = State.CLOSED
        if answered:
            del self._remote[channel.remote_id]
            self._release(channel)

    def _release(self, channel: MuxChannel) -> None:
        del self._local[channel.local_id]
        self._free.append(channel.local_id)
