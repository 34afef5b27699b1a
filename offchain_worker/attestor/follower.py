"""One attestor in one challenge, from the draw to the reward: the shell around `decisions`.

At every finalized head it reads what the chain holds, asks `decide`, and starts the step that
follows: the coinflip, the audit, the report, the closing. Each step is a task of its own, writes
down what must survive a crash, and ends in the memory that the next decision reads.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
import trio

from chain_types import storage
from chain_types.calls import AnchorFlip, CloseChallenge, SubmitReport
from chain_types.records import (
    Auditing,
    Challenge,
    Flipping,
    OpenChallenge,
    PaymentKind,
    Reporting,
    Role,
    Settlement,
)
from chain_types.records import Flip as AnchoredFlip
from chain_types.records import Opening as AnchorOpening
from chain_types.report import Outcome, Served
from chain_types.scale import DecodeError
from offchain_worker.attestor.context import report_context
from offchain_worker.attestor.decisions import Decision, Memory, Progress, Stage, View, decide
from offchain_worker.attestor.store import WorkStore
from offchain_worker.audit.report import ReportContext, ReportError, check_report, sign_report
from offchain_worker.audit.session import AuditPlan, MomentMissed, audit
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient
from offchain_worker.chain.errors import ChainError
from offchain_worker.chain.heads import Head
from offchain_worker.coinflip.effects import Anchor, Exit, Found, GaveUp, Seen, Silenced
from offchain_worker.coinflip.envelope import Kind
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.journal import Begun, Journal, JournalError
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.schedule import Schedule
from offchain_worker.coinflip.schedule import Timing as FlipTiming
from offchain_worker.coinflip.topic import Flip
from offchain_worker.hypercore.errors import Unreachable
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.roster import PeerAddress, PeerLost, RunEvent, SessionSwarm

_log = structlog.get_logger()

LOST_RACES = frozenset({"AlreadyAnchored", "AlreadyClosed"})
"""Errors of calls that any member of the roster may make: another one was first."""

CLOSING = 10
"""The chain closes by itself after one part in so many of the time for reports."""

DialHoster = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Connects to an IP address and port; raises `OSError`."""


@dataclass(frozen=True)
class Tools:
    """What an attestor works with, shared by all its challenges.

    Attributes:
        client: the chain.
        account: signs transactions.
        session_key: signs in the coinflip.
        swarm: meets the rosters.
        journal: the sign journal.
        store: peers' figures and audits' outcomes.
        dial: connects to hosters.
        clock_ms: the wall clock, ms since 1970.
    """

    client: ChainClient
    account: Account
    session_key: KeyPair
    swarm: SessionSwarm
    journal: Journal
    store: WorkStore
    dial: DialHoster
    clock_ms: Callable[[], int]


