"""Recomputing a settled challenge from what the chain holds: every claim of it must follow.

Nothing is taken from the chain's conclusions but to compare: draw, proofs of fraud, attempts and
their rosters, topic, root, R, each moment, drawn chunk, receipt, multiproof, head signature,
medians, payments and absences are computed anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from chain_types.events import BondSlashed, FlipFellBack
from chain_types.records import (
    MIN_AUDIT_MS,
    Challenge,
    Closed,
    Committing,
    Expulsion,
    FailedRecord,
    Flip,
    Fraud,
    FraudKind,
    Medians,
    Payment,
    PaymentKind,
    Role,
    ServedRecord,
    Settlement,
    Tally,
    Verdict,
    places_of,
)
from chain_types.report import (
    BadReveal,
    Equivocation,
    Served,
    encode_proof,
    encode_report,
)
from chain_types.runtime import OtherEvent
from chain_types.scale import Compact
from chain_types.ss58 import ss58_encode
from chain_types.storage_keys import blake2_256
from offchain_worker.attestor.context import (
    challenge_attempts,
    known_expulsions,
    report_context,
)
from offchain_worker.audit.receipt import Receipt
from offchain_worker.audit.report import ReportError, check_report
from offchain_worker.coinflip.attempts import Attempt, Attempts
from offchain_worker.coinflip.attempts import Expulsion as KnownExpulsion
from offchain_worker.coinflip.commitments import (
    commitment_root,
    fallback_result,
    fallback_root,
    hash_concat,
    number_commitment,
)
from offchain_worker.coinflip.draws import draw_roster, roster_seed
from offchain_worker.coinflip.envelope import Kind, signing_payload
from offchain_worker.coinflip.evidence import EvidenceError, verify_evidence
from offchain_worker.coinflip.topic import FALLBACK_ATTEMPT
from offchain_worker.explorer.claims import DoesNotHold, balance_moved
from offchain_worker.explorer.claims import require as _require
from offchain_worker.explorer.demands import (
    outcome_with_demands,
    unanswered,
    verify_demands,
    was_shown,
    withheld_payments,
)
from offchain_worker.explorer.figures import Sample, medians
from offchain_worker.explorer.history import (
    Accusation,
    FallingBack,
    History,
    PoolMember,
    Reporting,
)
from offchain_worker.keys import verify

ROSTER_SUBJECT = b"datdot/roster"
FALLBACK_SUBJECT = b"datdot/fallback"
REPORTERS = 2
BURNT = 2
CLOSERS = 10
FOR_FAILURE = 2
NO_MEDIANS = Medians(**dict.fromkeys((field.name for field in fields(Medians)), None))
VOID = Settlement(
    outcome=Verdict.VOID,
    active=0,
    served=0,
    failed=0,
    medians=NO_MEDIANS,
    paid=(),
    absent=(),
    burnt=0,
    to_escrow=0,
    forfeited=0,
    slashed=0,
)


def verify_history(history: History) -> Iterator[str]:
    """Check a settled challenge step by step; yields a sentence for each step that holds.

    Raises:
        DoesNotHold: at the first step that does not.
    """
    challenge = history.snapshot.challenge
    yield _start(history)
    yield _terms(history)
    yield _randomness(history)
    yield _draw(history)
    yield from _frauds(history)
    if history.falling_back is not None:
        yield from _commitments(history, history.falling_back)
    _require(
        (history.falling_back is None) == (history.snapshot.fallback is None),
        "the stored fallback is not that of the blocks",
    )
    flip = history.snapshot.flip
    if flip is None:
        _require(not history.reports, "there are reports, but no randomness to audit by")
        _require(history.anchoring is None, "there is an anchor, but no randomness")
        yield "there is no shared randomness, so there is nothing to report"
    elif flip.fell_back:
        yield from _fell_back(history, flip)
    else:
        yield from _anchored(history, flip)
    if flip is not None:
        for place in flip.places:
            member = challenge.roster[place]
            reporting = history.reports.get(member.account)
            if reporting is not None:
                yield _report(history, flip, place, reporting)
    yield from verify_demands(history)
    yield from _settlement(history)


def _start(history: History) -> str:
    snapshot, challenge = history.snapshot, history.snapshot.challenge
    _require(
        snapshot.start_hash == history.start_hash,
        f"the stored start hash is not that of block {challenge.block}",
    )
    _require(
        challenge.t0 == history.start_ms,
        f"T0 is {challenge.t0}, but block {challenge.block} has the timestamp {history.start_ms}",
    )
    return f"started in block {challenge.block} at {challenge.t0} ms"


def _terms(history: History) -> str:
    """What the challenge copied at its start."""
    challenge, before = history.snapshot.challenge, history.before
    hosting = before.hosting
    vouched = hosting.vouched
    copied = (
        (hosting.hoster, challenge.hoster, "hoster"),
        (hosting.sponsor, challenge.sponsor, "sponsor"),
        (hosting.terms, challenge.terms, "terms"),
        (vouched and (vouched.fork, vouched.length), (challenge.fork, challenge.length), "length"),
        (before.hoster.key, challenge.noise_key, "Noise key"),
        (before.feed, challenge.feed, "feed"),
        (hosting.feed, challenge.feed.key, "feed"),
        (before.timing, challenge.timing, "timing"),
    )
    for there, here, what in copied:
        _require(there == here, f"the {what} is not that of the hosting before the start")
    return f"hoster, feed and terms are those of hosting {challenge.hosting}"


def chain_randomness(subject: bytes, parents: Sequence[bytes]) -> bytes:
    """The development source: the hashes of the last eight blocks, hashed with the subject."""
    length = Compact(limit=2**30 - 1).encode
    encoded = length(len(subject)) + subject
    return blake2_256(encoded + length(len(parents)) + b"".join(parents))


def _randomness(history: History) -> str:
    _require(
        chain_randomness(ROSTER_SUBJECT, history.parents) == history.snapshot.challenge.randomness,
        "the randomness of the draw does not follow from the blocks before the start",
    )
    return "the draw's randomness follows from the blocks before it"


def _draw(history: History) -> str:
    snapshot, challenge = history.snapshot, history.snapshot.challenge
    pool = list(history.before.pool)
    entered: dict[bytes, int] = {}
    for earlier in history.earlier:
        _require(
            _drawn(pool, earlier.challenge, earlier.id) == _accounts(earlier.challenge),
            f"the roster of challenge {earlier.id}, drawn before in this block, does not follow",
        )
        for account in _accounts(earlier.challenge):
            entered[account] = entered.get(account, 0) + 1
            _leave_if_full(pool, account, entered[account])
    _require(
        _drawn(pool, challenge, snapshot.id) == _accounts(challenge),
        "the roster does not follow from randomness and eligible attestors",
    )
    keys = [member.session_key for member in challenge.roster]
    _require(keys == sorted(set(keys)), "the roster does not ascend by session key")
    registered = {member.account: member.provider.key for member in history.before.pool}
    for member in challenge.roster:
        _require(
            member.session_key == registered.get(member.account),
            f"the session key of {ss58_encode(member.account)} is not the registered one",
        )
    return f"the roster of {len(keys)} was drawn out of {len(pool)} eligible attestors"


def _drawn(pool: Sequence[PoolMember], challenge: Challenge, identifier: int) -> set[bytes]:
    skip = {
        place
        for place, member in enumerate(pool)
        if member.account in (challenge.hoster, challenge.sponsor)
    }
    seed = roster_seed(challenge.randomness, identifier)
    places = draw_roster(seed, len(pool), challenge.timing.attestors, skip)
    return {pool[place].account for place in places}


def _accounts(challenge: Challenge) -> set[bytes]:
    return {member.account for member in challenge.roster}


def _leave_if_full(pool: list[PoolMember], account: bytes, entered: int) -> None:
    """Swap-remove from the dense list whoever reached its capacity in this block."""
    for place, member in enumerate(pool):
        if member.account == account:
            if member.provider.engagements + entered >= member.provider.capacity:
                pool[place] = pool[-1]
                pool.pop()
            return


def _attempts(history: History) -> Attempts:
    return challenge_attempts(
        history.genesis, history.snapshot.id, history.snapshot.challenge, history.start_hash
    )


def _frauds(history: History) -> Iterator[str]:
    """Each proof again, and that it cost the offender what it should."""
    snapshot, roster = history.snapshot, history.snapshot.challenge.roster
    attempts = _attempts(history)
    expulsions: list[Expulsion] = []
    known: set[bytes] = set()
    for accusation in history.accusations:
        event, proof = accusation.event, accusation.proof
        name = f"the proof against {ss58_encode(event.attestor)}"
        if not isinstance(proof, Equivocation | BadReveal):
            raise DoesNotHold(f"{name} is none of the coinflip")
        attempt = attempts.numbered(proof.attempt, known_expulsions(expulsions))
        if attempt is None:
            raise DoesNotHold(f"{name} is for attempt {proof.attempt}, which does not exist")
        _settled_before(attempt, accusation.block_ms, name)
        try:
            evidence = verify_evidence(encode_proof(proof), attempt.flip)
        except EvidenceError as error:
            raise DoesNotHold(f"{name} proves nothing: {error.reason}") from error
        place = attempt.places[evidence.offender]
        kind = FraudKind(evidence.proof_kind)
        _require(
            (event.id, event.attestor, event.kind, event.attempt)
            == (snapshot.id, roster[place].account, kind, proof.attempt),
            f"{name} is against another member, or of another kind or attempt",
        )
        _require(
            (event.reporter, event.timestamp_ms) == (accusation.signer, accusation.block_ms),
            f"{name} is not the one that its block tells of",
        )
        _require(evidence.id not in known, f"{name} was known already")
        known.add(evidence.id)
        _slash(history, name, accusation)
        kept = Fraud(
            offender=event.attestor,
            proof=kind,
            reporter=accusation.signer,
            block=accusation.block,
            slashed=event.slashed,
            reward=event.reward,
        )
        _require(
            snapshot.frauds.get(evidence.id) == kept, f"{name} is not the one that the chain keeps"
        )
        if place not in (expulsion.place for expulsion in expulsions):
            expulsions.append(Expulsion(place, accusation.block_ms, accusation.block))
        yield (
            f"{ss58_encode(event.attestor)} is guilty of {kind.name} in attempt {proof.attempt}: "
            f"{event.slashed} slashed, {event.reward} of it to {ss58_encode(event.reporter)}"
        )
    _require(set(snapshot.frauds) == known, "the chain keeps frauds of which there is no proof")
    _require(
        snapshot.expulsions == tuple(expulsions),
        "the expulsions do not follow from the proofs of fraud",
    )


def _settled_before(attempt: Attempt, block_ms: int, what: str) -> None:
    """No expulsion in this block or later can change the attempt's roster (coinflip.md §3)."""
    schedule, number = attempt.schedule, attempt.flip.attempt
    last = schedule.start_ms - 2 * schedule.timing.block_ms - schedule.timing.finality_ms
    _require(
        number == 0 or block_ms > last,
        f"{what} of attempt {number} came before its roster was settled",
    )


