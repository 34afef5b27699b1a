"""What withholding buys: how often R is as somebody wishes (coinflip.md §5, §9 row 17).

k of n seats pool what they know. Before the certificate no honest number is known, so breaking off
earlier is a choice without knowledge. With the certificate honest members reveal; the k compute R
first and may withhold their reveals if they dislike it. Then nobody honest has R; and since every
honest member that held the certificate takes part in no further attempt, only the fallback is
left, whose R follows from chain randomness that nobody knows when the last choice (to commit or
not) is made. So R is exchanged once, unseen: a wish that comes true with probability p comes true
with p + (1 − p)·p = 1 − (1 − p)², for any k from 1 to n − 1. For one bit that is 3/4.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from offchain_worker.simulation.chain import Anchored, ChainPlan, FellBack
from offchain_worker.simulation.draw import min_active, only
from offchain_worker.simulation.network import LinkPlan, uniform
from offchain_worker.simulation.scenario import QUICK, Scenario
from offchain_worker.simulation.strategies import SelectiveAbort, low_bit
from offchain_worker.simulation.world import run_scenario

GROUPS = ((3, 0), (3, 1), (3, 2), (5, 1), (5, 3), (7, 1), (7, 2), (7, 4), (7, 6), (10, 1), (10, 9))
"""(n, k) that the table shows."""


@dataclass(frozen=True)
class Bias:
    """One row of the table.

    Attributes:
        size, withholding: n and k.
        rounds: that were run.
        fell_back: in how many the fallback decided.
        granted: in how many the wish came true.
    """

    size: int
    withholding: int
    rounds: int
    fell_back: int
    granted: int

    @property
    def measured(self) -> float:
        """How often the wish came true."""
        return self.granted / self.rounds

    @property
    def exact(self) -> float:
        """How often it must."""
        return exact(self.withholding)

    @property
    def error(self) -> float:
        """Standard deviation of `measured` if `exact` is true."""
        return math.sqrt(self.exact * (1 - self.exact) / self.rounds)


def exact(withholding: int, wish: float = 0.5) -> float:
    """How often a wish of that probability comes true with so many seats that withhold."""
    return wish if withholding == 0 else 1 - (1 - wish) ** 2


def withholding_scenario(seed: int, size: int, withholding: int) -> Scenario:
    """A quiet network with time for several attempts, and k seats that withhold for a wish."""
    return Scenario(
        seed=seed,
        size=size,
        timing=QUICK,
        min_active=min_active(size),
        dishonest={place: only(SelectiveAbort) for place in range(withholding)},
        links=LinkPlan(uniform(1, QUICK.delta_ms // 2), handshake_ms=QUICK.delta_ms),
        chain=ChainPlan(finality_ms=QUICK.finality_ms),
        start_within_ms=QUICK.join_ms // 4,
        calm=True,
        live=withholding == 0,
        rows=frozenset({17}),
    )


def _run(task: tuple[int, int, range]) -> Bias:
    size, withholding, seeds = task
    fell_back = granted = 0
    for seed in seeds:
        verdict = run_scenario(withholding_scenario(seed, size, withholding)).verdict
        fell_back += isinstance(verdict, FellBack)
        if isinstance(verdict, Anchored | FellBack):
            granted += low_bit(verdict.result)
    return Bias(size, withholding, len(seeds), fell_back, granted)


def measure_bias(
    rounds: int,
    *,
    first: int = 0,
    groups: Iterable[tuple[int, int]] = GROUPS,
    processes: int | None = None,
) -> list[Bias]:
    """Run `rounds` for each group, in parallel processes (1: in this one)."""
    tasks = [
        (size, k, range(start := first + (100 * size + k) * 1_000_000, start + rounds))
        for size, k in groups
    ]
    workers = processes or os.cpu_count() or 1
    if workers == 1:
        return [_run(task) for task in tasks]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return pool.map(_run, tasks, chunksize=1)


def bias_table(rows: Sequence[Bias]) -> list[str]:
    """Lines to print."""
    lines = ["   n   k   rounds  fallback   wish granted   exact   off by"]
    for row in rows:
        off = (row.measured - row.exact) / row.error
        lines.append(
            f"{row.size:>4}{row.withholding:>4}{row.rounds:>9}{row.fell_back / row.rounds:>10.3f}"
            f"{row.measured:>15.4f}{row.exact:>8.2f}{off:>+7.1f} σ"
        )
    return lines
