"""How many sessions a worker holds at once, and how fast it reads in all of them together.

The moments of audits are drawn and cannot be moved, so audits of one worker meet. Two limits are
the operator's: sockets, and bytes per second. A third follows from measuring: a session that reads
one chunk after the other would measure the worker's own crowded link beside others that fill it.
So while one runs, all others together read at most `ROOM` of what the link carries: of
`max_download`, or, where the operator names none, of the most that any second has brought so far.

Who has read enough stops reading for a moment, and asks for the next chunks when it goes on. A
hoster sees the ordinary back-pressure of TCP, as from a reader with a slow disk. Such pauses are
known (`Seat.pauses`): they are left out of a throughput, and a session that they made late claims
nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from enum import Enum
from types import TracebackType
from typing import Self

import structlog
import trio

from offchain_worker.audit.session import Way
from offchain_worker.hypercore.arrival import StampedReader
from offchain_worker.hypercore.errors import WayOutFailed

_log = structlog.get_logger()

ROOM = 0.5
"""What others may take of the link while a latency is measured."""
SOCKETS = 64
FOR_AUDITS = 0.5
"""The part of the sockets that only audits get."""
BURST_S = 0.05
"""What may be read at once, in seconds of the allowed rate."""
READ_BYTES = 64 * 1024
LONGEST_PAUSE_S = 0.1
"""After which is looked again: the rate may have changed."""
TOO_LONG = 0.1
"""Pauses of this part of a session's time-out may have made it late."""
MAX_PAUSES = 4_096
SECOND = 1.0


class Kind(Enum):
    """What a session is for."""

    LATENCY = "latency"
    """An audit that reads one chunk after the other; it never pauses, and gets room."""
    THROUGHPUT = "throughput"
    """An audit with a full window."""
    OBSERVED = "observed"
    """No audit: it gets what sockets are left."""


class Capacity:
    """What all sessions of a worker share.

    Attributes:
        counters: `refused`: connections that were not made for want of a socket; `paused`: how
            often a session paused.
    """

    def __init__(self, max_sockets: int = SOCKETS, max_download: float | None = None) -> None:
        """Limits of the operator.

        Args:
            max_sockets: connections to hosters and peers of their feeds at a time, at least 2.
            max_download: bytes per second of all sessions; None: no limit.

        Raises:
            ValueError: no session could run.
        """
        if max_sockets < 2:
            raise ValueError("one socket is too few: half of them are kept for audits")
        if max_download is not None and max_download <= 0:
            raise ValueError("without bytes nothing is read")
        self.counters: Counter[str] = Counter()
        self._max_sockets = max_sockets
        self._max_download = max_download
        self._sockets = 0
        self._latencies = 0
        self._level = 0.0
        self._filled_at = 0.0
        self._second = (0.0, 0)
        self._most = 0

    def seat(self, kind: Kind, way: Way | None = None, *, timeout_s: float = 20.0) -> Seat:
        """A place for one session.

        Args:
            kind: of the session.
            way: that it takes.
            timeout_s: what it waits for a chunk; pauses of a part of that may make it late.
        """
        return Seat(self, kind, way or Way(), timeout_s)

    def rate(self) -> float | None:
        """Bytes per second that those who pause may read together now; None: no limit."""
        if self._latencies == 0:
            return self._max_download
        known = self._max_download or self._most
        return ROOM * known if known else None

    def wait_s(self, now: float) -> float:
        """How long to pause before reading on."""
        rate = self.rate()
        if rate is None:
            self._level, self._filled_at = 0.0, now
            return 0.0
        self._level = min(BURST_S * rate, self._level + (now - self._filled_at) * rate)
        self._filled_at = now
        # Less than a byte is nothing, and so short a sleep would not move a clock.
        return -self._level / rate if self._level <= -1.0 else 0.0

    def took(self, size: int, now: float) -> None:
        """So many bytes were read."""
        self._level -= size
        begun, count = self._second
        if now - begun >= SECOND:
            self._most = max(self._most, round(count / (now - begun)) if begun else 0)
            begun, count = now, 0
        self._second = begun, count + size

    def take_socket(self, kind: Kind) -> None:
        """Count a connection.

        Raises:
            WayOutFailed: there are too many already.
        """
        most = self._max_sockets
        if kind is Kind.OBSERVED:
            most -= int(FOR_AUDITS * most)
        if self._sockets >= most:
            self.counters["refused"] += 1
            _log.warning("capacity.no_socket", session=kind.value, open=self._sockets)
            raise WayOutFailed(f"all {most} sockets that it may use are in use")
        self._sockets += 1

    def give_socket(self) -> None:
        """A connection has ended."""
        self._sockets -= 1

    def measuring(self, by: int) -> None:
        """So many more sessions measure a latency."""
        self._latencies += by


