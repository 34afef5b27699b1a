"""Reports (challenge.md §4): the vectors, and that every single change is refused by its rule."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chain_types.records import Feed, FeedKind
from chain_types.report import (
    Failure,
    Node,
    PeerMetrics,
    Percentiles,
    Reason,
    decode_report,
    encode_report,
)
from offchain_worker.audit import report as rules
from offchain_worker.audit.receipt import Entry, decode_receipt
from offchain_worker.audit.report import (
    ReportContext,
    Slots,
    check_report,
    proved_chunks,
    sign_report,
)
from offchain_worker.coinflip.commitments import audit_commitment
from offchain_worker.hypercore.manifest import decode_manifest
from offchain_worker.keys import KeyPair

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "challenge.json").read_text())
OTHER = KeyPair.from_seed(bytes(32))


def context_of(vector: dict) -> ReportContext:
    """The chain's knowledge behind a vector; its moment is put where its receipt was opened."""
    report = decode_report(bytes.fromhex(vector["report"]))
    return ReportContext(
        topic=bytes.fromhex(vector["topic"]),
        result=bytes.fromhex(vector["result"]),
        account=bytes.fromhex(vector["account"]),
        session_key=bytes.fromhex(vector["session_key"]),
        commitment=bytes.fromhex(vector["z"]),
        roster_size=10,
        roster_index=9,
        feed=Feed(
            key=bytes.fromhex(vector["feed"]),
            signer=decode_manifest(bytes.fromhex(vector["manifest"])).signers[0].public_key,
            kind=FeedKind.MANIFEST,
        ),
        hoster=bytes.fromhex(vector["hoster"]),
        fork=vector["fork"],
        length=vector["L"],
        chunks=vector["N"],
        proved=vector["K"],
        window_start_ms=decode_receipt(report.body.outcome.receipt).opened,
        window_ms=1,
        clock_tolerance_ms=2_000,
    )


@pytest.mark.parametrize("vector", VECTORS["reports"])
def test_vector(vector):
    context = context_of(vector)
    encoded = bytes.fromhex(vector["report"])
    report = decode_report(encoded)
    assert encode_report(report) == encoded
    assert report.w.hex() == vector["w"]
    assert context.drawn(report.w) == vector["drawn"]
    assert proved_chunks(vector["drawn"], vector["K"]) == vector["proved"]
    habit = context.habit(report.w)
    assert (habit.windowed, habit.multiple) == (bool(vector["windowed"]), vector["multiple"])
    receipt = check_report(report, context)
    assert receipt.tree_hash.hex() == vector["tree_hash"]
    assert receipt.length == vector["length"]


class Forge:
    """A report of which every signature can be made anew, so that one rule at a time breaks."""

    def __init__(self) -> None:
        vector = VECTORS["reports"][1]
        self.context = context_of(vector)
        self.report = decode_report(bytes.fromhex(vector["report"]))
        self.audit_key = KeyPair.from_seed(bytes([1]) * 32)
        self.hoster = KeyPair.from_seed(bytes([2]) * 32)
        commitment = audit_commitment(
            self.context.topic, self.context.session_key, self.report.w, self.audit_key.public
        )
        self.context = replace(self.context, commitment=commitment, hoster=self.hoster.public)
        self.outcome = self.with_receipt(client=self.audit_key.public)

    def with_receipt(self, **changes):
        outcome = getattr(self, "outcome", self.report.body.outcome)
        receipt = replace(decode_receipt(outcome.receipt), **changes)
        return replace(outcome, receipt=receipt.sign(self.hoster))

    @property
    def receipt(self):
        return decode_receipt(self.outcome.receipt)

    def signed(self, outcome, peers=()):
        return sign_report(
            w=self.report.w,
            audit_key=self.audit_key,
            topic=self.context.topic,
            account=self.context.account,
            outcome=outcome,
            peers=peers,
        )


@pytest.fixture
def forge():
    return Forge()


