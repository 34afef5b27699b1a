"""When bytes arrived, as the kernel saw it (challenge.md §3.5).

A worker with much to do looks at a socket late: what it reads has been there for a while. So the
kernel is asked to stamp what comes in (`SO_TIMESTAMPNS`, Linux), and the stamp comes with the
bytes. Of what is read together it is that of the last packet.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import Protocol, runtime_checkable

import trio

_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
_STEP_S = 0.01


@runtime_checkable
class Stamping(Protocol):
    """A stream around another that knows itself when what it gave last had arrived."""

    @property
    def arrived(self) -> float:
        """Seconds of `trio.current_time`."""
        ...

    @property
    def socket(self) -> trio.socket.SocketType | None:
        """What it writes to as it is, if that is a socket."""
        ...

    async def read_into(self, buffer: memoryview) -> int:
        """As `StampedReader.read_into`."""
        ...


class StampedReader:
    """Reads from a stream and knows when what was read had arrived.

    The kernel stamps by the wall clock. `arrived` is of Trio's clock: what is older, by the wall
    clock, than the moment of reading was there so much earlier. When the two clocks moved apart
    since the last read, the wall clock was set, and the moment of reading is taken.

    Attributes:
        arrived: seconds of `trio.current_time`, never later than the return of the last `read`,
            never earlier than the stamp of the one before; where the stream is no TCP stream, or
            the kernel does not stamp, the return of the last `read`.
    """

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._socket = _stamping_socket(stream)
        self._stamping = stream if isinstance(stream, Stamping) else None
        self.arrived = trio.current_time()
        self._apart = time.time() - self.arrived

    async def read(self, max_bytes: int) -> bytes:
        """Read up to so many bytes; none at the end of the stream.

        Raises:
            trio.BrokenResourceError: the connection broke.
            trio.ClosedResourceError: it was closed here.
        """
        buffer = bytearray(max_bytes)
        with memoryview(buffer) as view:
            size = await self.read_into(view)
            return bytes(view[:size])

    async def read_into(self, buffer: memoryview) -> int:
        """Read as many bytes as are there into `buffer`; returns how many, 0 at the end.

        Who reads much has one buffer for all: memory for each read would be got from the system
        and given back again. Otherwise as `read`.
        """
        if self._stamping is not None:
            size = await self._stamping.read_into(buffer)
            self.arrived = self._stamping.arrived
        elif self._socket is not None:
            try:
                size, ancillary, _, _ = await self._socket.recvmsg_into([buffer], _ANCILLARY_BYTES)
            except OSError as error:
                raise trio.BrokenResourceError(f"the connection broke: {error}") from error
            self._take(ancillary)
        else:
            data = await self._stream.receive_some(len(buffer))
            size = len(data)
            buffer[:size] = data
            self.arrived = trio.current_time()
        return size

    def _take(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        now, wall = trio.current_time(), time.time()
        apart, self._apart = self._apart, wall - now
        arrived = now
        if abs(self._apart - apart) < _STEP_S:
            for level, kind, stamp in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                    seconds, nanoseconds = _TIMESPEC.unpack_from(stamp)
                    arrived = seconds + nanoseconds / 1e9 - self._apart
        self.arrived = min(now, max(self.arrived, arrived))


def _stamping_socket(stream: trio.abc.ReceiveStream) -> trio.socket.SocketType | None:
    if not isinstance(stream, trio.SocketStream) or not sys.platform.startswith("linux"):
        return None
    try:
        stream.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        # The kernel does not stamp, or the connection is gone, which reading will tell.
        return None
    return stream.socket
