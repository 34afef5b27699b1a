"""Recomputing a settled challenge from what the chain holds: every claim of it must follow.

Nothing is taken from the chain's conclusions but to compare: draw, topic, root, R, each moment,
drawn chunk, receipt, multiproof, head signature, medians and payments are computed anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from chain_types.records import (
    Challenge,
    Closed,
    FailedRecord,
    Median,
    Medians,
    Payment,
    PaymentKind,
    ServedRecord,
    Settlement,
    Tally,
    Verdict,
)
from chain_types.report import Metrics, Served, encode_report
from chain_types.runtime import OtherEvent
from chain_types.scale import Compact
from chain_types.ss58 import ss58_encode
from chain_types.storage_keys import blake2_256
from offchain_worker.attestor.context import report_context
from offchain_worker.audit.receipt import Receipt
from offchain_worker.audit.report import ReportError, check_report
from offchain_worker.coinflip.commitments import commitment_root, hash_concat, number_commitment
from offchain_worker.coinflip.draws import draw_roster, roster_seed
from offchain_worker.coinflip.envelope import Kind, signing_payload
from offchain_worker.coinflip.topic import topic_id
from offchain_worker.explorer.history import History, PoolMember, Reporting
from offchain_worker.keys import verify

RANDOMNESS_SUBJECT = b"datdot/roster"
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
)


class DoesNotHold(Exception):
    """Something on chain does not follow from the rest; the message says what and where."""


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
    flip = history.snapshot.flip
    if flip is None:
        _require(not history.reports, "there are reports, but no anchored coinflip")
        yield "no coinflip was anchored, so there is nothing to report"
    else:
        yield from _coinflip(history)
        for member in challenge.roster:
            reporting = history.reports.get(member.account)
            if reporting is not None:
                yield _report(history, member.account, reporting)
    yield from _settlement(history)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DoesNotHold(otherwise)


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


def _randomness(history: History) -> str:
    """The development source: the hashes of the last eight blocks, hashed with the subject."""
    length = Compact(limit=2**30 - 1).encode
    encoded = length(len(RANDOMNESS_SUBJECT)) + RANDOMNESS_SUBJECT
    encoded += length(len(history.parents)) + b"".join(history.parents)
    _require(
        blake2_256(encoded) == history.snapshot.challenge.randomness,
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


def _coinflip(history: History) -> Iterator[str]:
    snapshot, challenge = history.snapshot, history.snapshot.challenge
    flip, anchoring = snapshot.flip, history.anchoring
    if flip is None or anchoring is None:
        raise DoesNotHold("the coinflip has no anchor")
    keys = [member.session_key for member in challenge.roster]
    topic = topic_id(history.genesis, snapshot.id, history.start_hash, flip.attempt, keys)
    _require(topic == flip.topic, "the topic does not follow from challenge, block and roster")
    yield f"the topic is {topic.hex()}"
    _require(
        challenge.t0 <= anchoring.block_ms < challenge.flip_end_ms,
        "the anchor is outside the time of the coinflip",
    )
    call = anchoring.call
    _require(
        (call.id, call.attempt) == (snapshot.id, flip.attempt)
        and anchoring.signer == challenge.roster[flip.by].account,
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
    yield f"R is {result.hex()}"


def _report(history: History, account: bytes, reporting: Reporting) -> str:
    snapshot, challenge = history.snapshot, history.snapshot.challenge
    name = f"report of {ss58_encode(account)}"
    index = challenge.index_of(account)
    if index is None or snapshot.flip is None:
        raise DoesNotHold(f"{name}: it is not in the roster")
    _require(reporting.signer == account, f"{name}: the extrinsic is signed by another account")
    _require(
        reporting.challenge_id == snapshot.id, f"{name}: the extrinsic is for another challenge"
    )
    _require(
        reporting.block_ms >= challenge.end_ms, f"{name}: it came before the end of the window"
    )
    context = report_context(challenge, snapshot.flip, account, index)
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
        record.outcome.reason is outcome.reason,
        f"{name}: the stored reason is not that of the extrinsic",
    )
    return f"{name}: failed, {outcome.reason.name}"


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
    if snapshot.flip is None:
        _require(closing.block_ms >= challenge.flip_end_ms, "it was given up before its time")
        _require(settlement == VOID, "without randomness a challenge is Void and moves no money")
        _require(snapshot.tally == Tally(0, 0, 0), "the tally is not that of the reports")
        yield "Void: nobody is paid, nobody pays"
        return
    _require(closing.block_ms >= challenge.end_ms, "it was settled before the end of the window")
    served = [
        reporting.report.body.outcome
        for reporting in history.reports.values()
        if isinstance(reporting.report.body.outcome, Served)
    ]
    active = len(challenge.roster)
    failed = len(history.reports) - len(served)
    outcome = (
        Verdict.PASSED
        if 2 * len(served) > active
        else Verdict.FAILED
        if 2 * failed > active
        else Verdict.INCONCLUSIVE
    )
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
        settlement.medians == _medians([item.metrics for item in served]),
        "the medians are not those of the served reports",
    )
    yield f"the medians are those of {len(served)} served reports"
    yield _payments(history, settlement, len(served))


def _payments(history: History, settlement: Settlement, served: int) -> str:
    challenge = history.snapshot.challenge
    terms = challenge.terms
    expected: list[Payment] = []
    earned = 0
    if settlement.outcome is Verdict.PASSED:
        earned = terms.hoster_reward * served // settlement.active
        expected.append(Payment(challenge.hoster, PaymentKind.HOSTING, earned))
    passed = settlement.outcome is Verdict.PASSED
    _require(
        settlement.forfeited == (terms.hoster_reward - earned if passed else 0),
        "what the hoster did not earn is not set aside",
    )
    absent = []
    for member in challenge.roster:
        reporting = history.reports.get(member.account)
        if reporting is None:
            absent.append(member.account)
        elif isinstance(reporting.report.body.outcome, Served):
            expected.append(Payment(member.account, PaymentKind.REPORT, terms.attestor_reward))
        elif settlement.outcome is Verdict.FAILED:
            half = terms.attestor_reward // FOR_FAILURE
            expected.append(Payment(member.account, PaymentKind.REPORT, half))
    expected = [payment for payment in expected if payment.amount]
    rewards = [item for item in settlement.paid if item.kind is not PaymentKind.CLOSING]
    _require(rewards == expected, "the payments do not follow from outcome and terms")
    _require(
        [item.account for item in settlement.absent] == absent,
        "those who paid for absence are not those without a report",
    )
    _absences(history, settlement)
    for payment in rewards:
        _require(
            _was_moved(history, challenge.sponsor, payment),
            f"no transfer of {payment.amount} to {ss58_encode(payment.account)} took place",
        )
    total = sum(payment.amount for payment in settlement.paid)
    return f"{len(settlement.paid)} payments, {total} in all, and {len(absent)} absence fees follow"


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


def _medians(served: Sequence[Metrics]) -> Medians:
    latencies = [metrics.latency_us for metrics in served if metrics.latency_us is not None]
    observed = [metrics.observed for metrics in served if metrics.observed is not None]
    return Medians(
        connect_us=_median([metrics.connect_us for metrics in served]),
        handshake_us=_median([metrics.handshake_us for metrics in served]),
        first_chunk_us=_median([metrics.first_chunk_us for metrics in served]),
        latency_p50_us=_median([item.p50 for item in latencies]),
        latency_p90_us=_median([item.p90 for item in latencies]),
        latency_p99_us=_median([item.p99 for item in latencies]),
        latency_max_us=_median([item.max for item in latencies]),
        throughput=_median([m.throughput for m in served if m.throughput is not None]),
        timeouts=_median([metrics.timeouts for metrics in served]),
        observed_latency_p50_us=_median([item.latency_p50_us for item in observed]),
        observed_throughput=_median([item.throughput for item in observed]),
    )


def _median(figures: list[int]) -> Median | None:
    """Nearest rank: of an even number the lower of the two in the middle."""
    if not figures:
        return None
    return Median(sorted(figures)[(len(figures) - 1) // 2], len(figures))
