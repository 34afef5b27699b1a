"""What readers ask for, as patterns: recorded, compared, and made up (challenge.md §3.3).

A *run* is a row of requests that go on where the one before was; a reader who asks several peers
in turn leaves gaps, so a step over some blocks goes on. A pattern is how long runs are, in which
order a reader goes, and how many requests it has open at a time. All of it is rounded to powers
of two, so that patterns of several readers can be the same.

Pure: times are arguments, in seconds of one monotonic clock; memory is bounded.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

MAX_REQUESTS = 4_096
"""Requests of one peer that are remembered, the latest."""
MIN_REQUESTS = 3
"""With fewer there is no pattern."""
MAX_STEP = 16
SHARE_OF_FEED = 32
"""A request goes on with a run if it is at most `MAX_STEP` blocks further, and at most that part of
the feed, so that somebody who reads here and there seldom seems to."""
WHOLE = 1 << 16
"""The length of a run that goes on to the feed's end."""
MAX_WINDOW = 48


class Order(Enum):
    """How a reader goes on from run to run."""

    ASCENDING = "ascending"
    SCATTERED = "scattered"


@dataclass(frozen=True)
class RequestPattern:
    """How a reader asks for blocks.

    Attributes:
        order: whether each run begins behind the last one, or anywhere.
        run: blocks in a run, a power of two; `WHOLE`: to the feed's end.
        window: requests open at a time, a power of two up to 32, or 48.
    """

    order: Order
    run: int
    window: int

    def __str__(self) -> str:
        run = "to the end" if self.run == WHOLE else f"of {self.run}"
        return f"{self.order.value} runs {run}, {self.window} at a time"


@dataclass(frozen=True)
class ReaderModel:
    """An ordinary reader, for when there is nobody to observe: what it is like, how common."""

    name: str
    pattern: RequestPattern
    weight: int


READER_MODELS = (
    ReaderModel("sequential with read-ahead", RequestPattern(Order.ASCENDING, WHOLE, 8), 4),
    ReaderModel("seek and run", RequestPattern(Order.SCATTERED, 16, 4), 3),
    ReaderModel("random access", RequestPattern(Order.SCATTERED, 1, 1), 1),
    ReaderModel("whole download", RequestPattern(Order.SCATTERED, 1, MAX_WINDOW), 2),
)


class RequestLog:
    """What one peer asked for."""

    def __init__(self, round_trip: float = 0.0) -> None:
        """Begin with nothing.

        Args:
            round_trip: seconds to the peer and back. An answer counts as under way for so long:
                a peer with a full window sends its next request only when one has arrived.
        """
        self._round_trip = round_trip
        self._requests: deque[int] = deque(maxlen=MAX_REQUESTS)
        self._open: dict[int, float | None] = {}
        self._window = 0

    def __len__(self) -> int:
        """How many requests are remembered."""
        return len(self._requests)

    def requested(self, index: int, at: float) -> None:
        """A request for block `index` came in."""
        self._open = {
            block: answered
            for block, answered in self._open.items()
            if answered is None or answered + self._round_trip > at
        }
        # Bounded: a peer may ask for much that is never answered.
        if len(self._open) < MAX_WINDOW:
            self._open[index] = None
        self._window = max(self._window, len(self._open))
        self._requests.append(index)

    def answered(self, index: int, at: float) -> None:
        """The answer for block `index` has been sent."""
        if index in self._open:
            self._open[index] = at

    def pattern(self, offered: Container[int], length: int) -> RequestPattern | None:
        """The pattern of the requests; None: there are too few.

        Args:
            offered: blocks that the peer could ask for. A run that ends where they end, as the
                last one, which goes on, shows only how long it is at least: where most runs of a
                reader that goes on in order are such, it reads to the feed's end.
            length: blocks of the feed.
        """
        if len(self._requests) < MIN_REQUESTS:
            return None
        longest = max(1, min(MAX_STEP, length // SHARE_OF_FEED))
        runs = _runs(self._requests, longest)
        starts = [first for first, _ in runs]
        onwards = sum(one < two for one, two in pairwise(starts))
        # At random, every other run begins further on than the one before.
        order = Order.ASCENDING if 4 * onwards >= 3 * (len(runs) - 1) else Order.SCATTERED
        unfinished = sum(
            first < last
            and (
                (first, last) == runs[-1]
                or not any(last + step in offered for step in range(1, longest + 1))
            )
            for first, last in runs
        )
        if order is Order.ASCENDING and 2 * unfinished > len(runs):
            run = WHOLE
        else:
            lengths = sorted(last - first + 1 for first, last in runs)
            run = _power_of_two(lengths[len(lengths) // 2])
        return RequestPattern(order, run, _window(self._window))


def _runs(indices: Iterable[int], longest: int) -> list[tuple[int, int]]:
    """Requests in their order as runs (first, last).

    With several requests open, they may come a little out of order: a step of `longest` blocks
    back belongs to the run as well.
    """
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and -longest <= index - runs[-1][1] <= longest:
            first, last = runs[-1]
            runs[-1] = min(first, index), max(last, index)
        else:
            runs.append((index, index))
    return runs


def _power_of_two(value: int) -> int:
    return 1 << max(0, min(value, WHOLE).bit_length() - 1)


def _window(size: int) -> int:
    return MAX_WINDOW if size >= MAX_WINDOW else _power_of_two(size)


def most_common(
    patterns: Iterable[RequestPattern], choices: random.Random
) -> RequestPattern | None:
    """The pattern that most readers have, one of them at random; None: there is none."""
    counts = Counter(patterns)
    if not counts:
        return None
    most = max(counts.values())
    found = sorted((one for one, count in counts.items() if count == most), key=str)
    return choices.choice(found)


def draw_model(choices: random.Random) -> ReaderModel:
    """One of `READER_MODELS`, the common ones more often."""
    weights = [model.weight for model in READER_MODELS]
    return choices.choices(READER_MODELS, weights)[0]


def requests_of(
    pattern: RequestPattern, length: int, count: int, held: Container[int], choices: random.Random
) -> Iterator[int]:
    """The blocks that a reader with a pattern asks for: distinct, none of `held`.

    Memory is bounded by `count`. It gives up, with fewer, where the feed has hardly any left.

    Args:
        pattern: the reader's.
        length: blocks of the feed, at least 1.
        count: how many blocks.
        held: blocks that need not be asked for.
        choices: where it begins, and where it goes on.
    """
    seen: set[int] = set()
    start = 0
    for _ in range(4 * count):
        if pattern.order is Order.SCATTERED or not seen:
            start = choices.randrange(length)
        # A run that passes the end goes on at the beginning, as somebody who starts again.
        for index in (at % length for at in range(start, start + min(pattern.run, length))):
            start = index + 1
            if index in held or index in seen:
                continue
            seen.add(index)
            yield index
            if len(seen) == count:
                return
        if len(seen) >= length:
            return
        if pattern.order is Order.ASCENDING:
            # Between runs a reader skips something.
            start = (start + choices.randrange(1, pattern.run + 1)) % length