def _slash(history: History, name: str, accusation: Accusation) -> None:
    """The bond is lost as far as it goes; half of that is the reporter's, the rest burnt."""
    event = accusation.event
    _require(
        event.slashed == min(history.fraud_slash, accusation.bond),
        f"{name}: the slash is not the fine, nor what was left of the bond",
    )
    _require(
        event.reward == event.slashed // REPORTERS,
        f"{name}: the reward is not half of the slash",
    )
    taken = [
        record.event.amount
        for record in accusation.events
        if isinstance(record.event, BondSlashed)
        and (record.event.account, record.event.role) == (event.attestor, Role.ATTESTOR)
    ]
    _require(sum(taken) == event.slashed, f"{name}: the bond was not slashed")
    burnt, events = event.slashed - event.reward, accusation.events
    _require(
        (not event.reward or balance_moved(events, "Deposit", event.reward, event.reporter))
        and (not burnt or balance_moved(events, "BurnedDebt", burnt)),
        f"{name}: the reward was not paid, or the rest not burnt",
    )


def _until(history: History, block: int) -> list[KnownExpulsion]:
    """The expulsions in blocks before one."""
    known = (one for one in history.snapshot.expulsions if one.block < block)
    return known_expulsions(known)


def _anchored(history: History, flip: Flip) -> Iterator[str]:
    snapshot, challenge = history.snapshot, history.snapshot.challenge
    anchoring = history.anchoring
    if anchoring is None:
        raise DoesNotHold("the coinflip has no anchor")
    _require(snapshot.fallback is None, "a coinflip that was anchored fell back")
    attempt = _attempts(history).numbered(flip.attempt, _until(history, flip.block))
    if attempt is None:
        raise DoesNotHold(f"attempt {flip.attempt} does not exist")
    keys, topic = attempt.flip.roster, attempt.flip.topic
    _require(topic == flip.topic, "the topic does not follow from challenge, block and roster")
    _require(
        flip.places == attempt.places, "the active members are not those of the attempt's roster"
    )
    _settled_before(attempt, anchoring.block_ms, "the anchor")
    yield f"attempt {flip.attempt} is among {len(keys)} of {len(challenge.roster)} attestors"
    yield f"the topic is {topic.hex()}"
    _require(
        challenge.t0 <= anchoring.block_ms < challenge.flip_end_ms,
        "the anchor is outside the time of the coinflip",
    )
    call = anchoring.call
    _require(
        (call.id, call.attempt) == (snapshot.id, flip.attempt)
        and flip.by == challenge.index_of(anchoring.signer),
        "the anchor is not the one that the chain names",
    )
    _require(
        len(call.openings) == len(call.echoes) == len(keys),
        "the anchor does not have one opening and one echo for each member",
    )
    commitments = [
        (number_commitment(topic, key, opening.salt, opening.x), opening.z)
        for key, opening in zip(keys, call.openings, strict=True)
    ]
    root = commitment_root(topic, commitments)
    _require(root == flip.root, "the root does not follow from the openings")
    for index, (key, echo) in enumerate(zip(keys, call.echoes, strict=True)):
        _require(
            verify(key, signing_payload(Kind.ECHO, topic, key, root), echo),
            f"the echo of member {index} is not its signature over the root",
        )
    yield f"all {len(keys)} members echoed the root {root.hex()}"
    result = hash_concat(topic, root, [opening.x for opening in call.openings])
    _require(result == flip.randomness, "R does not follow from the openings")
    _require(
        tuple(z for _y, z in commitments) == flip.commitments,
        "the stored commitments are not those of the anchor",
    )
    _require(
        flip.moments_from == challenge.timing.moments_from(challenge.t0),
        "the moments do not begin when they should after an anchor",
    )
    yield f"R is {result.hex()}"


