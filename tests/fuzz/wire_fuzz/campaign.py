"""Batches of inputs on all cores, and what came of them."""

from __future__ import annotations

import multiprocessing
import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from wire_fuzz.registry import TARGETS
from wire_fuzz.target import Broken, Target

BATCH = 2_000
WEIGHED = 499
"""Of so many inputs one is fed with its allocations counted."""
SPARE_BYTES = 256 * 1_024
BYTES_PER_BYTE = 32
"""What an input may make the interpreter hold at a time: so much, and so much for each byte."""
ESCAPES_KEPT = 3
"""Of one batch."""


@dataclass(frozen=True)
class Batch:
    """Everything that decides a batch's inputs."""

    seed: int
    target: str
    number: int
    inputs: int


@dataclass(frozen=True)
class Escape:
    """An input that did what it must not."""

    batch: Batch
    position: int
    data: bytes = field(repr=False)
    error: str

    def lines(self) -> Iterator[str]:
        """For people: what happened, the input, and how to see it again."""
        batch = self.batch
        yield (
            f"escape: {batch.target}, seed {batch.seed}, batch {batch.number}, "
            f"input {self.position}: {self.error}"
        )
        yield f"input: {self.data.hex()}"
        yield (
            f"again: python -m wire_fuzz --seed {batch.seed} --target '{batch.target}' "
            f"--batch {batch.number}"
        )


@dataclass
class Tally:
    """What became of the inputs of one target.

    Attributes:
        fates: how often `accepted`, and each reason of a refusal.
        seconds: of a core.
    """

    inputs: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    escaped: int = 0
    escapes: list[Escape] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Take in another one."""
        self.inputs += other.inputs
        self.fates += other.fates
        self.escaped += other.escaped
        self.escapes += other.escapes
        self.seconds += other.seconds


def run_batch(batch: Batch) -> Tally:
    """Make the batch's inputs and feed them."""
    source = random.Random(f"{batch.seed}/{batch.target}/{batch.number}")
    target = TARGETS[batch.target][0](source)
    tally = Tally(inputs=batch.inputs)
    begun = time.perf_counter()
    for position in range(batch.inputs):
        data = target.make()
        try:
            feed = _weigh if position % WEIGHED == WEIGHED - 1 else target.__class__.feed
            tally.fates[feed(target, data)] += 1
        except Exception as error:
            tally.escaped += 1
            if len(tally.escapes) < ESCAPES_KEPT:
                description = f"{type(error).__name__}: {error}"
                tally.escapes.append(Escape(batch, position, data, description))
            # Its state may be broken: the rest of the batch must not suffer from it.
            target = TARGETS[batch.target][0](source)
    tally.seconds = time.perf_counter() - begun
    return tally


def _weigh(target: Target, data: bytes) -> str:
    """Feed an input and hold its allocations to their bound."""
    tracemalloc.start()
    try:
        fate = target.feed(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if peak > SPARE_BYTES + BYTES_PER_BYTE * len(data):
        raise Broken(f"{peak} bytes are allocated for an input of {len(data)}")
    return fate


def batches(seed: int, inputs: int) -> Iterator[Batch]:
    """At least so many inputs, shared among the targets, in whole batches or one small one."""
    for name, (_make, share) in TARGETS.items():
        wanted = max(1, round(inputs * share))
        size = min(BATCH, wanted)
        for number in range(-(-wanted // size)):
            yield Batch(seed, name, number, size)


def campaign(chosen: Sequence[Batch], processes: int) -> dict[str, Tally]:
    """Run batches, in so many processes; the tallies by target."""
    tallies: dict[str, Tally] = {batch.target: Tally() for batch in chosen}
    if processes == 1:
        _collect(tallies, chosen, map(run_batch, chosen))
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            # The slow ones first, so that no core waits at the end.
            order = sorted(chosen, key=lambda batch: batch.target != "machine")
            _collect(tallies, order, pool.imap(run_batch, order))
    return tallies


def _collect(tallies: dict[str, Tally], order: Sequence[Batch], results: Iterable[Tally]) -> None:
    for batch, tally in zip(order, results, strict=True):
        tallies[batch.target].add(tally)


def table(tallies: dict[str, Tally]) -> Iterator[str]:
    """One line for each target."""
    heads = ("inputs", 11), ("accepted", 11), ("reasons", 9), ("inputs/s", 10), ("escapes", 9)
    yield f"{'target':<18}" + "".join(head.rjust(width) for head, width in heads)
    for name, tally in tallies.items():
        accepted = tally.fates["accepted"]
        reasons = sum(1 for fate in tally.fates if fate != "accepted")
        rate = tally.inputs / tally.seconds if tally.seconds else 0
        yield (
            f"{name:<18}{tally.inputs:>11,}{accepted:>11,}{reasons:>9}{rate:>10,.0f}"
            f"{tally.escaped:>9,}"
        )
