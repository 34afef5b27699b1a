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
from typing import Generic, TypeVar

ASK_S = 0.000_25
HEAD_S = 0.000_33
WRITE_S = 0.000_22
WRITE_BYTE_S = 1e-9
LOOK_UP_S = 0.000_045
LOOK_UP_BESIDE_S = 0.000_02
LEAVE_S = 0.000_3
CLOSE_S = 0.000_7
"""Medians in seconds, less what this client takes for the same by itself: from greeting to asking
for the head; to write a head; to write blocks, and what each byte of them adds; to look a node up,
and what each request that does so adds; from the last block to closing the channel; to close its
storage before it hangs up."""
MACHINE_SPREAD = 0.2
SPREAD = 0.3
CLOSE_SPREAD = 0.35
"""Of the logarithm: between sessions, between the times of one, and between closings."""
STEP_SHARE = 0.2
STEP_S, STEP_SPREAD = 0.000_12, 0.5
LONG_STEPS = 0.2
LONG_STEP_S, LONG_STEP_SPREAD = 0.001_2, 0.5
"""Many requests that are done with as many nodes leave in steps: which share of them at a time in
the mean, how long after one another, how many times longer, and how long that is."""

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

    def leave(self) -> float:
        """Seconds from the last block to closing the channel."""
        return self._drawn(LEAVE_S)

    def close(self) -> float:
        """Seconds from closing the channel to closing the connection."""
        return self._drawn(CLOSE_S, CLOSE_SPREAD)

    def _drawn(self, median: float, spread: float = SPREAD) -> float:
        return median * self._slow * math.exp(self._dice.gauss(0.0, spread))


class NoPace(Pace):
    """No time at all: for a reader that need not look like the stock client."""

    def __init__(self) -> None:
        """Nothing is drawn."""

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
