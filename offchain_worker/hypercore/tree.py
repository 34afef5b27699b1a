"""The Merkle tree of a feed: flat-tree numbering, hashes, proofs (hypercore.md §5).

Nodes are numbered in order: block i is node 2i; the node of depth d and offset o is
(1 + 2o)·2^d − 1. A feed of any length is a forest of full trees, whose roots are signed.
Hashes and sizes of a proof come from a peer; what these functions return has been recomputed
down to nodes that the caller trusts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import NamedTuple

from offchain_worker.hypercore.encoding import MAX_UINT
from offchain_worker.hypercore.errors import BadProof, InvalidRequest

MAX_HEIGHT = 53
HASH_BYTES = 32


class Node(NamedTuple):
    """A tree node: its index, the bytes of all blocks under it, its 32-byte hash.

    A tuple, because a reader makes some ten of them for each block; it hides `tuple.index`.
    """

    index: int  # type: ignore[assignment]
    size: int
    hash: bytes


# --- flat-tree numbering -----------------------------------------------------------------------


def depth(index: int) -> int:
    """Height of a node above the leaves: the number of its trailing one bits."""
    return (~index & (index + 1)).bit_length() - 1


def offset(index: int) -> int:
    """Place of a node among those of its depth."""
    return index >> (depth(index) + 1)


def node_index(node_depth: int, node_offset: int) -> int:
    """The index of the node with that depth and offset."""
    return ((1 + 2 * node_offset) << node_depth) - 1


def parent(index: int) -> int:
    """The index of a node's parent."""
    d = depth(index)
    return node_index(d + 1, index >> (d + 2))


def sibling(index: int) -> int:
    """The index of the other child of a node's parent."""
    d = depth(index)
    return node_index(d, (index >> (d + 1)) ^ 1)


def children(index: int) -> tuple[int, int]:
    """The indices of the left and the right child.

    Raises:
        ValueError: a leaf has none.
    """
    d = depth(index)
    if d == 0:
        raise ValueError(f"node {index} is a leaf")
    half = 1 << (d - 1)
    return index - half, index + half


def span(index: int) -> tuple[int, int]:
    """The first and the last leaf under a node, as tree indices."""
    reach = (1 << depth(index)) - 1
    return index - reach, index + reach


def contains(index: int, other: int) -> bool:
    """Whether node `other` is `index` or below it."""
    first, last = span(index)
    return first <= other <= last


def full_roots(length: int) -> list[int]:
    """The indices of the roots over `length` blocks, left to right."""
    roots = []
    begin = 0
    while length:
        run = 1 << (length.bit_length() - 1)
        roots.append(2 * begin + run - 1)
        begin += run
        length -= run
    return roots


def root_over(block: int, length: int) -> int:
    """The index of the full root above block `block` of `length` blocks.

    Raises:
        ValueError: the block is not below `length`.
    """
    if not 0 <= block < length:
        raise ValueError(f"block {block} is not below length {length}")
    begin = 0
    while True:
        run = 1 << ((length - begin).bit_length() - 1)
        if block < begin + run:
            return 2 * begin + run - 1
        begin += run


# --- hashes ------------------------------------------------------------------------------------


def leaf_hash(data: bytes) -> bytes:
    """The 32-byte hash of a block's data."""
    digest = blake2b(b"\x00" + len(data).to_bytes(8, "little"), digest_size=HASH_BYTES)
    digest.update(data)
    return digest.digest()


def leaf_node(block: int, data: bytes) -> Node:
    """The leaf of block number `block` with that data."""
    return Node(2 * block, len(data), leaf_hash(data))


def parent_hash(left: Node, right: Node) -> bytes:
    """The 32-byte hash of the parent of two siblings.

    Raises:
        BadProof: the sizes add up to more than 2^53 - 1 bytes.
    """
    size = left.size + right.size
    if size > MAX_UINT:
        raise BadProof(f"the sizes of nodes {left.index} and {right.index} overflow")
    return blake2b(
        b"\x01" + size.to_bytes(8, "little") + left.hash + right.hash, digest_size=HASH_BYTES
    ).digest()


