"""Medians, quartiles and links, as the chain has them; how far liars move them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_types.records import Median
from chain_types.report import Metrics, PeerMetrics
from offchain_worker.explorer.figures import Sample, link, median, medians


def windowed(throughput: int) -> Metrics:
    return Metrics(1, 2, 3, None, throughput, 0, None)


@pytest.mark.parametrize(
    ("figures", "value", "low", "high"),
    [
        ([5], 5, 5, 5),
        ([9, 5], 5, 5, 9),
        ([9, 5, 7], 7, 5, 9),
        ([9, 5, 7, 8], 7, 5, 8),
        ([4, 3, 2, 1, 5, 6, 7, 8], 4, 2, 6),
    ],
)
def test_median_and_quartiles_are_nearest_rank(
    figures: list[int], value: int, low: int, high: int
) -> None:
    assert median(figures) == Median(value, len(figures), low, high)


def test_nothing_has_no_median() -> None:
    assert median([]) is None


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=33), st.data())
def test_liars_below_one_half_stay_among_the_honest(honest: list[int], data: st.DataObject) -> None:
    lies = data.draw(st.lists(st.integers(-(10**6), 10**6), max_size=len(honest) - 1))
    found = median(honest + lies)
    assert found is not None
    ordered, middle = sorted(honest), -(-(len(honest) + len(lies)) // 2)
    assert ordered[middle - len(lies) - 1] <= found.value <= ordered[middle - 1]


def test_a_link_is_what_the_fellows_measured() -> None:
    def of(place: int, *peers: tuple[int, int]) -> Sample:
        return Sample(place, None, [PeerMetrics(index, 1, speed) for index, speed in peers])

    samples = [of(0, (0, 1), (1, 50)), of(1, (0, 0)), of(2, (0, 40)), of(3, (0, 20), (1, 7))]
    assert (link([], 0), link(samples[:1], 0)) == (None, None)
    assert (link(samples, 0), link(samples, 1), link(samples, 2)) == (20, 7, None)


def test_a_throughput_above_its_attestors_link_is_a_lower_bound() -> None:
    peers = [PeerMetrics(0, 1, 10_006), PeerMetrics(1, 1, 20_007)]
    samples = [
        Sample(0, windowed(10_007), []),
        Sample(1, windowed(20_007), []),
        Sample(2, windowed(30_007), peers),
        Sample(3, None, []),
    ]
    found = medians(samples)
    assert found.throughput == median([20_007, 30_007])
    assert found.throughput_at_least == median([10_007])
    assert found.latency_p50_us is None
    assert found.connect_us == Median(1, 3, 1, 1)
