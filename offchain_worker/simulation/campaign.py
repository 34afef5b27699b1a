"""Many seeds in several processes, and the table at the end.

The last line is exactly `N rounds, M broken, R rounds/s/core`; a round is one whole challenge's
coinflip from the start to R or Void.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from offchain_worker.simulation.coverage import ROWS, SOMETIMES
from offchain_worker.simulation.draw import scenario
from offchain_worker.simulation.invariants import Broken
from offchain_worker.simulation.scenario import Scenario
from offchain_worker.simulation.world import Report, run_scenario

BATCH = 100
DISTINCT_AT_MOST = 1 << 20
"""States beyond that are not told apart any more; bounds the memory of a long campaign."""


@dataclass
class Tally:
    """What runs came to.

    Attributes:
        rounds: that ended, broken ones among them.
        broken: (seed, letter, sentence), at most 100.
        counts: in how many rounds each name of `coverage` came up.
        rows: in how many rounds each row of coinflip.md §9 was touched.
        states: of distinct ends.
        seconds: of one core, spent in runs.
    """

    rounds: int = 0
    failures: int = 0
    broken: list[tuple[int, str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rows: Counter[int] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    states: set[int] = field(default_factory=set)
    messages: int = 0
    seconds: float = 0.0

    def add(self, report: Report) -> None:
        """One more round."""
        self.rounds += 1
        self.counts.update(dict.fromkeys(report.counts, 1))
        self.rows.update(report.rows)
        self.sizes[report.world.scenario.size] += 1
        self.messages += report.messages
        if len(self.states) < DISTINCT_AT_MOST:
            self.states.add(report.state)

    def fail(self, broken: Broken) -> None:
        """One more round, in which an invariant broke."""
        self.rounds += 1
        self.failures += 1
        if len(self.broken) < 100:
            self.broken.append((broken.seed, broken.letter, broken.sentence))

    def join(self, other: Tally) -> None:
        """Add another process's."""
        self.rounds += other.rounds
        self.failures += other.failures
        self.broken += other.broken
        self.counts += other.counts
        self.rows += other.rows
        self.sizes += other.sizes
        self.messages += other.messages
        self.seconds += other.seconds
        if len(self.states) < DISTINCT_AT_MOST:
            self.states |= other.states


Draw = Callable[[int], Scenario]


def run_seeds(seeds: range, draw: Draw = scenario) -> Tally:
    """Run some seeds here, one after the other."""
    # A run leaves cycles behind, none of them urgent to collect.
    gc.set_threshold(200_000, 20, 100)
    tally = Tally()
    began = time.process_time()
    for seed in seeds:
        try:
            tally.add(run_scenario(draw(seed)))
        except Broken as broken:
            tally.fail(broken)
    tally.seconds = time.process_time() - began
    return tally


def _batch(task: tuple[range, Draw]) -> Tally:
    return run_seeds(*task)


def campaign(
    *,
    first: int = 0,
    rounds: int | None = None,
    seconds: float | None = None,
    processes: int | None = None,
    draw: Draw = scenario,
    progress: Callable[[Tally], None] | None = None,
) -> Tally:
    """Run seeds from `first` on until `rounds` are done or `seconds` have passed.

    Args:
        processes: how many; all cores when left out. 1: in this process.
        draw: makes the scenario of a seed; a top-level function, so that processes know it.
        progress: called now and then with the tally so far.
    """
    workers = processes or os.cpu_count() or 1
    deadline = None if seconds is None else time.monotonic() + seconds
    total = Tally()

    def tasks() -> Iterator[tuple[range, Draw]]:
        at = first
        while True:
            if deadline is not None and time.monotonic() >= deadline:
                return
            size = BATCH if rounds is None else min(BATCH, first + rounds - at)
            if size <= 0:
                return
            yield range(at, at + size), draw
            at += size

    def take(tally: Tally) -> None:
        total.join(tally)
        if progress is not None:
            progress(total)

    if workers == 1:
        for task in tasks():
            take(_batch(task))
        return total
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        waiting = []
        source = tasks()
        for task in source:
            waiting.append(pool.apply_async(_batch, (task,)))
            if len(waiting) >= 2 * workers:
                take(waiting.pop(0).get())
        for result in waiting:
            take(result.get())
    return total


def table(
    tally: Tally, command: str = "datdot simulate coinflip", *, whole: bool = True
) -> list[str]:
    """The lines to print; the last one is the summary.

    Args:
        command: replays a run, with `--seed`.
        whole: whether everything should have come up; else only what did is listed.
    """
    lines = ["", "rows of coinflip.md §9 and the rounds that touched them"]
    for row, title in ROWS.items():
        if not whole and not tally.rows[row]:
            continue
        lines.append(f"  {row:>3}  {tally.rows[row]:>9}{_missing(tally.rows[row])}  {title}")
    lines += ["", "rounds in which this happened"]
    names = [*SOMETIMES, *sorted(set(tally.counts) - set(SOMETIMES))]
    if not whole:
        names = [name for name in names if tally.counts[name]]
    for name in names:
        lines.append(f"  {tally.counts[name]:>9}{_missing(tally.counts[name])}  {name}")
    sizes = ", ".join(f"{size}: {count}" for size, count in sorted(tally.sizes.items()))
    lines += ["", f"members: {sizes}"]
    per_round = tally.messages // max(1, tally.rounds)
    lines.append(f"{tally.messages} messages, {per_round} per round")
    lines.append(f"{len(tally.states)} distinct ends")
    for seed, letter, sentence in tally.broken[:10]:
        lines.append(f"{letter} broken: {sentence}")
        lines.append(f"    {command} --seed {seed} --trace")
    speed = int(tally.rounds / tally.seconds) if tally.seconds else 0
    lines.append(f"{tally.rounds} rounds, {tally.failures} broken, {speed} rounds/s/core")
    return lines


def _missing(count: int) -> str:
    return "" if count else "  MISSING"
