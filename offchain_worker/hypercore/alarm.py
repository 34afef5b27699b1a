"""Calls at given times, exact to a fraction of a millisecond.

Trio's event loop waits in whole milliseconds (`epoll_wait`), and rounds up. Where the kernel has
timers that can be waited for as files are (`timerfd`, Linux), one of them wakes the loop in time;
elsewhere, and with a clock that is not the real one, Trio's own deadline does.
"""

from __future__ import annotations

import contextlib
import ctypes
import heapq
import itertools
import math
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

_CLOCK_MONOTONIC = 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_TIMES = struct.Struct("@4l")
_COUNT_BYTES = 8
_LONGEST_S = 3_600.0
"""What is further away may be a millisecond late."""


class Alarm:
    """Calls functions at their times, in a task of its own (`run`).

    Attributes:
        patience: by so many seconds calls may be late, for `ring` to make them: to wake up costs
            the process more than they do.
    """

    def __init__(self) -> None:
        self.patience = 0.0
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._scope: trio.CancelScope | None = None
        self._timer: _Timer | None = None

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Have `call` called at `when`, seconds of `trio.current_time`; it must not wait.

        Calls of the same time come in the order in which they were asked for.
        """
        heapq.heappush(self._calls, (when, next(self._numbers), call))
        if self._calls[0][0] == when:
            self._set()

    async def run(self) -> None:
        """Make the calls, until cancelled, or until one of them raises."""
        with _open_timer() as self._timer:
            while True:
                with trio.CancelScope() as self._scope:
                    while True:
                        self._set()
                        if self._timer is None:
                            await trio.sleep_forever()
                        else:
                            await self._timer.wait()
                        self._make_calls()
                self._scope = None
                self._make_calls()

    def ring(self) -> None:
        """Make the calls that are due, since the process is awake."""
        if self._make_calls():
            self._set()

    def _make_calls(self) -> bool:
        now = trio.current_time()
        made = False
        while self._calls and self._calls[0][0] <= now:
            heapq.heappop(self._calls)[2]()
            made = True
        return made

    def _set(self) -> None:
        """Wake up at the first call's time."""
        if self._scope is None:
            return
        when = self._calls[0][0] + self.patience if self._calls else math.inf
        timer = self._timer
        seconds = trio.lowlevel.current_clock().deadline_to_sleep_time(when)
        if timer is not None and (seconds <= _LONGEST_S or not self._calls):
            timer.set(seconds)
        else:
            # Far away, or of a clock that does not go by itself.
            self._scope.deadline = when


class _Timer:
    """A timer of the kernel's, rung once each time that it is set."""

    def __init__(self, libc: ctypes.CDLL, fd: int) -> None:
        self._libc = libc
        self._fd = fd

    def set(self, seconds: float) -> None:
        """Ring in so many seconds, or with infinity never, whatever was set before."""
        # Zero switches it off.
        nanoseconds = 0 if seconds == math.inf else max(1, int(1e9 * seconds))
        times = _TIMES.pack(0, 0, *divmod(nanoseconds, 1_000_000_000))
        self._libc.timerfd_settime(self._fd, 0, times, None)

    async def wait(self) -> None:
        """Wait until it rings."""
        await trio.lowlevel.wait_readable(self._fd)
        with contextlib.suppress(BlockingIOError):
            # Set anew since it rang, it has nothing to tell.
            os.read(self._fd, _COUNT_BYTES)


@contextmanager
def _open_timer() -> Iterator[_Timer | None]:
    """A timer for the body, or None where there are none."""
    if not sys.platform.startswith("linux"):
        yield None
        return
    libc = ctypes.CDLL(None)
    fd = libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
    if fd < 0:
        # Out of file descriptors: less exact, but as good otherwise.
        yield None
        return
    try:
        yield _Timer(libc, fd)
    finally:
        os.close(fd)
