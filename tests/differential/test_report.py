"""Whole reports: both sides encode them alike, and take or refuse them by the same rule."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from compiled_rules import (
    Checked,
    CompiledRules,
    Expected,
    Feed,
    FeedKind,
    Head,
    Refused,
    Uniform,
    Window,
)
from compiled_rules import Slots as ChainSlots
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_types.report import (
    Failure,
    Metrics,
    Node,
    Observed,
    PeerMetrics,
    Percentiles,
    Reason,
    Report,
    Served,
    decode_report,
    encode_report,
)
from chain_types.scale import DecodeError
from offchain_worker.audit import report as rules
from offchain_worker.audit.receipt import Entry, Receipt
from offchain_worker.audit.report import (
    ReportContext,
    Slots,
    check_report,
    served_outcome,
    sign_report,
)
from offchain_worker.coinflip.commitments import audit_commitment
from offchain_worker.hypercore.manifest import feed_key, signable, single_signer_manifest
from offchain_worker.hypercore.tree import Node as TreeNode
from offchain_worker.hypercore.tree import TreeBuilder
from offchain_worker.keys import KeyPair

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "challenge.json").read_text())
HASHES = st.binary(min_size=32, max_size=32)
U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
U8 = st.integers(0, 255)

AUTHOR, HOSTER, AUDIT_KEY, STRANGER = (KeyPair.from_seed(bytes([seed]) * 32) for seed in range(4))
ROSTER_SIZE = 10
OTHER = bytes(range(32))
"""32 bytes that no audit has."""

RULES = {
    rules.WrongOpening: {"WrongSecrets"},
    rules.WrongBinding: {"WrongBinding"},
    rules.WrongPeers: {"WrongPeers"},
    rules.DemandNotDrawn: {"DemandNotDrawn"},
    rules.ReceiptNotAuthentic: {
        "Receipt.UnknownVersion",
        "Receipt.TooManyEntries",
        "Receipt.WrongLength",
        "Receipt.WrongSignature",
    },
    rules.ReceiptOfAnotherFeed: {"OtherFeed"},
    rules.ReceiptOfAnotherClient: {"OtherClient"},
    rules.ReceiptOfAnotherFork: {"OtherFork"},
    rules.ReceiptBelowVouched: {"TooShort"},
    rules.ReceiptNotFirst: {"NotFirst"},
    rules.ReceiptOffMoment: {"WrongMoment"},
    rules.ReceiptBeforeOpening: {"IssuedTooEarly"},
    rules.ReceiptRepeatsChunk: {"RepeatedEntry"},
    rules.ReceiptTooShort: {"TooFewEntries"},
    rules.ReceiptLacksDrawn: {"ChunkMissing"},
    rules.WrongHeadSignature: {"WrongHeadSignature"},
    rules.WrongMultiproof: {
        "WrongTreeHash",
        "Multiproof.NotAscending",
        "Multiproof.OutOfRange",
        "Multiproof.SizeCount",
        "Multiproof.TooFewNodes",
        "Multiproof.TooManyNodes",
        "Multiproof.Tree.TooLong",
        "Multiproof.Tree.SizeOverflow",
    },
    rules.WrongMetrics: {"WrongMetrics"},
}
"""The names of one rule on both sides."""


def expected_of(context: ReportContext) -> Expected:
    """The runtime's form of what the chain knows."""
    slots = context.slots
    return Expected(
        topic=context.topic,
        result=context.result,
        account=context.account,
        session_key=context.session_key,
        z=context.commitment,
        members=context.roster_size,
        member=context.roster_index,
        active=slots.active if slots else context.roster_size,
        place=slots.place if slots else context.roster_index,
        hoster=context.hoster,
        feed=context.feed,
        fork=context.fork,
        length=context.length,
        chunks=context.chunks,
        proved=context.proved,
        schedule=ChainSlots(slots.numerator, slots.denominator) if slots else Uniform(),
        window=Window(context.window_start_ms, context.window_ms),
        clock_tolerance_ms=context.clock_tolerance_ms,
    )


