"""The figures of one session with a hoster (challenge.md §3.5 and §4, `Metrics`).

All times come from one monotonic clock and are stamped where bytes leave or arrive; nothing here
looks at a clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from chain_types.report import Metrics, Observed
from offchain_worker.measurement.percentiles import nearest_rank, percentiles, to_microseconds

_THROUGHPUT_MAX = (1 << 64) - 1


@dataclass(frozen=True)
class Transfer:
    """One chunk that arrived: when it was asked for, when it was there, how long it is.

    Attributes:
        requested, arrived: seconds of the session's monotonic clock.
        size: bytes of the chunk, without its proof.
    """

    requested: float
    arrived: float
    size: int


def latencies_us(transfers: Sequence[Transfer]) -> list[int]:
    """Microseconds from request to arrival of each chunk, in the order given."""
    return [to_microseconds(transfer.arrived - transfer.requested) for transfer in transfers]


def throughput(transfers: Sequence[Transfer], pauses: Sequence[tuple[float, float]] = ()) -> int:
    """Bytes per second over all chunks, at least 1.

    The bytes of the chunks (no proofs, no framing), divided by the time from the first request to
    the last arrival; rounded down. Times in between in which nothing was asked for count: a
    client with a full window has none.

    Where this side did not read for a while, what was on its way came all the same until there
    was no room, and then nothing. So the time between two arrivals in which a pause ended does
    not count, nor does the chunk that arrived then. If nothing is left, all counts: the figure is
    then that of this side's own limits.

    Args:
        transfers: in any order.
        pauses: begin and end of each, seconds of the session's monotonic clock.

    Raises:
        ValueError: no chunk arrived.
    """
    if not transfers:
        raise ValueError("no chunk arrived")
    first_request = min(transfer.requested for transfer in transfers)
    ordered = sorted(transfers, key=lambda transfer: transfer.arrived)
    ends = sorted(end for _begin, end in pauses)
    elapsed = total = 0.0
    last = first_request
    for transfer in ordered:
        held_up = bisect_right(ends, transfer.arrived) > bisect_right(ends, last)
        if not held_up:
            elapsed += transfer.arrived - last
            total += transfer.size
        last = transfer.arrived
    if not elapsed or not total:
        elapsed = last - first_request
        total = sum(transfer.size for transfer in transfers)
    return max(1, min(_THROUGHPUT_MAX, int(total) * 1_000_000 // to_microseconds(elapsed)))


def session_metrics(
    *,
    connect_s: float,
    handshake_s: float,
    transfers: Sequence[Transfer],
    windowed: bool,
    timeouts: int = 0,
    pauses: Sequence[tuple[float, float]] = (),
) -> Metrics:
    """Bring one session's stamps into the form of the report.

    Args:
        connect_s: seconds until the transport was connected.
        handshake_s: seconds from there until the Noise handshake was complete.
        transfers: every chunk of the session; the first chunk's time counts from the earliest
            request to the earliest arrival.
        windowed: whether the session kept a window of requests open, and so measured throughput;
            one that asked for one chunk after the other measured latency.
        timeouts: chunks that did not come in time on connections that were made again.
        pauses: as in `throughput`.

    Raises:
        ValueError: no chunk arrived.
    """
    if not transfers:
        raise ValueError("no chunk arrived")
    first_request = min(transfer.requested for transfer in transfers)
    first_arrival = min(transfer.arrived for transfer in transfers)
    return Metrics(
        connect_us=to_microseconds(connect_s),
        handshake_us=to_microseconds(handshake_s),
        first_chunk_us=to_microseconds(first_arrival - first_request),
        latency_us=None if windowed else percentiles(latencies_us(transfers)),
        throughput=throughput(transfers, pauses) if windowed else None,
        timeouts=timeouts,
        observed=None,
    )


def observed_figures(transfers: Sequence[Transfer]) -> Observed:
    """The figures of an observed session (challenge.md §3.3).

    Latency is the median from request to arrival, in which the requests that were open before it
    count: it is what a reader with that window waits. Throughput is as in `throughput`.

    Args:
        transfers: every chunk that was read in the pattern of a reader.

    Raises:
        ValueError: no chunk arrived.
    """
    return Observed(
        chunks=len(transfers),
        latency_p50_us=nearest_rank(sorted(latencies_us(transfers)), 50),
        throughput=throughput(transfers),
    )