class Follower:
    """This attestor's part in one challenge."""

    def __init__(self, tools: Tools, challenge_id: int, index: int) -> None:
        self.id = challenge_id
        self._tools = tools
        self._index = index
        self._memory = Memory()
        self._log = _log.bind(challenge=challenge_id)
        self._challenge: Challenge | None = None
        self._flip: Flip | None = None
        self._anchored: AnchoredFlip | None = None
        self._context: ReportContext | None = None
        self._secrets: FlipSecrets | None = None
        self._hoster: tuple[str, int] | None = None
        self._seen_reports = 0

    async def run(
        self, updates: trio.MemoryReceiveChannel[tuple[Head, OpenChallenge | None]]
    ) -> None:
        """Follow the challenge until it is settled.

        Args:
            updates: finalized heads, each with the challenge as the chain lists it among the open
                ones, None once it is not.

        Cancelled, it drops what it was doing; a new follower goes on from journal and store.
        """
        async with trio.open_nursery() as nursery:
            async for head, state in updates:
                try:
                    view = await self._observe(head, state)
                except (ChainError, DecodeError) as error:
                    self._log.warning("attestor.chain_unreadable", reason=str(error))
                    continue
                if view is None:
                    continue
                while True:
                    decision = decide(view, self._memory, self._tools.clock_ms())
                    if decision is Decision.WAIT:
                        break
                    if decision is Decision.FINISH:
                        await self._conclude(head)
                        nursery.cancel_scope.cancel()
                        return
                    self._begin(decision, nursery)

    def _begin(self, decision: Decision, nursery: trio.Nursery) -> None:
        match decision:
            case Decision.JOIN_FLIP:
                self._memory.flip = Progress.RUNNING
                nursery.start_soon(self._flip_coin, nursery)
            case Decision.AUDIT:
                self._memory.audit = Progress.RUNNING
                nursery.start_soon(self._audit)
            case Decision.GIVE_UP_AUDIT:
                self._memory.audit = Progress.IMPOSSIBLE
                nursery.start_soon(self._give_up)
            case Decision.REPORT:
                self._memory.report = Progress.RUNNING
                nursery.start_soon(self._report)
            case Decision.CLOSE:
                self._memory.close = Progress.RUNNING
                nursery.start_soon(self._close)
            case Decision.WAIT | Decision.FINISH:
                raise ValueError(f"{decision} starts nothing")

    # What the chain says.

    async def _observe(self, head: Head, state: OpenChallenge | None) -> View | None:
        """The challenge at a finalized head; None as long as its start hash is not known."""
        client = self._tools.client
        if self._challenge is None or self._flip is None:
            snapshot = await client.challenge(self.id, at=head.hash)
            if snapshot is None or snapshot.start_hash is None:
                return None
            self._challenge = snapshot.challenge
            self._flip = self._own_flip(snapshot.challenge, snapshot.start_hash)
        if state is None:
            return self._view(Stage.CLOSED)
        stage = state.stage
        if isinstance(stage, Flipping):
            return self._view(Stage.FLIP)
        if self._anchored is None:
            await self._take_anchor(head)
        await self._read_hoster(head)
        if isinstance(stage, Auditing):
            return self._view(Stage.AUDIT)
        if isinstance(stage, Reporting):
            await self._watch_reports(head)
            rooms = await client.read(storage.ROOMS, at=head.hash)
            deadline, turn = stage.deadline, self._closing_turn
            # `head` is the parent of the block in which the call would be applied.
            closable = rooms >= deadline.rooms + turn or head.number + 1 >= deadline.block + turn
            return self._view(Stage.REPORT, reported=state.reported, closable=closable)
        return self._view(Stage.CLOSED)

    @property
    def _closing_turn(self) -> int:
        """How many blocks after D it is our turn to close, so that not all pay for trying.

        The turns share the blocks until the chain closes by itself (challenge.md §2.2); who comes
        first changes with each challenge.
        """
        challenge = self._known_challenge
        size = len(challenge.roster)
        return (self._index - self.id) % size * (challenge.timing.grace_blocks // CLOSING) // size

    def _own_flip(self, challenge: Challenge, start_hash: bytes) -> Flip:
        return Flip(
            genesis=self._tools.client.genesis,
            challenge_id=self.id,
            start_block_hash=start_hash,
            attempt=0,
            roster=tuple(member.session_key for member in challenge.roster),
        )

    def _schedule(self) -> Schedule:
        timing = self._known_challenge.timing
        return Schedule.first(
            FlipTiming(
                block_ms=timing.block_ms,
                join_ms=timing.join_ms,
                delta_ms=timing.delta_ms,
                finality_ms=timing.finality_ms,
                flip_ms=timing.flip_ms,
            ),
            self._known_challenge.t0,
        )

    async def _take_anchor(self, head: Head) -> None:
        """Read R and our own commitment; take up what store and journal know of the topic."""
        tools = self._tools
        anchored = await tools.client.read(storage.FLIPS, self.id, at=head.hash)
        if anchored is None:
            return
        secrets = await trio.to_thread.run_sync(tools.journal.secrets, anchored.topic)
        work = await trio.to_thread.run_sync(tools.store.load, anchored.topic)
        if work.outcome is not None:
            self._memory.audit = Progress.DONE
        elif work.missed is not None:
            self._memory.audit = Progress.IMPOSSIBLE
        self._context = report_context(
            self._known_challenge, anchored, tools.account.public, self._index
        )
        self._secrets = secrets
        self._anchored = anchored
        await tools.swarm.anchored(anchored.topic, anchored.root, anchored.randomness)

    async def _read_hoster(self, head: Head) -> None:
        hoster = self._known_challenge.hoster
        found = await self._tools.client.endpoints(Role.HOSTER, [hoster], at=head.hash)
        if hoster in found:
            self._hoster = (found[hoster].host, found[hoster].port)

    def _view(self, stage: Stage, *, reported: bool = False, closable: bool = False) -> View:
        secrets, context, anchored = self._secrets, self._context, self._anchored
        moment = None
        match = False
        if context is not None and secrets is not None and anchored is not None:
            seal = secrets.audit_seal(anchored.topic, self._tools.session_key.public)
            match = seal == anchored.commitments[self._index]
            moment = context.moment(secrets.w)
        return View(
            stage=stage,
            flip_end_ms=self._schedule().end_ms,
            moment_ms=moment,
            secrets_match=match,
            clock_tolerance_ms=self._known_challenge.timing.clock_tolerance_ms,
            reported=reported,
            closable=closable,
        )

    async def _watch_reports(self, head: Head) -> None:
        """Note whose report is new; the last call before closing tells who is missing."""
        tally = await self._tools.client.read(storage.TALLIES, self.id, at=head.hash)
        if tally.reported == self._seen_reports:
            return
        self._seen_reports = tally.reported
        count = len(self._known_challenge.roster)
        self._log.info(
            "attestor.reports",
            block=head.number,
            reported=[i for i in range(count) if tally.has(i)],
            awaited=[i for i in range(count) if not tally.has(i)],
        )

    @property
    def _known_challenge(self) -> Challenge:
        if self._challenge is None:
            raise RuntimeError("the challenge is read before anything else")
        return self._challenge

    # The coinflip.

    async def _flip_coin(self, nursery: trio.Nursery) -> None:
        tools, flip = self._tools, self._flip
        if flip is None:
            raise RuntimeError("a coinflip starts when its topic is known")
        if flip.roster[self._index] != tools.session_key.public:
            self._log.error("coinflip.other_session_key", drawn=flip.roster[self._index])
            self._memory.flip = Progress.IMPOSSIBLE
            return
        try:
            begun = await trio.to_thread.run_sync(self._begin_topic, flip.topic)
            machine = CoinflipMachine(
                flip,
                tools.session_key,
                begun.secrets,
                self._schedule(),
                records=begun.records,
                proofs=begun.proofs,
                cautious=begun.cautious,
            )
            peers = await self._addresses()
            progress = _Progress(self._log, flip.size)

            def on_event(event: RunEvent) -> None:
                progress.hear(event)
                if isinstance(event, Anchor):
                    nursery.start_soon(self._anchor, event)

            attended = await tools.swarm.run(
                machine, peers, journal=tools.journal, on_event=on_event
            )
            await trio.to_thread.run_sync(tools.store.save_peers, flip.topic, attended.peers)
        except JournalError as error:
            self._log.error("coinflip.silent", reason=str(error))
            self._memory.flip = Progress.IMPOSSIBLE
        except ChainError as error:
            self._log.warning("coinflip.chain_unreadable", reason=str(error))
            self._memory.flip = Progress.NOT_STARTED
        else:
            self._memory.flip = Progress.DONE

    def _begin_topic(self, topic: bytes) -> Begun:
        return self._tools.journal.begin(topic, started_ms=self._known_challenge.t0)

    async def _addresses(self) -> list[PeerAddress]:
        roster = self._known_challenge.roster
        found = await self._tools.client.endpoints(
            Role.ATTESTOR, [member.account for member in roster]
        )
        return [
            PeerAddress(member.session_key, found[member.account].host, found[member.account].port)
            for member in roster
            if member.account in found
        ]

    async def _anchor(self, anchor: Anchor) -> None:
        """Anchor once our turn has come, unless another member did meanwhile.

        As long as the chain can take it, what came to nothing for lack of a connection is tried
        again; it is one transaction all the same.
        """
        wait_ms = anchor.not_before_ms - self._tools.clock_ms()
        await trio.sleep(max(0, wait_ms) / 1_000)
        call = AnchorFlip(
            id=self.id,
            attempt=anchor.attempt,
            openings=tuple(AnchorOpening(o.z, o.salt, o.x) for o in anchor.openings),
            echoes=anchor.echoes,
        )
        intent, challenge = f"anchor/{self._topic.hex()}", self._known_challenge
        while self._anchored is None and self._tools.clock_ms() < challenge.flip_end_ms:
            if await self._submit(call, intent, "coinflip.anchored"):
                return
            await trio.sleep(challenge.timing.block_ms / 1_000)

    @property
    def _topic(self) -> bytes:
        if self._flip is None:
            raise RuntimeError("the topic is known before anything is signed for it")
        return self._flip.topic

    # The audit.

    async def _audit(self) -> None:
        tools, challenge = self._tools, self._known_challenge
        context, secrets, anchored = self._context, self._secrets, self._anchored
        if context is None or secrets is None or anchored is None:
            raise RuntimeError("an audit starts when R is anchored and the secrets are known")
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
        )

        async def dial() -> trio.abc.Stream:
            # Logged only now: before, the moment is a secret.
            self._log.info("audit.opened", moment_ms=plan.moment, windowed=habit.windowed)
            if self._hoster is None:
                raise OSError("the hoster has no endpoint on chain")
            try:
                return await tools.dial(*self._hoster)
            except ValueError as error:
                raise Unreachable(f"the hoster's endpoint cannot be used: {error}") from error

        try:
            result = await audit(plan, dial, clock_ms=tools.clock_ms, choices=random.SystemRandom())
        except MomentMissed as error:
            await self._miss(str(error))
            return
        await trio.to_thread.run_sync(tools.store.save_outcome, anchored.topic, result.outcome)
        self._memory.audit = Progress.DONE
        self._log.info(
            "audit.finished",
            outcome=_outcome_name(result.outcome),
            detail=result.detail,
            chunks=result.chunks,
            receipt_chunks=None if result.receipt is None else len(result.receipt.entries),
        )

    async def _give_up(self) -> None:
        if self._anchored is None:
            reason = "the randomness is not known"
        elif self._secrets is None:
            reason = "the journal has no secrets for this topic"
        else:
            reason = "the moment has passed"
        await self._miss(reason)

    async def _miss(self, reason: str) -> None:
        self._memory.audit = Progress.IMPOSSIBLE
        if self._anchored is not None:
            topic = self._anchored.topic
            await trio.to_thread.run_sync(self._tools.store.save_missed, topic, reason)
        self._log.warning("audit.missed", reason=reason)

    # Report and closing.

    async def _report(self) -> None:
        tools, context = self._tools, self._context
        secrets, anchored = self._secrets, self._anchored
        if context is None or secrets is None or anchored is None:
            raise RuntimeError("a report follows an audit")
        work = await trio.to_thread.run_sync(tools.store.load, anchored.topic)
        if work.outcome is None:
            raise RuntimeError("a report follows an audit's outcome")
        report = sign_report(
            w=secrets.w,
            audit_key=secrets.audit_keypair,
            topic=anchored.topic,
            account=tools.account.public,
            outcome=work.outcome,
            peers=[peer for peer in work.peers if peer.index != self._index],
        )
        try:
            check_report(report, context)
        except ReportError as error:
            # The chain would refuse it; what it says must be mended here, not paid for there.
            self._log.error("report.unusable", reason=f"{type(error).__name__}: {error}")
            self._memory.report = Progress.IMPOSSIBLE
            return
        sent = await self._submit(
            SubmitReport(id=self.id, report=report),
            f"report/{self._topic.hex()}",
            "report.accepted",
        )
        self._memory.report = Progress.DONE if sent else Progress.NOT_STARTED

    async def _close(self) -> None:
        roster = self._known_challenge.roster
        missing = [i for i in range(len(roster)) if not self._seen_reports >> i & 1]
        self._log.warning("attestor.reports_missing", missing=missing)
        sent = await self._submit(
            CloseChallenge(id=self.id), f"close/{self._topic.hex()}", "challenge.closed_by_us"
        )
        self._memory.close = Progress.DONE if sent else Progress.NOT_STARTED

    async def _submit(
        self, call: AnchorFlip | SubmitReport | CloseChallenge, intent: str, event: str
    ) -> bool:
        """Submit once; returns whether it is on chain. A refusal is logged with its reason."""
        try:
            done = await self._tools.client.submit(call, self._tools.account, intent)
        except ChainError as error:
            self._log.warning(f"{event}.not", reason=str(error))
            return False
        if done.error is not None:
            lost = done.error.name in LOST_RACES
            (self._log.info if lost else self._log.warning)(f"{event}.not", reason=str(done.error))
            return True
        self._log.info(event, block=done.block_number)
        return True

    async def _conclude(self, head: Head) -> None:
        """Log the settlement and what it brought."""
        try:
            settlement = await self._tools.client.read(storage.SETTLEMENTS, self.id, at=head.hash)
        except ChainError as error:
            self._log.warning("challenge.settlement_unreadable", reason=str(error))
            return
        if settlement is not None:
            self._log.info(
                "challenge.settled",
                outcome=settlement.outcome.name,
                reward=str(_reward(settlement, self._tools.account.public)),
                closed_by_us=self._tools.account.public in _closers(settlement),
            )


