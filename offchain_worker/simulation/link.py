"""A link of known delay, bandwidth and jitter, in user space: a TCP relay in front of a target.

What comes in leaves at times that are fixed the moment it enters: its bytes take their turn on
the wire after whatever entered before (`bandwidth`), then travel (`delay` and `jitter`). All times
are absolute, so that nothing adds up over a long transfer. Both directions, and each of them for
all connections together, behave like one cable. What waits for its turn is bounded; beyond that
nothing is read, and TCP slows the sender down.

What it does not model: losses, and the round trip that making a connection takes. The kernel
accepts at once, so the first byte is the first that is late.

A process of its own: `python -m offchain_worker.simulation.link IP:PORT --delay-ms 25 …`.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Self

import trio

from offchain_worker.errors import UsageError
from offchain_worker.hypercore.arrival import StampedReader
from offchain_worker.service.config import parse_address

READ_BYTES = 64 * 1024
PACKET_BYTES = 1_460
"""The least that is handed over at a time: what one packet carries on an ordinary network."""
SLICE_S = 0.000_25
"""Faster links hand over as much as passes in this time, so that 40 MB/s cost few wake-ups."""
QUEUE_S = 0.02
MIN_QUEUE_BYTES = 64 * 1024
RECEIVE_WINDOW_BYTES = 256 * 1024
UNLIMITED_BYTES = 8 * 1024 * 1024
"""What is on its way at most on one connection of a link without a bandwidth."""


class Way(Enum):
    """A direction of a link."""

    UP = "up"
    """From who dials to the target."""
    DOWN = "down"


@dataclass(frozen=True)
class LinkShape:
    """One direction of a link.

    Attributes:
        delay_s: from the end of a byte's turn on the wire to its arrival, seconds.
        bandwidth: bytes per second, all connections together; None: no limit.
        jitter_s: at most so many seconds more, drawn uniformly for each read of up to 64 KiB.
            Nothing overtakes: what is fast waits for the slow one before it.
        queue_bytes: how many may wait for their turn; None: 20 ms' worth, at least 64 KiB.
    """

    delay_s: float = 0.0
    bandwidth: float | None = None
    jitter_s: float = 0.0
    queue_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.delay_s < 0 or self.jitter_s < 0:
            raise ValueError("a link cannot be early")
        if self.bandwidth is not None and self.bandwidth <= 0:
            raise ValueError("a link without bandwidth carries nothing")

    @property
    def queue(self) -> int:
        """`queue_bytes`, or what stands for None."""
        if self.queue_bytes is not None:
            return self.queue_bytes
        return max(MIN_QUEUE_BYTES, int((self.bandwidth or 0) * QUEUE_S))

    @property
    def slice_bytes(self) -> int:
        """How many bytes are handed over together."""
        if self.bandwidth is None:
            return READ_BYTES
        return max(PACKET_BYTES, min(READ_BYTES, int(self.bandwidth * SLICE_S)))

    @property
    def under_way_bytes(self) -> int:
        """How much of one connection is waiting, or on its way, at most."""
        if self.bandwidth is None:
            return UNLIMITED_BYTES
        return 2 * self.queue + READ_BYTES + int(self.bandwidth * (self.delay_s + self.jitter_s))


class Schedule:
    """When bytes that enter one direction of a link leave it. Pure: times are arguments.

    Args:
        shape: of the direction.
        dice: draws the jitter.
    """

    def __init__(self, shape: LinkShape, dice: random.Random) -> None:
        self.shape = shape
        self._dice = dice
        self._free_at = 0.0
        self._last_due = 0.0

    def room_at(self) -> float:
        """From when on the queue has room; what is read then finds the wire still busy."""
        if self.shape.bandwidth is None:
            return 0.0
        return self._free_at - self.shape.queue / self.shape.bandwidth

    def enter(self, size: int, now: float) -> list[tuple[float, int]]:
        """`size` bytes enter at `now`; when they arrive: ascending times, each with a number."""
        shape = self.shape
        late = shape.delay_s
        if shape.jitter_s:
            late += self._dice.uniform(0.0, shape.jitter_s)
        dues = []
        begun = max(now, self._free_at)
        done = 0
        while done < size:
            step = min(shape.slice_bytes, size - done)
            done += step
            sent_at = begun if shape.bandwidth is None else begun + done / shape.bandwidth
            self._last_due = max(self._last_due, sent_at + late)
            dues.append((self._last_due, step))
        if shape.bandwidth is not None:
            self._free_at = begun + size / shape.bandwidth
        return dues

    def end(self, now: float) -> float:
        """When the end of a stream that ends at `now` arrives."""
        return max(self._last_due, now + self.shape.delay_s)


@dataclass(frozen=True, slots=True)
class Passage:
    """Bytes that entered a link.

    Attributes:
        connection: its number, from 0 in the order of connecting.
        way: the direction.
        entered: when they came in by the kernel's stamp, seconds of `trio.current_time`.
        data: the bytes.
        dues: when they shall leave, as from `Schedule.enter`.
    """

    connection: int
    way: Way
    entered: float
    data: bytes | bytearray
    dues: list[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """Bytes that left a link, in the order in which they had entered.

    Attributes:
        connection, way: as in `Passage`.
        size: how many.
        left: when they were handed over, seconds of `trio.current_time`: on a busy machine later
            than due.
    """

    connection: int
    way: Way
    size: int
    left: float


Observe = Callable[[Passage | Delivery], None]


def _ignore(event: Passage | Delivery) -> None:
    del event


@dataclass(frozen=True)
class Link:
    """A running link.

    Attributes:
        host, port: where it listens.
    """

    host: str
    port: int


@asynccontextmanager
async def open_link(
    host: str,
    port: int,
    *,
    up: LinkShape | None = None,
    down: LinkShape | None = None,
    seed: int = 0,
    observe: Observe = _ignore,
) -> AsyncIterator[Link]:
    """Relay connections to `host`, `port` as long as the body runs.

    A connection that breaks, or cannot be made to the target, is broken on the other side too, at
    once. At the end of the body, or cancelled, all are closed and what is on its way is lost.

    Args:
        host, port: the target.
        up: towards the target; None: as `down`.
        down: from the target; None: as `up`, or neither delay nor limit.
        seed: of the jitter.
        observe: told of all that enters, with the times at which it is due, and of all that
            leaves; must not wait.

    Raises:
        OSError: no port to listen on.
    """
    up = up or down or LinkShape()
    relay = _Relay(host, port, {Way.UP: up, Way.DOWN: down or up}, seed, observe)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = listener.socket.getsockname()
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, relay.carry, [listener]))
        try:
            yield Link(address[0], address[1])
        except BaseException as error:
            # Raised again below, outside the nursery, which would wrap it in a group.
            failure = error
        finally:
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _Relay:
    def __init__(
        self,
        host: str,
        port: int,
        shapes: dict[Way, LinkShape],
        seed: int,
        observe: Observe,
    ) -> None:
        dice = random.Random(seed)  # noqa: S311 - a model, not a secret
        self.ways = {
            way: Schedule(shape, random.Random(dice.getrandbits(64)))  # noqa: S311
            for way, shape in shapes.items()
        }
        self._target = host, port
        self._observe = observe
        self._connections = 0

    async def carry(self, near: trio.SocketStream) -> None:
        """Carry one incoming connection."""
        number = self._connections
        self._connections += 1
        try:
            far = await trio.open_tcp_stream(*self._target)
        except OSError:
            await trio.aclose_forcefully(near)
            return
        for stream, way in ((near, Way.UP), (far, Way.DOWN)):
            # What the kernel holds comes on top of the link's own queue, so it holds little.
            window = min(self.ways[way].shape.queue, RECEIVE_WINDOW_BYTES)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        await carry(near, far, self.ways, number=number, observe=self._observe)


async def carry(
    near: trio.abc.HalfCloseableStream,
    far: trio.abc.HalfCloseableStream,
    ways: Mapping[Way, Schedule],
    *,
    precise: bool = True,
    number: int = 0,
    observe: Observe = _ignore,
) -> None:
    """Carry one connection until both directions have ended, or one broke; closes both streams.

    Args:
        near, far: to who dialled, and to the target.
        ways: a schedule for each direction; connections may share them.
        precise: False sleeps by Trio's clock, for a mock clock.
        number: of the connection, in its passages.
        observe: as in `open_link`.
    """
    async with near, far, trio.open_nursery() as nursery:
        for way, source, sink in ((Way.UP, near, far), (Way.DOWN, far, near)):
            alarm = open_alarm() if precise else Alarm(None)
            wire = _Wire(ways[way], alarm, number, way, observe)
            nursery.start_soon(wire.carry, source, sink, nursery.cancel_scope)


class _Wire:
    """One direction of one connection."""

    def __init__(
        self, schedule: Schedule, alarm: Alarm, number: int, way: Way, observe: Observe
    ) -> None:
        self._schedule = schedule
        self._alarm = alarm
        self._number = number
        self._way = way
        self._observe = observe
        self._bytes = 0
        self._pieces: deque[tuple[float, memoryview]] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._end: float | None = None

    async def carry(
        self,
        source: trio.abc.ReceiveStream,
        sink: trio.abc.HalfCloseableStream,
        connection: trio.CancelScope,
    ) -> None:
        """Carry until the end; cancel the whole `connection` when it breaks."""
        schedule, reader = self._schedule, StampedReader(source)
        try:
            with self._alarm:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.deliver, sink)
                    while True:
                        await self.wait_room()
                        if schedule.room_at() > trio.current_time():
                            await trio.sleep_until(schedule.room_at())
                            continue
                        data = await reader.read(READ_BYTES)
                        if not data:
                            self.put_end(schedule.end(trio.current_time()))
                            return
                        entered = reader.arrived
                        dues = schedule.enter(len(data), entered)
                        self.put(data, dues)
                        self._observe(Passage(self._number, self._way, entered, data, dues))
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            connection.cancel()

    def put(self, data: bytes, dues: list[tuple[float, int]]) -> None:
        view, offset = memoryview(data), 0
        for due, size in dues:
            self._pieces.append((due, view[offset : offset + size]))
            offset += size
        self._bytes += len(data)
        self._changed.unpark_all()

    def put_end(self, due: float) -> None:
        self._end = due
        self._changed.unpark_all()

    async def wait_room(self) -> None:
        while self._bytes >= self._schedule.shape.under_way_bytes:
            await self._changed.park()

    async def deliver(self, sink: trio.abc.HalfCloseableStream) -> None:
        """Hand everything over when it is due, until the end."""
        while True:
            if self._pieces:
                await self._alarm.sleep_until(self._pieces[0][0])
                await self._hand_over(sink, trio.current_time())
            elif self._end is not None:
                await self._alarm.sleep_until(self._end)
                await sink.send_eof()
                return
            else:
                await self._changed.park()

    async def _hand_over(self, sink: trio.abc.SendStream, now: float) -> None:
        due = []
        size = 0
        while self._pieces and self._pieces[0][0] <= now and size < READ_BYTES:
            due.append(self._pieces.popleft()[1])
            size += len(due[-1])
        if due:
            self._observe(Delivery(self._number, self._way, size, now))
            await sink.send_all(due[0] if len(due) == 1 else b"".join(due))
            self._bytes -= size
            self._changed.unpark_all()


# --- sleeping precisely -------------------------------------------------------------------------


class Alarm:
    """Wakes a task within some ten microseconds. Trio's own sleep, by epoll, is up to 1 ms late."""

    def __init__(self, descriptor: int | None) -> None:
        """Made by `open_alarm` only; without a descriptor it is as late as Trio."""
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._descriptor is not None:
            trio.lowlevel.notify_closing(self._descriptor)
            os.close(self._descriptor)

    async def sleep_until(self, deadline: float) -> None:
        """Sleep until `trio.current_time()` is `deadline`; one task at a time."""
        while (left := deadline - trio.current_time()) > 0:
            if self._descriptor is None:
                await trio.sleep(left)
            else:
                _set_timer(self._descriptor, left)
                await trio.lowlevel.wait_readable(self._descriptor)