def agree(chain_rules: CompiledRules, report: Report, context: ReportContext) -> bool:
    """Whether both sides take the report, after both took it or refused it by the same rule."""
    theirs = chain_rules.check_report(report, expected_of(context))
    refusal: type[rules.ReportError] | None = None
    receipt = None
    try:
        receipt = check_report(report, context)
    except rules.ReportError as error:
        refusal = type(error)
    if refusal is not None:
        assert isinstance(theirs, Refused), (theirs, refusal)
        assert theirs.name in RULES[refusal], (theirs, refusal)
        return False
    head = receipt and Head(receipt.fork, receipt.length, receipt.tree_hash)
    assert theirs == Checked(context.moment(report.w), head)
    return True


@dataclass(frozen=True)
class Audit:
    """An honest audit, before anything is signed."""

    context: ReportContext
    w: bytes
    nodes: dict[int, TreeNode]
    head: Head
    receipt: Receipt
    metrics: Metrics
    peers: tuple[PeerMetrics, ...]

    def head_signature(self, head: Head) -> bytes:
        """The author's bare signature over a head."""
        feed = self.context.feed
        # The namespace is no part of what a version 1 signer signs.
        manifest = None if feed.kind is FeedKind.COMPAT else single_signer_manifest(feed.signer)
        return AUTHOR.sign(signable(feed.key, manifest, head.fork, head.length, head.tree_hash))

    def outcome(self) -> Served:
        """What was served, proved."""
        return served_outcome(
            receipt_message=self.receipt.sign(HOSTER),
            receipt=self.receipt,
            head_signature=self.head_signature(self.head),
            tree_nodes=self.nodes,
            drawn=self.context.drawn(self.w),
            proved=self.context.proved,
            metrics=self.metrics,
        )

    def report(self, outcome: Served | Failure, key: KeyPair = AUDIT_KEY) -> Report:
        """The report, bound to topic and account."""
        return sign_report(
            w=self.w,
            audit_key=key,
            topic=self.context.topic,
            account=self.context.account,
            outcome=outcome,
            peers=self.peers,
        )


PERCENTILES = st.lists(st.integers(1, 2**32 - 1), min_size=4, max_size=4).map(
    lambda figures: Percentiles(*sorted(figures))
)
OBSERVED = st.none() | st.builds(Observed, U32, U32, U64)


