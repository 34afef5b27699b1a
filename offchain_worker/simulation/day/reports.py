"""What attestors of a day say about an audit and about each other, truly and falsely."""

from __future__ import annotations

import random
from dataclasses import replace

from chain_types.calls import AnchorFlip
from chain_types.records import Flip, Opening
from chain_types.report import (
    Equivocation,
    Failure,
    FalseReceipt,
    Node,
    Outcome,
    PeerMetrics,
    Percentiles,
    Reason,
    Report,
    Served,
)
from offchain_worker.audit.demand import chunk_to_demand
from offchain_worker.audit.multiproof import build
from offchain_worker.audit.receipt import Entry, Receipt
from offchain_worker.audit.report import sign_report
from offchain_worker.audit.session import Audit, AuditPlan
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.keys import KeyPair
from offchain_worker.simulation.day.cases import Case, Member
from offchain_worker.simulation.day.cheats import AttestorCheat
from offchain_worker.simulation.day.sessions import SESSION_BYTES, hold_session

SLOWEST_US = 10**8


def _flip(case: Case) -> Flip:
    if case.flip is None:
        raise RuntimeError(f"challenge {case.id} has no randomness yet")
    return case.flip


def audit_plan(case: Case, member: Member) -> AuditPlan:
    """What an active member has to read, and when."""
    context, timing = member.context, case.challenge.timing
    if context is None:
        raise RuntimeError("only active members audit")
    secrets = member.secrets_of(_flip(case).topic)
    return AuditPlan(
        feed_key=context.feed.key,
        hoster=context.hoster,
        audit_key=secrets.audit_keypair,
        fork=context.fork,
        length=context.length,
        drawn=context.drawn(secrets.w),
        habit=context.habit(secrets.w),
        chunks=timing.chunks,
        proved=timing.proved,
        moment=context.moment(secrets.w),
        end_ms=case.challenge.end_ms,
        chunk_timeout_ms=timing.chunk_timeout_ms,
        clock_tolerance_ms=timing.clock_tolerance_ms,
        session_bytes=SESSION_BYTES,
    )


def signed_report(case: Case, member: Member, outcome: Outcome, rate: int | None = None) -> Report:
    """A report of an outcome, with figures of all fellows that could be measured.

    Args:
        case, member: whose.
        outcome: what it says.
        rate: what it says of everybody's link, bytes per second; None: the truth.
    """
    topic, own = _flip(case).topic, member.attestor
    secrets = member.secrets_of(topic)
    peers = [
        PeerMetrics(
            index=fellow.place,
            rtt_p50_us=2_000 * (own.delay_ms + fellow.attestor.delay_ms),
            throughput=rate or min(own.rate, fellow.attestor.rate),
        )
        for fellow in case.members
        if fellow is not member and fellow.cheat is not AttestorCheat.ABSENT
    ]
    return sign_report(
        w=secrets.w,
        audit_key=secrets.audit_keypair,
        topic=topic,
        account=own.account,
        outcome=outcome,
        peers=peers,
    )


def honest_report(case: Case, member: Member, audit: Audit) -> Report:
    """What the audit found, with a demand where that is of use."""
    outcome = audit.outcome
    if isinstance(outcome, Failure):
        drawn = audit_plan(case, member).drawn
        outcome = replace(outcome, demand=chunk_to_demand(audit, drawn))
    return signed_report(case, member, outcome)


# Lies


def lying_report(case: Case, member: Member, outcome: Served) -> Report:
    """What a member says instead of that it was served as it was; the chain has to take it."""
    if member.cheat is AttestorCheat.FALSE_FAILURE:
        return signed_report(case, member, Failure(Reason.NO_DATA, None))
    if member.cheat is AttestorCheat.NEEDLESS_DEMAND:
        drawn = audit_plan(case, member).drawn
        return signed_report(case, member, Failure(Reason.NO_DATA, drawn[0]))
    metrics = outcome.metrics
    slowest = Percentiles(SLOWEST_US, SLOWEST_US, SLOWEST_US, SLOWEST_US)
    lies = replace(
        metrics,
        connect_us=SLOWEST_US,
        handshake_us=SLOWEST_US,
        first_chunk_us=SLOWEST_US,
        latency_us=metrics.latency_us and slowest,
        throughput=metrics.throughput and 1,
    )
    return signed_report(case, member, replace(outcome, metrics=lies), rate=1)


def wrongly_proven(case: Case, member: Member, outcome: Served) -> Report:
    """A multiproof that leads elsewhere."""
    nodes = tuple(replace(node, hash=bytes(32)) for node in outcome.nodes)
    # All chunks of a short feed are proved, and no node is left to be wrong.
    sizes = outcome.sizes if nodes else tuple(size + 1 for size in outcome.sizes)
    return signed_report(case, member, replace(outcome, nodes=nodes, sizes=sizes))


def with_forged_receipt(case: Case, member: Member, dice: random.Random) -> Report:
    """A session with a hoster of its own making, which has the feed but not the key."""
    own = replace(case.hoster, noise_key=KeyPair.from_seed(dice.randbytes(32)))
    plan = replace(audit_plan(case, member), hoster=own.noise_key.public)
    audit = hold_session(plan, member.attestor, own, None, plan.moment, dice)
    return signed_report(case, member, audit.outcome)


def invented_anchor(case: Case, member: Member) -> AnchorFlip:
    """Numbers that nobody committed to, and echoes that nobody signed."""
    draw = member.attestor.dice.randbytes
    openings = tuple(Opening(draw(32), draw(32), draw(32)) for _ in case.members)
    return AnchorFlip(case.id, 0, openings, tuple(draw(64) for _ in case.members))


def framed_attestor(case: Case, member: Member) -> Equivocation:
    """Two echoes of a fellow, signed with the own key."""
    if case.attempts is None:
        raise RuntimeError(f"challenge {case.id} has no start hash yet")
    topic, key = case.attempts.first().flip.topic, member.attestor.session_key
    victim = (member.place + 1) % len(case.members)
    first, second = (
        SignedEnvelope.sign(Kind.ECHO, topic, victim, body, key).raw
        for body in (bytes(32), b"\1" * 32)
    )
    return Equivocation(case.id, 0, first, second)


def framed_hoster(case: Case, member: Member, now_ms: int) -> FalseReceipt:
    """A receipt with a wrong leaf, signed with the own key, and the proof that it is wrong."""
    plan, feed = audit_plan(case, member), case.hoster.feed
    head, chunk = feed.whole_head, plan.drawn[0]
    receipt = Receipt(
        feed_key=feed.key,
        fork=head.fork,
        length=head.length,
        tree_hash=head.tree_hash,
        client=plan.audit_key.public,
        session=bytes(32),
        sequence=0,
        opened=now_ms,
        issued=now_ms,
        byte_length=feed.nodes[2 * chunk].size,
        entries=(Entry(chunk, bytes(32)),),
    )
    multiproof = build(feed.nodes, head.length, [chunk])
    return FalseReceipt(
        hoster=case.hoster.noise_key.public,
        receipt=receipt.sign(member.attestor.session_key),
        index=chunk,
        leaf=feed.nodes[2 * chunk].hash,
        sizes=multiproof.sizes,
        nodes=tuple(Node(node.hash, node.size) for node in multiproof.nodes),
    )
