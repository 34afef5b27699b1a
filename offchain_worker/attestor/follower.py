"""One attestor in one challenge, from the draw to the reward: the shell around `decisions`.

At every finalized head it lets each part of the work read what the chain holds for it, asks
`decide`, and starts the step that follows: the coinflip (`flipping`), the commitment to the
`fallback`, the audit and the report (`auditing`), proofs of `frauds`, the `closing`. Each step is
a task of its own, writes down what must survive a crash, and returns how far it came, into the
memory that the next decision reads.
"""

from __future__ import annotations

import structlog
import trio

from chain_types import storage
from chain_types.records import (
    Auditing,
    Committing,
    Flipping,
    OpenChallenge,
    PaymentKind,
    Reporting,
    Settlement,
)
from chain_types.scale import DecodeError
from offchain_worker.attestor.auditing import ActiveMember
from offchain_worker.attestor.closing import Closing
from offchain_worker.attestor.context import challenge_attempts, known_expulsions
from offchain_worker.attestor.decisions import (
    Decision,
    Memory,
    Progress,
    Stage,
    View,
    decide,
    next_fraud,
)
from offchain_worker.attestor.fallback import Commitment
from offchain_worker.attestor.flipping import Coinflip
from offchain_worker.attestor.frauds import Frauds, evidence_in_journal
from offchain_worker.attestor.membership import Membership
from offchain_worker.attestor.observing import observe_readers
from offchain_worker.attestor.tools import Tools
from offchain_worker.chain.errors import ChainError
from offchain_worker.chain.heads import Head
from offchain_worker.coinflip.attempts import Attempt
from offchain_worker.coinflip.evidence import Evidence

_log = structlog.get_logger()


async def follow(
    tools: Tools,
    challenge_id: int,
    place: int,
    updates: trio.MemoryReceiveChannel[tuple[Head, OpenChallenge | None]],
) -> None:
    """Take part in a challenge until it is settled.

    Args:
        tools: the attestor's.
        challenge_id: the challenge's number.
        place: ours in its start roster.
        updates: finalized heads, each with the challenge as the chain lists it among the open
            ones, None once it is not.

    Cancelled, it drops what it was doing; a new call goes on from journal and store.

    Raises:
        ExceptionGroup: what a step or the reading could not cope with; of OperationError when
            journal or store cannot be used. A new call may find it mended.
    """
    follower: _Follower | None = None
    async with trio.open_nursery() as nursery:
        async for head, state in updates:
            try:
                if follower is None:
                    follower = await _begin(tools, challenge_id, place, head, nursery)
                if follower is None:
                    continue
                await follower.observe(head, state)
            except (ChainError, DecodeError) as error:
                _log.warning("attestor.chain_unreadable", challenge=challenge_id, reason=str(error))
                continue
            if follower.go_on() is Decision.FINISH:
                await follower.conclude(head)
                nursery.cancel_scope.cancel()
                return


async def _begin(
    tools: Tools, challenge_id: int, place: int, head: Head, nursery: trio.Nursery
) -> _Follower | None:
    """Read the challenge, and the evidence that the journal keeps for it.

    Returns None when it is too early: the hash of the start block is not known yet.

    Raises:
        ChainError, DecodeError: the chain cannot be read; the next head will do.
        JournalError: the journal cannot be used.
    """
    snapshot = await tools.client.challenge(challenge_id, at=head.hash)
    if snapshot is None or snapshot.start_hash is None:
        return None
    challenge = snapshot.challenge
    attempts = challenge_attempts(
        tools.client.genesis, challenge_id, challenge, snapshot.start_hash
    )
    member = Membership(tools, challenge_id, place, challenge, attempts, head)
    follower = _Follower(member, nursery)
    expulsions = known_expulsions(snapshot.expulsions)
    for evidence, attempt in await evidence_in_journal(member, expulsions):
        follower.keep(evidence, attempt)
    return follower