@st.composite
def audits(draw: st.DrawFn) -> Audit:
    """An audit whose report both sides must take."""
    length = draw(st.integers(1, 60))
    builder = TreeBuilder()
    nodes: dict[int, TreeNode] = {}
    grown = length + draw(st.integers(0, 10))
    for index in range(grown):
        nodes.update((node.index, node) for node in builder.append(bytes([index]) * (index % 7)))
    head = Head(draw(U64), grown, builder.tree_hash())

    compat = draw(st.booleans())
    manifest = None if compat else single_signer_manifest(AUTHOR.public, draw(HASHES))
    topic, session_key, w = draw(HASHES), draw(HASHES), draw(HASHES)
    roster_index = draw(st.integers(0, ROSTER_SIZE - 1))
    slots = Slots(draw(st.integers(0, 5)), 10, ROSTER_SIZE, roster_index)
    chunks = draw(st.integers(1, 100))
    context = ReportContext(
        topic=topic,
        result=draw(HASHES),
        account=draw(HASHES),
        session_key=session_key,
        commitment=audit_commitment(topic, session_key, w, AUDIT_KEY.public),
        roster_size=ROSTER_SIZE,
        roster_index=roster_index,
        feed=Feed(
            key=AUTHOR.public if manifest is None else feed_key(manifest),
            signer=AUTHOR.public,
            kind=FeedKind.COMPAT if compat else FeedKind.MANIFEST,
        ),
        hoster=HOSTER.public,
        fork=head.fork,
        length=length,
        chunks=chunks,
        proved=draw(st.integers(1, chunks)),
        window_start_ms=draw(st.integers(2**40, 2**50)),
        window_ms=draw(st.integers(1, 10**8)),
        clock_tolerance_ms=draw(st.integers(0, 30_000)),
        slots=slots if draw(st.booleans()) else None,
    )
    drift = draw(st.integers(-context.clock_tolerance_ms, context.clock_tolerance_ms))
    opened = context.moment(w) + drift
    served = draw(st.permutations(context.drawn(w)))
    receipt = Receipt(
        feed_key=context.feed.key,
        fork=head.fork,
        length=head.length,
        tree_hash=head.tree_hash,
        client=AUDIT_KEY.public,
        session=draw(HASHES),
        sequence=0,
        opened=opened,
        issued=opened + draw(st.integers(0, 10**6)),
        byte_length=draw(U64),
        entries=tuple(Entry(index, nodes[2 * index].hash) for index in served),
    )
    windowed = context.habit(w).windowed
    metrics = Metrics(
        connect_us=draw(U32),
        handshake_us=draw(U32),
        first_chunk_us=draw(U32),
        latency_us=None if windowed else draw(PERCENTILES),
        throughput=draw(st.integers(1, 2**64 - 1)) if windowed else None,
        timeouts=draw(U32),
        observed=draw(OBSERVED),
    )
    others = sorted(draw(st.sets(st.integers(0, ROSTER_SIZE - 1))) - {roster_index})
    peers = tuple(PeerMetrics(index, draw(U32), draw(U64)) for index in others)
    return Audit(context, w, nodes, head, receipt, metrics, peers)


@pytest.mark.parametrize("vector", VECTORS["reports"])
def test_vectors(chain_rules: CompiledRules, vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["report"])
    assert chain_rules.reencode_report(encoded) == encoded
    assert chain_rules.reencode_report(encoded + b"\0") is None
    assert chain_rules.reencode_report(encoded[:-1]) is None


@given(audit=audits(), reason=st.sampled_from(Reason), data=st.data())
@settings(deadline=None)
def test_honest_reports(
    chain_rules: CompiledRules, audit: Audit, reason: Reason, data: st.DataObject
) -> None:
    demand = data.draw(st.none() | st.sampled_from(audit.context.drawn(audit.w)))
    for report in (audit.report(audit.outcome()), audit.report(Failure(reason, demand))):
        encoded = encode_report(report)
        assert chain_rules.reencode_report(encoded) == encoded
        assert agree(chain_rules, report, audit.context)


def flip(value: bytes, data: st.DataObject) -> bytes:
    """`value` with one bit flipped."""
    at = data.draw(st.integers(0, 8 * len(value) - 1))
    changed = bytearray(value)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


@given(audit=audits(), data=st.data())
@settings(deadline=None, max_examples=300)
def test_reports_with_a_flipped_bit(
    chain_rules: CompiledRules, audit: Audit, data: st.DataObject
) -> None:
    encoded = flip(encode_report(audit.report(audit.outcome())), data)
    try:
        report = decode_report(encoded)
    except DecodeError:
        assert chain_rules.reencode_report(encoded) is None
    else:
        assert chain_rules.reencode_report(encoded) == encoded
        assert not agree(chain_rules, report, audit.context)


Change = Callable[[Audit], tuple[Report, ReportContext]]
"""Makes of an honest audit a report that breaks one rule, and what the chain knows."""


def in_report(**changes: Any) -> Change:
    """Changes fields of the report itself."""
    return lambda audit: (replace(audit.report(audit.outcome()), **changes), audit.context)


def in_context(**changes: Any) -> Change:
    """Changes what the chain knows."""
    return lambda audit: (audit.report(audit.outcome()), replace(audit.context, **changes))


