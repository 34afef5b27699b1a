"""Connections between seats, and everything that can happen to bytes on them.

A connection stands between two live seats for one topic. It keeps order like a stream unless
the plan says that bytes are reordered; while a direction is blocked, bytes are lost or wait in a
bounded queue. Whoever knows neither seat nor topic has no part here: strangers never get past the
transport.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from offchain_worker.simulation.scheduler import Scheduler

QUEUE_MESSAGES = 256
"""As in the swarm: a peer that takes nothing is cut off when so many messages wait for it."""

Latency = Callable[[random.Random], int]
"""Draws the delay of one message, ms, at least 1."""


def constant(delay_ms: int) -> Latency:
    """Always the same delay."""
    return lambda _dice: delay_ms


def uniform(least_ms: int, most_ms: int) -> Latency:
    """Evenly between two bounds, inclusive."""
    span = most_ms - least_ms + 1
    return lambda dice: least_ms + int(dice.random() * span)


def heavy_tailed(median_ms: int, most_ms: int) -> Latency:
    """Pareto-like: half within the median, a few far beyond, none beyond `most_ms`."""

    def draw(dice: random.Random) -> int:
        return min(most_ms, max(1, int(median_ms / (2 * max(dice.random(), 1e-6)))))

    return draw


@dataclass(frozen=True)
class LinkPlan:
    """What links do to messages.

    Attributes:
        latency: of a message.
        loss, duplication, corruption: how often, 0 to 1.
        reorder: whether messages overtake each other.
        waits: whether bytes wait while a direction is blocked, rather than being lost.
        breaks: whether a connection breaks when either direction is blocked.
        handshake_ms: from both being there to the connection, at most.
        reconnect_ms: from a break to the next attempt, at most.
    """

    latency: Latency
    loss: float = 0.0
    duplication: float = 0.0
    corruption: float = 0.0
    reorder: bool = False
    waits: bool = True
    breaks: bool = False
    handshake_ms: int = 20
    reconnect_ms: int = 500

    @property
    def plain(self) -> bool:
        """Whether every message arrives once and whole."""
        return not (self.loss or self.duplication or self.corruption)


class Endpoint(Protocol):
    """A live seat, as the network sees it."""

    place: int
    ident: int
    honest: bool

    def line_opened(self, line: Line) -> None:
        """A connection stands."""

    def line_lost(self, line: Line) -> None:
        """A connection is gone."""

    def deliver(self, line: Line, data: bytes) -> None:
        """A message arrived."""


class Line:
    """One connection between two seats for one topic."""

    __slots__ = ("a", "alive", "b", "draining", "last_a", "last_b", "topic", "waiting")

    def __init__(self, topic: bytes, a: Endpoint, b: Endpoint) -> None:
        self.topic = topic
        self.a = a
        self.b = b
        self.alive = True
        self.draining = False
        """One end is gone, what it sent is still on its way."""
        self.last_a = 0
        self.last_b = 0
        self.waiting: list[tuple[Endpoint, bytes]] = []

    def other(self, end: Endpoint) -> Endpoint:
        """The other end."""
        return self.b if end is self.a else self.a


class Network:
    """All connections of a run."""

    def __init__(self, scheduler: Scheduler, plan: LinkPlan, dice: random.Random) -> None:
        self._scheduler = scheduler
        self._dice = dice
        self._present: dict[bytes, list[Endpoint]] = {}
        self._lines: dict[tuple[bytes, int, int], Line] = {}
        self.blocked: frozenset[tuple[int, int]] = frozenset()
        """(from, to) idents between which no byte passes now."""
        self.stalled: set[int] = set()
        """Idents of seats that take no byte from anybody now."""
        self.messages = 0
        self.replan(plan)

    def replan(self, plan: LinkPlan) -> None:
        """Links change, e.g. heal."""
        self.plan = plan
        self._latency = plan.latency
        self._simple = plan.plain and not plan.reorder

    # Presence

    def join(self, end: Endpoint, topic: bytes) -> None:
        """A live seat takes part in a topic: connect it with whoever is there."""
        there = self._present.setdefault(topic, [])
        for other in there:
            if other.place != end.place:
                self._dial(topic, end, other, self.plan.handshake_ms)
        there.append(end)

    def leave(self, end: Endpoint, topic: bytes, *, flush: bool = False) -> None:
        """A seat is gone from a topic: its connections break.

        With `flush` what it sent still arrives, and only then the others see that it is gone, as
        with a process that dies while the system beneath it lives.
        """
        there = self._present.get(topic, [])
        if end not in there:
            return
        there.remove(end)
        for other in list(there):
            key = _pair(topic, end, other)
            line = self._lines.get(key)
            if line is None:
                continue
            last = line.last_a if end is line.a else line.last_b
            if flush and last > self._scheduler.now:
                line.draining = True
                self._scheduler.at(last, self._break, line, end)
            else:
                self._break(line, gone=end)

    def members(self, topic: bytes) -> Iterable[Endpoint]:
        """Who takes part in a topic now."""
        return tuple(self._present.get(topic, ()))

    def _dial(self, topic: bytes, a: Endpoint, b: Endpoint, within_ms: int) -> None:
        pause = 1 + int(self._dice.random() * within_ms)
        self._scheduler.at(self._scheduler.now + pause, self._connect, topic, a, b)

    def _connect(self, topic: bytes, a: Endpoint, b: Endpoint) -> None:
        there = self._present.get(topic, [])
        key = _pair(topic, a, b)
        if a not in there or b not in there:
            return
        known = self._lines.get(key)
        if known is not None:
            if known.draining:
                self._dial(topic, a, b, self.plan.handshake_ms)
            return
        if self.plan.breaks and self._cut(a, b):
            self._dial(topic, a, b, self.plan.reconnect_ms)
            return
        self._lines[key] = line = Line(topic, a, b)
        a.line_opened(line)
        b.line_opened(line)

    def hang_up(self, line: Line, by: Endpoint, *, displaced: bool = False) -> None:
        """One end closes the connection; they may meet again, later when another took its place:
        copies of one key that displace each other back off."""
        if line.alive:
            self._break(line, gone=by)
            pause = self.plan.reconnect_ms * (8 if displaced else 1)
            self._dial(line.topic, line.a, line.b, pause)

    def disturb(self, line: Line) -> None:
        """The connection breaks for both ends, and is made anew."""
        if line.alive:
            self._break(line, gone=None)
            self._dial(line.topic, line.a, line.b, self.plan.reconnect_ms)

    def _break(self, line: Line, gone: Endpoint | None) -> None:
        if not line.alive:
            return
        line.alive = False
        line.waiting.clear()
        self._lines.pop(_pair(line.topic, line.a, line.b), None)
        for end in (line.a, line.b):
            if end is not gone:
                end.line_lost(line)

    @property
    def lines(self) -> list[Line]:
        """All connections that stand."""
        return list(self._lines.values())

    # Partitions

    def block(self, blocked: frozenset[tuple[int, int]]) -> None:
        """From now on no byte passes from the first to the second of each pair, else all do."""
        self.blocked = blocked
        self._release()

    def stall(self, end: Endpoint, *, stalled: bool) -> None:
        """A seat stops taking bytes, or takes them again."""
        if stalled:
            self.stalled.add(end.ident)
        else:
            self.stalled.discard(end.ident)
            self._release()

    def _release(self) -> None:
        for line in self.lines:
            if self.plan.breaks and self._cut(line.a, line.b):
                self.disturb(line)
            elif line.waiting:
                waiting, line.waiting = line.waiting, []
                for sender, data in waiting:
                    self.transmit(line, sender, data)

    def _cut(self, a: Endpoint, b: Endpoint) -> bool:
        blocked = self.blocked
        return (a.ident, b.ident) in blocked or (b.ident, a.ident) in blocked

    # Bytes

    def transmit(self, line: Line, sender: Endpoint, data: bytes) -> None:
        """Send one message; what becomes of it is up to the plan."""
        if not line.alive:
            return
        first = sender is line.a
        receiver = line.b if first else line.a
        if (self.blocked and (sender.ident, receiver.ident) in self.blocked) or (
            self.stalled and receiver.ident in self.stalled
        ):
            if self.plan.waits:
                line.waiting.append((sender, data))
                if len(line.waiting) > QUEUE_MESSAGES:
                    self.disturb(line)
            return
        scheduler = self._scheduler
        self.messages += 1
        if self._simple:
            when = scheduler.now + self._latency(self._dice)
            if first:
                if when < line.last_a:
                    when = line.last_a
                line.last_a = when
            else:
                if when < line.last_b:
                    when = line.last_b
                line.last_b = when
            scheduler.count = count = scheduler.count + 1
            heapq.heappush(scheduler.heap, (when, count, receiver.deliver, (line, data)))
            return
        for copy in self._fate(data):
            when = scheduler.now + self._latency(self._dice)
            if not self.plan.reorder:
                last = line.last_a if first else line.last_b
                when = max(when, last)
                if first:
                    line.last_a = when
                else:
                    line.last_b = when
            scheduler.at(when, receiver.deliver, line, copy)

    def _fate(self, data: bytes) -> tuple[bytes, ...]:
        plan, dice = self.plan, self._dice
        if dice.random() < plan.loss:
            return ()
        if plan.corruption and dice.random() < plan.corruption:
            data = corrupted(data, dice)
        if plan.duplication and dice.random() < plan.duplication:
            return data, data
        return (data,)


def corrupted(data: bytes, dice: random.Random) -> bytes:
    """Some bytes changed, cut off or added."""
    choice = dice.random()
    if choice < 0.1:
        return data[: int(dice.random() * len(data))]
    if choice < 0.2:
        return data + dice.randbytes(1 + int(dice.random() * 8))
    changed = bytearray(data)
    for _ in range(1 + int(-math.log(max(dice.random(), 1e-9)))):
        if changed:
            changed[int(dice.random() * len(changed))] ^= 1 << int(dice.random() * 8)
    return bytes(changed)


def _pair(topic: bytes, a: Endpoint, b: Endpoint) -> tuple[bytes, int, int]:
    return (topic, a.ident, b.ident) if a.ident < b.ident else (topic, b.ident, a.ident)
