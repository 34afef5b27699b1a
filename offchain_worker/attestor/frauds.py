"""Frauds of fellow members: the evidence we have, and its way to the chain (coinflip.md §4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import trio

from chain_types import storage
from chain_types.calls import ReportFraud
from chain_types.events import Expelled
from chain_types.records import FraudKind
from chain_types.report import decode_proof
from chain_types.scale import DecodeError
from offchain_worker.attestor.decisions import Progress
from offchain_worker.attestor.membership import Membership
from offchain_worker.chain.errors import ChainError
from offchain_worker.chain.heads import Head
from offchain_worker.coinflip.attempts import Attempt, Expulsion
from offchain_worker.coinflip.evidence import Evidence, inspect


@dataclass(frozen=True)
class _Case:
    """Evidence to bring to the chain.

    Attributes:
        evidence: verified.
        place: the offender's, in the start roster.
        due_ms: when our turn comes, so that not all members bring it.
    """

    evidence: Evidence
    place: int
    due_ms: int


class Frauds:
    """What this member can prove.

    Attributes:
        proven: ids of our evidence that the finalized chain has, whoever brought it.
        rewards: what our own proofs brought, in the chain's smallest unit.
    """

    def __init__(self, member: Membership) -> None:
        self.proven: frozenset[bytes] = frozenset()
        self.rewards: list[int] = []
        self._member = member
        self._log = member.log
        self._cases: dict[bytes, _Case] = {}

    def keep(self, evidence: Evidence, attempt: Attempt) -> None:
        """Remember evidence from an attempt, to be brought to the chain; the journal has it."""
        if evidence.id in self._cases:
            return
        member = self._member
        due_ms = member.tools.clock_ms() + member.place * member.challenge.timing.block_ms
        self._cases[evidence.id] = _Case(evidence, attempt.places[evidence.offender], due_ms)

    async def observe(self, head: Head) -> None:
        """Note which of our evidence the chain has meanwhile.

        Raises:
            ChainError, DecodeError: the chain cannot be read; what was known still is.
        """
        member, found = self._member, set(self.proven)
        for identifier in self._cases.keys() - self.proven:
            fraud = await member.tools.client.read(
                storage.FRAUDS, member.id, identifier, at=head.hash
            )
            if fraud is not None:
                found.add(identifier)
        self.proven = frozenset(found)

    async def prove(self, identifier: bytes) -> Progress:
        """Prove a fraud once our turn has come, unless another member did meanwhile.

        What came to nothing for lack of a connection is not done, and is tried again at the next
        head. Cancelled, the proof may be on its way, and is found in the journal again.

        Args:
            identifier: of evidence that was kept.
        """
        member, case = self._member, self._cases[identifier]
        await member.sleep_until(case.due_ms)
        try:
            # The newest block, finalized or not: a second proof would cost its fee.
            known = await member.tools.client.read(storage.FRAUDS, member.id, identifier)
        except (ChainError, DecodeError) as error:
            self._log.warning("fraud.chain_unreadable", reason=str(error))
            return Progress.NOT_STARTED
        if known is not None:
            return Progress.NOT_STARTED  # and done once that block is final
        done = await member.submit(
            ReportFraud(decode_proof(case.evidence.encoded)),
            f"fraud/{identifier.hex()}",
            "fraud.reported",
            offender=case.place,
            fraud=FraudKind(case.evidence.proof_kind).name,
        )
        if done is None:
            return Progress.NOT_STARTED
        for event in done.events:
            if isinstance(event, Expelled):
                self.rewards.append(event.reward)
                self._log.info(
                    "fraud.rewarded",
                    offender=case.place,
                    slashed=str(event.slashed),
                    reward=str(event.reward),
                )
        return Progress.DONE


async def evidence_in_journal(
    member: Membership, expulsions: Sequence[Expulsion]
) -> list[tuple[Evidence, Attempt]]:
    """What was found before a restart, with the attempt it is from.

    Args:
        member: ours.
        expulsions: all that the chain holds for this challenge; they tell the attempts' rosters.

    Raises:
        JournalError: the journal cannot be used.
    """
    found: list[tuple[Evidence, Attempt]] = []
    attempt: Attempt | None = member.attempts.first()
    while attempt is not None and attempt.schedule.start_ms <= member.tools.clock_ms():
        found += [(evidence, attempt) for evidence in await _evidence_of(member, attempt)]
        attempt = member.attempts.after(attempt, expulsions)
    return found


async def _evidence_of(member: Membership, attempt: Attempt) -> list[Evidence]:
    """What the journal has of one attempt; nothing if we were not in it."""
    journal, topic = member.tools.journal, attempt.flip.topic
    if await trio.to_thread.run_sync(journal.secrets, topic) is None:
        return []
    begin = partial(journal.begin, topic, started_ms=attempt.schedule.start_ms)
    begun = await trio.to_thread.run_sync(begin)
    return [inspect(proof, attempt.flip)[0] for proof in begun.proofs]