class Seat(Way):
    """One session's place, from the first connection to the end of the `with` block.

    Attributes:
        pauses: when the session did not read, though it could have: begin and end of each pause,
            seconds of `trio.current_time`; beyond `MAX_PAUSES` the last one is made longer.
    """

    def __init__(self, capacity: Capacity, kind: Kind, way: Way, timeout_s: float) -> None:
        """Made by `Capacity.seat` only."""
        self.pauses: list[tuple[float, float]] = []
        self._capacity = capacity
        self._kind = kind
        self._way = way
        self._timeout_s = timeout_s
        self._paused_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.pauses:
            _log.info(
                "capacity.paused",
                session=self._kind.value,
                seconds=round(self._paused_s, 3),
                times=len(self.pauses),
            )

    async def prepare(self) -> None:
        """As the way's.

        Raises:
            WayOutFailed: there is no way out.
        """
        await self._way.prepare()

    async def confirm(self) -> None:
        """Look whether a failure was the way's, or came of our own pauses.

        Raises:
            WayOutFailed: it may have been.
        """
        if self._paused_s > TOO_LONG * self._timeout_s:
            raise WayOutFailed(f"the own limits held the session up for {self._paused_s:.2f} s")
        await self._way.confirm()

    async def connect(self, dial: Callable[[], Awaitable[trio.abc.Stream]]) -> trio.abc.Stream:
        """Dial, and read from what comes of it as the limits allow.

        Raises:
            WayOutFailed: no socket is left.
            OSError, HypercoreError: as `dial`.
        """
        self._capacity.take_socket(self._kind)
        try:
            stream = await dial()
        except BaseException:
            self._capacity.give_socket()
            raise
        return PacedStream(stream, self)

    async def wait(self) -> None:
        """Pause as long as others need the link; a checkpoint only if it has to.

        Cancelled, since the session ends, the pause counts all the same: it may be why.
        """
        begun = trio.current_time()
        wait = self._capacity.wait_s(begun)
        if wait <= 0:
            return
        try:
            while wait > 0:
                await trio.sleep(min(wait, LONGEST_PAUSE_S))
                wait = self._capacity.wait_s(trio.current_time())
        finally:
            self._note(begun, trio.current_time())

    def _note(self, begun: float, ended: float) -> None:
        self._capacity.counters["paused"] += 1
        self._paused_s += ended - begun
        if len(self.pauses) < MAX_PAUSES:
            self.pauses.append((begun, ended))
        else:
            self.pauses[-1] = self.pauses[-1][0], ended


class PacedStream(trio.abc.HalfCloseableStream):
    """A stream that is read as the limits allow; made by `Seat.connect`.

    Attributes:
        arrived: when what was read last had arrived (`hypercore.arrival`).
    """

    def __init__(self, stream: trio.abc.Stream, seat: Seat) -> None:
        """`stream` is owned by it from now on."""
        self._stream = stream
        self._seat = seat
        self._reader = StampedReader(stream)
        self._open = True
        self._measuring = seat._kind is Kind.LATENCY
        if self._measuring:
            seat._capacity.measuring(1)

    @property
    def arrived(self) -> float:
        """As `StampedReader.arrived`."""
        return self._reader.arrived

    @property
    def socket(self) -> trio.socket.SocketType | None:
        """The stream's, if it is one of TCP: what is written does not wait for others."""
        return self._stream.socket if isinstance(self._stream, trio.SocketStream) else None

    async def read_into(self, buffer: memoryview) -> int:
        """Pause if need be, then read into `buffer`; returns how many bytes, 0 at the end.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: as the stream.
        """
        if not self._measuring:
            await self._seat.wait()
        size = await self._reader.read_into(buffer[:READ_BYTES])
        self._seat._capacity.took(size, trio.current_time())
        return size

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As `read_into`, with bytes of their own."""
        buffer = bytearray(min(READ_BYTES, max_bytes or READ_BYTES))
        with memoryview(buffer) as view:
            return bytes(view[: await self.read_into(view)])

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """As the stream, if it can."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the stream, and give the socket back."""
        if self._open:
            self._open = False
            self._seat._capacity.give_socket()
            if self._measuring:
                self._seat._capacity.measuring(-1)
        await self._stream.aclose()
