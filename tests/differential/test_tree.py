"""Trees and multiproofs: the compiled runtime and the Python cores give the same bytes."""

from dataclasses import dataclass

import pytest
from compiled_rules import CompiledRules, Refused, Root
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_types.report import Node as ReportNode
from offchain_worker.audit.multiproof import (
    MAX_LENGTH,
    Multiproof,
    MultiproofError,
    build,
    tree_hash_of,
)
from offchain_worker.hypercore.tree import (
    Node,
    TreeBuilder,
    full_roots,
    leaf_hash,
    parent_node,
    tree_hash,
)

HASHES = st.binary(min_size=32, max_size=32)
U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
NODES = st.builds(ReportNode, hash=HASHES, size=U64)
EDGES = st.sampled_from([0, 1, 2**32, 2**53 - 1, 2**53, 2**63, 2**64 - 2**32, 2**64 - 2, 2**64 - 1])
"""Sizes around the limits of Hypercore's wire and of u64."""


@given(length=st.integers(0, MAX_LENGTH))
@settings(deadline=None)
def test_full_roots(chain_rules: CompiledRules, length: int) -> None:
    assert chain_rules.full_roots(length) == full_roots(length)


def test_the_longest_feed(chain_rules: CompiledRules) -> None:
    assert chain_rules.full_roots(MAX_LENGTH) == full_roots(MAX_LENGTH)
    assert chain_rules.full_roots(MAX_LENGTH + 1) == Refused("TooLong")
    with pytest.raises(MultiproofError):
        tree_hash_of(MAX_LENGTH + 1, [], [], [])


@given(data=st.binary(max_size=4_096))
@settings(deadline=None)
def test_leaf_hash(chain_rules: CompiledRules, data: bytes) -> None:
    assert chain_rules.leaf_hash(data) == leaf_hash(data)


@given(left=HASHES, right=HASHES, sizes=st.tuples(U32, U32))
@settings(deadline=None)
def test_parent(
    chain_rules: CompiledRules, left: bytes, right: bytes, sizes: tuple[int, int]
) -> None:
    ours = parent_node(Node(0, sizes[0], left), Node(2, sizes[1], right))
    theirs = chain_rules.parent(ReportNode(left, sizes[0]), ReportNode(right, sizes[1]))
    assert theirs == ReportNode(ours.hash, ours.size)


@given(roots=st.lists(st.tuples(U64, NODES), max_size=63))
@settings(deadline=None)
def test_tree_hash(chain_rules: CompiledRules, roots: list[tuple[int, ReportNode]]) -> None:
    ours = tree_hash(Node(index, node.size, node.hash) for index, node in roots)
    assert chain_rules.tree_hash([Root(index, node) for index, node in roots]) == ours


@dataclass(frozen=True)
class Case:
    """Arguments of a multiproof, and the tree hash of the feed it was made of."""

    length: int
    leaves: tuple[tuple[int, bytes], ...]
    sizes: tuple[int, ...]
    nodes: tuple[ReportNode, ...]
    tree_hash: bytes


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A multiproof of random chunks of a random feed."""
    length = draw(st.integers(1, 120))
    builder = TreeBuilder()
    nodes: dict[int, Node] = {}
    for index in range(length):
        size = draw(st.integers(0, 2**32 - 1))
        leaf = Node(2 * index, size, leaf_hash(index.to_bytes(2, "little")))
        nodes.update((node.index, node) for node in builder.append_leaf(leaf))
    chosen = sorted(draw(st.sets(st.integers(0, length - 1), max_size=40)))
    proof: Multiproof = build(nodes, length, chosen)
    return Case(
        length=length,
        leaves=tuple((index, nodes[2 * index].hash) for index in chosen),
        sizes=proof.sizes,
        nodes=tuple(ReportNode(node.hash, node.size) for node in proof.nodes),
        tree_hash=builder.tree_hash(),
    )


def ours(case: Case) -> bytes | None:
    """What the Python core makes of a case, None if it refuses."""
    try:
        return tree_hash_of(case.length, case.leaves, case.sizes, case.nodes)
    except MultiproofError:
        return None


def theirs(chain_rules: CompiledRules, case: Case) -> bytes | None:
    """What the runtime makes of a case, None if it refuses."""
    answer = chain_rules.multiproof_tree_hash(case.length, case.leaves, case.sizes, case.nodes)
    return None if isinstance(answer, Refused) else answer


@given(case=cases())
@settings(deadline=None)
def test_multiproofs(chain_rules: CompiledRules, case: Case) -> None:
    assert ours(case) == theirs(chain_rules, case) == case.tree_hash


@given(sizes=st.tuples(EDGES, EDGES, U32), index=st.integers(0, 3), leaf=HASHES)
@settings(deadline=None, max_examples=200)
def test_sizes_near_overflow(
    chain_rules: CompiledRules, sizes: tuple[int, int, int], index: int, leaf: bytes
) -> None:
    nodes = tuple(ReportNode(leaf, size) for size in sizes[:2])
    case = Case(4, ((index, leaf),), sizes[2:], nodes, b"")
    assert ours(case) == theirs(chain_rules, case)
    assert (ours(case) is None) == (sum(sizes) >= 2**64)


@st.composite
def mutated_cases(draw: st.DrawFn) -> Case:
    """A multiproof with one thing changed."""
    case = draw(cases())
    leaves, sizes, nodes = list(case.leaves), list(case.sizes), list(case.nodes)
    length = case.length
    kinds = ["length", "more nodes", "more sizes", "more leaves"]
    kinds += ["leaf", "index", "size", "fewer sizes", "fewer leaves", "swap"] if leaves else []
    kinds += ["node", "node size", "fewer nodes"] if nodes else []
    kind = draw(st.sampled_from(kinds))
    at_leaf = draw(st.integers(0, max(0, len(leaves) - 1)))
    at_node = draw(st.integers(0, max(0, len(nodes) - 1)))
    match kind:
        case "length":
            length = draw(st.one_of(st.integers(0, 130), U64))
        case "more nodes":
            nodes.insert(at_node, draw(NODES))
        case "more sizes":
            sizes.insert(at_leaf, draw(U32))
        case "more leaves":
            leaves.insert(at_leaf, (draw(st.integers(0, 130)), draw(HASHES)))
            sizes.insert(at_leaf, draw(U32))
        case "leaf":
            leaves[at_leaf] = (leaves[at_leaf][0], draw(HASHES))
        case "index":
            leaves[at_leaf] = (draw(st.one_of(st.integers(0, 130), U64)), leaves[at_leaf][1])
        case "size":
            sizes[at_leaf] = draw(U32)
        case "fewer sizes":
            del sizes[at_leaf]
        case "fewer leaves":
            del leaves[at_leaf], sizes[at_leaf]
        case "swap":
            other = draw(st.integers(0, len(leaves) - 1))
            leaves[at_leaf], leaves[other] = leaves[other], leaves[at_leaf]
        case "node":
            nodes[at_node] = ReportNode(draw(HASHES), nodes[at_node].size)
        case "node size":
            nodes[at_node] = ReportNode(nodes[at_node].hash, draw(U64))
        case "fewer nodes":
            del nodes[at_node]
    return Case(length, tuple(leaves), tuple(sizes), tuple(nodes), case.tree_hash)


@given(case=mutated_cases())
@settings(deadline=None, max_examples=300)
def test_changed_multiproofs(chain_rules: CompiledRules, case: Case) -> None:
    assert ours(case) == theirs(chain_rules, case)
