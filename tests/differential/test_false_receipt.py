"""E6: what proves a receipt false on one side proves it on the other, against the same hoster."""

from __future__ import annotations

from dataclasses import replace

import pytest
from compiled_rules import CompiledRules, ProvenFalse, Refused
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_types.records import FraudKind
from chain_types.report import Equivocation, FalseReceipt
from chain_types.report import Node as ReportNode
from offchain_worker.audit.false_receipt import NotFalse, check_false, evidence_id, prove_false
from offchain_worker.audit.receipt import Entry, Receipt
from offchain_worker.hypercore.tree import Node, TreeBuilder
from offchain_worker.keys import KeyPair

HOSTER = KeyPair.from_seed(b"h" * 32)
HASHES = st.binary(min_size=32, max_size=32)


def tree(length: int) -> tuple[dict[int, Node], bytes]:
    builder = TreeBuilder()
    nodes = {
        node.index: node
        for chunk in range(length)
        for node in builder.append(bytes([chunk % 251]) * (1 + chunk % 7))
    }
    return nodes, builder.tree_hash()


@st.composite
def receipts(draw: st.DrawFn) -> tuple[Receipt, dict[int, Node], list[int]]:
    """A receipt, the tree that it names, and the chunks whose leaves in it are false."""
    length = draw(st.integers(1, 70))
    nodes, tree_hash = tree(length)
    named = draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=9, unique=True))
    false = draw(st.lists(st.sampled_from(named), unique=True))
    receipt = Receipt(
        feed_key=draw(HASHES),
        fork=draw(st.integers(0, 3)),
        length=length,
        tree_hash=tree_hash,
        client=draw(HASHES),
        session=draw(HASHES),
        sequence=draw(st.integers(0, 2**32 - 1)),
        opened=draw(st.integers(0, 2**64 - 1)),
        issued=draw(st.integers(0, 2**64 - 1)),
        byte_length=7,
        entries=tuple(
            Entry(chunk, b"f" * 32 if chunk in false else nodes[2 * chunk].hash) for chunk in named
        ),
    )
    return receipt, nodes, [chunk for chunk in named if chunk in false]


def agree(chain_rules: CompiledRules, proof: FalseReceipt) -> bool:
    """Whether the proof is taken, by both sides alike."""
    there = chain_rules.verify_false_receipt(proof)
    try:
        receipt = check_false(proof)
    except NotFalse:
        assert isinstance(there, Refused), there
        return False
    identifier = evidence_id(proof.hoster, receipt.session)
    assert there == ProvenFalse(
        proof.hoster, receipt.feed_key, receipt.session, receipt.issued, identifier
    )
    kind = FraudKind.FALSE_RECEIPT
    assert chain_rules.evidence_id(proof.hoster, receipt.session, kind) == identifier
    return True


@given(case=receipts())
@settings(deadline=None)
def test_a_receipt_is_proven_false_when_it_is(
    chain_rules: CompiledRules, case: tuple[Receipt, dict[int, Node], list[int]]
) -> None:
    receipt, nodes, false = case
    proof = prove_false(receipt.sign(HOSTER), HOSTER.public, nodes)
    if not false:
        assert proof is None
        return
    assert proof is not None
    assert proof.index == false[0]
    assert agree(chain_rules, proof)


@given(case=receipts(), data=st.data())
@settings(deadline=None, max_examples=300)
def test_one_changed_thing(
    chain_rules: CompiledRules,
    case: tuple[Receipt, dict[int, Node], list[int]],
    data: st.DataObject,
) -> None:
    receipt, nodes, _false = case
    chunk = receipt.entries[0].index
    entries = (Entry(chunk, b"f" * 32), *receipt.entries[1:])
    proof = prove_false(replace(receipt, entries=entries).sign(HOSTER), HOSTER.public, nodes)
    assert proof is not None
    what = data.draw(st.sampled_from(["hoster", "receipt", "index", "leaf", "sizes", "nodes"]))
    match what:
        case "hoster" | "leaf":
            other: object = data.draw(HASHES)
        case "receipt":
            changed = bytearray(proof.receipt)
            changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(
                st.integers(0, 7)
            )
            other = bytes(changed)
        case "index":
            other = data.draw(st.integers(0, 80).filter(lambda index: index != proof.index))
        case "sizes":
            other = data.draw(st.sampled_from([(), (*proof.sizes, 1), (proof.sizes[0] + 1,)]))
        case _:
            extra = ReportNode(bytes(32), 1)
            other = (*proof.nodes, extra) if data.draw(st.booleans()) else proof.nodes[1:]
            if other == proof.nodes:
                return
    assert not agree(chain_rules, replace(proof, **{what: other}))


def receipt_over(tree_hash: bytes, *entries: Entry) -> Receipt:
    """A receipt for chunks of a feed of nine."""
    return Receipt(
        feed_key=bytes(32),
        fork=0,
        length=9,
        tree_hash=tree_hash,
        client=bytes(32),
        session=bytes(32),
        sequence=0,
        opened=0,
        issued=0,
        byte_length=0,
        entries=entries,
    )


def test_what_is_refused_is_refused_for_the_same_reason(chain_rules: CompiledRules) -> None:
    nodes, tree_hash = tree(9)
    receipt = receipt_over(
        tree_hash, Entry(3, b"f" * 32), Entry(4, nodes[8].hash), Entry(4, nodes[8].hash)
    )
    good = prove_false(receipt.sign(HOSTER), HOSTER.public, nodes)
    assert good is not None
    twice = replace(receipt, entries=(Entry(4, nodes[8].hash), Entry(4, b"f" * 32)))
    for proof, name in [
        (replace(good, receipt=good.receipt[:-1]), "Receipt.WrongLength"),
        (replace(good, receipt=b"\2" + good.receipt[1:]), "Receipt.UnknownVersion"),
        (replace(good, hoster=KeyPair.generate().public), "Receipt.WrongSignature"),
        (replace(good, index=5), "NotNamed"),
        (replace(good, index=4, leaf=nodes[8].hash), "NotContradictory"),
        (replace(good, leaf=b"f" * 32), "NotContradictory"),
        (replace(good, leaf=b"g" * 32), "WrongTreeHash"),
        (replace(good, nodes=()), "Multiproof.TooFewNodes"),
        (replace(good, sizes=()), "Multiproof.SizeCount"),
    ]:
        assert chain_rules.verify_false_receipt(proof) == Refused(name)
        with pytest.raises(NotFalse):
            check_false(proof)
    # One of two entries for a chunk is enough.
    proof = prove_false(twice.sign(HOSTER), HOSTER.public, nodes)
    assert proof is not None
    assert agree(chain_rules, proof)
    envelopes = Equivocation(0, 0, b"", b"")
    assert chain_rules.verify_false_receipt(envelopes) == Refused("NoReceipt")


def test_nodes_of_another_head_prove_nothing() -> None:
    """The feed has grown since, or was rewritten: what is known leads to another tree hash."""
    nodes, _ = tree(9)
    _, other_hash = tree(8)
    receipt = receipt_over(other_hash, Entry(3, b"f" * 32))
    assert prove_false(receipt.sign(HOSTER), HOSTER.public, nodes) is None
    assert prove_false(receipt.sign(HOSTER), KeyPair.generate().public, nodes) is None
    assert prove_false(receipt.sign(HOSTER), HOSTER.public, {}) is None
