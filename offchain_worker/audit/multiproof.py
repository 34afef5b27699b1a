"""One Merkle proof for several chunks of a feed (challenge.md §4, "Multiproof").

The full roots of the tree are walked from left to right, and below each the left child before the
right one. A subtree without a proved chunk contributes one node, a proved chunk its leaf; nodes
and sizes are therefore used up in exactly one order, and none may be left over.

The size of one leaf can be traded against its neighbour's unnoticed: only the sum is proved.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from offchain_worker.coinflip.hashing import blake2b_256
from offchain_worker.hypercore.tree import Node, full_roots, tree_hash

MAX_LENGTH = (1 << 63) - 1
"""The longest feed whose tree indices have 64 bits."""
_MAX_SIZE = (1 << 64) - 1


class MultiproofError(Exception):
    """A multiproof cannot be built from what is known, or does not have the form it must have."""


class ProofNode(Protocol):
    """What a node of a proof consists of; `chain_types.report.Node` is one."""

    @property
    def hash(self) -> bytes: ...

    @property
    def size(self) -> int: ...


class KnownNodes(Protocol):
    """Where the nodes of a tree are looked up, by tree index; a mapping is one."""

    def get(self, index: int, /) -> Node | None: ...


@dataclass(frozen=True)
class Multiproof:
    """Sizes of the proved chunks, by ascending index, and the nodes in the order of the walk."""

    sizes: tuple[int, ...]
    nodes: tuple[Node, ...]


def build(nodes: KnownNodes, length: int, indices: Sequence[int]) -> Multiproof:
    """Make the proof for chunks of which all tree nodes needed are known.

    Args:
        nodes: verified tree nodes of a feed of `length` chunks, by tree index.
        length: chunks in the signed head that the proof shall lead to.
        indices: chunks to prove, strictly ascending.

    Raises:
        MultiproofError: indices out of order or beyond the feed, or a node is not known.
    """
    _check_indices(length, indices)
    sizes: list[int] = []
    proof: list[Node] = []

    def known(tree_index: int) -> Node:
        node = nodes.get(tree_index)
        if node is None:
            raise MultiproofError(f"tree node {tree_index} is not known")
        return node

    def walk(first: int, count: int, chosen: Sequence[int]) -> None:
        if not chosen:
            proof.append(known(_subtree(first, count)))
        elif count == 1:
            sizes.append(known(2 * first).size)
        else:
            half = count // 2
            left, right = _split(chosen, first + half)
            walk(first, half, left)
            walk(first + half, half, right)

    for first, count, chosen in _runs(length, indices):
        walk(first, count, chosen)
    return Multiproof(tuple(sizes), tuple(proof))


def tree_hash_of(
    length: int,
    entries: Sequence[tuple[int, bytes]],
    sizes: Sequence[int],
    nodes: Sequence[ProofNode],
) -> bytes:
    """Compute the tree hash that a proof leads to; the caller compares it with the signed one.

    Work is bounded by 63 steps for each entry and root; recursion by the height of the tree.

    Args:
        length: chunks in the feed.
        entries: (chunk index, leaf hash) of the proved chunks, strictly ascending by index.
        sizes: their sizes in bytes, in the same order.
        nodes: the proof's nodes, in the order of the walk.

    Raises:
        MultiproofError: indices out of order or beyond the feed, sizes or nodes missing or left
            over, or sizes that add up beyond 64 bits.
    """
    indices = [index for index, _leaf in entries]
    _check_indices(length, indices)
    if len(sizes) != len(entries):
        raise MultiproofError(f"{len(sizes)} sizes for {len(entries)} chunks")
    leaves = {
        index: Node(2 * index, size, leaf)
        for (index, leaf), size in zip(entries, sizes, strict=True)
    }
    remaining = iter(nodes)

    def walk(first: int, count: int, chosen: Sequence[int]) -> Node:
        if not chosen:
            node = next(remaining, None)
            if node is None:
                raise MultiproofError("the proof has too few nodes")
            return Node(_subtree(first, count), node.size, node.hash)
        if count == 1:
            return leaves[first]
        half = count // 2
        below, above = _split(chosen, first + half)
        left = walk(first, half, below)
        right = walk(first + half, half, above)
        return _parent(_subtree(first, count), left, right)

    roots = [walk(first, count, chosen) for first, count, chosen in _runs(length, indices)]
    if next(remaining, None) is not None:
        raise MultiproofError("the proof has nodes left over")
    return tree_hash(roots)


def _check_indices(length: int, indices: Sequence[int]) -> None:
    if not 0 <= length <= MAX_LENGTH:
        raise MultiproofError(f"a feed cannot have {length} chunks")
    for previous, index in zip([-1, *indices], indices, strict=False):
        if not previous < index < length:
            raise MultiproofError(f"chunk {index} is out of order or beyond {length} chunks")


def _runs(length: int, indices: Sequence[int]) -> list[tuple[int, int, Sequence[int]]]:
    """First chunk, number of chunks, and proved chunks of each full root, from left to right."""
    runs: list[tuple[int, int, Sequence[int]]] = []
    first, rest = 0, indices
    for root in full_roots(length):
        count = root - 2 * first + 1
        chosen, rest = _split(rest, first + count)
        runs.append((first, count, chosen))
        first += count
    return runs


def _split(indices: Sequence[int], at: int) -> tuple[Sequence[int], Sequence[int]]:
    cut = bisect_left(indices, at)
    return indices[:cut], indices[cut:]


def _parent(index: int, left: Node, right: Node) -> Node:
    """The parent by the chain's rule: sizes may use all 64 bits, unlike on Hypercore's wire."""
    size = left.size + right.size
    if size > _MAX_SIZE:
        raise MultiproofError("the sizes add up to more than 64 bits")
    hashed = blake2b_256(b"\x01", size.to_bytes(8, "little"), left.hash, right.hash)
    return Node(index, size, hashed)


def _subtree(first: int, count: int) -> int:
    """Tree index of the node over `count` chunks from chunk `first` on."""
    return 2 * first + count - 1