def _commitments(history: History, falling_back: FallingBack) -> Iterator[str]:
    """The frozen roster, and who committed in time."""
    snapshot, challenge = history.snapshot, history.snapshot.challenge
    opened, fallback = falling_back.opened, snapshot.fallback
    if fallback is None:
        raise DoesNotHold("the chain keeps no fallback")
    _require(
        challenge.flip_end_ms <= falling_back.opened_ms
        and opened.since == falling_back.opened_block,
        "the fallback began before its time, or in another block",
    )
    expelled = {one.place for one in _until(history, opened.since)}
    flip, places = _attempts(history).fallback(expelled)
    told = (opened.id, opened.topic, places_of(opened.roster))
    _require(
        told == (snapshot.id, flip.topic, places)
        and (fallback.topic, fallback.places) == (flip.topic, places),
        "the fallback's roster is not that of the members not expelled before",
    )
    _require(len(places) >= challenge.timing.min_active, "a fallback among too few members began")
    stage = Committing(opened.since, falling_back.opened_ms)
    commits: dict[int, bytes] = {}
    for commitment in falling_back.commitments:
        name = f"the commitment of {ss58_encode(commitment.signer)}"
        place = challenge.index_of(commitment.signer)
        if place is None or place not in places:
            raise DoesNotHold(f"{name}: it is not in the fallback's roster")
        _require(commitment.call.id == snapshot.id, f"{name}: it is for another challenge")
        _require(place not in commits, f"{name}: it is the second one")
        _require(
            commitment.block >= opened.since
            and not challenge.commits_are_over(stage, commitment.block, commitment.block_ms),
            f"{name}: it came too early or too late",
        )
        commits[place] = commitment.call.z
    kept = {commit.place: commit.z for commit in fallback.commits}
    _require(
        kept == commits and [commit.place for commit in fallback.commits] == sorted(commits),
        "the stored commitments are not those that were sent",
    )
    yield f"{len(commits)} of {len(places)} committed to the fallback, topic {flip.topic.hex()}"


