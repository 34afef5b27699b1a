"""When each phase of an attempt ends (coinflip.md §2, §3). All times in ms since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from offchain_worker.coinflip.draws import retry_jitter

MAX_DELTA_MS = 30_000


@dataclass(frozen=True)
class Timing:
    """The part of a challenge's Timing that the coinflip needs (challenge.md §2.2), in ms."""

    block_ms: int
    join_ms: int
    delta_ms: int
    finality_ms: int
    flip_ms: int


@dataclass(frozen=True)
class Schedule:
    """The instants of one attempt.

    Attributes:
        timing: the challenge's.
        t0_ms: timestamp of the start block.
        attempt: 0, 1, …
        start_ms: s_a, when this attempt begins.
    """

    timing: Timing
    t0_ms: int
    attempt: int
    start_ms: int

    @classmethod
    def first(cls, timing: Timing, t0_ms: int) -> Schedule:
        """The schedule of attempt 0."""
        return cls(timing=timing, t0_ms=t0_ms, attempt=0, start_ms=t0_ms)

    def following(self, topic: bytes) -> Schedule:
        """The schedule of the attempt after this one, whose topic was `topic`."""
        start = (
            self.end_ms
            + 4 * self.timing.block_ms
            + self.timing.finality_ms
            + retry_jitter(topic, self.delta_ms)
        )
        return Schedule(self.timing, self.t0_ms, self.attempt + 1, start)

    @cached_property
    def delta_ms(self) -> int:
        """Δ_a: the longest delay of a message that this attempt tolerates."""
        return min(self.timing.delta_ms << self.attempt, MAX_DELTA_MS)

    @cached_property
    def commit_end_ms(self) -> int:
        """Tc: who lacks a commitment now gives up, unless somebody has echoed."""
        join = self.timing.join_ms if self.attempt == 0 else self.timing.join_ms // 3
        return self.start_ms + join + 2 * self.delta_ms

    @cached_property
    def echo_end_ms(self) -> int:
        """Te: nobody echoes a root from here on, so every certificate is complete by Te + Δ."""
        return self.commit_end_ms + 4 * self.delta_ms

    @cached_property
    def reveal_end_ms(self) -> int:
        """Tf: nobody reveals from here on; every run has its exit."""
        return self.echo_end_ms + 4 * self.delta_ms

    @cached_property
    def end_ms(self) -> int:
        """Tx: peers are served until here."""
        return self.reveal_end_ms + 2 * self.delta_ms

    @property
    def fits(self) -> bool:
        """Whether this attempt ends early enough to be anchored."""
        limit = self.t0_ms + self.timing.flip_ms
        return self.end_ms + 2 * self.timing.block_ms <= limit

    def anchor_ms(self, now_ms: int, index: int) -> int:
        """When roster member `index`, who knows R since `now_ms`, anchors it."""
        latest = self.t0_ms + self.timing.flip_ms - 3 * self.timing.block_ms
        return max(now_ms, min(now_ms + index * self.timing.block_ms, latest))