def in_outcome(change: Callable[[Served], dict[str, Any]]) -> Change:
    """Changes fields of what was served, with the right binding."""

    def apply(audit: Audit) -> tuple[Report, ReportContext]:
        outcome = audit.outcome()
        return audit.report(replace(outcome, **change(outcome))), audit.context

    return apply


def in_receipt(change: Callable[[Audit], dict[str, Any]]) -> Change:
    """Changes fields of the receipt, with the right signatures of hoster and audit key."""

    def apply(audit: Audit) -> tuple[Report, ReportContext]:
        receipt = replace(audit.receipt, **change(audit))
        return audit.report(replace(audit.outcome(), receipt=receipt.sign(HOSTER))), audit.context

    return apply


def with_peers(*indices: int) -> Change:
    """Reports figures of these places in the roster."""

    def apply(audit: Audit) -> tuple[Report, ReportContext]:
        own = audit.context.roster_index
        peers = tuple(PeerMetrics(own if index < 0 else index, 1, 1) for index in indices)
        audit = replace(audit, peers=peers)
        return audit.report(audit.outcome()), audit.context

    return apply


def with_demand(audit: Audit) -> tuple[Report, ReportContext]:
    """Demands a chunk beyond the vouched length."""
    return audit.report(Failure(Reason.NO_DATA, audit.context.length)), audit.context


def without_proved_chunk(audit: Audit) -> dict[str, Any]:
    """The entries with another index in the place of a chunk that has to be proved."""
    proved = audit.context.drawn(audit.w)[0]
    entries = audit.receipt.entries
    return {"entries": tuple(replace(e, index=2**40) if e.index == proved else e for e in entries)}


def with_false_leaf(audit: Audit) -> dict[str, Any]:
    """The entries with another hash for a chunk that has to be proved."""
    proved = audit.context.drawn(audit.w)[0]
    entries = audit.receipt.entries
    return {
        "entries": tuple(replace(e, leaf=bytes(32)) if e.index == proved else e for e in entries)
    }


BROKEN: list[tuple[str, Change]] = [
    ("WrongSecrets", in_report(w=OTHER)),
    ("WrongSecrets", in_report(audit_key=STRANGER.public)),
    ("WrongBinding", in_report(binding=bytes(64))),
    ("WrongBinding", in_context(account=OTHER)),
    ("WrongPeers", with_peers(-1)),
    ("WrongPeers", with_peers(ROSTER_SIZE)),
    ("WrongPeers", with_peers(ROSTER_SIZE, 0)),
    ("DemandNotDrawn", with_demand),
    ("Receipt.WrongLength", in_outcome(lambda _: {"receipt": b""})),
    ("Receipt.UnknownVersion", in_outcome(lambda o: {"receipt": b"\2" + o.receipt[1:]})),
    ("Receipt.WrongSignature", in_context(hoster=STRANGER.public)),
    ("OtherFeed", in_receipt(lambda _: {"feed_key": OTHER})),
    ("OtherClient", in_receipt(lambda _: {"client": STRANGER.public})),
    ("OtherFork", in_receipt(lambda a: {"fork": a.context.fork ^ 1})),
    ("TooShort", in_receipt(lambda a: {"length": a.context.length - 1})),
    ("NotFirst", in_receipt(lambda _: {"sequence": 1})),
    ("WrongMoment", in_receipt(lambda a: {"opened": a.receipt.opened + 2**30})),
    ("WrongMoment", in_receipt(lambda a: {"opened": a.receipt.opened - 2**30})),
    ("IssuedTooEarly", in_receipt(lambda a: {"issued": a.receipt.opened - 1})),
    ("RepeatedEntry", in_receipt(lambda a: {"entries": a.receipt.entries[:1] * 2})),
    ("TooFewEntries", in_receipt(lambda a: {"entries": a.receipt.entries[1:]})),
    ("ChunkMissing", in_receipt(without_proved_chunk)),
    ("WrongHeadSignature", in_outcome(lambda _: {"head_signature": bytes(64)})),
    ("WrongHeadSignature", in_receipt(lambda _: {"tree_hash": OTHER})),
    ("Multiproof.SizeCount", in_outcome(lambda o: {"sizes": o.sizes[1:]})),
    ("Multiproof.TooManyNodes", in_outcome(lambda o: {"nodes": (*o.nodes, Node(OTHER, 0))})),
    ("WrongTreeHash", in_receipt(with_false_leaf)),
    ("WrongTreeHash", in_outcome(lambda o: {"sizes": (o.sizes[0] + 1, *o.sizes[1:])})),
    (
        "WrongMetrics",
        in_outcome(lambda o: {"metrics": replace(o.metrics, latency_us=None, throughput=None)}),
    ),
    (
        "WrongMetrics",
        in_outcome(lambda o: {"metrics": replace(o.metrics, latency_us=Percentiles(2, 1, 3, 4))}),
    ),
    ("WrongMetrics", in_outcome(lambda o: {"metrics": replace(o.metrics, throughput=0)})),
]