def _fell_back(history: History, flip: Flip) -> Iterator[str]:
    snapshot, challenge = history.snapshot, history.snapshot.challenge
    falling_back, fallback = history.falling_back, snapshot.fallback
    if falling_back is None or fallback is None:
        raise DoesNotHold("the fallback never began")
    _require(
        (flip.attempt, flip.topic) == (FALLBACK_ATTEMPT, fallback.topic),
        "attempt or topic is not that of the fallback",
    )
    _require(
        (flip.by, flip.late, history.anchoring) == (None, 0, None),
        "a coinflip that fell back was anchored",
    )
    stage = Committing(falling_back.opened.since, falling_back.opened_ms)
    _require(
        challenge.commits_are_over(stage, flip.block, falling_back.settled_ms),
        "the fallback ended before its time",
    )
    _require(
        flip.places == tuple(commit.place for commit in fallback.commits)
        and flip.commitments == tuple(commit.z for commit in fallback.commits),
        "the active members are not those that committed",
    )
    _require(
        len(flip.places) >= challenge.timing.min_active, "the fallback had too few commitments"
    )
    root = fallback_root(flip.topic, flip.commitments)
    _require(root == flip.root, "the root does not follow from the commitments")
    randomness = chain_randomness(FALLBACK_SUBJECT, falling_back.parents)
    _require(
        randomness == flip.chain_randomness,
        "the fallback's randomness does not follow from the blocks before",
    )
    result = fallback_result(flip.topic, root, randomness)
    _require(result == flip.randomness, "R does not follow from commitments and randomness")
    told = FlipFellBack(
        id=snapshot.id,
        active=flip.active,
        topic=flip.topic,
        root=root,
        chain_randomness=randomness,
        randomness=result,
    )
    _require(falling_back.fell_back == told, "R is not the one that its block tells of")
    _require(
        flip.moments_from == challenge.timing.moments_after(falling_back.settled_ms),
        "the moments do not begin when they should after a fallback",
    )
    _require(challenge.moments_ms(flip) >= MIN_AUDIT_MS, "the fallback left no room for audits")
    yield f"R is {result.hex()}, of {len(flip.places)} commitments and the chain's randomness"


