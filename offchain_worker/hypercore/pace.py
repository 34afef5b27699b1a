"""How long the stock npm client takes from what comes to what follows from it (§4.3).

It keeps what it reads in its storage: a block counts as read when it is written, and what comes
meanwhile is written together next. Before it asks for a block it looks up one tree node after the
other, until one is there; all requests do so side by side. These times were measured from
hypercore 11.37.1 with blocks of 4 and 64 KiB; they go with its machine, so that each session draws
how fast its own is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import trio

ASK_S = 0.000_22
HEAD_S = 0.000_33
WRITE_S = 0.000_15
WRITE_BYTE_S = 1e-9
LOOK_UP_S = 0.000_04
LOOK_UP_BESIDE_S = 0.000_026
CLOSE_S = 0.000_7
"""Medians in seconds, less what this client takes for the same by itself: from greeting to asking
for the head; to write a head; to write blocks, and what each byte of them adds; to look a node up,
and what each request that does so adds; to close its storage before it hangs up."""
MACHINE_SPREAD = 0.2
SPREAD = 0.3
CLOSE_SPREAD = 0.35
LOOK_UPS_SPREAD = 0.45
"""Of the logarithm: between sessions, between the times of one, between closings, and between the
look-ups for requests that were made together."""
STEP_SHARE = 0.3
STEP_S, STEP_SPREAD = 0.000_12, 0.5
LONG_STEPS = 0.06
LONG_STEP_S, LONG_STEP_SPREAD = 0.001_2, 0.5
"""Many requests that are done with as many nodes leave in steps: which share of them at a time in
the mean, how long after one another, how many times longer, and how long that is."""

TOGETHER_S = 0.000_15
"""Requests that are no further apart go out together: for each the process would wake up."""
MANY = 8
"""So many requests at a time are seldom: a window that begins, or answers that were held up."""

T = TypeVar("T")


class Pace:
    """The times of one session; how fast its machine is, is drawn once."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._slow = dice.lognormvariate(0.0, MACHINE_SPREAD)

    def ask(self) -> float:
        """Seconds from the greeting to the request for a first head."""
        return self._drawn(ASK_S)

    def write_head(self) -> float:
        """Seconds to write a head."""
        return self._drawn(HEAD_S)

    def write(self, size: int) -> float:
        """Seconds to write blocks of `size` bytes in all."""
        return self._drawn(WRITE_S + WRITE_BYTE_S * size)

    def look_ups(self) -> float:
        """By how much the look-ups for requests that are made together are slower than usual."""
        return self._dice.lognormvariate(0.0, LOOK_UPS_SPREAD)

    def look_up(self, nodes: int, requests: int) -> float:
        """Seconds to look up `nodes`, one after the other, when so many requests do."""
        return self._drawn(nodes * (LOOK_UP_S + LOOK_UP_BESIDE_S * requests))

    def step(self, requests: int) -> int:
        """How many of so many requests that looked up as many nodes leave together."""
        return 1 + int(self._dice.expovariate(1.0 / (STEP_SHARE * requests)))

    def between_steps(self) -> float:
        """Seconds until the next of them leave."""
        if self._dice.random() < LONG_STEPS:
            return self._drawn(LONG_STEP_S, LONG_STEP_SPREAD)
        return self._drawn(STEP_S, STEP_SPREAD)

    def close(self) -> float:
        """Seconds from closing the channel to closing the connection."""
        return self._drawn(CLOSE_S, CLOSE_SPREAD)

    def _drawn(self, median: float, spread: float = SPREAD) -> float:
        return median * self._slow * math.exp(self._dice.gauss(0.0, spread))


class NoPace(Pace):
    """No time at all: for a reader that need not look like the stock client."""

    def __init__(self) -> None:
        """Nothing is drawn."""

    def look_ups(self) -> float:
        """As usual."""
        return 1.0

    def step(self, requests: int) -> int:
        """All of them."""
        return requests

    def _drawn(self, median: float, spread: float = SPREAD) -> float:
        return 0.0