def test_the_forge_makes_good_reports(forge):
    assert check_report(forge.signed(forge.outcome), forge.context) == forge.receipt
    peers = [PeerMetrics(index, 1_000, 1) for index in (0, 3, 8)]
    assert check_report(forge.signed(forge.outcome, peers), forge.context) is not None
    failure = Failure(Reason.TIMEOUT, forge.context.drawn(forge.report.w)[-1])
    assert check_report(forge.signed(failure), forge.context) is None
    assert check_report(forge.signed(Failure(Reason.NO_DATA, None)), forge.context) is None


def test_opening(forge):
    report = forge.signed(forge.outcome)
    with pytest.raises(rules.WrongOpening):
        check_report(replace(report, w=bytes(32)), forge.context)
    with pytest.raises(rules.WrongOpening):
        check_report(replace(report, audit_key=OTHER.public), forge.context)


def test_binding(forge):
    report = forge.signed(forge.outcome)
    with pytest.raises(rules.WrongBinding):
        check_report(replace(report, binding=bytes(64)), forge.context)
    with pytest.raises(rules.WrongBinding):
        check_report(report, replace(forge.context, account=bytes(32)))
    changed = replace(report.body, peers=(PeerMetrics(0, 1, 1),))
    with pytest.raises(rules.WrongBinding):
        check_report(replace(report, body=changed), forge.context)


@pytest.mark.parametrize("indices", [(1, 0), (1, 1), (10,), (9,)])
def test_peers(forge, indices):
    peers = [PeerMetrics(index, 1, 1) for index in indices]
    with pytest.raises(rules.WrongPeers):
        check_report(forge.signed(forge.outcome, peers), forge.context)


def test_demand(forge):
    drawn = set(forge.context.drawn(forge.report.w))
    other = next(index for index in range(forge.context.length) if index not in drawn)
    with pytest.raises(rules.DemandNotDrawn):
        check_report(forge.signed(Failure(Reason.NO_DATA, other)), forge.context)


def swapped(entries, **changes):
    return (replace(entries[0], **changes), *entries[1:])


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (rules.ReceiptOfAnotherFeed, lambda r, c: {"feed_key": bytes(32)}),
        (rules.ReceiptOfAnotherClient, lambda r, c: {"client": OTHER.public}),
        (rules.ReceiptOfAnotherFork, lambda r, c: {"fork": c.fork + 1}),
        (rules.ReceiptBelowVouched, lambda r, c: {"length": c.length - 1}),
        (rules.ReceiptNotFirst, lambda r, c: {"sequence": 1}),
        (rules.ReceiptOffMoment, lambda r, c: {"opened": r.opened - 2_001}),
        (rules.ReceiptOffMoment, lambda r, c: {"opened": r.opened + 2_001}),
        (rules.ReceiptBeforeOpening, lambda r, c: {"issued": r.opened - 1}),
        (rules.ReceiptRepeatsChunk, lambda r, c: {"entries": (*r.entries, r.entries[0])}),
        (rules.ReceiptTooShort, lambda r, c: {"entries": r.entries[:99]}),
        (rules.WrongHeadSignature, lambda r, c: {"tree_hash": bytes(32)}),
        (rules.WrongHeadSignature, lambda r, c: {"length": r.length + 1}),
    ],
)
def test_receipt(forge, error, change):
    outcome = forge.with_receipt(**change(forge.receipt, forge.context))
    with pytest.raises(error):
        check_report(forge.signed(outcome), forge.context)


def test_receipt_at_the_edge_of_the_tolerance_is_good(forge):
    for drift in (-2_000, 2_000):
        opened = forge.receipt.opened + drift
        outcome = forge.with_receipt(opened=opened, issued=opened)
        assert check_report(forge.signed(outcome), forge.context).opened == opened


def test_receipt_signed_by_another(forge):
    outcome = replace(forge.outcome, receipt=forge.receipt.sign(OTHER))
    with pytest.raises(rules.ReceiptNotAuthentic):
        check_report(forge.signed(outcome), forge.context)
    with pytest.raises(rules.ReceiptNotAuthentic):
        check_report(forge.signed(replace(outcome, receipt=b"")), forge.context)