def _report(history: History, flip: Flip, place: int, reporting: Reporting) -> str:
    snapshot, challenge = history.snapshot, history.snapshot.challenge
    account = challenge.roster[place].account
    name = f"report of {ss58_encode(account)}"
    _require(reporting.signer == account, f"{name}: the extrinsic is signed by another account")
    _require(
        reporting.challenge_id == snapshot.id, f"{name}: the extrinsic is for another challenge"
    )
    _require(
        reporting.block_ms >= challenge.end_ms, f"{name}: it came before the end of the window"
    )
    context = report_context(challenge, flip, account, place)
    report, record = reporting.report, reporting.record
    try:
        receipt = check_report(report, context)
    except ReportError as error:
        raise DoesNotHold(f"{name}: {error}") from error
    kept = (record.w, record.audit_key, record.moment_ms, record.windowed, record.peers)
    opened = (
        report.w,
        report.audit_key,
        context.moment(report.w),
        context.habit(report.w).windowed,
        report.body.peers,
    )
    _require(kept == opened, f"{name}: the stored record is not that of the extrinsic")
    _require(record.bytes == len(encode_report(report)), f"{name}: its stored size is wrong")
    outcome = report.body.outcome
    if isinstance(outcome, Served) and receipt is not None:
        _served_record(name, record.outcome, receipt, outcome, len(context.drawn(report.w)))
        return (
            f"{name}: served at its moment {record.moment_ms}, "
            f"receipt over {len(receipt.entries)} chunks, {len(outcome.sizes)} proved"
        )
    if isinstance(outcome, Served) or not isinstance(record.outcome, FailedRecord):
        raise DoesNotHold(f"{name}: the stored outcome is not that of the extrinsic")
    _require(
        (record.outcome.reason, record.outcome.demand) == (outcome.reason, outcome.demand),
        f"{name}: the stored reason or demand is not that of the extrinsic",
    )
    demand = "" if outcome.demand is None else f", chunk {outcome.demand} is demanded"
    return f"{name}: failed, {outcome.reason.name}{demand}"