def parent_node(one: Node, other: Node) -> Node:
    """The parent of two siblings given in any order.

    Raises:
        BadProof: the sizes add up to more than 2^53 - 1 bytes.
    """
    left, right = (one, other) if one.index < other.index else (other, one)
    return Node(parent(left.index), left.size + right.size, parent_hash(left, right))


def tree_hash(roots: Iterable[Node]) -> bytes:
    """The 32-byte hash over the roots of a tree, left to right: what an author signs."""
    digest = blake2b(b"\x02", digest_size=HASH_BYTES)
    for root in roots:
        digest.update(root.hash)
        digest.update(root.index.to_bytes(8, "little"))
        digest.update(root.size.to_bytes(8, "little"))
    return digest.digest()


# --- growing a tree ----------------------------------------------------------------------------


class TreeBuilder:
    """The roots of a growing feed; what is below them is handed out and not kept.

    Attributes:
        roots: the full roots, left to right.
        length: number of blocks.
        byte_length: bytes of all blocks.
    """

    __slots__ = ("byte_length", "length", "roots")

    def __init__(self, roots: Iterable[Node] = ()) -> None:
        """Begin with nothing, or go on behind `roots` (the full roots of a tree)."""
        self.roots = list(roots)
        self.length = length_of(root.index for root in self.roots)
        self.byte_length = sum(root.size for root in self.roots)

    def append(self, data: bytes) -> list[Node]:
        """Add a block; returns the nodes that came into being: the leaf first, then parents."""
        return self.append_leaf(leaf_node(self.length, data))

    def append_leaf(self, leaf: Node) -> list[Node]:
        """Add a block of which only the leaf is known; returns the new nodes, the leaf first.

        Raises:
            ValueError: the leaf is not that of the next block.
        """
        if leaf.index != 2 * self.length:
            raise ValueError(f"node {leaf.index} is not the leaf of block {self.length}")
        created = [leaf]
        self.roots.append(leaf)
        self.length += 1
        self.byte_length += leaf.size
        fold_last(self.roots, created)
        return created

    def tree_hash(self) -> bytes:
        """The hash over the roots as they are now."""
        return tree_hash(self.roots)


def length_of(root_indices: Iterable[int]) -> int:
    """The length of the tree with these full roots, left to right.

    Raises:
        ValueError: they are not the full roots of any length.
    """
    indices = list(root_indices)
    length = span(indices[-1])[1] // 2 + 1 if indices else 0
    if indices != full_roots(length):
        raise ValueError("these nodes are not the full roots of a tree")
    return length


def fold_last(roots: list[Node], created: list[Node]) -> None:
    """Replace the last two roots by their parent as long as they are siblings.

    Each parent is appended to `created`.

    Raises:
        BadProof: sizes overflow.
    """
    while len(roots) > 1 and sibling(roots[-1].index) == roots[-2].index:
        above = parent_node(roots[-2], roots[-1])
        del roots[-2:]
        roots.append(above)
        created.append(above)


# --- checking proofs ---------------------------------------------------------------------------