def test_only_the_proved_part_of_the_drawn_chunks_must_be_in_the_receipt(forge):
    drawn = forge.context.drawn(forge.report.w)
    proved = set(drawn[: forge.context.proved])
    beyond = next(index for index in range(forge.context.length) if index not in drawn)
    entries = forge.receipt.entries
    for at, entry in enumerate(entries):
        changed = (*entries[:at], Entry(beyond, entry.leaf), *entries[at + 1 :])
        report = forge.signed(forge.with_receipt(entries=changed))
        if entry.index in proved:
            with pytest.raises(rules.ReceiptLacksDrawn):
                check_report(report, forge.context)
        else:
            assert check_report(report, forge.context) is not None


def test_head_signature(forge):
    outcome = replace(forge.outcome, head_signature=bytes(64))
    with pytest.raises(rules.WrongHeadSignature):
        check_report(forge.signed(outcome), forge.context)


def test_multiproof(forge):
    outcome = forge.outcome
    first = outcome.nodes[0]
    entries = forge.receipt.entries
    proved = proved_chunks(forge.context.drawn(forge.report.w), forge.context.proved)
    false_leaf = tuple(
        replace(entry, leaf=bytes(32)) if entry.index == proved[0] else entry for entry in entries
    )
    for changed in (
        replace(outcome, sizes=(outcome.sizes[0] + 1, *outcome.sizes[1:])),
        replace(outcome, sizes=outcome.sizes[:-1]),
        replace(outcome, nodes=(Node(bytes(32), first.size), *outcome.nodes[1:])),
        replace(outcome, nodes=outcome.nodes[:-1]),
        replace(outcome, nodes=(*outcome.nodes, first)),
        forge.with_receipt(entries=false_leaf),
    ):
        with pytest.raises(rules.WrongMultiproof):
            check_report(forge.signed(changed), forge.context)


@pytest.mark.parametrize(
    "changes",
    [
        {"latency_us": None},
        {"latency_us": None, "throughput": 1},
        {"throughput": 1},
        {"latency_us": Percentiles(0, 1, 1, 1)},
        {"latency_us": Percentiles(2, 1, 3, 3)},
        {"latency_us": Percentiles(1, 3, 2, 3)},
        {"latency_us": Percentiles(1, 1, 3, 2)},
    ],
)
def test_metrics_of_a_sequential_session(forge, changes):
    outcome = replace(forge.outcome, metrics=replace(forge.outcome.metrics, **changes))
    with pytest.raises(rules.WrongMetrics):
        check_report(forge.signed(outcome), forge.context)


@pytest.mark.parametrize(
    "changes",
    [{"throughput": None}, {"throughput": 0}, {"latency_us": Percentiles(1, 1, 1, 1)}],
)
def test_metrics_of_a_windowed_session(changes):
    vector = VECTORS["reports"][0]
    report = decode_report(bytes.fromhex(vector["report"]))
    with pytest.raises(rules.WrongMetrics):
        rules._check_metrics(replace(report.body.outcome.metrics, **changes), windowed=True)


def test_moment_under_both_schedules():
    for flip in VECTORS["flips"]:
        window = flip["window"]
        for place, member in enumerate(flip["members"]):
            context = replace(
                context_of(VECTORS["reports"][0]),
                topic=bytes.fromhex(flip["topic"]),
                result=bytes.fromhex(flip["result"]),
                session_key=bytes.fromhex(member["public_key"]),
                window_start_ms=window["tlo"],
                window_ms=window["W"],
            )
            w = bytes.fromhex(member["w"])
            assert context.moment(w) == int(member["moment_uniform"])
            slots = Slots(window["jitter_num"], window["jitter_den"], len(flip["members"]), place)
            assert replace(context, slots=slots).moment(w) == int(member["moment_slots"])
