"""The day: who does what, when, on one chain and one simulated clock (challenge.md §2 … §6).

Everybody acts as soon as a block or a moment gives it a reason. Honest attestors and hosters do
what their workers do, by the same cores; the others do so too but for one thing in each challenge
(`cheats`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from chain_types import storage
from chain_types.calls import (
    AcceptHosting,
    AnchorFlip,
    AnswerDemand,
    CloseChallenge,
    CloseHosting,
    CommitFlip,
    OpenHosting,
    PublishFeed,
    RegisterAttestor,
    RegisterHoster,
    ReportFraud,
    SubmitReport,
    TopUp,
    Undrain,
)
from chain_types.events import (
    ActivityChanged,
    ChallengeClosed,
    ChallengeStarted,
    CommitOpened,
    Deactivated,
    DemandAnswered,
    Demanded,
    Draining,
    Expelled,
    FlipAnchored,
    FlipFellBack,
    HostingClosed,
    HostingOpened,
    ReceiptProvenFalse,
    Reported,
    ReportsOpened,
)
from chain_types.records import (
    Endpoint,
    FraudKind,
    Reporting,
    Role,
    Sla,
    Terms,
    places_of,
)
from chain_types.report import (
    Failure,
    FalseReceipt,
    Report,
    Served,
    decode_proof,
)
from chain_types.runtime import DispatchError, OtherEvent
from chain_types.ss58 import ss58_encode
from chain_types.words import Call, Event
from offchain_worker.attestor.closing import CLOSING
from offchain_worker.attestor.context import challenge_attempts, report_context
from offchain_worker.audit.answer import Demanded as Wanted
from offchain_worker.audit.report import check_report
from offchain_worker.audit.session import Audit
from offchain_worker.coinflip.attempts import Attempt, Expulsion
from offchain_worker.coinflip.evidence import Evidence
from offchain_worker.hoster.answers import Unanswerable, make_answer
from offchain_worker.hypercore.manifest import encode_manifest
from offchain_worker.service.registration import registration_proof
from offchain_worker.simulation.day.cases import Case, Member
from offchain_worker.simulation.day.chain import DayChain
from offchain_worker.simulation.day.cheats import AttestorCheat, HosterCheat
from offchain_worker.simulation.day.feeds import MemoryFeed
from offchain_worker.simulation.day.flipping import Flipping
from offchain_worker.simulation.day.people import (
    Attestor,
    Hoster,
    Person,
    make_attestors,
    make_hosters,
    make_sponsors,
    misbehaving,
)
from offchain_worker.simulation.day.reports import (
    audit_plan,
    framed_attestor,
    framed_hoster,
    honest_report,
    invented_anchor,
    lying_report,
    with_forged_receipt,
    wrongly_proven,
)
from offchain_worker.simulation.day.sessions import hold_session, served_feed
from offchain_worker.simulation.dice import stream
from offchain_worker.simulation.scheduler import Scheduler

START_MS = 1_800_000_000_000
BLOCK_MS = 6_000
UNIT = 10**12
ENDOWMENT = 1_000_000 * UNIT
ESCROW = 60 * UNIT
SLA = Sla(latency_p50_us=400_000, throughput=30_000)
"""What every honest hoster keeps: a window of the small chunks of a day is no more than 8 kB."""
HOSTER_REWARD, ATTESTOR_REWARD = 3 * UNIT + 7, UNIT // 3
"""Odd ones, so that rounding shows."""
SHARE = 0.2
SHORTEST, LONGEST = 60, 900
"""Chunks of a feed."""
MINUTE_MS = 60_000
HEARS_MS = 100
"""From a block to whoever acts on it."""
MOST_STEPS = 1 << 40

IN_VAIN = ("FraudKnown", "NothingToSlash", "AlreadyClosed", "Closing")
"""What anybody may hear when somebody else was first."""

Refusals = Mapping[AttestorCheat, frozenset[str]]

REFUSED: Refusals = {
    AttestorCheat.LATE_REPORT: frozenset({"ReportsOver"}),
    AttestorCheat.EARLY_REPORT: frozenset({"ReportsNotOpen"}),
    AttestorCheat.WRONG_PROOF: frozenset({"ProofTreeHash", "ProofNodes"}),
    AttestorCheat.FORGED_RECEIPT: frozenset({"ReceiptSignature"}),
    AttestorCheat.COPIED_REPORT: frozenset({"WrongSecrets"}),
    AttestorCheat.WRONG_MOMENT: frozenset({"ReceiptOpened"}),
    AttestorCheat.INVENTED_ANCHOR: frozenset({"WrongEcho"}),
    AttestorCheat.FRAMES_ATTESTOR: frozenset({"ProofSignature"}),
    AttestorCheat.FRAMES_HOSTER: frozenset({"ReceiptSignature"}),
}
"""What the chain refuses, and with which words."""


def timing(attestors: int) -> dict[str, Any]:
    """The timing of a day: production's blocks, coinflip and draws; a challenge takes half an hour.

    Args:
        attestors: how many there are.
    """
    roster = 10 if attestors >= 40 else 5
    return {
        "blockMs": BLOCK_MS,
        "joinMs": 60_000,
        "deltaMs": 3_000,
        "finalityMs": 12_000,
        # Room for two attempts.
        "flipMs": 300_000,
        "commitMs": 120_000,
        "commitBlocks": 10,
        "windowMs": 26 * MINUTE_MS,
        "tailMs": 2 * MINUTE_MS,
        "chunkTimeoutMs": 20_000,
        "graceBlocks": 50,
        "demandBlocks": 50,
        "attestors": roster,
        "minActive": -(-2 * roster // 3),
        "chunks": 100,
        "proved": 32,
        "clockToleranceMs": 30_000,
        "poolFactor": 3 if attestors >= 40 else 1,
        "minAge": 5,
        "schedule": "uniform",
    }


@dataclass(frozen=True)
class DayPlan:
    """How large a day is.

    Attributes:
        hosters, attestors: how many; a fifth of each, rounded up, misbehaves.
        challenges: a day ends when so many have started and all are settled.
        seed: replays a day.
    """

    hosters: int = 50
    attestors: int = 100
    challenges: int = 2_000
    seed: int = 0


@dataclass
class Story:
    """What happened, beyond what the chain keeps.

    Attributes:
        cheats: how often each cheat was done.
        refused: how often the chain refused what, by error.
        surprises: what cannot be: sentences.
    """

    cheats: Counter[AttestorCheat | HosterCheat] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)


class Day:
    """A day in the making; `run` lives through it.

    Attributes:
        plan: its size.
        attestors, hosters, sponsors: who takes part.
        chain: the chain.
        cases: all challenges, by number.
        story: what happened.
    """

    def __init__(self, plan: DayPlan, progress: Callable[[int, int], None] | None = None) -> None:
        seed = plan.seed
        self.plan = plan
        self.scheduler = Scheduler(START_MS)
        dice = stream(f"feeds {seed}")
        self.feeds = [
            MemoryFeed.invent(dice, dice.randint(SHORTEST, LONGEST))
            for _ in range(max(1, plan.hosters // 6))
        ]
        self.attestors = make_attestors(seed, plan.attestors, misbehaving(plan.attestors, SHARE))
        self.hosters = make_hosters(
            seed, plan.hosters, misbehaving(plan.hosters, SHARE), self.feeds
        )
        self.sponsors = make_sponsors(seed, max(1, plan.hosters // 10))
        people = self.people
        self._people = {person.account: person for person in people}
        self.chain = DayChain(
            {
                "balances": {
                    "balances": [[ss58_encode(person.account), ENDOWMENT] for person in people]
                },
                "providers": {"allowPrivateEndpoints": True},
                "performance": {"timing": timing(plan.attestors)},
            },
            lambda: self.scheduler.now,
        )
        self.cases: dict[int, Case] = {}
        self.story = Story()
        self._progress = progress
        self._open: dict[int, Case] = {}
        self._fresh: list[Case] = []
        self._flippings: dict[int, Flipping] = {}
        self._hostings: dict[int, Hoster] = {}
        self._returning: set[tuple[Role, bytes]] = set()
        self._closed = 0
        self._stopping = False
        self._over = False
        self._on: dict[type[Event], Callable[[Any], None]] = {
            ActivityChanged: self._activity_changed,
            HostingOpened: self._hosting_opened,
            HostingClosed: self._hosting_closed,
            ChallengeStarted: self._challenge_started,
            FlipAnchored: self._flip_anchored,
            FlipFellBack: self._flip_fell_back,
            CommitOpened: self._commit_opened,
            ReportsOpened: self._reports_opened,
            Reported: self._reported,
            Demanded: self._demanded,
            DemandAnswered: self._demand_answered,
            Expelled: self._expelled,
            ReceiptProvenFalse: self._receipt_proven_false,
            Draining: self._inactive,
            Deactivated: self._inactive,
            ChallengeClosed: self._challenge_closed,
        }

    @property
    def people(self) -> list[Person]:
        """Everybody."""
        return [*self.sponsors, *self.hosters, *self.attestors]

    def person(self, account: bytes) -> Person | None:
        """Whose account it is."""
        return self._people.get(account)

    def run(self) -> None:
        """Live through the day.

        Raises:
            RuntimeError: something happened that nobody in it does.
        """
        self.scheduler.at(START_MS, self._make_block)
        self.scheduler.at(START_MS + 1, self._prepare)
        self.scheduler.run(MOST_STEPS)

    # Blocks

    def _make_block(self) -> None:
        now = self.scheduler.now
        for case in self._fresh:
            # The start hash is known in this block; those who are drawn know it soon after.
            self.scheduler.at(now + HEARS_MS, self._begin_flip, case)
        self._fresh = []
        for record in self.chain.make_block(now):
            event = record.event
            handle = None if isinstance(event, OtherEvent) else self._on.get(type(event))
            if handle is not None:
                handle(event)
        self._close_overdue()
        if self._stopping and not (self._open or self._hostings or self.chain.pending):
            self._over = True
            return
        self.scheduler.at(now + BLOCK_MS, self._make_block)

    def _soon(self, action: Callable[..., None], *arguments: Any, after_ms: int = 0) -> None:
        self.scheduler.at(self.scheduler.now + HEARS_MS + after_ms, action, *arguments)

    def _submit(self, call: Call, person: Person) -> None:
        """Send a call, which the chain takes."""
        self._send(call, person, frozenset({"", *IN_VAIN}), lambda: None)

    def _submit_wrongly(self, call: Call, member: Member) -> None:
        """Send what a member's cheat consists of, which the chain must refuse."""
        if member.cheat is None:
            raise RuntimeError(f"{member.attestor.name} does nothing wrong")
        self._send(call, member.attestor, REFUSED[member.cheat], partial(self._did, member))

    def _send(
        self, call: Call, person: Person, answers: Collection[str], then: Callable[[], None]
    ) -> None:
        if self._over:
            return

        def ended(error: DispatchError | None) -> None:
            name = "" if error is None else error.name
            if error is not None:
                self.story.refused[f"{call.name}: {name}"] += 1
            if name not in answers:
                said = f"says {name} to" if name else "takes"
                self.story.surprises.append(f"the chain {said} {call.name} of {person.name}")
            then()

        self.chain.submit(call, person, ended)

    def _did(self, member: Member) -> None:
        """A member cheated."""
        if member.cheat is not None and not member.cheated:
            member.cheated = True
            self.story.cheats[member.cheat] += 1

    # Registration and hostings

    def _prepare(self) -> None:
        genesis = self.chain.chain.genesis_hash
        endpoint = Endpoint.of("127.0.0.1", 1)
        sponsor = self.sponsors[0]
        for feed in self.feeds:
            self._submit(PublishFeed(feed.key, encode_manifest(feed.manifest)), sponsor)
        for attestor in self.attestors:
            key = attestor.session_key
            proof = registration_proof(key, genesis, Role.ATTESTOR, attestor.account)
            capacity = self.chain.constants.max_capacity
            self._submit(RegisterAttestor(key.public, endpoint, capacity, proof), attestor)
        for hoster in self.hosters:
            key = hoster.noise_key
            proof = registration_proof(key, genesis, Role.HOSTER, hoster.account)
            self._submit(RegisterHoster(key.public, endpoint, proof), hoster)

    def _activity_changed(self, event: ActivityChanged) -> None:
        person = self._people.get(event.account)
        if event.active and isinstance(person, Hoster) and person not in self._hostings.values():
            self._soon(self._offer, person)

    def _offer(self, hoster: Hoster) -> None:
        """Hire a hoster, whatever it did before: sponsors of a day do not learn."""
        provider = self.chain.read(storage.PROVIDERS, Role.HOSTER, hoster.account)
        if self._stopping or provider is None or not provider.active:
            return
        sponsor = self.sponsors[self.hosters.index(hoster) % len(self.sponsors)]
        terms = Terms(HOSTER_REWARD, ATTESTOR_REWARD, hoster.feed.length, SLA)
        self._submit(OpenHosting(hoster.feed.key, hoster.account, ESCROW, terms), sponsor)

    def _hosting_opened(self, event: HostingOpened) -> None:
        hoster = self._people[event.hoster]
        if isinstance(hoster, Hoster):
            self._hostings[event.id] = hoster
            self._soon(self._submit, AcceptHosting(event.id, 0, hoster.feed.length), hoster)

    def _hosting_closed(self, event: HostingClosed) -> None:
        hoster = self._hostings.pop(event.id)
        self._soon(self._offer, hoster, after_ms=5 * MINUTE_MS)

    def _top_up(self, hosting: int) -> None:
        found = self.chain.read(storage.HOSTINGS, hosting)
        if found is None or found.closing or self._stopping:
            return
        size = self.chain.read(storage.TIMING).attestors
        if found.escrow < 2 * (found.terms.hoster_reward + size * found.terms.attestor_reward):
            # By anybody, who gives the money away for good.
            helper = self.sponsors[hosting % len(self.sponsors)]
            self._submit(TopUp(hosting, ESCROW), helper)

    def _stop(self) -> None:
        """Enough have started: the sponsors end all hostings, with their running challenges."""
        self._stopping = True
        for hosting in self._hostings:
            self._soon(self._end_hosting, hosting, None)

    def _end_hosting(self, hosting: int, by: Person | None) -> None:
        found = self.chain.read(storage.HOSTINGS, hosting)
        if found is not None and not found.closing:
            self._submit(CloseHosting(hosting), by or self._people[found.sponsor])

    # The coinflip

    def _challenge_started(self, event: ChallengeStarted) -> None:
        challenge = self.chain.read(storage.CHALLENGES, event.id)
        hoster = self._people[event.hoster]
        if challenge is None or not isinstance(hoster, Hoster):
            raise RuntimeError(f"challenge {event.id} is of nobody's")
        members = []
        for place, drawn in enumerate(challenge.roster):
            attestor = self._people[drawn.account]
            if not isinstance(attestor, Attestor):
                raise RuntimeError(f"{attestor.name} was drawn")  # noqa: TRY004 - of the chain
            cheat = None if attestor.cheats is None else attestor.cheats.choose()
            members.append(Member(attestor, place, cheat))
        cheat_of_hoster = None if hoster.cheats is None else hoster.cheats.choose()
        case = Case(event.id, challenge, hoster, cheat_of_hoster, members)
        self.cases[event.id] = self._open[event.id] = case
        self._fresh.append(case)
        if event.id + 1 >= self.plan.challenges and not self._stopping:
            self._stop()

    def _begin_flip(self, case: Case) -> None:
        start_hash = self.chain.read(storage.START_HASHES, case.id)
        if start_hash is None:
            raise RuntimeError(f"challenge {case.id} has no start hash")
        genesis = self.chain.chain.genesis_hash
        case.attempts = challenge_attempts(genesis, case.id, case.challenge, start_hash)
        dice = stream(f"flip {self.plan.seed} {case.id}")
        self._flippings[case.id] = Flipping(
            self.scheduler, case, dice, self._anchor, self._keep_evidence
        )
        for member in case.members:
            if member.cheat is AttestorCheat.ABSENT:
                self._did(member)
            elif member.cheat is AttestorCheat.INVENTED_ANCHOR:
                self._submit_wrongly(invented_anchor(case, member), member)
            elif member.cheat is AttestorCheat.FRAMES_ATTESTOR:
                call = ReportFraud(framed_attestor(case, member))
                self._submit_wrongly(call, member)

    def _anchor(self, member: Member, call: AnchorFlip) -> None:
        self._submit(call, member.attestor)

    def _keep_evidence(self, member: Member, evidence: Evidence, attempt: Attempt) -> None:
        """As workers do: each in its turn, unless the chain has it already."""
        identifier = attempt.flip.challenge_id
        wait = member.place * BLOCK_MS
        self._soon(self._prove, identifier, member, evidence, after_ms=wait)

    def _prove(self, challenge: int, member: Member, evidence: Evidence) -> None:
        if self.chain.read(storage.FRAUDS, challenge, evidence.id) is None:
            self._submit(ReportFraud(decode_proof(evidence.encoded)), member.attestor)

    def _expelled(self, event: Expelled) -> None:
        case = self.cases[event.id]
        member = case.member(event.attestor)
        case.expulsions.append(Expulsion(member.place, event.timestamp_ms))
        cheat = (
            AttestorCheat.EQUIVOCATE
            if event.kind is FraudKind.EQUIVOCATION
            else AttestorCheat.BAD_REVEAL
        )
        if member.cheat is cheat:
            self._did(member)
        else:
            self.story.surprises.append(
                f"{member.attestor.name} is expelled for {cheat} in challenge {case.id}"
            )

    def _commit_opened(self, event: CommitOpened) -> None:
        case = self.cases[event.id]
        for place in places_of(event.roster):
            member = case.members[place]
            if member.cheat is AttestorCheat.ABSENT:
                continue
            if member.cheat is AttestorCheat.WITHHOLD:
                self._did(member)
            key = member.attestor.session_key.public
            seal = member.secrets_of(event.topic).audit_seal(event.topic, key)
            self._soon(self._submit, CommitFlip(case.id, seal), member.attestor)

    def _flip_anchored(self, event: FlipAnchored) -> None:
        self._flippings[event.id].anchored(event.topic, event.root, event.randomness)
        self._audits_begin(self.cases[event.id])

    def _flip_fell_back(self, event: FlipFellBack) -> None:
        self._audits_begin(self.cases[event.id])

    # Audits

    def _audits_begin(self, case: Case) -> None:
        flip = case.flip = self.chain.read(storage.FLIPS, case.id)
        if flip is None:
            raise RuntimeError(f"challenge {case.id} has no randomness")
        for place in flip.places:
            member = case.members[place]
            context = report_context(case.challenge, flip, member.attestor.account, place)
            member.context = context
            moment = context.moment(member.secrets_of(flip.topic).w)
            match member.cheat:
                case AttestorCheat.ABSENT | AttestorCheat.COPIED_REPORT:
                    continue
                case AttestorCheat.SILENT_AFTER_FLIP:
                    self._did(member)
                    continue
                case AttestorCheat.WRONG_MOMENT:
                    moment += 2 * case.challenge.timing.clock_tolerance_ms
                case AttestorCheat.FRAMES_HOSTER:
                    self._soon(self._frame_hoster, case, member)
                case _:
                    pass
            self.scheduler.at(moment, self._audit, case, member)
        if case.cheat is HosterCheat.LEAVES:
            self._soon(self._end_hosting, case.challenge.hosting, case.hoster)
        if case.cheat is not None:
            self.story.cheats[case.cheat] += 1

    def _audit(self, case: Case, member: Member) -> None:
        plan = audit_plan(case, member)
        now = self.scheduler.now
        if member.cheat is AttestorCheat.WRONG_MOMENT:
            plan = replace(plan, moment=now)
        if member.cheat is AttestorCheat.FORGED_RECEIPT:
            return
        dice = stream(f"session {self.plan.seed} {case.id} {member.place}")
        audit = hold_session(plan, member.attestor, case.hoster, case.cheat, now, dice)
        self._judge_session(case, member, audit)
        member.audit = audit
        if member.cheat is AttestorCheat.EARLY_REPORT:
            self._report_wrongly(case, member, honest_report(case, member, audit))
        if audit.false_receipt is not None:
            due = case.challenge.end_ms + member.place * BLOCK_MS
            self.scheduler.at(due, self._prove_receipt, case, member, audit.false_receipt)

    def _judge_session(self, case: Case, member: Member, audit: Audit) -> None:
        """An honest hoster serves everybody."""
        if case.cheat is None and isinstance(audit.outcome, Failure):
            self.story.surprises.append(
                f"{case.hoster.name} fails {member.attestor.name}: {audit.detail}"
            )

    def _prove_receipt(self, case: Case, member: Member, proof: FalseReceipt) -> None:
        provider = self.chain.read(storage.PROVIDERS, Role.HOSTER, case.hoster.account)
        if provider is not None and provider.bond > 0:
            self._submit(ReportFraud(proof), member.attestor)

    def _receipt_proven_false(self, event: ReceiptProvenFalse) -> None:
        hoster = self._people[event.hoster]
        if hoster.honest:
            self.story.surprises.append(f"a receipt of {hoster.name} is proven false")

    def _frame_hoster(self, case: Case, member: Member) -> None:
        call = ReportFraud(framed_hoster(case, member, self.scheduler.now))
        self._submit_wrongly(call, member)

    # Reports

    def _reports_opened(self, event: ReportsOpened) -> None:
        case = self.cases[event.id]
        self._look_at_stage(case)
        if case.flip is None:
            raise RuntimeError("reports are of what was flipped")
        for place in case.flip.places:
            member = case.members[place]
            if member.cheat is AttestorCheat.COPIED_REPORT:
                self._soon(self._copy_report, case, member, after_ms=1_000)
            elif member.reports:
                self._soon(self._report, case, member)

    def _look_at_stage(self, case: Case) -> None:
        challenge = self.chain.read(storage.CHALLENGES, case.id)
        stage = None if challenge is None else challenge.stage
        case.reporting = stage if isinstance(stage, Reporting) else None

    def _report(self, case: Case, member: Member) -> None:
        audit, cheat = member.audit, member.cheat
        if cheat is AttestorCheat.FORGED_RECEIPT:
            dice = stream(f"forged {self.plan.seed} {case.id} {member.place}")
            self._report_wrongly(case, member, with_forged_receipt(case, member, dice))
            return
        if audit is None:
            raise RuntimeError(f"{member.attestor.name} has no audit to report")
        report = honest_report(case, member, audit)
        if isinstance(audit.outcome, Served):
            match cheat:
                case AttestorCheat.WRONG_PROOF:
                    wrong = wrongly_proven(case, member, audit.outcome)
                    self._report_wrongly(case, member, wrong)
                    return
                case AttestorCheat.WRONG_MOMENT:
                    self._report_wrongly(case, member, report)
                    return
                case (
                    AttestorCheat.FALSE_FIGURES
                    | AttestorCheat.FALSE_FAILURE
                    | AttestorCheat.NEEDLESS_DEMAND
                ):
                    report = lying_report(case, member, audit.outcome)
                    self._did(member)
                case _:
                    pass
        if member.context is None:
            raise RuntimeError("only active members report")
        check_report(report, member.context)
        member.report = report
        self._submit(SubmitReport(case.id, report), member.attestor)

    def _report_wrongly(self, case: Case, member: Member, report: Report) -> None:
        """Send a report that the chain must refuse."""
        self._submit_wrongly(SubmitReport(case.id, report), member)

    def _copy_report(self, case: Case, member: Member) -> None:
        for fellow in case.members:
            if fellow.report is not None:
                self._report_wrongly(case, member, fellow.report)
                return

    def _reported(self, event: Reported) -> None:
        case = self.cases[event.id]
        case.reported.add(case.member(event.attestor).place)

    # Demands

    def _demanded(self, event: Demanded) -> None:
        case = self.cases[event.id]
        self._look_at_stage(case)
        if case.cheat not in (HosterCheat.WITHHOLDS, HosterCheat.SILENT, HosterCheat.LEAVES):
            self._soon(self._answer, case, event)

    def _answer(self, case: Case, event: Demanded) -> None:
        challenge = case.challenge
        wanted = Wanted(challenge.feed, challenge.fork, challenge.length, event.chunk)
        try:
            answer = make_answer(served_feed(case.hoster.feed, case.cheat), wanted)
        except Unanswerable:
            return
        self._submit(AnswerDemand(case.id, event.attestor, answer), case.hoster)

    def _demand_answered(self, event: DemandAnswered) -> None:
        self._look_at_stage(self.cases[event.id])

    # The end

    def _close_overdue(self) -> None:
        """Have attestors close what waits for reports that did not come, each in its turn."""
        waiting = [case for case in self._open.values() if case.reporting and not case.closing]
        if not waiting:
            return
        rooms, number = self.chain.read(storage.ROOMS), self.chain.chain.head.number
        for case in waiting:
            reporting, flip, size = case.reporting, case.flip, len(case.members)
            if reporting is None or flip is None or set(flip.places) <= case.reported:
                continue
            for member in case.members:
                share = case.challenge.timing.grace_blocks // CLOSING
                turn = (member.place - case.id) % size * share // size
                due = all(
                    rooms >= one.rooms + turn or number + 1 >= one.block + turn
                    for one in (reporting.deadline, reporting.answers)
                    if one is not None
                )
                if due and member.place in flip.places and member.cheat is None:
                    case.closing = True
                    self._soon(self._submit, CloseChallenge(case.id), member.attestor)
                    break

    def _challenge_closed(self, event: ChallengeClosed) -> None:
        case = self._open.pop(event.id)
        case.reporting = None
        self._flippings.pop(event.id)
        self._closed += 1
        if self._progress is not None:
            self._progress(self._closed, self.plan.challenges)
        self._soon(self._top_up, case.challenge.hosting)
        for member in case.members:
            if member.cheat is AttestorCheat.LATE_REPORT and member.audit is not None:
                report = honest_report(case, member, member.audit)
                self._soon(self._report_wrongly, case, member, report)
        # What was sent last is in the next block.
        self._soon(self._look_back, case, after_ms=2 * BLOCK_MS)

    def _look_back(self, case: Case) -> None:
        """Who came to nothing with its cheat tries again in another challenge."""
        for member in case.members:
            cheats = member.attestor.cheats
            if cheats is not None and member.cheat is not None and not member.cheated:
                cheats.not_done(member.cheat)
        if case.hoster.cheats is not None and case.cheat is not None and case.flip is None:
            case.hoster.cheats.not_done(case.cheat)

    def _inactive(self, event: Draining | Deactivated) -> None:
        """Who is drawn no more comes back: it pays up, and goes on as before."""
        who = event.role, event.account
        # It may hear of it twice, by an absence and by a fraud.
        if who not in self._returning:
            self._returning.add(who)
            self._soon(self._come_back, *who, after_ms=10 * MINUTE_MS)

    def _come_back(self, role: Role, account: bytes) -> None:
        self._returning.discard((role, account))
        provider = self.chain.read(storage.PROVIDERS, role, account)
        if provider is not None and not provider.wants_work and not self._stopping:
            self._submit(Undrain(role), self._people[account])
