"""The hoster's figures: nearest rank, latency of sequential and throughput of windowed sessions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_types.report import Percentiles
from offchain_worker.measurement.percentiles import nearest_rank, percentiles, to_microseconds
from offchain_worker.measurement.session import Transfer, session_metrics, throughput

SEQUENTIAL = [
    Transfer(requested=10.0, arrived=10.004, size=1_000),
    Transfer(requested=10.004, arrived=10.006, size=3_000),
    Transfer(requested=10.006, arrived=10.016, size=1),
]


@pytest.mark.parametrize(
    ("percent", "expected"), [(1, 15), (30, 20), (40, 20), (50, 35), (90, 50), (100, 50)]
)
def test_nearest_rank_takes_a_sample_that_exists(percent, expected):
    assert nearest_rank([15, 20, 35, 40, 50], percent) == expected


@given(st.lists(st.integers(1, (1 << 32) - 1), min_size=1))
def test_percentiles_are_ordered_samples(samples):
    figures = percentiles(samples)
    values = [figures.p50, figures.p90, figures.p99, figures.max]
    assert values == sorted(values)
    assert set(values) <= set(samples)
    assert 2 * sum(sample <= figures.p50 for sample in samples) >= len(samples)


@pytest.mark.parametrize("percent", [0, 101])
def test_other_percentages_are_refused(percent):
    with pytest.raises(ValueError, match="percentage"):
        nearest_rank([1], percent)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, 1), (-1.0, 1), (0.0000004, 1), (0.0012345, 1_234), (1e6, (1 << 32) - 1)],
)
def test_durations_have_the_widths_of_the_chain(seconds, expected):
    assert to_microseconds(seconds) == expected


def test_a_sequential_session_has_latencies_and_no_throughput():
    metrics = session_metrics(
        connect_s=0.001, handshake_s=0.002, transfers=SEQUENTIAL, windowed=False
    )
    assert (metrics.connect_us, metrics.handshake_us, metrics.first_chunk_us) == (1000, 2000, 4000)
    assert metrics.latency_us == Percentiles(p50=4_000, p90=10_000, p99=10_000, max=10_000)
    assert metrics.throughput is None


def test_a_windowed_session_has_throughput_from_first_request_to_last_arrival():
    transfers = [
        Transfer(requested=5.0, arrived=5.9, size=600),
        Transfer(requested=5.1, arrived=5.5, size=400),
        Transfer(requested=5.2, arrived=7.0, size=1_000),
    ]
    metrics = session_metrics(connect_s=0, handshake_s=0, transfers=transfers, windowed=True)
    assert metrics.throughput == 1_000
    assert metrics.latency_us is None
    assert metrics.first_chunk_us == 500_000


def test_throughput_is_never_zero():
    assert throughput([Transfer(requested=0.0, arrived=2.0, size=0)]) == 1


def test_nothing_arrived_has_no_figures():
    with pytest.raises(ValueError, match="no chunk"):
        session_metrics(connect_s=0, handshake_s=0, transfers=[], windowed=True)
    with pytest.raises(ValueError, match="no chunk"):
        throughput([])
    with pytest.raises(ValueError, match="no samples"):
        percentiles([])
