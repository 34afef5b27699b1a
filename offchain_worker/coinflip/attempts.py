"""Which attempts a challenge's coinflip has, when, and among whom (coinflip.md §2, §3).

Everything here follows from what the chain holds: members and chain compute the same attempts. A
member that was expelled long enough before an attempt begins, so that all agree on it, is not in
that attempt's roster; an expulsion that came later never changes a topic.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from offchain_worker.coinflip.schedule import Schedule, Timing
from offchain_worker.coinflip.topic import FALLBACK_ATTEMPT, Flip

MAX_ATTEMPTS = 8
"""Attempts are numbered below this, however much time is left: it bounds the chain's work."""


@dataclass(frozen=True)
class Expulsion:
    """A member that the chain expelled.

    Attributes:
        place: in the start roster.
        timestamp_ms: of the block that expelled it, ms since 1970.
    """

    place: int
    timestamp_ms: int


@dataclass(frozen=True)
class Attempt:
    """One attempt.

    Attributes:
        flip: its topic and roster.
        schedule: its instants.
        places: for each member of its roster the place in the start roster, ascending.
    """

    flip: Flip
    schedule: Schedule
    places: tuple[int, ...]

    def index_of(self, place: int) -> int | None:
        """The index in this attempt's roster of a place in the start roster; None: not in it."""
        return self.places.index(place) if place in self.places else None


@dataclass(frozen=True)
class Attempts:
    """The attempts of one challenge.

    Attributes:
        genesis: hash of the chain's first block, 32 bytes.
        challenge_id: u64.
        start_block_hash: hash of block S, 32 bytes.
        roster: session keys of the start roster, ascending.
        timing: the challenge's.
        t0_ms: timestamp of S.
        min_active: with fewer members there is no further attempt.
    """

    genesis: bytes
    challenge_id: int
    start_block_hash: bytes
    roster: tuple[bytes, ...]
    timing: Timing
    t0_ms: int
    min_active: int

    def first(self) -> Attempt:
        """Attempt 0, among the whole start roster.

        Raises:
            RosterError: see `Flip`.
        """
        places = tuple(range(len(self.roster)))
        return self._attempt(Schedule.first(self.timing, self.t0_ms), places)

    def schedule_after(self, attempt: Attempt) -> Schedule | None:
        """When the attempt after one would be; None when there is no time left for it."""
        schedule = attempt.schedule.following(attempt.flip.topic)
        return schedule if schedule.attempt < MAX_ATTEMPTS and schedule.fits else None

    def settled_ms(self, start_ms: int) -> int:
        """The last timestamp of an expulsion that counts for an attempt that begins at `start_ms`:
        every member knows of it by then."""
        return start_ms - 2 * self.timing.block_ms - self.timing.finality_ms

    def after(self, attempt: Attempt, expulsions: Sequence[Expulsion]) -> Attempt | None:
        """The attempt after one; None when there is none: no time left, or too few members.

        Args:
            attempt: one of this challenge's.
            expulsions: what the chain holds for this challenge when the attempt begins, or later:
                those that come too late for the attempt make no difference.
        """
        schedule = self.schedule_after(attempt)
        if schedule is None:
            return None
        last = self.settled_ms(schedule.start_ms)
        expelled = {one.place for one in expulsions if one.timestamp_ms <= last}
        places = self._without(expelled)
        return None if len(places) < self.min_active else self._attempt(schedule, places)

    def numbered(self, number: int, expulsions: Sequence[Expulsion]) -> Attempt | None:
        """Attempt `number`; None when it does not exist, as far as the expulsions tell."""
        attempt: Attempt | None = self.first()
        while attempt is not None and attempt.flip.attempt < number:
            attempt = self.after(attempt, expulsions)
        return attempt

    def fallback(self, expelled: Collection[int]) -> tuple[Flip, tuple[int, ...]]:
        """The flip on the chain, and its members' places in the start roster (coinflip.md §5).

        Args:
            expelled: places of the members that were expelled before block F.

        Raises:
            RosterError: nobody is left.
        """
        places = self._without(expelled)
        return self._flip(FALLBACK_ATTEMPT, places), places

    def _without(self, expelled: Collection[int]) -> tuple[int, ...]:
        return tuple(place for place in range(len(self.roster)) if place not in expelled)

    def _attempt(self, schedule: Schedule, places: tuple[int, ...]) -> Attempt:
        return Attempt(self._flip(schedule.attempt, places), schedule, places)

    def _flip(self, number: int, places: tuple[int, ...]) -> Flip:
        return Flip(
            genesis=self.genesis,
            challenge_id=self.challenge_id,
            start_block_hash=self.start_block_hash,
            attempt=number,
            roster=tuple(self.roster[place] for place in places),
        )