def open_alarm() -> Alarm:
    """An alarm by timerfd on Linux; elsewhere, one by Trio's sleep.

    Raises:
        OSError: no descriptor is left.
    """
    if not sys.platform.startswith("linux"):
        return Alarm(None)
    descriptor = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "no timer")
    return Alarm(descriptor)


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


_CLOCK_MONOTONIC = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _set_timer(descriptor: int, seconds: float) -> None:
    """Let the descriptor become readable after `seconds`; an earlier setting is void."""
    nanoseconds = max(1, int(seconds * 1e9))
    spec = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(*divmod(nanoseconds, 1_000_000_000)))
    if _libc.timerfd_settime(descriptor, 0, ctypes.byref(spec), None):
        raise OSError(ctypes.get_errno(), "the timer cannot be set")


# --- a process of its own -----------------------------------------------------------------------


def main() -> None:
    """Run a link until standard input closes; one line of JSON says where it listens."""
    parser = argparse.ArgumentParser(prog="python -m offchain_worker.simulation.link")
    parser.add_argument("target", metavar="IP:PORT")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="one way")
    parser.add_argument("--bandwidth", type=float, help="bytes per second, in each direction")
    parser.add_argument("--jitter-ms", type=float, default=0.0)
    parser.add_argument("--queue-bytes", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        target = parse_address(options.target)
        shape = LinkShape(
            options.delay_ms / 1_000,
            options.bandwidth,
            options.jitter_ms / 1_000,
            options.queue_bytes,
        )
    except (UsageError, ValueError) as error:
        parser.error(str(error))
    trio.run(_main, target.host, target.port, shape, options.seed)


async def _main(host: str, port: int, shape: LinkShape, seed: int) -> None:
    async with open_link(host, port, up=shape, seed=seed) as link:
        sys.stdout.write(json.dumps({"host": link.host, "port": link.port}) + "\n")
        sys.stdout.flush()
        stdin = trio.lowlevel.FdStream(os.dup(sys.stdin.fileno()))
        async with stdin:
            while await stdin.receive_some(1_024):
                pass


if __name__ == "__main__":
    main()