def _served_record(
    name: str,
    record: ServedRecord | FailedRecord,
    receipt: Receipt,
    outcome: Served,
    drawn: int,
) -> None:
    if not isinstance(record, ServedRecord):
        raise DoesNotHold(f"{name}: the stored outcome is not that of the extrinsic")
    _require(drawn >= len(outcome.sizes), f"{name}: more chunks are proved than drawn")
    kept = (
        record.head.fork,
        record.head.length,
        record.head.tree_hash,
        record.session,
        record.sequence,
        record.opened_ms,
        record.issued_ms,
        record.chunks,
        record.proved,
        record.metrics,
    )
    said = (
        receipt.fork,
        receipt.length,
        receipt.tree_hash,
        receipt.session,
        receipt.sequence,
        receipt.opened,
        receipt.issued,
        len(receipt.entries),
        len(outcome.sizes),
        outcome.metrics,
    )
    _require(kept == said, f"{name}: the stored record is not that of the receipt")


def _settlement(history: History) -> Iterator[str]:
    snapshot, challenge = history.snapshot, history.snapshot.challenge
    settlement = snapshot.settlement
    if settlement is None or not isinstance(challenge.stage, Closed):
        raise DoesNotHold("the challenge has no settlement")
    _require(
        challenge.stage.outcome is settlement.outcome,
        "the stored outcomes of challenge and settlement differ",
    )
    closing = history.closing
    told = (closing.event.outcome, closing.event.medians, closing.event.paid, closing.event.absent)
    stored_as = (settlement.outcome, settlement.medians, settlement.paid, settlement.absent)
    _require(told == stored_as, "the settlement is not the one that the closing block tells")
    flip = snapshot.flip
    if flip is None:
        _require(closing.block_ms >= challenge.flip_end_ms, "it was given up before its time")
        yield _void(history, settlement)
        return
    _require(closing.block_ms >= challenge.end_ms, "it was settled before the end of the window")
    _require(
        {challenge.index_of(account) for account in history.reports} <= set(flip.places),
        "somebody reported who is not active",
    )
    served = [
        reporting.report.body.outcome
        for reporting in history.reports.values()
        if isinstance(reporting.report.body.outcome, Served)
    ]
    active = len(flip.places)
    failed = len(history.reports) - len(served)
    said = (
        Verdict.PASSED
        if 2 * len(served) > active
        else Verdict.FAILED
        if 2 * failed > active
        else Verdict.INCONCLUSIVE
    )
    outcome = outcome_with_demands(history, said)
    counted = (outcome, active, len(served), failed)
    stored = (settlement.outcome, settlement.active, settlement.served, settlement.failed)
    _require(stored == counted, f"the reports give {counted}, the settlement says {stored}")
    tally = Tally(
        reported=sum(
            1 << index
            for index, member in enumerate(challenge.roster)
            if member.account in history.reports
        ),
        served=len(served),
        failed=failed,
    )
    _require(snapshot.tally == tally, "the tally is not that of the reports")
    yield f"{outcome.name.capitalize()}: {len(served)} served, {failed} failed, of {active}"
    _require(
        settlement.medians == medians(_samples(history)),
        "the medians are not those of the served reports",
    )
    yield f"the medians are those of {len(served)} served reports"
    yield _payments(history, flip, settlement, len(served))