class _Follower:
    """Follows a challenge that was read.

    Args:
        member: ours.
        nursery: runs the steps.
    """

    def __init__(self, member: Membership, nursery: trio.Nursery) -> None:
        self._member = member
        self._log = member.log
        self._nursery = nursery
        self._memory = Memory()
        self._reported = False
        self._frauds = Frauds(member)
        self._coinflip = Coinflip(member, nursery, self._found)
        self._commitment = Commitment(member)
        self._active: ActiveMember | None = None
        self._closing = Closing(member)

    # What the chain says.

    async def observe(self, head: Head, state: OpenChallenge | None) -> None:
        """Take in a finalized head.

        Args:
            head: the head.
            state: of the challenge; None: it is settled.

        Raises:
            ChainError, DecodeError: the chain cannot be read; the next head will do.
            OperationError, JournalError: journal or store cannot be used.
        """
        self._member.head = head
        await self._frauds.observe(head)
        self._member.stage = Stage.CLOSED if state is None else await self._read(head, state)
        self._member.announce()

    async def _read(self, head: Head, state: OpenChallenge) -> Stage:
        """Let the parts read what concerns them in the challenge's stage."""
        stage = state.stage
        if isinstance(stage, Flipping):
            return Stage.FLIP
        if isinstance(stage, Committing):
            await self._commitment.observe(head, stage)
            return Stage.COMMIT
        if self._member.flip is None:
            await self._take_flip(head)
        if self._active is not None:
            await self._active.observe(head)
        if isinstance(stage, Auditing):
            return Stage.AUDIT
        if isinstance(stage, Reporting):
            await self._closing.observe(head, stage)
            self._reported = state.reported
            return Stage.REPORT
        return Stage.CLOSED

    async def _take_flip(self, head: Head) -> None:
        """Read R; if we are active, take up what journal and store know of its topic."""
        member, tools = self._member, self._member.tools
        flip = await tools.client.read(storage.FLIPS, member.id, at=head.hash)
        if flip is None:
            return
        if flip.rank(member.place) is not None:
            active = await ActiveMember.load(member, flip)
            self._memory.audit = await active.audited()
            self._active = active
        else:
            self._log.info("attestor.not_active", fell_back=flip.fell_back)
        member.flip = flip
        await tools.swarm.anchored(flip.topic, flip.root, flip.randomness)

    def _view(self) -> View:
        challenge, active = self._member.challenge, self._active
        return View(
            stage=self._member.stage,
            flip_end_ms=challenge.flip_end_ms,
            may_commit=self._commitment.awaited,
            active=active is not None,
            moment_ms=None if active is None else active.moment_ms,
            secrets_match=active is not None and active.secrets_match,
            clock_tolerance_ms=challenge.timing.clock_tolerance_ms,
            reported=self._reported,
            closable=self._closing.due,
            proven=self._frauds.proven,
            false_receipt=active is not None and active.false_receipt is not None,
        )

    # What we do.

    def go_on(self) -> Decision:
        """Start every step that is due; returns what is left to do, `WAIT` or `FINISH`."""
        memory, start = self._memory, self._nursery.start_soon
        while True:
            view = self._view()
            decision = decide(view, memory, self._member.tools.clock_ms())
            match decision:
                case Decision.WAIT | Decision.FINISH:
                    return decision
                case Decision.JOIN_FLIP:
                    memory.flip = Progress.RUNNING
                    start(self._flip_coin)
                case Decision.COMMIT:
                    memory.commit = Progress.RUNNING
                    start(self._commit)
                case Decision.AUDIT:
                    memory.audit = Progress.RUNNING
                    start(self._audit)
                case Decision.OBSERVE:
                    memory.observation = Progress.RUNNING
                    start(self._observe_readers)
                case Decision.GIVE_UP_AUDIT:
                    memory.audit = Progress.RUNNING
                    start(self._give_up_audit)
                case Decision.REPORT:
                    memory.report = Progress.RUNNING
                    start(self._report)
                case Decision.REPORT_FRAUD:
                    identifier = next_fraud(view, memory)
                    if identifier is None:
                        raise RuntimeError("there is evidence to report")
                    memory.frauds[identifier] = Progress.RUNNING
                    start(self._report_fraud, identifier)
                case Decision.PROVE_RECEIPT:
                    memory.receipt = Progress.RUNNING
                    start(self._prove_receipt)
                case Decision.CLOSE:
                    memory.close = Progress.RUNNING
                    start(self._close)

    async def _flip_coin(self) -> None:
        self._memory.flip = await self._coinflip.run()

    async def _commit(self) -> None:
        self._memory.commit = await self._commitment.commit()

    async def _audit(self) -> None:
        self._memory.audit = await self._known_active.audit()

    async def _observe_readers(self) -> None:
        self._memory.observation = await observe_readers(self._member, self._known_active)

    async def _give_up_audit(self) -> None:
        self._memory.audit = await self._known_active.give_up()

    async def _report(self) -> None:
        self._memory.report = await self._known_active.report()

    async def _report_fraud(self, identifier: bytes) -> None:
        self._memory.frauds[identifier] = await self._frauds.prove(identifier)

    async def _prove_receipt(self) -> None:
        self._memory.receipt = await self._known_active.prove_receipt()

    async def _close(self) -> None:
        self._memory.close = await self._closing.close()

    @property
    def _known_active(self) -> ActiveMember:
        if self._active is None:
            raise RuntimeError("only active members audit and report")
        return self._active

    def keep(self, evidence: Evidence, attempt: Attempt) -> None:
        """Remember evidence of an attempt, to be brought to the chain; the journal has it."""
        self._frauds.keep(evidence, attempt)
        self._memory.frauds.setdefault(evidence.id, Progress.NOT_STARTED)

    def _found(self, evidence: Evidence, attempt: Attempt) -> None:
        self.keep(evidence, attempt)
        self.go_on()

    async def conclude(self, head: Head) -> None:
        """Log the settlement, what it brought, and whether we were expelled."""
        member, account = self._member, self._member.tools.account.public
        client = member.tools.client
        try:
            settlement = await client.read(storage.SETTLEMENTS, member.id, at=head.hash)
            expulsions = await client.read(storage.EXPULSIONS, member.id, at=head.hash)
        except (ChainError, DecodeError) as error:
            self._log.warning("challenge.settlement_unreadable", reason=str(error))
            return
        if any(expulsion.place == member.place for expulsion in expulsions):
            self._log.error("attestor.expelled")
        if settlement is not None:
            rewards = self._frauds.rewards
            self._log.info(
                "challenge.settled",
                outcome=settlement.outcome.name,
                reward=str(_reward(settlement, account)),
                closed_by_us=account in _closers(settlement),
                frauds_proven=len(rewards),
                fraud_rewards=str(sum(rewards)),
            )


def _reward(settlement: Settlement, account: bytes) -> int:
    return sum(payment.amount for payment in settlement.paid if payment.account == account)


def _closers(settlement: Settlement) -> set[bytes]:
    return {paid.account for paid in settlement.paid if paid.kind is PaymentKind.CLOSING}