class Writing(Generic[T]):
    """Holds what was read until it would be written; what comes meanwhile is written next.

    Args:
        begin: called with the bytes to write and what to call when they would be written.
        written: called with each item then, in the order in which they came.
    """

    def __init__(
        self, begin: Callable[[int, Callable[[], None]], None], written: Callable[[T], None]
    ) -> None:
        self._begin = begin
        self._written = written
        self._batch: list[T] = []
        self._arrived = -math.inf
        self._next: list[T] = []
        self._next_bytes = 0

    def add(self, item: T, size: int, arrived: float) -> None:
        """Write an item of `size` bytes; what arrived at the same time is written together."""
        if self._batch and arrived != self._arrived:
            self._next.append(item)
            self._next_bytes += size
        elif self._batch:
            self._batch.append(item)
        else:
            self._arrived = arrived
            self._start([item], size)

    def finish(self) -> None:
        """Let all be written now."""
        batch, self._batch, self._next, self._next_bytes = self._batch + self._next, [], [], 0
        for item in batch:
            self._written(item)

    def _start(self, batch: list[T], size: int) -> None:
        self._batch = batch

        def end() -> None:
            # Else it was finished before.
            if self._batch is batch:
                self._end()

        self._begin(size, end)

    def _end(self) -> None:
        batch, self._batch = self._batch, []
        if self._next:
            waiting, size = self._next, self._next_bytes
            self._next, self._next_bytes = [], 0
            self._arrived = -math.inf
            self._start(waiting, size)
        for item in batch:
            self._written(item)


@dataclass(slots=True)
class _Series(Generic[T]):
    """Requests that were made together.

    Attributes:
        asked: those that have not left, with how many nodes each asks for, fewest first.
        looked_up: how many nodes each has looked up so far, less one.
        at: when that was.
        slow: how many times slower than usual the look-ups are.
    """

    asked: list[tuple[int, T]]
    looked_up: int
    at: float
    slow: float

    @property
    def done(self) -> int:
        """How many have looked up all their nodes."""
        return sum(nodes <= self.looked_up for nodes, _request in self.asked)


class LookUps(Generic[T]):
    """Lets requests leave when the nodes that they ask for would be looked up.

    Many that were made together wait for each of the nodes, as the stock client's do, so that a
    busy machine slows them down as much, and leave in steps. Few wait for the last one only, which
    wakes the process up less.

    Args:
        pace: the session's.
        call_at: calls at a time, in seconds of `trio.current_time`.
        send: sends a request.
    """

    def __init__(
        self,
        pace: Pace,
        call_at: Callable[[float, Callable[[], None]], None],
        send: Callable[[T], None],
    ) -> None:
        self._pace = pace
        self._call_at = call_at
        self._send = send
        self._open = 0

    def begin(self, asked: list[tuple[int, T]]) -> None:
        """Look up for requests that were made together.

        Args:
            asked: with how many nodes each asks for, fewest first.
        """
        self._open += len(asked)
        slow = self._pace.look_ups() if len(asked) >= MANY else 1.0
        self._look_up(_Series(asked, -1, trio.current_time(), slow))

    def _look_up(self, series: _Series[T]) -> None:
        if not series.asked:
            return
        many = len(series.asked) >= MANY
        nodes = 1 if many else series.asked[0][0] - series.looked_up
        if nodes:
            series.at += series.slow * self._pace.look_up(nodes, self._open)
            series.looked_up += nodes
        if series.at > trio.current_time() + TOGETHER_S:
            self._call_at(series.at, partial(self._looked_up, series))
        else:
            self._looked_up(series)

    def _looked_up(self, series: _Series[T]) -> None:
        done = series.done
        if done and len(series.asked) >= MANY:
            self._step(series, done, done, trio.current_time())
        else:
            self._leave(series, done)
            self._look_up(series)

    def _step(self, series: _Series[T], left: int, together: int, at: float) -> None:
        """Let some of those leave that are done.

        Args:
            series: theirs.
            left: how many are still to leave.
            together: how many they were.
            at: the step's time.
        """
        step = min(left, self._pace.step(together))
        self._leave(series, step)
        if left > step:
            at += self._pace.between_steps()
            self._call_at(at, partial(self._step, series, left - step, together, at))
        else:
            self._look_up(series)

    def _leave(self, series: _Series[T], count: int) -> None:
        leaving, series.asked = series.asked[:count], series.asked[count:]
        self._open -= count
        for _nodes, request in leaving:
            self._send(request)
