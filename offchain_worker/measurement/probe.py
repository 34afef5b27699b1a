"""The figures of a probe (`datdot measure`) of one peer, for no challenge (challenge.md §3.5).

Stamps are those of `hypercore.reader.Block`: a request's is taken when it is handed to the
transport, an arrival's is the kernel's for the last byte. Pure: nothing here looks at a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chain_types.report import Percentiles
from offchain_worker.measurement.percentiles import nearest_rank, percentiles, to_microseconds
from offchain_worker.measurement.session import Transfer, latencies_us

ROUND_TRIPS = 20
"""How many of them a throughput should be taken over: the first one or two say little."""


@dataclass(frozen=True)
class Opening:
    """The beginning of a session.

    Attributes:
        connect_us: microseconds until the transport stood; over TCP one round trip.
        handshake_us: from there to the end of the Noise handshake; two round trips, and both
            sides' arithmetic.
        head_us: from there to the feed's verified head; None when no feed was asked for.
    """

    connect_us: int
    handshake_us: int
    head_us: int | None


@dataclass(frozen=True)
class Latency:
    """What chunks read one after the other say.

    Attributes:
        first_chunk_us: of the first of them; it may find the hoster's disk asleep.
        latency_us: p50, p90, p99 and maximum by nearest rank of all samples.
        samples_us: all of them, in the order in which the chunks were read: from a request to the
            last byte of its chunk. The chunk's own time on the wire is in it.
        chunk_bytes: of all these chunks.
    """

    first_chunk_us: int
    latency_us: Percentiles
    samples_us: tuple[int, ...]
    chunk_bytes: int


@dataclass(frozen=True)
class Throughput:
    """What chunks read with a full window say.

    Attributes:
        throughput: bytes of chunks per second: of those that arrived after the first one, over
            the time since then. The wait for the first one is latency, not throughput. The slow
            start of a TCP connection is in it, as for every reader. Of chunks that all arrived
            at once: all their bytes, over the time since the first request.
        chunks, chunk_bytes: all that were read; no proofs, no framing.
        wire_bytes: all that the connection carried in meanwhile; over `chunk_bytes`, what proofs
            and framing cost.
        seconds: from the first request to the last arrival.
    """

    throughput: int
    chunks: int
    chunk_bytes: int
    wire_bytes: int
    seconds: float


@dataclass(frozen=True)
class Probe:
    """What was measured of one peer; None for what was not asked for.

    Attributes:
        peer_key: the peer's Noise key, hex.
        feed_key: the feed's key, hex.
        fork, length: of the feed's head.
        opening: of the first session.
        latency: of chunks one after the other, in the first session.
        throughput: of chunks with a full window, in a session of its own.
    """

    peer_key: str
    feed_key: str | None
    fork: int | None
    length: int | None
    opening: Opening
    latency: Latency | None
    throughput: Throughput | None


def latency(transfers: Sequence[Transfer]) -> Latency:
    """Figures of chunks read one after the other, given in that order.

    Raises:
        ValueError: there are none.
    """
    samples = tuple(latencies_us(transfers))
    return Latency(
        first_chunk_us=samples[0] if samples else 0,
        latency_us=percentiles(samples),
        samples_us=samples,
        chunk_bytes=sum(transfer.size for transfer in transfers),
    )


def throughput(transfers: Sequence[Transfer], wire_bytes: int) -> Throughput:
    """Figures of chunks read with a full window, in any order.

    Raises:
        ValueError: there are none.
    """
    if not transfers:
        raise ValueError("no chunk arrived")
    begun = min(transfer.requested for transfer in transfers)
    first = min(transfer.arrived for transfer in transfers)
    last = max(transfer.arrived for transfer in transfers)
    since = begun if first == last else first
    counted = sum(transfer.size for transfer in transfers if transfer.arrived > since)
    return Throughput(
        throughput=max(1, counted * 1_000_000 // to_microseconds(last - since)),
        chunks=len(transfers),
        chunk_bytes=sum(transfer.size for transfer in transfers),
        wire_bytes=wire_bytes,
        seconds=last - begun,
    )


def window_limit(window: int, rate: Throughput, delay: Latency) -> int:
    """What `window` requests in flight allow at that latency, in bytes of chunks per second."""
    chunk_bytes = rate.chunk_bytes / rate.chunks
    return round(window * chunk_bytes * 1e6 / delay.latency_us.p50)


@dataclass(frozen=True)
class Bar:
    """One row of a histogram: how many samples are above `low_us` and at most `high_us`.

    The first row has those that are exactly `low_us` too.
    """

    low_us: int
    high_us: int
    count: int


def histogram(samples_us: Sequence[int], rows: int = 12) -> list[Bar]:
    """Rows of equal width from the least sample to p99, and one for what is above.

    A single late sample would squeeze all others into one row otherwise.

    Raises:
        ValueError: no samples, or fewer than one row.
    """
    if rows < 1:
        raise ValueError("a histogram has rows")
    ascending = sorted(samples_us)
    high = nearest_rank(ascending, 99)
    low, most = ascending[0], ascending[-1]
    width = max(1, -(-(high - low) // rows))
    edges = [low + i * width for i in range(rows + 1)]
    counts = [0] * rows
    above = 0
    for sample in ascending:
        if sample > edges[-1]:
            above += 1
        else:
            counts[max(0, -(-(sample - low) // width) - 1)] += 1
    bars = [
        Bar(edges[i], edges[i + 1], counts[i]) for i in range(rows) if counts[i] or edges[i] < high
    ]
    if above:
        bars.append(Bar(edges[-1], most, above))
    return bars
