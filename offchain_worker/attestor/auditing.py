"""What only the active members of a flip do: the audit, and the report on it
(challenge.md §3, §4)."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import trio

from chain_types import storage
from chain_types.calls import ReportFraud, SubmitReport
from chain_types.records import Flip, Role
from chain_types.report import Failure, FalseReceipt, Observed, Outcome, Served
from chain_types.scale import DecodeError
from offchain_worker.attestor.context import report_context
from offchain_worker.attestor.decisions import Progress
from offchain_worker.attestor.membership import Membership
from offchain_worker.audit.capacity import Kind
from offchain_worker.audit.demand import chunk_to_demand
from offchain_worker.audit.report import ReportError, check_report, sign_report
from offchain_worker.audit.session import AuditPlan, MomentMissed, audit
from offchain_worker.chain.errors import ChainError
from offchain_worker.chain.heads import Head
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.hashing import blake2b_256


class ActiveMember:
    """This member once R is fixed and it is active.

    Attributes:
        hoster: IP address and port of the hoster, as the chain had them last; None: it has none.
        over: set once nothing is audited any more in this challenge.

    Args:
        member: ours.
        flip: R, of which we are an active member.
        secrets: ours of its topic; None: the journal has none.

    Attributes:
        false_receipt: what our audit found to prove against the hoster.

    Raises:
        NotActive: we are not.
    """

    def __init__(self, member: Membership, flip: Flip, secrets: FlipSecrets | None) -> None:
        self._member = member
        self._log = member.log
        self._flip = flip
        self._secrets = secrets
        self._context = report_context(
            member.challenge, flip, member.tools.account.public, member.place
        )
        self.hoster: tuple[str, int] | None = None
        self.over = trio.Event()
        self.false_receipt: FalseReceipt | None = None

    @classmethod
    async def load(cls, member: Membership, flip: Flip) -> ActiveMember:
        """With the secrets of the flip's topic that the journal has.

        Raises:
            NotActive: we are not active in it.
            JournalError: the journal cannot be used.
        """
        secrets = await trio.to_thread.run_sync(member.tools.journal.secrets, flip.topic)
        return cls(member, flip, secrets)

    async def audited(self) -> Progress:
        """How far the audit was before a restart, as the store has it.

        Raises:
            OperationError: the store cannot be used.
        """
        work = await trio.to_thread.run_sync(self._member.tools.store.load, self._flip.topic)
        if work.outcome is None and work.missed is None:
            return Progress.NOT_STARTED
        self.over.set()
        self.false_receipt = work.false_receipt
        return Progress.IMPOSSIBLE if work.outcome is None else Progress.DONE

    async def observe(self, head: Head) -> None:
        """Read where the hoster is.

        Raises:
            ChainError, DecodeError: the chain cannot be read; the last endpoint stays.
        """
        member, hoster = self._member, self._member.challenge.hoster
        found = await member.tools.client.endpoints(Role.HOSTER, [hoster], at=head.hash)
        if hoster in found:
            self.hoster = (found[hoster].host, found[hoster].port)

    @property
    def moment_ms(self) -> int | None:
        """The audit moment, ms since 1970; None without secrets."""
        return None if self._secrets is None else self._context.moment(self._secrets.w)

    @property
    def secrets_match(self) -> bool:
        """Whether the z that the chain holds for us is the one in the journal."""
        member, flip = self._member, self._flip
        if self._secrets is None:
            return False
        seal = self._secrets.audit_seal(flip.topic, member.tools.session_key.public)
        return seal == flip.commitment_of(member.place)

    async def audit(self) -> Progress:
        """Wait for the moment, audit, and keep the outcome.

        Cancelled, it drops the session with what it has seen of it; nothing is kept.

        Raises:
            OperationError: the store cannot be used.
        """
        member, context = self._member, self._context
        tools, challenge, secrets = member.tools, member.challenge, self._known_secrets
        habit = context.habit(secrets.w)
        plan = AuditPlan(
            feed_key=challenge.feed.key,
            hoster=challenge.noise_key,
            audit_key=secrets.audit_keypair,
            fork=challenge.fork,
            length=challenge.length,
            drawn=context.drawn(secrets.w),
            habit=habit,
            chunks=challenge.timing.chunks,
            proved=challenge.timing.proved,
            moment=context.moment(secrets.w),
            end_ms=challenge.end_ms,
            chunk_timeout_ms=challenge.timing.chunk_timeout_ms,
            clock_tolerance_ms=challenge.timing.clock_tolerance_ms,
            session_bytes=tools.session_bytes,
        )

        way = tools.ways.towards(challenge.noise_key, member.id, lambda: self.hoster)

        async def dial() -> trio.abc.Stream:
            # Logged only now: before, the moment is a secret.
            self._log.info("audit.opened", moment_ms=plan.moment, windowed=habit.windowed)
            return await seat.connect(partial(way.connect, timeout=timeout_s))

        timeout_s = plan.chunk_timeout_ms / 1_000
        kind = Kind.THROUGHPUT if habit.windowed else Kind.LATENCY
        try:
            with tools.capacity.seat(kind, way, timeout_s=timeout_s) as seat:
                result = await audit(
                    plan, dial, clock_ms=tools.clock_ms, choices=random.SystemRandom(), way=seat
                )
        except MomentMissed as error:
            return await self._miss(str(error))
        finally:
            self.over.set()
        if result.false_receipt is not None:
            self._log.warning("audit.false_receipt", chunk=result.false_receipt.index)
            await trio.to_thread.run_sync(
                tools.store.save_false_receipt, self._flip.topic, result.false_receipt
            )
            self.false_receipt = result.false_receipt
        outcome = result.outcome
        if isinstance(outcome, Failure):
            outcome = replace(outcome, demand=chunk_to_demand(result, plan.drawn))
        await trio.to_thread.run_sync(tools.store.save_outcome, self._flip.topic, outcome)
        self._log.info(
            "audit.finished",
            outcome=_outcome_name(outcome),
            demand=outcome.demand if isinstance(outcome, Failure) else None,
            detail=result.detail,
            chunks=result.chunks,
            receipt_chunks=None if result.receipt is None else len(result.receipt.entries),
        )
        return Progress.DONE

    async def give_up(self) -> Progress:
        """Note down that there is no audit, and why.

        Raises:
            OperationError: the store cannot be used.
        """
        if self._secrets is None:
            return await self._miss("the journal has no secrets for this topic")
        return await self._miss("the moment has passed")

    async def _miss(self, reason: str) -> Progress:
        member = self._member
        await trio.to_thread.run_sync(member.tools.store.save_missed, self._flip.topic, reason)
        self._log.warning("audit.missed", reason=reason)
        return Progress.IMPOSSIBLE

    async def report(self) -> Progress:
        """Report the outcome that the store has, and the figures of fellow members.

        Cancelled, the report may be on its way, and is tried again with the same content.

        Raises:
            OperationError: the store cannot be used.
            RuntimeError: it has no outcome.
        """
        member, secrets, topic = self._member, self._known_secrets, self._flip.topic
        store = member.tools.store
        work = await trio.to_thread.run_sync(store.load, topic)
        measured = await trio.to_thread.run_sync(store.load, member.first_topic)
        if work.outcome is None:
            raise RuntimeError("a report follows an audit's outcome")
        outcome = work.outcome
        if isinstance(outcome, Failure) and outcome.demand is not None:
            affordable = await self._affords_demand()
            if affordable is None:
                return Progress.NOT_STARTED
            if not affordable:
                outcome = replace(outcome, demand=None)
        report = sign_report(
            w=secrets.w,
            audit_key=secrets.audit_keypair,
            topic=topic,
            account=member.tools.account.public,
            outcome=_with_observed(outcome, work.observed),
            peers=[peer for peer in measured.peers if peer.index != member.place],
        )
        try:
            check_report(report, self._context)
        except ReportError as error:
            # The chain would refuse it; what it says must be mended here, not paid for there.
            self._log.error("report.unusable", reason=f"{type(error).__name__}: {error}")
            return Progress.IMPOSSIBLE
        done = await member.submit(
            SubmitReport(id=member.id, report=report), f"report/{topic.hex()}", "report.accepted"
        )
        return Progress.NOT_STARTED if done is None else Progress.DONE

    async def _affords_demand(self) -> bool | None:
        """Whether our account has the deposit; a report that the chain refuses helps nobody.

        None: the chain cannot be read now.
        """
        client, account = self._member.tools.client, self._member.tools.account
        try:
            money = (await client.account(account.public)).data
        except (ChainError, DecodeError) as error:
            self._log.warning("demand.account_unreadable", reason=str(error))
            return None
        needed = client.constants.demand_deposit + client.constants.existential_deposit
        if money.free - money.frozen < needed:
            self._log.warning("demand.too_expensive", free=str(money.free), needed=str(needed))
            return False
        return True

    async def prove_receipt(self) -> Progress:
        """Prove that the hoster gave us a false receipt, unless its bond is gone already.

        All who got one could: each waits for its turn, by its place in the roster. Cancelled, the
        proof may be on its way, and is found in the journal again.
        """
        member, proof = self._member, self.false_receipt
        if proof is None:
            raise RuntimeError("there is no false receipt to prove")
        await member.sleep_until(
            member.challenge.end_ms + member.place * member.challenge.timing.block_ms
        )
        hoster = member.challenge.hoster
        try:
            # The newest block, finalized or not: in vain it would cost its fee.
            provider = await member.tools.client.read(storage.PROVIDERS, Role.HOSTER, hoster)
        except (ChainError, DecodeError) as error:
            self._log.warning("receipt.chain_unreadable", reason=str(error))
            return Progress.NOT_STARTED
        if provider is not None and provider.bond == 0:
            self._log.info("receipt.nothing_to_slash")
            return Progress.IMPOSSIBLE
        done = await member.submit(
            ReportFraud(proof),
            f"false-receipt/{blake2b_256(proof.receipt).hex()}",
            "receipt.proven_false",
            chunk=proof.index,
        )
        return Progress.NOT_STARTED if done is None else Progress.DONE

    @property
    def _known_secrets(self) -> FlipSecrets:
        if self._secrets is None:
            raise RuntimeError("without secrets there is nothing to audit or report")
        return self._secrets


def _with_observed(outcome: Outcome, observed: Observed | None) -> Outcome:
    """The outcome with the figures of the observed session, if it has figures at all."""
    if isinstance(outcome, Failure):
        return outcome
    return replace(outcome, metrics=replace(outcome.metrics, observed=observed))


def _outcome_name(outcome: Outcome) -> str:
    return "Served" if isinstance(outcome, Served) else f"Failed({outcome.reason.name})"
