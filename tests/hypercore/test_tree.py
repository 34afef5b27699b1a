import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypercore_feeds import TREES, block, grow, load, node
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.hypercore import tree
from offchain_worker.hypercore.errors import BadProof, InvalidRequest
from offchain_worker.hypercore.tree import Node

PROOFS = load("proofs.json")["proofs"]


@pytest.mark.parametrize("case", TREES["trees"], ids=lambda case: str(case["length"]))
def test_tree_vectors(case: dict[str, Any]) -> None:
    builder, nodes = grow(case["length"])
    assert tree.full_roots(case["length"]) == case["full_roots"]
    assert builder.length == case["length"]
    assert builder.byte_length == case["byte_length"]
    assert builder.roots == [node(root) for root in case["roots"]]
    assert [nodes[i] for i in sorted(nodes)] == [node(one) for one in case["nodes"]]
    assert builder.tree_hash().hex() == case["tree_hash"]


def test_leaf_hash_vectors() -> None:
    for case in load("constants.json")["leaf_hashes"]:
        data = b"\x07" * 65536 if " x " in case["data"] else bytes.fromhex(case["data"])
        assert tree.leaf_hash(data).hex() == case["hash"]


@given(st.integers(0, 2**40))
def test_numbering(index: int) -> None:
    d, o = tree.depth(index), tree.offset(index)
    assert tree.node_index(d, o) == index
    assert tree.sibling(tree.sibling(index)) == index
    assert tree.parent(tree.sibling(index)) == tree.parent(index)
    assert index in tree.children(tree.parent(index))
    first, last = tree.span(index)
    assert last - first == 2 * (2**d - 1)
    assert tree.contains(tree.parent(index), index)
    assert not tree.contains(tree.sibling(index), index)


@given(st.integers(1, 2**40), st.data())
def test_roots_cover_the_length(length: int, data: st.DataObject) -> None:
    roots = tree.full_roots(length)
    assert tree.length_of(roots) == length
    assert tree.span(roots[0])[0] == 0
    for left, right in itertools.pairwise(roots):
        assert tree.span(left)[1] + 2 == tree.span(right)[0]
    one = data.draw(st.integers(0, length - 1))
    assert tree.root_over(one, length) in roots
    assert tree.contains(tree.root_over(one, length), 2 * one)


def test_what_is_no_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="full roots"):
        tree.length_of([1, 2])
    with pytest.raises(ValueError, match="not below"):
        tree.root_over(3, 3)
    with pytest.raises(ValueError, match="leaf"):
        tree.children(4)
    with pytest.raises(ValueError, match="not the leaf"):
        tree.TreeBuilder().append_leaf(tree.leaf_node(1, b""))


def ask(request: dict[str, Any], head_length: int) -> tree.Proof:
    _, nodes = grow(head_length)
    pick = {
        "block": request["block"] and (request["block"]["index"], request["block"]["nodes"]),
        "hash_of": request["hash"] and (request["hash"]["index"], request["hash"]["nodes"]),
        "upgrade": request["upgrade"]
        and (request["upgrade"]["start"], request["upgrade"]["length"]),
    }
    return tree.prove(nodes.__getitem__, head_length, **pick)


@pytest.mark.parametrize("case", PROOFS, ids=lambda case: str(case["request"]["id"]))
def test_proofs_are_made_as_the_reference_makes_them(case: dict[str, Any]) -> None:
    proof = ask(case["request"], case["feed_length"])
    data = case["data"]
    part = data["block"] or data["hash"] or {"nodes": []}
    upgrade = data["upgrade"] or {"nodes": [], "additionalNodes": []}
    assert proof.nodes == [node(one) for one in part["nodes"]]
    assert proof.upgrade == [node(one) for one in upgrade["nodes"]]
    assert proof.additional == [node(one) for one in upgrade["additionalNodes"]]


@pytest.mark.parametrize("case", PROOFS, ids=lambda case: str(case["request"]["id"]))
def test_proofs_verify(case: dict[str, Any]) -> None:
    builder, nodes = grow(case["feed_length"])
    data = case["data"]
    subtree = None
    if data["block"]:
        start = tree.leaf_node(data["block"]["index"], bytes.fromhex(data["block"]["value"]))
        siblings = [node(one) for one in data["block"]["nodes"]]
        assert tree.verify_path(nodes, start, siblings)[0] == nodes[start.index]
        subtree = tree.fold(start, siblings)[-1]
    if data["hash"]:
        first, *rest = [node(one) for one in data["hash"]["nodes"]]
        assert tree.verify_path(nodes, first, rest)[0] == nodes[first.index]
    if data["upgrade"]:
        begin = grow(data["upgrade"]["start"])[0]
        upgrade = tree.apply_upgrade(
            begin.roots,
            data["upgrade"]["start"] + data["upgrade"]["length"],
            [node(one) for one in data["upgrade"]["nodes"]],
            [node(one) for one in data["upgrade"]["additionalNodes"]],
            subtree,
        )
        assert upgrade.roots == builder.roots
        assert upgrade.length == case["feed_length"]
        assert upgrade.used_subtree == (subtree is not None)
        assert all(nodes[one.index] == one for one in upgrade.nodes)


