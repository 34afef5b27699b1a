"""The flip on the chain, when no attempt gave R in time: our commitment to it (coinflip.md §5)."""

from __future__ import annotations

from functools import partial

import trio

from chain_types import storage
from chain_types.calls import CommitFlip
from chain_types.records import Committing, Fallback
from offchain_worker.attestor.decisions import Progress
from offchain_worker.attestor.membership import Membership
from offchain_worker.chain.heads import Head
from offchain_worker.coinflip.journal import JournalError


class Commitment:
    """This member's commitment to the fallback."""

    def __init__(self, member: Membership) -> None:
        self._member = member
        self._log = member.log
        self._fallback: Fallback | None = None
        self._commits: Committing | None = None

    async def observe(self, head: Head, commits: Committing) -> None:
        """Read who has committed, in stage Commit.

        Raises:
            ChainError, DecodeError: the chain cannot be read.
        """
        member = self._member
        self._fallback = await member.tools.client.read(storage.FALLBACKS, member.id, at=head.hash)
        self._commits = commits

    @property
    def awaited(self) -> bool:
        """Whether the fallback waits for our commitment, and the next block would take it."""
        if self._fallback is None or self._commits is None:
            return False
        challenge, head = self._member.challenge, self._member.head
        over = challenge.commits_are_over(
            self._commits, head.number + 1, head.timestamp_ms + challenge.timing.block_ms
        )
        return self._member.place in self._fallback.missing and not over

    async def commit(self) -> Progress:
        """Commit w and audit key, fresh ones, to the fallback.

        Cancelled, the journal has the secrets, and the next call commits the same ones.

        Raises:
            RuntimeError: no fallback was observed.
        """
        member, fallback = self._member, self._fallback
        if fallback is None:
            raise RuntimeError("the fallback is read before anything is committed to it")
        if not member.has_our_key():
            return Progress.IMPOSSIBLE
        tools = member.tools
        everybody = set(range(len(member.challenge.roster)))
        flip, _places = member.attempts.fallback(everybody - set(fallback.places))
        if flip.topic != fallback.topic:
            self._log.error("coinflip.other_topic", chain=fallback.topic, own=flip.topic)
            return Progress.IMPOSSIBLE
        begin = partial(tools.journal.begin, flip.topic, started_ms=None)
        try:
            begun = await trio.to_thread.run_sync(begin)
        except JournalError as error:
            self._log.error("coinflip.silent", reason=str(error))
            return Progress.IMPOSSIBLE
        done = await member.submit(
            CommitFlip(member.id, begun.secrets.audit_seal(flip.topic, tools.session_key.public)),
            f"commit/{flip.topic.hex()}",
            "coinflip.committed",
        )
        return Progress.NOT_STARTED if done is None else Progress.DONE
