"""Round trips and bulk transfers between attestors, from stamps alone."""

from __future__ import annotations

import pytest

from chain_types.report import PeerMetrics
from offchain_worker.measurement.pings import (
    MAX_OUTSTANDING,
    MAX_SAMPLES,
    PeerMeter,
    peer_metrics,
)


def test_the_median_of_answered_pings() -> None:
    meter = PeerMeter()
    assert meter.rtt_p50_us is None
    for n, took in enumerate([0.005, 0.001, 0.003, 0.009]):
        nonce = bytes([n]) * 16
        meter.ping_sent(nonce, float(n))
        assert meter.pong_arrived(nonce, n + took)
    assert meter.rtt_p50_us == 3_000


def test_pongs_that_answer_nothing_do_not_count() -> None:
    meter = PeerMeter()
    meter.ping_sent(b"a" * 16, 0.0)
    assert not meter.pong_arrived(b"b" * 16, 0.1)
    assert meter.pong_arrived(b"a" * 16, 0.1)
    assert not meter.pong_arrived(b"a" * 16, 0.2)
    assert meter.rtt_p50_us == 100_000


def test_memory_is_bounded() -> None:
    meter = PeerMeter()
    for n in range(10 * MAX_SAMPLES):
        nonce = n.to_bytes(16, "little")
        meter.ping_sent(nonce, 0.0)
        if n % 2:
            meter.pong_arrived(nonce, 0.001)
    assert len(meter._outstanding) <= MAX_OUTSTANDING
    assert len(meter._samples) == MAX_SAMPLES


def test_throughput_counts_from_the_first_frame() -> None:
    meter = PeerMeter()
    assert meter.throughput is None
    meter.bulk_asked(3_000, 10.0)
    assert not meter.bulk_arrived(1_000, 10.5)
    assert meter.throughput is None
    assert meter.bulk_arrived(2_000, 12.5)
    assert meter.throughput == 1_000


def test_what_comes_at_once_counts_from_asking() -> None:
    for frames in ([3_000], [1_000, 2_000]):
        meter = PeerMeter()
        meter.bulk_asked(3_000, 10.0)
        for size in frames:
            meter.bulk_arrived(size, 12.0)
        assert meter.throughput == 1_500


def test_pings_that_a_transfer_overtakes_are_no_samples() -> None:
    meter = PeerMeter()
    meter.ping_sent(b"a" * 16, 0.0)
    meter.forget_pings()
    assert not meter.pong_arrived(b"a" * 16, 5.0)
    assert meter.rtt_p50_us is None


def test_the_reports_figures() -> None:
    measured, pinged, nothing = PeerMeter(), PeerMeter(), PeerMeter()
    for meter in (measured, pinged):
        meter.ping_sent(b"n" * 16, 0.0)
        meter.pong_arrived(b"n" * 16, 0.002)
    measured.bulk_asked(100, 0.0)
    measured.bulk_arrived(100, 1.0)
    figures = peer_metrics({7: pinged, 2: measured, 5: nothing})
    assert figures == (PeerMetrics(2, 2_000, 100), PeerMetrics(7, 2_000, 0))


@pytest.mark.parametrize("elapsed", [0.0, 1e-9])
def test_nothing_is_infinitely_fast(elapsed: float) -> None:
    meter = PeerMeter()
    meter.bulk_asked(10, 5.0)
    meter.bulk_arrived(10, 5.0 + elapsed)
    assert meter.throughput == 10_000_000