@pytest.mark.parametrize(
    ("name", "change"), BROKEN, ids=[f"{i}-{name}" for i, (name, _) in enumerate(BROKEN)]
)
@given(audit=audits())
@settings(deadline=None, max_examples=10)
def test_each_rule(chain_rules: CompiledRules, name: str, change: Change, audit: Audit) -> None:
    report, context = change(audit)
    assert chain_rules.check_report(report, expected_of(context)) == Refused(name)
    assert not agree(chain_rules, report, context)


@given(audit=audits(), data=st.data())
@settings(deadline=None, max_examples=200)
def test_changes_of_context(chain_rules: CompiledRules, audit: Audit, data: st.DataObject) -> None:
    """The right report in the wrong place: each fact that the chain holds it against matters."""
    report = audit.report(audit.outcome())
    context = audit.context
    hashes = ("topic", "result", "account", "session_key", "commitment", "hoster")
    name = data.draw(
        st.sampled_from(
            [*hashes, "key", "signer", "fork", "length", "roster", "chunks", "proved", "window"]
        )
    )
    match name:
        case "key" | "signer":
            changed = {name: flip(getattr(context.feed, name), data)}
            context = replace(context, feed=replace(context.feed, **changed))
        case "fork":
            context = replace(context, fork=data.draw(U64))
        case "length":
            context = replace(context, length=data.draw(st.integers(1, 80)))
        case "roster":
            context = replace(context, roster_size=data.draw(st.integers(1, 12)))
        case "chunks":
            context = replace(context, chunks=data.draw(st.integers(1, 100)))
        case "proved":
            context = replace(context, proved=data.draw(st.integers(1, 100)))
        case "window":
            start = context.window_start_ms + data.draw(st.integers(-60_000, 60_000))
            context = replace(context, window_start_ms=start)
        case _:
            context = replace(context, **{name: flip(getattr(context, name), data)})
    agree(chain_rules, report, context)


RECEIPT_CHANGES = (
    *("feed_key", "tree_hash", "client", "session", "fork", "length"),
    *("sequence", "opened", "issued", "leaf", "index", "fewer", "more", "repeat"),
)


def changed_receipt(audit: Audit, data: st.DataObject) -> Audit:
    """The audit with another receipt, still to be signed by the hoster."""
    receipt = audit.receipt
    entries = list(receipt.entries)
    at = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(st.sampled_from(RECEIPT_CHANGES))
    match name:
        case "fork" | "length":
            receipt = replace(receipt, **{name: data.draw(st.integers(0, 80) | U64)})
        case "sequence":
            receipt = replace(receipt, sequence=data.draw(st.integers(0, 2)))
        case "opened" | "issued":
            moved = getattr(receipt, name) + data.draw(st.integers(-60_000, 60_000))
            receipt = replace(receipt, **{name: moved})
        case "leaf":
            entries[at] = Entry(entries[at].index, flip(entries[at].leaf, data))
        case "index":
            entries[at] = Entry(data.draw(st.integers(0, 80) | U64), entries[at].leaf)
        case "fewer":
            del entries[at]
        case "more" if len(entries) < 128:
            entries.insert(at, Entry(data.draw(U64), data.draw(HASHES)))
        case "repeat":
            entries[-1] = entries[at]
        case "feed_key" | "tree_hash" | "client" | "session":
            receipt = replace(receipt, **{name: flip(getattr(receipt, name), data)})
    return replace(audit, receipt=replace(receipt, entries=tuple(entries)))


