"""Percentiles of measured times, by nearest rank (challenge.md §3.5)."""

from __future__ import annotations

from collections.abc import Sequence

from chain_types.report import Percentiles

MICROSECONDS_MAX = (1 << 32) - 1


def nearest_rank(ascending: Sequence[int], percent: int) -> int:
    """The smallest sample that at least `percent` percent of the samples do not exceed.

    Args:
        ascending: at least one sample, in ascending order.
        percent: 1 … 100.

    Raises:
        ValueError: no samples, or another percentage.
    """
    if not ascending:
        raise ValueError("no samples")
    if not 1 <= percent <= 100:
        raise ValueError(f"{percent} is not a percentage between 1 and 100")
    rank = -(-percent * len(ascending) // 100)
    return ascending[rank - 1]


def percentiles(microseconds: Sequence[int]) -> Percentiles:
    """p50, p90, p99 and maximum of times in microseconds, given in any order.

    Raises:
        ValueError: no samples.
    """
    ascending = sorted(microseconds)
    return Percentiles(
        p50=nearest_rank(ascending, 50),
        p90=nearest_rank(ascending, 90),
        p99=nearest_rank(ascending, 99),
        max=nearest_rank(ascending, 100),
    )


def to_microseconds(seconds: float) -> int:
    """Whole microseconds of a measured duration, in 1 … 2^32 − 1.

    The chain takes a measured time of zero for an absent one (challenge.md §4, rule 6), and a
    time has 32 bits on chain, which is more than an hour.
    """
    return max(1, min(MICROSECONDS_MAX, round(seconds * 1_000_000)))