def fold(
    start: Node, siblings: Sequence[Node], known: Mapping[int, Node] = MappingProxyType({})
) -> list[Node]:
    """Climb from `start` with its siblings, bottom-up (§5.2).

    Where a node and its sibling are known, their parent is not hashed again. A reader with many
    requests in flight gets some six siblings with each block, of which an answer before it has
    proved all but one: it saves 14 µs for each block.

    Args:
        start: the node to begin with.
        siblings: bottom-up, as received.
        known: verified nodes by index.

    Returns:
        Start first, then the siblings and parents met that were not known; the last one is the
        node that stands for all.

    Raises:
        BadProof: a node that is not the next sibling, or more of them than a tree has levels; a
            node that is known otherwise.
    """
    if len(siblings) > MAX_HEIGHT:
        raise BadProof(f"{len(siblings)} siblings are more than a tree has levels")
    met = [start]
    top = start
    level = depth(start.index)
    place = offset(start.index)
    trusted = known.get(start.index)
    for node in siblings:
        if trusted is not None and trusted != top:
            break
        if node.index != ((1 + 2 * (place ^ 1)) << level) - 1:
            raise BadProof(f"node {node.index} is not the sibling of node {top.index}")
        left, right = (node, top) if place & 1 else (top, node)
        level += 1
        place >>= 1
        index = ((1 + 2 * place) << level) - 1
        above = known.get(index)
        if trusted is not None and above is not None and known.get(node.index) == node:
            top = above
        else:
            top = Node(index, left.size + right.size, parent_hash(left, right))
            met.append(node)
        met.append(top)
        trusted = above
    if trusted is not None and trusted != top:
        raise BadProof(f"the proof of node {start.index} gives another node {top.index}")
    return met


def verify_path(known: Mapping[int, Node], start: Node, siblings: Sequence[Node]) -> list[Node]:
    """Check that `start`, with its siblings, leads to a node of `known` (§5.2).

    Args:
        known: verified nodes by index, the signed roots among them.
        start: the leaf of the data, or the node asked for.
        siblings: bottom-up, as received.

    Returns:
        The nodes that are verified now, `start` first.

    Raises:
        BadProof: it does not lead to a verified node, or to a different one.
    """
    met = fold(start, siblings, known)
    top = met[-1]
    if top.index not in known:
        raise BadProof(f"the proof of node {start.index} ends at the unverified node {top.index}")
    return met


class Upgrade(NamedTuple):
    """A longer tree as a proof gives it; nothing of it is trusted before its head is verified.

    Attributes:
        roots: the full roots of the new tree.
        length: number of blocks of the new tree.
        nodes: all nodes of the proof and their parents.
        used_subtree: whether the proven block's folded node took part.
    """

    roots: list[Node]
    length: int
    nodes: list[Node]
    used_subtree: bool


def apply_upgrade(
    roots: Sequence[Node],
    length: int,
    nodes: Sequence[Node],
    additional: Sequence[Node] = (),
    subtree: Node | None = None,
) -> Upgrade:
    """Grow a tree by an upgrade proof (§5.3).

    Args:
        roots: the verified full roots that the receiver has.
        length: the length asked for, above that of `roots`.
        nodes: what leads to the full roots of `length`.
        additional: what leads further, up to the length that is signed.
        subtree: the folded node of a block or hash in the same message.

    Raises:
        BadProof: a node that does not come next, one too few or too many.
    """
    grown = list(roots)
    met: list[Node] = []
    begin = length_of(root.index for root in grown)
    if not begin < length <= MAX_UINT:
        raise BadProof(f"an upgrade from length {begin} to {length}")
    used = _grow(grown, upgrade_steps(begin, length), nodes, subtree, met)
    if not additional:
        return Upgrade(grown, length, met, used)
    new_length = span(additional[-1].index)[1] // 2 + 1
    if not length < new_length <= MAX_UINT:
        raise BadProof(f"additional nodes up to length {new_length} do not go beyond {length}")
    _grow(grown, upgrade_steps(length, new_length), additional, None, met)
    return Upgrade(grown, new_length, met, used)


def _grow(
    roots: list[Node],
    steps: Sequence[int],
    nodes: Sequence[Node],
    subtree: Node | None,
    met: list[Node],
) -> bool:
    """Append `nodes` to `roots` in the order of `steps`; returns whether `subtree` was used."""
    source = iter(nodes)
    used = False
    for expected in steps:
        if subtree is not None and subtree.index == expected:
            node = subtree
            used = True
        else:
            following = next(source, None)
            if following is None:
                raise BadProof(f"the upgrade lacks node {expected}")
            if following.index != expected:
                raise BadProof(f"the upgrade has node {following.index} instead of {expected}")
            node = following
        roots.append(node)
        met.append(node)
        fold_last(roots, met)
    if next(source, None) is not None:
        raise BadProof("the upgrade has nodes left over")
    return used