@given(audit=audits(), data=st.data(), head_too=st.booleans())
@settings(deadline=None, max_examples=300)
def test_changed_receipts(
    chain_rules: CompiledRules, audit: Audit, data: st.DataObject, head_too: bool
) -> None:
    """A hoster, and with `head_too` an author, who sign something else than what was served."""
    other = changed_receipt(audit, data)
    receipt = other.receipt
    outcome = replace(audit.outcome(), receipt=receipt.sign(HOSTER))
    if head_too:
        head = Head(receipt.fork, receipt.length, receipt.tree_hash)
        outcome = replace(outcome, head_signature=audit.head_signature(head))
    agree(chain_rules, audit.report(outcome), audit.context)


OUTCOME_CHANGES = (
    *("latency", "throughput", "observed", "node", "more nodes", "fewer nodes", "size"),
    *("more sizes", "fewer sizes", "head signature", "receipt", "peers", "demand", "key"),
)


@given(audit=audits(), data=st.data())
@settings(deadline=None, max_examples=300)
def test_changed_evidence_and_figures(
    chain_rules: CompiledRules, audit: Audit, data: st.DataObject
) -> None:
    """An attestor who binds something else than what it was served."""
    outcome = audit.outcome()
    metrics = outcome.metrics
    nodes, sizes = list(outcome.nodes), list(outcome.sizes)
    at = data.draw(st.integers(0, len(sizes) - 1))
    match data.draw(st.sampled_from(OUTCOME_CHANGES)):
        case "latency":
            figures = data.draw(st.none() | st.builds(Percentiles, U8, U8, U8, U8))
            metrics = replace(metrics, latency_us=figures)
        case "throughput":
            metrics = replace(metrics, throughput=data.draw(st.none() | st.integers(0, 1)))
        case "observed":
            metrics = replace(metrics, observed=data.draw(OBSERVED))
        case "node" if nodes:
            nodes[-1] = Node(nodes[-1].hash, data.draw(U64))
        case "more nodes":
            nodes.append(Node(data.draw(HASHES), data.draw(U64)))
        case "fewer nodes" if nodes:
            nodes.pop()
        case "size":
            sizes[at] = data.draw(U32)
        case "more sizes":
            sizes.append(data.draw(U32))
        case "fewer sizes":
            del sizes[at]
        case "head signature":
            outcome = replace(outcome, head_signature=flip(outcome.head_signature, data))
        case "receipt":
            outcome = replace(outcome, receipt=audit.receipt.sign(STRANGER))
        case "peers":
            figures = st.builds(PeerMetrics, st.integers(0, ROSTER_SIZE), U32, U64)
            audit = replace(audit, peers=tuple(data.draw(st.lists(figures, max_size=4))))
        case "demand":
            failure = Failure(Reason.NO_DATA, data.draw(st.integers(0, 80) | U64))
            agree(chain_rules, audit.report(failure), audit.context)
        case "key":
            report = audit.report(outcome, key=STRANGER)
            assert not agree(chain_rules, report, audit.context)
            report = replace(report, audit_key=AUDIT_KEY.public)
            assert not agree(chain_rules, report, audit.context)
    outcome = replace(outcome, metrics=metrics, nodes=tuple(nodes), sizes=tuple(sizes))
    agree(chain_rules, audit.report(outcome), audit.context)