class _Progress:
    """Tells the log who has committed, echoed and revealed, and how the run ended."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger, size: int) -> None:
        self._log = log
        self._committed = [False] * size
        self._echoed = [False] * size
        self._revealed = [False] * size

    def hear(self, event: RunEvent) -> None:
        match event:
            case Seen(kind, member):
                flags = {
                    Kind.COMMIT: self._committed,
                    Kind.ECHO: self._echoed,
                    Kind.REVEAL: self._revealed,
                }[kind]
                flags[member] = True
                self._log.info(
                    "coinflip.progress",
                    committed=list(self._committed),
                    echoed=list(self._echoed),
                    revealed=list(self._revealed),
                )
            case Exit(outcome):
                self._log.info("coinflip.exit", outcome=type(outcome).__name__)
            case Found(evidence):
                self._log.warning("coinflip.evidence", evidence=evidence.id)
            case GaveUp(member):
                self._log.warning("coinflip.gave_up", member=member)
            case Silenced(kind):
                self._log.error("coinflip.key_used_elsewhere", kind=kind.name)
            case PeerLost(peer, reason):
                self._log.info("coinflip.peer_lost", peer=peer, reason=reason)
            case _:
                pass


def _outcome_name(outcome: Outcome) -> str:
    return "Served" if isinstance(outcome, Served) else f"Failed({outcome.reason.name})"


def _reward(settlement: Settlement, account: bytes) -> int:
    return sum(payment.amount for payment in settlement.paid if payment.account == account)


def _closers(settlement: Settlement) -> set[bytes]:
    return {paid.account for paid in settlement.paid if paid.kind is PaymentKind.CLOSING}
