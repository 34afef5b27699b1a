"""Multiproofs (challenge.md §4): the vectors, round trips, and what must be refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_types.report import Node as ReportNode
from offchain_worker.audit.multiproof import MultiproofError, build, tree_hash_of
from offchain_worker.hypercore.tree import Node, TreeBuilder

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "challenge.json").read_text())


def tree_of(chunks: list[bytes]) -> tuple[dict[int, Node], bytes]:
    builder = TreeBuilder()
    nodes = {node.index: node for chunk in chunks for node in builder.append(chunk)}
    return nodes, builder.tree_hash()


def entries_of(nodes: dict[int, Node], indices: list[int]) -> list[tuple[int, bytes]]:
    return [(index, nodes[2 * index].hash) for index in indices]


@pytest.mark.parametrize("vector", VECTORS["multiproofs"])
def test_vector(vector):
    entries = [(entry["index"], bytes.fromhex(entry["hash"])) for entry in vector["entries"]]
    sizes = [entry["size"] for entry in vector["entries"]]
    nodes = [ReportNode(bytes.fromhex(node["hash"]), node["size"]) for node in vector["nodes"]]
    computed = tree_hash_of(vector["length"], entries, sizes, nodes)
    assert computed.hex() == vector["tree_hash"]


@st.composite
def proved_feeds(draw):
    length = draw(st.integers(1, 70))
    chunks = [bytes([n]) * draw(st.integers(0, 3)) for n in range(length)]
    indices = draw(st.lists(st.integers(0, length - 1), unique=True, max_size=12))
    return chunks, sorted(indices)


@given(proved_feeds())
def test_a_built_proof_leads_to_the_tree_hash(feed):
    chunks, indices = feed
    nodes, expected = tree_of(chunks)
    proof = build(nodes, len(chunks), indices)
    assert proof.sizes == tuple(len(chunks[index]) for index in indices)
    entries = entries_of(nodes, indices)
    assert tree_hash_of(len(chunks), entries, proof.sizes, proof.nodes) == expected


@given(proved_feeds(), st.data())
def test_a_changed_proof_leads_elsewhere_or_nowhere(feed, data):
    chunks, indices = feed
    nodes, expected = tree_of(chunks)
    proof = build(nodes, len(chunks), indices)
    entries = entries_of(nodes, indices)
    sizes, proof_nodes = list(proof.sizes), list(proof.nodes)
    kinds = ["length", "extra node", "extra size"]
    kinds += ["hash", "no node", "size of node"] if proof_nodes else []
    kinds += ["leaf", "no size", "size"] if entries else []
    kind = data.draw(st.sampled_from(kinds))
    length = len(chunks)
    if kind == "length":
        length += 1
    elif kind == "extra node":
        proof_nodes.append(Node(0, 1, bytes(32)))
    elif kind == "extra size":
        sizes.append(1)
    elif kind == "hash":
        at = data.draw(st.integers(0, len(proof_nodes) - 1))
        proof_nodes[at] = ReportNode(bytes(32), proof_nodes[at].size)
    elif kind == "no node":
        del proof_nodes[data.draw(st.integers(0, len(proof_nodes) - 1))]
    elif kind == "size of node":
        at = data.draw(st.integers(0, len(proof_nodes) - 1))
        proof_nodes[at] = ReportNode(proof_nodes[at].hash, proof_nodes[at].size + 1)
    elif kind == "leaf":
        at = data.draw(st.integers(0, len(entries) - 1))
        entries[at] = (entries[at][0], bytes(32))
    elif kind == "no size":
        sizes.pop()
    else:
        sizes[data.draw(st.integers(0, len(sizes) - 1))] += 1
    if kind in {"extra node", "extra size", "no node", "no size"}:
        with pytest.raises(MultiproofError):
            tree_hash_of(length, entries, sizes, proof_nodes)
    elif kind == "length":
        # Another number of nodes may be wanted, or the same nodes mean another tree.
        assert leads_to(length, entries, sizes, proof_nodes) != expected
    else:
        assert tree_hash_of(length, entries, sizes, proof_nodes) != expected


def leads_to(length, entries, sizes, nodes) -> bytes | None:
    try:
        return tree_hash_of(length, entries, sizes, nodes)
    except MultiproofError:
        return None


@pytest.mark.parametrize("indices", [[2, 1], [1, 1], [-1], [4], [0, 1 << 64]])
def test_indices_out_of_order_or_range_are_refused(indices):
    nodes, _hash = tree_of([b"a", b"b", b"c", b"d"])
    with pytest.raises(MultiproofError, match="out of order or beyond"):
        build(nodes, 4, indices)
    entries = [(index, bytes(32)) for index in indices]
    with pytest.raises(MultiproofError, match="out of order or beyond"):
        tree_hash_of(4, entries, [1] * len(entries), [])


def test_an_unknown_node_is_named():
    nodes, _hash = tree_of([b"a", b"b", b"c", b"d"])
    del nodes[5]
    with pytest.raises(MultiproofError, match="tree node 5"):
        build(nodes, 4, [0])


def test_sizes_beyond_64_bits_are_refused():
    half = ReportNode(bytes(32), (1 << 64) - 1)
    with pytest.raises(MultiproofError, match="64 bits"):
        tree_hash_of(2, [(0, bytes(32))], [1], [half])


def test_a_tree_of_any_announced_length_costs_only_its_height():
    with pytest.raises(MultiproofError, match="too few nodes"):
        tree_hash_of((1 << 63) - 1, [((1 << 63) - 2, bytes(32))], [1], [])
    with pytest.raises(MultiproofError, match="cannot have"):
        tree_hash_of(1 << 63, [], [], [])
