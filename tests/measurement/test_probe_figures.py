"""A probe's figures from stamps alone."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.measurement.probe import Bar, histogram, latency, throughput, window_limit
from offchain_worker.measurement.session import Transfer


def test_latency_has_all_samples_in_order_and_the_first_by_itself() -> None:
    figures = latency(
        [Transfer(1.0, 1.009, 10), Transfer(2.0, 2.001, 20), Transfer(3.0, 3.002, 30)]
    )
    assert figures.first_chunk_us == 9_000
    assert figures.samples_us == (9_000, 1_000, 2_000)
    assert figures.latency_us.p50 == 2_000
    assert figures.chunk_bytes == 60


def test_throughput_counts_from_the_first_arrival() -> None:
    # 300 bytes come in the two seconds after the first 1,000, which only say how far it is.
    figures = throughput(
        [Transfer(0.0, 5.0, 1_000), Transfer(0.1, 7.0, 100), Transfer(0.2, 6.0, 200)], 1_500
    )
    assert figures.throughput == 150
    assert (figures.chunks, figures.chunk_bytes, figures.wire_bytes) == (3, 1_300, 1_500)
    assert figures.seconds == 7.0


def test_chunks_that_came_at_once_are_counted_from_the_request() -> None:
    figures = throughput([Transfer(1.0, 5.0, 100), Transfer(1.1, 5.0, 300)], 0)
    assert figures.throughput == 100
    with pytest.raises(ValueError, match="no chunk"):
        throughput([], 0)


def test_a_window_allows_so_much_for_each_round_trip() -> None:
    delay = latency([Transfer(0.0, 0.1, 1_000)])
    rate = throughput([Transfer(0.0, 1.0, 1_000), Transfer(0.0, 2.0, 3_000)], 0)
    assert window_limit(48, rate, delay) == 48 * 2_000 * 10


def test_a_late_sample_does_not_squeeze_the_histogram() -> None:
    samples = [100 + n for n in range(99)] + [1_000_000]
    bars = histogram(samples, rows=10)
    assert bars[-1] == Bar(200, 1_000_000, 1)
    assert [bar.count for bar in bars[:-1]] == [11, *[10] * 8, 8]


def test_equal_samples_are_one_row() -> None:
    assert histogram([7, 7, 7]) == [Bar(7, 8, 3)]


@given(st.lists(st.integers(1, 10_000), min_size=1), st.integers(1, 20))
def test_a_histogram_has_every_sample_once(samples: list[int], rows: int) -> None:
    bars = histogram(samples, rows)
    assert sum(bar.count for bar in bars) == len(samples)
    assert len(bars) <= rows + 1
    for before, bar in itertools.pairwise(bars):
        assert before.high_us == bar.low_us
    assert bars[0].low_us == min(samples)
    for bar in bars[1:]:
        assert bar.count == sum(bar.low_us < sample <= bar.high_us for sample in samples)


@pytest.mark.parametrize(("samples", "rows"), [([], 3), ([1], 0)])
def test_a_histogram_of_nothing_is_refused(samples: list[int], rows: int) -> None:
    with pytest.raises(ValueError, match=r"samples|rows"):
        histogram(samples, rows)