def upgrade_steps(begin: int, end: int) -> list[int]:
    """The indices that lead from the full roots of `begin` to those of `end`, in order (§5.3)."""
    roots = full_roots(begin)
    target = full_roots(end)
    steps: list[int] = []
    same = 0
    while same < len(target):
        if same < len(roots) and roots[same] == target[same]:
            same += 1
            continue
        following = sibling(roots[-1]) if same < len(roots) else target[same]
        steps.append(following)
        roots.append(following)
        while len(roots) > 1 and sibling(roots[-1]) == roots[-2]:
            del roots[-1]
            roots[-1] = parent(roots[-1])
    return steps


# --- making proofs -----------------------------------------------------------------------------


class Proof(NamedTuple):
    """The nodes of an answer; which of them are there follows from the request.

    Attributes:
        nodes: for the block or hash: siblings bottom-up; for a hash the node itself first.
        upgrade: nodes up to the length asked for.
        additional: nodes from there up to the head.
    """

    nodes: list[Node]
    upgrade: list[Node]
    additional: list[Node]


def prove(
    get: Callable[[int], Node],
    head_length: int,
    *,
    block: tuple[int, int] | None = None,
    hash_of: tuple[int, int] | None = None,
    upgrade: tuple[int, int] | None = None,
) -> Proof:
    """Collect what answers a request, as the reference does (§5.2 to §5.4).

    Args:
        get: returns the node of a tree index below the head, or raises.
        head_length: blocks of the feed.
        block: (block index, levels) asked for.
        hash_of: (tree index, levels) asked for; at most one of the two.
        upgrade: (start, length) asked for.

    Raises:
        InvalidRequest: levels beyond the tree, an upgrade out of bounds, a node beyond the head.
    """
    begin, end = 0, head_length
    if upgrade is not None:
        begin, end = upgrade[0], upgrade[0] + upgrade[1]
    if begin >= end or end > head_length:
        raise InvalidRequest(f"no upgrade from {begin} to {end} in a feed of {head_length}")

    asked = -1
    levels = 0
    if block is not None:
        asked, levels = 2 * block[0], block[1]
    elif hash_of is not None:
        asked, levels = hash_of
    if asked >= 0 and span(asked)[1] >= 2 * head_length:
        raise InvalidRequest(f"node {asked} is not in a feed of {head_length}")

    nodes: list[Node] = []
    if hash_of is not None:
        nodes.append(get(asked))

    def climb(top: int) -> None:
        place = offset(asked)
        for level in range(depth(asked), depth(top)):
            nodes.append(get(node_index(level, place ^ 1)))
            place >>= 1

    pending = asked >= 0
    if pending and (upgrade is None or span(asked)[1] < 2 * begin):
        climb(_levels_up(asked, levels, 2 * end))
        pending = False

    grown: list[Node] = []
    if upgrade is not None:
        for index in upgrade_steps(begin, end):
            if pending and contains(index, asked):
                climb(index)
                pending = False
            else:
                grown.append(get(index))
    if pending:
        raise InvalidRequest(f"node {asked} is not below the upgrade's end {end}")
    additional = (
        [get(index) for index in upgrade_steps(end, head_length)] if upgrade is not None else []
    )
    return Proof(nodes, grown, additional)


def _levels_up(index: int, levels: int, limit: int) -> int:
    """The node `levels` above; it must not reach the tree index `limit`."""
    if levels > MAX_HEIGHT:
        raise InvalidRequest(f"{levels} levels are more than a tree has")
    top = node_index(depth(index) + levels, offset(index) >> levels)
    # It reaches the farthest of all nodes on the way.
    if span(top)[1] >= limit and levels:
        raise InvalidRequest(f"node {top} reaches beyond the tree")
    return top
