"""What the steps of one challenge share: who we are in it, and where the chain says it is."""

from __future__ import annotations

import structlog
import trio

from chain_types.calls import (
    AnchorFlip,
    CloseChallenge,
    CommitFlip,
    ReportFraud,
    SubmitReport,
)
from chain_types.records import Challenge, Flip
from offchain_worker.attestor.decisions import Stage
from offchain_worker.attestor.tools import Tools
from offchain_worker.chain.errors import ChainError
from offchain_worker.chain.heads import Head
from offchain_worker.chain.transactions import Finalized
from offchain_worker.coinflip.attempts import Attempts

_log = structlog.get_logger()

LOST_RACES = frozenset({"AlreadyAnchored", "AlreadyClosed", "FraudKnown", "NothingToSlash"})
"""Errors of calls that any member of the roster may make: another one was first."""


class Membership:
    """This attestor in one challenge.

    Only the follower changes it; the steps read.

    Attributes:
        tools: the attestor's.
        id: the challenge's number.
        place: ours in the start roster.
        challenge: the record, which does not change.
        attempts: of its coinflip.
        log: names the challenge in each line.
        head: the last finalized head.
        stage: of the challenge, as far as it was read at that head.
        flip: its shared randomness R; None as long as the chain has none.
    """

    def __init__(
        self,
        tools: Tools,
        challenge_id: int,
        place: int,
        challenge: Challenge,
        attempts: Attempts,
        head: Head,
    ) -> None:
        self.tools = tools
        self.id = challenge_id
        self.place = place
        self.challenge = challenge
        self.attempts = attempts
        self.log: structlog.typing.FilteringBoundLogger = _log.bind(challenge=challenge_id)
        self.head = head
        self.stage = Stage.FLIP
        self.flip: Flip | None = None
        self._news = trio.Event()

    @property
    def first_topic(self) -> bytes:
        """The topic of attempt 0, 32 bytes: it names the challenge in store and journals."""
        return self.attempts.first().flip.topic

    def has_our_key(self) -> bool:
        """Whether we were drawn with the session key that this process has."""
        drawn = self.challenge.roster[self.place].session_key
        if drawn == self.tools.session_key.public:
            return True
        self.log.error("coinflip.other_session_key", drawn=drawn)
        return False

    def announce(self) -> None:
        """Wake up who waits in `reached`: all that `head` says is known."""
        self._news.set()
        self._news = trio.Event()

    async def reached(self, timestamp_ms: int) -> Head:
        """The finalized head, once its timestamp is at least `timestamp_ms`."""
        while self.head.timestamp_ms < timestamp_ms:
            await self._news.wait()
        return self.head

    async def sleep_until(self, at_ms: int) -> None:
        """Sleep until `at_ms` of the wall clock, ms since 1970."""
        await trio.sleep(max(0, at_ms - self.tools.clock_ms()) / 1_000)

    async def submit(
        self,
        call: AnchorFlip | CommitFlip | SubmitReport | ReportFraud | CloseChallenge,
        intent: str,
        event: str,
        **details: object,
    ) -> Finalized | None:
        """Submit once; None: it did not get there, try again. A refusal is logged with its reason.

        Args:
            call, intent: as `ChainClient.submit`.
            event: logged when it is on chain, `EVENT.not` otherwise.
            details: logged as well.

        Cancelled, the transaction may be on its way; submitting the same intent again waits for it.
        """
        failed = f"{event}.not"
        try:
            done = await self.tools.client.submit(call, self.tools.account, intent)
        except ChainError as error:
            self.log.warning(failed, reason=str(error), **details)
            return None
        if done.error is not None:
            lost = done.error.name in LOST_RACES
            log = self.log.info if lost else self.log.warning
            log(failed, reason=str(done.error), **details)
        else:
            self.log.info(event, block=done.block_number, **details)
        return done
