"""One attestor in one challenge, from the draw to the reward: the shell around `decisions`.

At every finalized head it reads what the chain holds, asks `decide`, and starts the step that
follows: the coinflip, the commitment to the fallback, the audit, the report, proofs of fraud, the
closing. Each step is a task of its own, writes down what must survive a crash, and ends in the
memory that the next decision reads.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

import structlog
import trio

from chain_types import storage
from chain_types.calls import (
    AnchorFlip,
    CloseChallenge,
    CommitFlip,
    ReportFraud,
    SubmitReport,
)
from chain_types.events import Expelled
from chain_types.records import (
    Auditing,
    Challenge,
    Committing,
    Fallback,
    Flip,
    Flipping,
    FraudKind,
    OpenChallenge,
    PaymentKind,
    Reporting,
    Role,
    Settlement,
)
from chain_types.records import Opening as AnchorOpening
from chain_types.report import Outcome, Served, decode_proof
from chain_types.scale import DecodeError
from offchain_worker.attestor.context import challenge_attempts, known_expulsions, report_context
from offchain_worker.attestor.decisions import (
    Decision,
    Memory,
    Progress,
    Stage,
    View,
    decide,
    next_fraud,
)
from offchain_worker.attestor.machines import MakeMachine, honest_machine
from offchain_worker.attestor.progress import RunLog
from offchain_worker.attestor.store import WorkStore
from offchain_worker.audit.report import ReportContext, ReportError, check_report, sign_report
from offchain_worker.audit.session import AuditPlan, MomentMissed, audit
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient
from offchain_worker.chain.errors import ChainError
from offchain_worker.chain.heads import Head
from offchain_worker.chain.transactions import Finalized
from offchain_worker.coinflip.attempts import Attempt, Attempts, Expulsion
from offchain_worker.coinflip.effects import Anchor, Found
from offchain_worker.coinflip.evidence import Evidence, inspect
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.journal import Journal, JournalError
from offchain_worker.coinflip.participation import Participation
from offchain_worker.hypercore.errors import Unreachable
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.roster import (
    Attended,
    PeerAddress,
    RunEvent,
    SessionSwarm,
)

_log = structlog.get_logger()

LOST_RACES = frozenset({"AlreadyAnchored", "AlreadyClosed", "FraudKnown"})
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
        make_machine: what runs the attempts of a coinflip.
    """

    client: ChainClient
    account: Account
    session_key: KeyPair
    swarm: SessionSwarm
    journal: Journal
    store: WorkStore
    dial: DialHoster
    clock_ms: Callable[[], int]
    make_machine: MakeMachine = honest_machine


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