def _void(history: History, settlement: Settlement) -> str:
    """Without R nobody is paid; who let the fallback down is absent, and only then."""
    snapshot, challenge = history.snapshot, history.snapshot.challenge
    _require(snapshot.tally == Tally(0, 0, 0), "the tally is not that of the reports")
    falling_back, fallback = history.falling_back, snapshot.fallback
    absent: list[bytes] = []
    if falling_back is None or fallback is None:
        expelled = {one.place for one in _until(history, history.closing.block)}
        left = len(challenge.roster) - len(expelled)
        _require(
            left < challenge.timing.min_active,
            "it fell back to nothing, though members enough are left",
        )
        reason = f"{left} members were left"
    else:
        stage = Committing(falling_back.opened.since, falling_back.opened_ms)
        _require(
            challenge.commits_are_over(stage, history.closing.block, history.closing.block_ms),
            "the fallback ended before its time",
        )
        tlo = challenge.timing.moments_after(history.closing.block_ms)
        committed = len(fallback.commits)
        if challenge.moments_end_ms - tlo < MIN_AUDIT_MS:
            reason = "no time was left for audits"
        else:
            _require(committed < challenge.timing.min_active, "enough committed, but there is no R")
            absent = [challenge.roster[place].account for place in fallback.missing]
            reason = f"{committed} committed to the fallback"
    _absent(settlement, absent)
    _absences(history, settlement)
    fees = [item for item in settlement.paid if item.kind is PaymentKind.CLOSING]
    expected = replace(
        VOID,
        paid=tuple(fees),
        absent=settlement.absent,
        burnt=settlement.burnt,
        to_escrow=settlement.to_escrow,
    )
    _require(settlement == expected, "without randomness a challenge is Void and pays no rewards")
    return f"Void, as {reason}: nobody is paid, {len(absent)} pay for absence"


