"""What attestors measure of each other during a coinflip: round trips, one bulk transfer.

challenge.md §3.5. Pure: every stamp is an argument, in seconds of one monotonic clock, taken
where bytes leave or arrive. Memory is bounded whatever a peer answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from chain_types.report import PeerMetrics
from offchain_worker.measurement.percentiles import nearest_rank, to_microseconds

MAX_OUTSTANDING = 16
MAX_SAMPLES = 1_024
_THROUGHPUT_MAX = (1 << 64) - 1


class PeerMeter:
    """The figures of one peer."""

    def __init__(self) -> None:
        self._outstanding: dict[bytes, float] = {}
        self._samples: deque[int] = deque(maxlen=MAX_SAMPLES)
        self._bulk_size = 0
        self._bulk_asked = 0.0
        self._bulk_missing = 0
        self._bulk_first: tuple[float, int] | None = None
        self._bulk_last = 0.0

    def ping_sent(self, nonce: bytes, at: float) -> None:
        """A ping left; the oldest unanswered one is forgotten when too many are."""
        if len(self._outstanding) >= MAX_OUTSTANDING:
            self._outstanding.pop(next(iter(self._outstanding)))
        self._outstanding[nonce] = at

    def pong_arrived(self, nonce: bytes, at: float) -> bool:
        """Whether it answers a ping that is not answered yet; if so, it is a sample."""
        sent = self._outstanding.pop(nonce, None)
        if sent is None:
            return False
        self._samples.append(to_microseconds(at - sent))
        return True

    def forget_pings(self) -> None:
        """What is not answered yet is no sample: a transfer began that it would wait behind."""
        self._outstanding.clear()

    def bulk_asked(self, size: int, at: float) -> None:
        """A bulk transfer of `size` bytes was asked for; counts of an earlier one are dropped."""
        self._bulk_size = self._bulk_missing = size
        self._bulk_asked = at
        self._bulk_first = None

    def bulk_arrived(self, size: int, at: float) -> bool:
        """A frame of it arrived; returns whether it is complete."""
        if self._bulk_first is None:
            self._bulk_first = at, size
        self._bulk_missing = max(0, self._bulk_missing - size)
        self._bulk_last = at
        return self._bulk_missing == 0

    @property
    def rtt_p50_us(self) -> int | None:
        """Median round trip in microseconds, nearest rank; None without an answered ping."""
        return nearest_rank(sorted(self._samples), 50) if self._samples else None

    @property
    def throughput(self) -> int | None:
        """Bytes per second, at least 1; None unless complete.

        The bytes after the first frame over the time since then, so that the way there and back,
        and a peer that lets us wait for our turn, do not count. What came all at once counts from
        asking.
        """
        if self._bulk_size == 0 or self._bulk_missing or self._bulk_first is None:
            return None
        since, size = self._bulk_first
        counted = self._bulk_size - size
        if self._bulk_last <= since or counted <= 0:
            since, counted = self._bulk_asked, self._bulk_size
        elapsed_us = to_microseconds(self._bulk_last - since)
        return max(1, min(_THROUGHPUT_MAX, counted * 1_000_000 // elapsed_us))


def peer_metrics(meters: Mapping[int, PeerMeter]) -> tuple[PeerMetrics, ...]:
    """The report's figures, ascending by roster index.

    A peer without an answered ping is left out; a throughput that was not measured is 0.
    """
    figures = []
    for index in sorted(meters):
        rtt = meters[index].rtt_p50_us
        if rtt is not None:
            throughput = meters[index].throughput or 0
            figures.append(PeerMetrics(index=index, rtt_p50_us=rtt, throughput=throughput))
    return tuple(figures)
