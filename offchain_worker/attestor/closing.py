"""The end of the time for reports: whose are missing, and the closing (challenge.md §2.2)."""

from __future__ import annotations

from chain_types import storage
from chain_types.calls import CloseChallenge
from chain_types.records import Reporting
from offchain_worker.attestor.decisions import Progress
from offchain_worker.attestor.membership import Membership
from offchain_worker.chain.heads import Head

CLOSING = 10
"""The chain closes by itself after one part in so many of the time for reports."""


class Closing:
    """What this member sees of the others' reports, and its turn to close without them.

    Attributes:
        due: whether it is our turn and `close_challenge` would be accepted in the next block.
    """

    def __init__(self, member: Membership) -> None:
        self.due = False
        self._member = member
        self._log = member.log
        self._seen_reports = 0

    async def observe(self, head: Head, reporting: Reporting) -> None:
        """Read who has reported, in stage Report.

        Raises:
            ChainError, DecodeError: the chain cannot be read.
        """
        await self._watch_reports(head)
        rooms = await self._member.tools.client.read(storage.ROOMS, at=head.hash)
        deadline, turn = reporting.deadline, self._turn
        # Without absence fees there is no share in them: the chain closes by itself.
        self.due = all(
            # `head` is the parent of the block in which the call would be applied.
            rooms >= due.rooms + turn or head.number + 1 >= due.block + turn
            for due in (deadline, reporting.answers)
            if due is not None
        ) and any(not self._seen_reports >> place & 1 for place in self._active)

    async def _watch_reports(self, head: Head) -> None:
        """Note whose report is new; the last call before closing tells who is missing."""
        member = self._member
        tally = await member.tools.client.read(storage.TALLIES, member.id, at=head.hash)
        if tally.reported == self._seen_reports:
            return
        self._seen_reports = tally.reported
        self._log.info(
            "attestor.reports",
            block=head.number,
            reported=[place for place in self._active if tally.has(place)],
            awaited=[place for place in self._active if not tally.has(place)],
        )

    @property
    def _active(self) -> tuple[int, ...]:
        return () if self._member.flip is None else self._member.flip.places

    @property
    def _turn(self) -> int:
        """How many blocks after D it is our turn to close, so that not all pay for trying.

        The turns share the blocks until the chain closes by itself (challenge.md §2.2); who comes
        first changes with each challenge.
        """
        member, challenge = self._member, self._member.challenge
        size = len(challenge.roster)
        return (
            (member.place - member.id) % size * (challenge.timing.grace_blocks // CLOSING) // size
        )

    async def close(self) -> Progress:
        """Close the challenge for the closer's share.

        Cancelled, the call may be on its way, and is gone on with by the next one.
        """
        member = self._member
        missing = [place for place in self._active if not self._seen_reports >> place & 1]
        self._log.warning("attestor.reports_missing", missing=missing)
        done = await member.submit(
            CloseChallenge(id=member.id),
            f"close/{member.first_topic.hex()}",
            "challenge.closed_by_us",
        )
        return Progress.NOT_STARTED if done is None else Progress.DONE