@given(st.integers(1, 80), st.data())
def test_every_upgrade_and_block_can_be_proved_and_verified(
    length: int, data: st.DataObject
) -> None:
    builder, nodes = grow(length)
    begin = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(begin + 1, length))
    index = data.draw(st.integers(begin, end - 1))
    proof = tree.prove(nodes.__getitem__, length, block=(index, 0), upgrade=(begin, end - begin))
    subtree = tree.fold(nodes[2 * index], proof.nodes)[-1]
    upgrade = tree.apply_upgrade(
        grow(begin)[0].roots, end, proof.upgrade, proof.additional, subtree
    )
    assert upgrade.used_subtree
    assert tree.tree_hash(upgrade.roots) == builder.tree_hash()


@pytest.mark.parametrize(
    "request_",
    [
        {"block": (9, 5)},
        {"block": (0, 99)},
        {"block": (10, 0)},
        {"hash_of": (15, 0)},
        {"upgrade": (10, 1)},
        {"upgrade": (3, 0)},
        {"upgrade": (0, 4), "block": (5, 0)},
    ],
)
def test_invalid_requests(request_: dict[str, Any]) -> None:
    _, nodes = grow(10)
    with pytest.raises(InvalidRequest):
        tree.prove(nodes.__getitem__, 10, **request_)


@pytest.mark.parametrize("others", [(), (4, 6), (1, 3, 5), (4, 6, 1, 5, 3, 11), range(15)])
def test_any_other_node_spoils_a_block_proof(others: Sequence[int]) -> None:
    """However many of the nodes on the way were verified before."""
    _, nodes = grow(8)
    known = {index: nodes[index] for index in (7, *others)}
    leaf = nodes[6]
    siblings = [nodes[4], nodes[1], nodes[11]]
    assert tree.verify_path(known, leaf, siblings)
    for bad_leaf in (tree.leaf_node(3, block(2)), tree.leaf_node(2, block(3))):
        with pytest.raises(BadProof):
            tree.verify_path(known, bad_leaf, siblings)
    for i, good in enumerate(siblings):
        for bad in (
            Node(good.index + 2, good.size, good.hash),
            Node(good.index, good.size + 1, good.hash),
            Node(good.index, good.size, bytes(32)),
        ):
            with pytest.raises(BadProof):
                tree.verify_path(known, leaf, [*siblings[:i], bad, *siblings[i + 1 :]])
    with pytest.raises(BadProof):
        tree.verify_path(known, leaf, [nodes[4]] * 60)


def test_a_proof_ends_at_a_verified_node() -> None:
    _, nodes = grow(8)
    siblings = [nodes[4], nodes[1]]
    with pytest.raises(BadProof):
        tree.verify_path({7: nodes[7]}, nodes[6], siblings)
    assert tree.verify_path({3: nodes[3]}, nodes[6], siblings)[-1] == nodes[3]


def test_what_was_verified_before_is_not_given_again() -> None:
    _, nodes = grow(8)
    known = {index: nodes[index] for index in (7, 3, 11, 1, 5)}
    met = tree.verify_path(known, nodes[6], [nodes[4], nodes[1], nodes[11]])
    assert met[0] == nodes[6]
    assert nodes[4] in met
    assert nodes[11] not in met


def test_upgrades_with_missing_wrong_or_spare_nodes() -> None:
    _, nodes = grow(10)
    roots = grow(3)[0].roots
    proof = tree.prove(nodes.__getitem__, 10, upgrade=(3, 4))
    good = (proof.upgrade, proof.additional)
    assert tree.apply_upgrade(roots, 7, *good).length == 10
    for upgrade, additional in (
        (good[0][1:], good[1]),
        ([*good[0], nodes[14]], good[1]),
        (good[0][::-1], good[1]),
        (good[0], [*good[1][:-1], nodes[0]]),
        (good[0], [*good[1], good[1][-1]]),
    ):
        with pytest.raises(BadProof):
            tree.apply_upgrade(roots, 7, upgrade, additional)
    with pytest.raises(BadProof):
        tree.apply_upgrade(roots, 3, [])


def test_sizes_that_overflow_are_refused() -> None:
    huge = Node(0, 2**53 - 1, bytes(32))
    with pytest.raises(BadProof):
        tree.parent_node(huge, Node(2, 1, bytes(32)))
