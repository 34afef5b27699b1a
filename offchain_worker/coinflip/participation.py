"""One member's way through the attempts of one challenge (coinflip.md §3).

After a certificate another attempt would be a free re-roll for who withholds its reveal, so a
member that held one, or that revealed, takes part in no later attempt: the fallback on the chain
takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from offchain_worker.coinflip.attempts import Attempt, Attempts, Expulsion


class Participation:
    """Which attempt this member is in, or waits for. What it saw and the chain's word go in.

    Args:
        attempts: of the challenge.
        place: this member's, in the start roster.

    Attributes:
        attempt: the one that is under way for this member; None: none, or none yet.
        next_ms: when `go_on` is due, ms since 1970; None: there is nothing to wait for.
    """

    def __init__(self, attempts: Attempts, place: int) -> None:
        self.attempt: Attempt | None = attempts.first()
        self.next_ms: int | None = None
        self._attempts = attempts
        self._place = place
        self._last = self.attempt

    @property
    def index(self) -> int:
        """This member's index in the roster of `attempt`.

        Raises:
            ValueError: no attempt is under way.
        """
        index = None if self.attempt is None else self.attempt.index_of(self._place)
        if index is None:
            raise ValueError("this member is in no attempt")
        return index

    def conclude(self, *, may_retry: bool) -> None:
        """The run of `attempt` is over.

        Args:
            may_retry: what the machine said at its end; False when the run was cut short, since
                what was seen in it is not known any more.

        Raises:
            ValueError: no attempt is under way.
        """
        if self.attempt is None:
            raise ValueError("no attempt is under way")
        self._last, self.attempt = self.attempt, None
        following = self._attempts.schedule_after(self._last) if may_retry else None
        self.next_ms = None if following is None else following.start_ms

    def go_on(self, expulsions: Sequence[Expulsion]) -> None:
        """Begin the next attempt, if this member is in it; not before `next_ms`.

        Args:
            expulsions: all that the finalized chain holds for this challenge by then.
        """
        following = self._attempts.after(self._last, expulsions)
        if following is not None and following.index_of(self._place) is not None:
            self.attempt = following
        self.next_ms = None

    def resume(
        self,
        now_ms: int,
        *,
        may_retry: Callable[[bytes], bool],
        expulsions: Sequence[Expulsion],
    ) -> None:
        """After a restart: pass over the attempts that ended meanwhile.

        Args:
            now_ms: ms since 1970.
            may_retry: what the journal knows of a topic's run (`Journal.may_retry`).
            expulsions: as for `go_on`.
        """
        while self.attempt is not None and now_ms >= self.attempt.schedule.end_ms:
            self.conclude(may_retry=may_retry(self.attempt.flip.topic))
            if self.next_ms is not None and now_ms >= self.next_ms:
                self.go_on(expulsions)
