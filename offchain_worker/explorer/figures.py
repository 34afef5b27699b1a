"""What the figures of many attestors say together (challenge.md §6), as the chain computes it.

A median of n figures, of which f are lies, is one of the honest figures from place ⌈n/2⌉ − f to
place ⌈n/2⌉ in ascending order, as long as f < n / 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chain_types.records import Median, Medians
from chain_types.report import Metrics, PeerMetrics


@dataclass(frozen=True)
class Sample:
    """What one report says.

    Attributes:
        place: the reporter's, in the start roster.
        metrics: of its session; None if it was not served.
        peers: figures of its fellow attestors.
    """

    place: int
    metrics: Metrics | None
    peers: Sequence[PeerMetrics]


def medians(samples: Sequence[Sample]) -> Medians:
    """The medians over the reports that have the figure.

    A throughput above what the attestor's fellows measured of its link is a lower bound.
    """
    served = [(sample.place, sample.metrics) for sample in samples if sample.metrics is not None]

    def of(figure: Callable[[Metrics], int]) -> Median | None:
        return median([figure(metrics) for _place, metrics in served])

    latencies = [m.latency_us for _place, m in served if m.latency_us is not None]
    observed = [m.observed for _place, m in served if m.observed is not None]
    exact: list[int] = []
    bounds: list[int] = []
    for place, metrics in served:
        if metrics.throughput is not None:
            reached = link(samples, place)
            held_up = reached is not None and reached < metrics.throughput
            (bounds if held_up else exact).append(metrics.throughput)
    return Medians(
        connect_us=of(lambda metrics: metrics.connect_us),
        handshake_us=of(lambda metrics: metrics.handshake_us),
        first_chunk_us=of(lambda metrics: metrics.first_chunk_us),
        latency_p50_us=median([item.p50 for item in latencies]),
        latency_p90_us=median([item.p90 for item in latencies]),
        latency_p99_us=median([item.p99 for item in latencies]),
        latency_max_us=median([item.max for item in latencies]),
        throughput=median(exact),
        throughput_at_least=median(bounds),
        timeouts=of(lambda metrics: metrics.timeouts),
        observed_latency_p50_us=median([item.latency_p50_us for item in observed]),
        observed_throughput=median([item.throughput for item in observed]),
    )


def link(samples: Sequence[Sample], place: int) -> int | None:
    """How fast an attestor's link is, bytes per second: the median of what its fellows measured.

    None if none of them did; a throughput of 0 was not measured.
    """
    measured = median(
        [
            peer.throughput
            for sample in samples
            if sample.place != place
            for peer in sample.peers
            if peer.index == place and peer.throughput > 0
        ]
    )
    return None if measured is None else measured.value


def median(figures: Sequence[int]) -> Median | None:
    """Nearest rank, with quartiles; None without figures."""
    if not figures:
        return None
    ordered, count = sorted(figures), len(figures)

    def quarter(quarters: int) -> int:
        return ordered[-(-count * quarters // 4) - 1]

    return Median(value=quarter(2), reports=count, low=quarter(1), high=quarter(3))