def _payments(history: History, flip: Flip, settlement: Settlement, served: int) -> str:
    challenge, fallback = history.snapshot.challenge, history.snapshot.fallback
    terms = challenge.terms
    expected = withheld_payments(history)
    _require(
        settlement.slashed == sum(state.slashed for state in unanswered(history)),
        "what withholding cost is not what the demands say",
    )
    earned = 0
    broken = terms.sla is not None and terms.sla.is_broken_by(settlement.medians)
    if settlement.outcome is Verdict.PASSED and not broken:
        earned = terms.hoster_reward * served // settlement.active
        expected.append(Payment(challenge.hoster, PaymentKind.HOSTING, earned))
    passed = settlement.outcome is Verdict.PASSED
    _require(
        settlement.forfeited == (terms.hoster_reward - earned if passed else 0),
        "what the hoster did not earn is not set aside",
    )
    silent = {place for place in flip.places if not _reporting(history, place)}
    missing = set(fallback.missing) if fallback else set()
    for place in flip.places:
        reporting = _reporting(history, place)
        account = challenge.roster[place].account
        if reporting is None or place in _expelled(history) or was_shown(history, account):
            continue
        if isinstance(reporting.report.body.outcome, Served):
            expected.append(Payment(account, PaymentKind.REPORT, terms.attestor_reward))
        elif settlement.outcome is Verdict.FAILED:
            half = terms.attestor_reward // FOR_FAILURE
            expected.append(Payment(account, PaymentKind.REPORT, half))
    expected = [payment for payment in expected if payment.amount]
    rewards = [item for item in settlement.paid if item.kind is not PaymentKind.CLOSING]
    _require(rewards == expected, "the payments do not follow from outcome and terms")
    absent = [challenge.roster[place].account for place in sorted(silent | missing)]
    _absent(settlement, absent)
    _absences(history, settlement)
    for payment in rewards:
        if payment.kind is PaymentKind.WITHHOLDING:
            _require(
                balance_moved(history.closing.events, "Deposit", payment.amount, payment.account),
                f"{payment.amount} were not paid to {ss58_encode(payment.account)}",
            )
            continue
        _require(
            _was_moved(history, challenge.sponsor, payment),
            f"no transfer of {payment.amount} to {ss58_encode(payment.account)} took place",
        )
    total = sum(payment.amount for payment in settlement.paid)
    sla = ", the SLA is broken" if settlement.outcome is Verdict.PASSED and broken else ""
    return (
        f"{len(settlement.paid)} payments, {total} in all, and {len(absent)} absence fees "
        f"follow{sla}"
    )


def _reporting(history: History, place: int) -> Reporting | None:
    return history.reports.get(history.snapshot.challenge.roster[place].account)


def _expelled(history: History) -> set[int]:
    """The places of who was expelled before the settlement; whoever is later keeps its pay."""
    challenge, closing = history.snapshot.challenge, history.closing
    before = (
        accusation.event.attestor
        for accusation in history.accusations
        if (accusation.block, accusation.position) < (closing.block, closing.position)
    )
    return {place for account in before if (place := challenge.index_of(account)) is not None}


def _absent(settlement: Settlement, accounts: Sequence[bytes]) -> None:
    _require(
        [item.account for item in settlement.absent] == list(accounts),
        "those who paid for absence are not those who neither reported nor committed",
    )


def _absences(history: History, settlement: Settlement) -> None:
    burnt = escrow = closing = 0
    for absence in settlement.absent:
        _require(
            absence.fee <= history.absence_fee,
            f"{ss58_encode(absence.account)} paid more than the absence fee",
        )
        burnt += absence.fee // BURNT
        closers = min(absence.fee // CLOSERS, absence.fee - absence.fee // BURNT)
        closing += closers
        escrow += absence.fee - absence.fee // BURNT - closers
    closer = history.closing.closer
    share = [Payment(closer, PaymentKind.CLOSING, closing)] if closer and closing else []
    _require(
        [item for item in settlement.paid if item.kind is PaymentKind.CLOSING] == share,
        "the closer's share is not a tenth of the absence fees to who closed",
    )
    paid = sum(item.amount for item in share)
    _require(
        (settlement.burnt, settlement.to_escrow) == (burnt + closing - paid, escrow),
        "the absence fees are not divided as they should be",
    )


def _was_moved(history: History, sponsor: bytes, payment: Payment) -> bool:
    for record in history.closing.events:
        event = record.event
        if (
            isinstance(event, OtherEvent)
            and (event.pallet, event.name) == ("Balances", "TransferOnHold")
            and event.fields["amount"] == payment.amount
            and bytes(event.fields["source"]) == sponsor
            and bytes(event.fields["dest"]) == payment.account
        ):
            return True
    return False


def _samples(history: History) -> list[Sample]:
    """What the reports say, in roster order."""
    samples = []
    for place in range(len(history.snapshot.challenge.roster)):
        reporting = _reporting(history, place)
        if reporting is not None:
            outcome, peers = reporting.report.body.outcome, reporting.report.body.peers
            metrics = outcome.metrics if isinstance(outcome, Served) else None
            samples.append(Sample(place, metrics, peers))
    return samples