class Follower:
    """This attestor's part in one challenge."""

    def __init__(self, tools: Tools, challenge_id: int, index: int) -> None:
        self.id = challenge_id
        self._tools = tools
        self._index = index
        self._memory = Memory()
        self._log = _log.bind(challenge=challenge_id)
        self._nursery: trio.Nursery | None = None
        # What the chain says.
        self._head: Head | None = None
        self._news = trio.Event()
        self._challenge: Challenge | None = None
        self._attempts: Attempts | None = None
        self._stage = Stage.FLIP
        self._reported = False
        self._closable = False
        self._fallback: Fallback | None = None
        self._commits: Committing | None = None
        self._flip: Flip | None = None
        self._context: ReportContext | None = None
        self._hoster: tuple[str, int] | None = None
        self._seen_reports = 0
        self._proven: frozenset[bytes] = frozenset()
        # What we know ourselves.
        self._participation: Participation | None = None
        self._secrets: FlipSecrets | None = None
        self._cases: dict[bytes, _Case] = {}
        self._rewards: list[int] = []

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
            self._nursery = nursery
            async for head, state in updates:
                try:
                    if not await self._observe(head, state):
                        continue
                except (ChainError, DecodeError) as error:
                    self._log.warning("attestor.chain_unreadable", reason=str(error))
                    continue
                self._news.set()
                self._news = trio.Event()
                if self._go_on(nursery) is Decision.FINISH:
                    await self._conclude(head)
                    nursery.cancel_scope.cancel()
                    return

    def _go_on(self, nursery: trio.Nursery) -> Decision:
        """Start every step that is due; returns what is left to do, `WAIT` or `FINISH`."""
        while True:
            view = self._view()
            decision = decide(view, self._memory, self._tools.clock_ms())
            match decision:
                case Decision.WAIT | Decision.FINISH:
                    return decision
                case Decision.JOIN_FLIP:
                    self._memory.flip = Progress.RUNNING
                    nursery.start_soon(self._flip_coin)
                case Decision.COMMIT:
                    self._memory.commit = Progress.RUNNING
                    nursery.start_soon(self._commit)
                case Decision.AUDIT:
                    self._memory.audit = Progress.RUNNING
                    nursery.start_soon(self._audit)
                case Decision.GIVE_UP_AUDIT:
                    self._memory.audit = Progress.IMPOSSIBLE
                    nursery.start_soon(self._give_up)
                case Decision.REPORT:
                    self._memory.report = Progress.RUNNING
                    nursery.start_soon(self._report)
                case Decision.REPORT_FRAUD:
                    identifier = next_fraud(view, self._memory)
                    if identifier is None:
                        raise RuntimeError("there is evidence to report")
                    self._memory.frauds[identifier] = Progress.RUNNING
                    nursery.start_soon(self._report_fraud, self._cases[identifier])
                case Decision.CLOSE:
                    self._memory.close = Progress.RUNNING
                    nursery.start_soon(self._close)

    # What the chain says.

    async def _observe(self, head: Head, state: OpenChallenge | None) -> bool:
        """Take in a finalized head; whether there is something to decide: the start hash is known.

        Raises:
            ChainError, DecodeError: the chain cannot be read; the next head will do.
        """
        client = self._tools.client
        if self._participation is None and not await self._take_challenge(head):
            return False
        self._head = head
        await self._look_for_proofs(head)
        if state is None:
            self._stage = Stage.CLOSED
            return True
        stage = state.stage
        if isinstance(stage, Flipping):
            self._stage = Stage.FLIP
            return True
        if isinstance(stage, Committing):
            self._fallback = await client.read(storage.FALLBACKS, self.id, at=head.hash)
            self._commits, self._stage = stage, Stage.COMMIT
            return True
        if self._flip is None:
            await self._take_flip(head)
        await self._read_hoster(head)
        if isinstance(stage, Auditing):
            self._stage = Stage.AUDIT
        elif isinstance(stage, Reporting):
            await self._watch_reports(head)
            rooms = await client.read(storage.ROOMS, at=head.hash)
            deadline, turn = stage.deadline, self._closing_turn
            # `head` is the parent of the block in which the call would be applied.
            self._closable = (
                rooms >= deadline.rooms + turn or head.number + 1 >= deadline.block + turn
            )
            self._reported = state.reported
            self._stage = Stage.REPORT
        else:
            self._stage = Stage.CLOSED
        return True

    async def _take_challenge(self, head: Head) -> bool:
        """Read the challenge, and the evidence that the journal keeps for it; False: too early."""
        tools = self._tools
        snapshot = await tools.client.challenge(self.id, at=head.hash)
        if snapshot is None or snapshot.start_hash is None:
            return False
        attempts = challenge_attempts(
            tools.client.genesis, self.id, snapshot.challenge, snapshot.start_hash
        )
        self._challenge, self._attempts = snapshot.challenge, attempts
        attempt: Attempt | None = attempts.first()
        expulsions = known_expulsions(snapshot.expulsions)
        while attempt is not None and attempt.schedule.start_ms <= tools.clock_ms():
            await self._take_up_evidence(attempt)
            attempt = attempts.after(attempt, expulsions)
        self._participation = Participation(attempts, self._index)
        return True

    async def _take_up_evidence(self, attempt: Attempt) -> None:
        """Remember what was found before a restart in an attempt, if we were in it."""
        journal, topic = self._tools.journal, attempt.flip.topic
        if await trio.to_thread.run_sync(journal.secrets, topic) is None:
            return
        begin = partial(journal.begin, topic, started_ms=attempt.schedule.start_ms)
        begun = await trio.to_thread.run_sync(begin)
        for proof in begun.proofs:
            evidence, _pair = inspect(proof, attempt.flip)
            self._keep(evidence, attempt)

    async def _look_for_proofs(self, head: Head) -> None:
        """Note which of our evidence the chain has meanwhile."""
        found = set(self._proven)
        for identifier in self._cases.keys() - self._proven:
            fraud = await self._tools.client.read(storage.FRAUDS, self.id, identifier, at=head.hash)
            if fraud is not None:
                found.add(identifier)
        self._proven = frozenset(found)

    @property
    def _closing_turn(self) -> int:
        """How many blocks after D it is our turn to close, so that not all pay for trying.

        The turns share the blocks until the chain closes by itself (challenge.md §2.2); who comes
        first changes with each challenge.
        """
        challenge = self._known_challenge
        size = len(challenge.roster)
        return (self._index - self.id) % size * (challenge.timing.grace_blocks // CLOSING) // size

    async def _take_flip(self, head: Head) -> None:
        """Read R and our own commitment; take up what store and journal know of the topic."""
        tools = self._tools
        flip = await tools.client.read(storage.FLIPS, self.id, at=head.hash)
        if flip is None:
            return
        if flip.rank(self._index) is not None:
            self._secrets = await trio.to_thread.run_sync(tools.journal.secrets, flip.topic)
            work = await trio.to_thread.run_sync(tools.store.load, flip.topic)
            if work.outcome is not None:
                self._memory.audit = Progress.DONE
            elif work.missed is not None:
                self._memory.audit = Progress.IMPOSSIBLE
            self._context = report_context(
                self._known_challenge, flip, tools.account.public, self._index
            )
        else:
            self._log.info("attestor.not_active", fell_back=flip.fell_back)
        self._flip = flip
        await tools.swarm.anchored(flip.topic, flip.root, flip.randomness)

    async def _read_hoster(self, head: Head) -> None:
        hoster = self._known_challenge.hoster
        found = await self._tools.client.endpoints(Role.HOSTER, [hoster], at=head.hash)
        if hoster in found:
            self._hoster = (found[hoster].host, found[hoster].port)

    def _view(self) -> View:
        challenge, flip = self._known_challenge, self._flip
        secrets, context = self._secrets, self._context
        moment = None
        match = False
        if context is not None and secrets is not None and flip is not None:
            seal = secrets.audit_seal(flip.topic, self._tools.session_key.public)
            match = seal == flip.commitment_of(self._index)
            moment = context.moment(secrets.w)
        return View(
            stage=self._stage,
            flip_end_ms=challenge.flip_end_ms,
            may_commit=self._may_commit,
            active=context is not None,
            moment_ms=moment,
            secrets_match=match,
            clock_tolerance_ms=challenge.timing.clock_tolerance_ms,
            reported=self._reported,
            closable=self._closable,
            proven=self._proven,
        )

    @property
    def _may_commit(self) -> bool:
        """Whether the fallback waits for our commitment, and the next block would take it."""
        if self._fallback is None or self._commits is None or self._head is None:
            return False
        challenge, head = self._known_challenge, self._head
        over = challenge.commits_are_over(
            self._commits, head.number + 1, head.timestamp_ms + challenge.timing.block_ms
        )
        return self._index in self._fallback.missing and not over

    async def _watch_reports(self, head: Head) -> None:
        """Note whose report is new; the last call before closing tells who is missing."""
        tally = await self._tools.client.read(storage.TALLIES, self.id, at=head.hash)
        if tally.reported == self._seen_reports:
            return
        self._seen_reports = tally.reported
        active = () if self._flip is None else self._flip.places
        self._log.info(
            "attestor.reports",
            block=head.number,
            reported=[place for place in active if tally.has(place)],
            awaited=[place for place in active if not tally.has(place)],
        )

    @property
    def _known_challenge(self) -> Challenge:
        if self._challenge is None:
            raise RuntimeError("the challenge is read before anything else")
        return self._challenge

    # The coinflip.

    def _has_our_key(self) -> bool:
        """Whether we were drawn with the session key that this process has."""
        drawn = self._known_challenge.roster[self._index].session_key
        if drawn == self._tools.session_key.public:
            return True
        self._log.error("coinflip.other_session_key", drawn=drawn)
        return False

    async def _flip_coin(self) -> None:
        """All attempts, one after the other, until the chain has R or none is left.

        One that is under way then goes on to its Tx: peers may still need what we hold.
        """
        participation = self._participation
        if participation is None:
            raise RuntimeError("a coinflip starts when its challenge is known")
        if not self._has_our_key():
            self._memory.flip = Progress.IMPOSSIBLE
            return
        try:
            await self._pass_over(participation)
            while self._stage is Stage.FLIP and self._flip is None:
                if participation.attempt is not None:
                    await self._attend(participation, participation.attempt)
                elif participation.next_ms is not None:
                    await self._wait_for(participation, participation.next_ms)
                else:
                    break
        except JournalError as error:
            self._log.error("coinflip.silent", reason=str(error))
            self._memory.flip = Progress.IMPOSSIBLE
        except (ChainError, DecodeError) as error:
            self._log.warning("coinflip.chain_unreadable", reason=str(error))
            self._memory.flip = Progress.NOT_STARTED
        else:
            self._memory.flip = Progress.DONE

    async def _pass_over(self, participation: Participation) -> None:
        """After a restart: leave the attempts behind that ended meanwhile."""
        now_ms = self._tools.clock_ms()
        attempt = participation.attempt
        if attempt is None or now_ms < attempt.schedule.end_ms:
            return
        expulsions = await self._expulsions_before(now_ms)
        resume = partial(
            participation.resume,
            now_ms,
            may_retry=self._tools.journal.may_retry,
            expulsions=expulsions,
        )
        await trio.to_thread.run_sync(resume)

    async def _wait_for(self, participation: Participation, start_ms: int) -> None:
        """Wait until the next attempt begins, and learn who is in it."""
        await self._sleep_until(start_ms)
        expulsions = await self._expulsions_before(start_ms)
        participation.go_on(expulsions)
        if participation.attempt is None:
            self._log.info("coinflip.no_further_attempt")

    async def _expulsions_before(self, start_ms: int) -> list[Expulsion]:
        """What the finalized chain holds, once it has all that counts for attempts begun by then.

        Attempts know expulsions up to a timestamp that is older than finality takes
        (coinflip.md §3); a chain that lags is waited for.
        """
        if self._attempts is None:
            raise RuntimeError("attempts are known before anybody waits for one")
        needed = self._attempts.settled_ms(start_ms)
        while self._head is None or self._head.timestamp_ms < needed:
            await self._news.wait()
        found = await self._tools.client.read(storage.EXPULSIONS, self.id, at=self._head.hash)
        return known_expulsions(found)

    async def _attend(self, participation: Participation, attempt: Attempt) -> None:
        """Run one attempt to its end, and note down what it came to."""
        tools, topic = self._tools, attempt.flip.topic
        begin = partial(tools.journal.begin, topic, started_ms=attempt.schedule.start_ms)
        begun = await trio.to_thread.run_sync(begin)
        machine = tools.make_machine(attempt, tools.session_key, begun)
        peers = await self._addresses(attempt)
        run_log = RunLog(self._log, attempt, len(self._known_challenge.roster))

        def on_event(event: RunEvent) -> None:
            run_log.hear(event)
            if isinstance(event, Anchor):
                self._open_nursery.start_soon(self._anchor, event, topic)
            elif isinstance(event, Found):
                self._keep(event.evidence, attempt)
                self._go_on(self._open_nursery)

        self._log.info("coinflip.begun", attempt=attempt.flip.attempt, members=attempt.places)
        attended = await tools.swarm.run(machine, peers, journal=tools.journal, on_event=on_event)
        conclude = partial(tools.journal.conclude, topic, may_retry=machine.may_retry)
        await trio.to_thread.run_sync(conclude)
        participation.conclude(may_retry=machine.may_retry)
        self._log_run(attempt, attended, participation.next_ms)
        await self._save_peers(attempt, attended)

    def _log_run(self, attempt: Attempt, attended: Attended, next_ms: int | None) -> None:
        """One line for operators: how an attempt went."""
        self._log.info(
            "coinflip.statistics",
            attempt=attempt.flip.attempt,
            members=attempt.places,
            **attended.statistics.fields(),
            next_ms=next_ms,
            measured=[
                {
                    "member": attempt.places[peer.index],
                    "rtt_p50_us": peer.rtt_p50_us,
                    "throughput": peer.throughput,
                }
                for peer in attended.peers
            ],
        )

    async def _save_peers(self, attempt: Attempt, attended: Attended) -> None:
        """Keep what was measured, by places of the start roster; a later figure takes the place.

        It belongs to the challenge, whichever attempt, or the fallback, gives R.
        """
        store, topic = self._tools.store, self._first_topic
        known = (await trio.to_thread.run_sync(store.load, topic)).peers
        figures = {peer.index: peer for peer in known}
        for peer in attended.peers:
            place = attempt.places[peer.index]
            figures[place] = replace(peer, index=place)
        peers = tuple(figures[place] for place in sorted(figures))
        await trio.to_thread.run_sync(store.save_peers, topic, peers)

    async def _addresses(self, attempt: Attempt) -> list[PeerAddress]:
        members = [self._known_challenge.roster[place] for place in attempt.places]
        found = await self._tools.client.endpoints(
            Role.ATTESTOR, [member.account for member in members]
        )
        return [
            PeerAddress(member.session_key, found[member.account].host, found[member.account].port)
            for member in members
            if member.account in found
        ]

    async def _anchor(self, anchor: Anchor, topic: bytes) -> None:
        """Anchor once our turn has come, unless another member did meanwhile.

        As long as the chain can take it, what came to nothing for lack of a connection is tried
        again; it is one transaction all the same.
        """
        await self._sleep_until(anchor.not_before_ms)
        call = AnchorFlip(
            id=self.id,
            attempt=anchor.attempt,
            openings=tuple(AnchorOpening(o.z, o.salt, o.x) for o in anchor.openings),
            echoes=anchor.echoes,
        )
        intent, challenge = f"anchor/{topic.hex()}", self._known_challenge
        while self._flip is None and self._tools.clock_ms() < challenge.flip_end_ms:
            if await self._submit(call, intent, "coinflip.anchored") is not None:
                return
            await trio.sleep(challenge.timing.block_ms / 1_000)

    @property
    def _first_topic(self) -> bytes:
        """The topic of attempt 0."""
        if self._attempts is None:
            raise RuntimeError("the challenge is read before anything else")
        return self._attempts.first().flip.topic

    @property
    def _open_nursery(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError("steps are started while the follower runs")
        return self._nursery

    async def _sleep_until(self, at_ms: int) -> None:
        await trio.sleep(max(0, at_ms - self._tools.clock_ms()) / 1_000)

    # Fraud.

    def _keep(self, evidence: Evidence, attempt: Attempt) -> None:
        """Remember evidence, to be brought to the chain; the journal has it."""
        if evidence.id in self._cases:
            return
        due_ms = self._tools.clock_ms() + self._index * self._known_challenge.timing.block_ms
        self._cases[evidence.id] = _Case(evidence, attempt.places[evidence.offender], due_ms)
        self._memory.frauds[evidence.id] = Progress.NOT_STARTED

    async def _report_fraud(self, case: _Case) -> None:
        """Prove a fraud once our turn has come, unless another member did meanwhile.

        What came to nothing for lack of a connection is tried again at the next head.
        """
        identifier = case.evidence.id
        await self._sleep_until(case.due_ms)
        self._memory.frauds[identifier] = await self._prove(case)

    async def _prove(self, case: _Case) -> Progress:
        identifier, client = case.evidence.id, self._tools.client
        try:
            # The newest block, finalized or not: a second proof would cost its fee.
            known = await client.read(storage.FRAUDS, self.id, identifier)
        except (ChainError, DecodeError) as error:
            self._log.warning("fraud.chain_unreadable", reason=str(error))
            return Progress.NOT_STARTED
        if known is not None:
            return Progress.NOT_STARTED  # and done once that block is final
        done = await self._submit(
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
                self._rewards.append(event.reward)
                self._log.info(
                    "fraud.rewarded",
                    offender=case.place,
                    slashed=str(event.slashed),
                    reward=str(event.reward),
                )
        return Progress.DONE

    # The fallback.

    async def _commit(self) -> None:
        attempts, fallback = self._attempts, self._fallback
        if attempts is None or fallback is None:
            raise RuntimeError("the fallback is read before anything is committed to it")
        self._memory.commit = await self._commit_to(attempts, fallback)

    async def _commit_to(self, attempts: Attempts, fallback: Fallback) -> Progress:
        """Commit w and audit key, fresh ones, to the fallback (coinflip.md §5)."""
        tools = self._tools
        if not self._has_our_key():
            return Progress.IMPOSSIBLE
        everybody = set(range(len(self._known_challenge.roster)))
        flip, _places = attempts.fallback(everybody - set(fallback.places))
        if flip.topic != fallback.topic:
            self._log.error("coinflip.other_topic", chain=fallback.topic, own=flip.topic)
            return Progress.IMPOSSIBLE
        begin = partial(tools.journal.begin, flip.topic, started_ms=None)
        try:
            begun = await trio.to_thread.run_sync(begin)
        except JournalError as error:
            self._log.error("coinflip.silent", reason=str(error))
            return Progress.IMPOSSIBLE
        done = await self._submit(
            CommitFlip(self.id, begun.secrets.audit_seal(flip.topic, tools.session_key.public)),
            f"commit/{flip.topic.hex()}",
            "coinflip.committed",
        )
        return Progress.NOT_STARTED if done is None else Progress.DONE

    # The audit.

    async def _audit(self) -> None:
        tools, challenge = self._tools, self._known_challenge
        context, secrets, flip = self._context, self._secrets, self._flip
        if context is None or secrets is None or flip is None:
            raise RuntimeError("an audit starts when R is fixed and the secrets are known")
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
        await trio.to_thread.run_sync(tools.store.save_outcome, flip.topic, result.outcome)
        self._memory.audit = Progress.DONE
        self._log.info(
            "audit.finished",
            outcome=_outcome_name(result.outcome),
            detail=result.detail,
            chunks=result.chunks,
            receipt_chunks=None if result.receipt is None else len(result.receipt.entries),
        )

    async def _give_up(self) -> None:
        if self._flip is None:
            reason = "the randomness is not known"
        elif self._secrets is None:
            reason = "the journal has no secrets for this topic"
        else:
            reason = "the moment has passed"
        await self._miss(reason)

    async def _miss(self, reason: str) -> None:
        self._memory.audit = Progress.IMPOSSIBLE
        if self._flip is not None:
            topic = self._flip.topic
            await trio.to_thread.run_sync(self._tools.store.save_missed, topic, reason)
        self._log.warning("audit.missed", reason=reason)

    # Report and closing.

    async def _report(self) -> None:
        tools, context = self._tools, self._context
        secrets, flip = self._secrets, self._flip
        if context is None or secrets is None or flip is None:
            raise RuntimeError("a report follows an audit")
        work = await trio.to_thread.run_sync(tools.store.load, flip.topic)
        measured = await trio.to_thread.run_sync(tools.store.load, self._first_topic)
        if work.outcome is None:
            raise RuntimeError("a report follows an audit's outcome")
        report = sign_report(
            w=secrets.w,
            audit_key=secrets.audit_keypair,
            topic=flip.topic,
            account=tools.account.public,
            outcome=work.outcome,
            peers=[peer for peer in measured.peers if peer.index != self._index],
        )
        try:
            check_report(report, context)
        except ReportError as error:
            # The chain would refuse it; what it says must be mended here, not paid for there.
            self._log.error("report.unusable", reason=f"{type(error).__name__}: {error}")
            self._memory.report = Progress.IMPOSSIBLE
            return
        done = await self._submit(
            SubmitReport(id=self.id, report=report),
            f"report/{flip.topic.hex()}",
            "report.accepted",
        )
        self._memory.report = Progress.NOT_STARTED if done is None else Progress.DONE

    async def _close(self) -> None:
        active = () if self._flip is None else self._flip.places
        missing = [place for place in active if not self._seen_reports >> place & 1]
        self._log.warning("attestor.reports_missing", missing=missing)
        done = await self._submit(
            CloseChallenge(id=self.id), f"close/{self._first_topic.hex()}", "challenge.closed_by_us"
        )
        self._memory.close = Progress.NOT_STARTED if done is None else Progress.DONE

    async def _submit(
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
        """
        try:
            done = await self._tools.client.submit(call, self._tools.account, intent)
        except ChainError as error:
            self._log.warning(f"{event}.not", reason=str(error), **details)
            return None
        if done.error is not None:
            lost = done.error.name in LOST_RACES
            log = self._log.info if lost else self._log.warning
            log(f"{event}.not", reason=str(done.error), **details)
        else:
            self._log.info(event, block=done.block_number, **details)
        return done

    async def _conclude(self, head: Head) -> None:
        """Log the settlement, what it brought, and whether we were expelled."""
        client = self._tools.client
        try:
            settlement = await client.read(storage.SETTLEMENTS, self.id, at=head.hash)
            expulsions = await client.read(storage.EXPULSIONS, self.id, at=head.hash)
        except (ChainError, DecodeError) as error:
            self._log.warning("challenge.settlement_unreadable", reason=str(error))
            return
        if any(expulsion.place == self._index for expulsion in expulsions):
            self._log.error("attestor.expelled")
        if settlement is not None:
            self._log.info(
                "challenge.settled",
                outcome=settlement.outcome.name,
                reward=str(_reward(settlement, self._tools.account.public)),
                closed_by_us=self._tools.account.public in _closers(settlement),
                frauds_proven=len(self._rewards),
                fraud_rewards=str(sum(self._rewards)),
            )


def _outcome_name(outcome: Outcome) -> str:
    return "Served" if isinstance(outcome, Served) else f"Failed({outcome.reason.name})"


def _reward(settlement: Settlement, account: bytes) -> int:
    return sum(payment.amount for payment in settlement.paid if payment.account == account)


def _closers(settlement: Settlement) -> set[bytes]:
    return {paid.account for paid in settlement.paid if paid.kind is PaymentKind.CLOSING}
