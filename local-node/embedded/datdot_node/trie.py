"""The base-16 Merkle-Patricia trie of Substrate, in memory.

Nodes are immutable and remember their encoding, so a trie with a few changes shares all the rest
with the trie before, and its root costs only what changed. In state version 1 a value longer than
32 bytes stands in its node as its hash, in version 0 as itself.

Keys are handled as strings of hexadecimal digits, one a nibble. Node format: chapter «State
storage» of the Polkadot specification.
"""

from collections.abc import Iterable

from datdot_node.hashing import blake2_256
from datdot_node.scale import compact, sized

_DIGITS = {digit: index for index, digit in enumerate("0123456789abcdef")}
_LONGEST_INLINE_VALUE = {0: None, 1: 32}

# First bits of a node's header, and how many bits of that byte are left for the length.
_LEAF = (0b0100_0000, 0b0011_1111)
_BRANCH = (0b1000_0000, 0b0011_1111)
_BRANCH_WITH_VALUE = (0b1100_0000, 0b0011_1111)
_LEAF_WITH_HASH = (0b0010_0000, 0b0001_1111)
_BRANCH_WITH_HASH = (0b0001_0000, 0b0000_1111)

EMPTY_ROOT = blake2_256(b"\0")
"""Root of a trie without any value."""


class Node:
    """A node: the nibbles from its parent to it, its value, its sixteen children.

    A node without children is a leaf and always has a value; a node without a value has at least
    two children.
    """

    __slots__ = ("_reference", "children", "partial", "value")

    def __init__(
        self, partial: str, value: bytes | None, children: "tuple[Node | None, ...] | None"
    ) -> None:
        self.partial = partial
        self.value = value
        self.children = children
        self._reference: bytes | None = None

    def encode(self, version: int) -> bytes:
        """The node's encoding, its children by reference."""
        value = self.value
        limit = _LONGEST_INLINE_VALUE[version]
        hashed = value is not None and limit is not None and len(value) > limit
        if self.children is None:
            kind = _LEAF_WITH_HASH if hashed else _LEAF
        elif value is None:
            kind = _BRANCH
        else:
            kind = _BRANCH_WITH_HASH if hashed else _BRANCH_WITH_VALUE
        parts = [_header(kind, len(self.partial)), _packed(self.partial)]
        references = []
        if self.children is not None:
            bitmap = 0
            for index, child in enumerate(self.children):
                if child is not None:
                    bitmap |= 1 << index
                    references.append(sized(child.reference(version)))
            parts.append(bitmap.to_bytes(2, "little"))
        if value is not None:
            parts.append(blake2_256(value) if hashed else sized(value))
        return b"".join(parts + references)

    def reference(self, version: int) -> bytes:
        """What stands for this node in its parent: its encoding if below 32 bytes, else its hash.

        Remembered: one trie has one version.
        """
        if self._reference is None:
            encoded = self.encode(version)
            self._reference = encoded if len(encoded) < 32 else blake2_256(encoded)
        return self._reference


def _header(kind: tuple[int, int], length: int) -> bytes:
    prefix, most = kind
    if length < most:
        return bytes((prefix | length,))
    full, last = divmod(length - most, 255)
    return bytes((prefix | most,)) + b"\xff" * full + bytes((last,))


def _packed(nibbles: str) -> bytes:
    return bytes.fromhex(nibbles if len(nibbles) % 2 == 0 else "0" + nibbles)


def _shared(left: str, right: str) -> int:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


_NO_CHILDREN: tuple[Node | None, ...] = (None,) * 16


def _with_child(
    children: tuple[Node | None, ...], digit: str, child: Node | None
) -> tuple[Node | None, ...]:
    index = _DIGITS[digit]
    return (*children[:index], child, *children[index + 1 :])


def _insert(node: Node | None, path: str, value: bytes) -> Node:
    if node is None:
        return Node(path, value, None)
    if path.startswith(node.partial):
        rest = path[len(node.partial) :]
        if not rest:
            return node if node.value == value else Node(node.partial, value, node.children)
        children = node.children or _NO_CHILDREN
        below = children[_DIGITS[rest[0]]]
        child = _insert(below, rest[1:], value)
        if child is below:
            return node
        return Node(node.partial, node.value, _with_child(children, rest[0], child))
    shared = _shared(path, node.partial)
    lower = Node(node.partial[shared + 1 :], node.value, node.children)
    children = _with_child(_NO_CHILDREN, node.partial[shared], lower)
    if shared == len(path):
        return Node(path, value, children)
    children = _with_child(children, path[shared], Node(path[shared + 1 :], value, None))
    return Node(path[:shared], None, children)


def _remove(node: Node | None, path: str) -> Node | None:
    if node is None or not path.startswith(node.partial):
        return node
    rest = path[len(node.partial) :]
    if not rest:
        if node.value is None:
            return node
        return None if node.children is None else _joined(node.partial, None, node.children)
    if node.children is None:
        return node
    below = node.children[_DIGITS[rest[0]]]
    child = _remove(below, rest[1:])
    if child is below:
        return node
    return _joined(node.partial, node.value, _with_child(node.children, rest[0], child))


def _joined(partial: str, value: bytes | None, children: tuple[Node | None, ...]) -> Node:
    """The node after a removal: without children a leaf, with one and no value that child."""
    left = [(index, child) for index, child in enumerate(children) if child is not None]
    if not left:
        return Node(partial, value, None)
    if value is None and len(left) == 1:
        index, child = left[0]
        return Node(f"{partial}{index:x}{child.partial}", child.value, child.children)
    return Node(partial, value, children)


class Trie:
    """A trie of one state version. Immutable: changes give another trie.

    One node must not be shared by tries of two versions.
    """

    __slots__ = ("_root", "version")

    def __init__(self, version: int, root: Node | None = None) -> None:
        if version not in _LONGEST_INLINE_VALUE:
            raise ValueError(f"unknown state version {version}")
        self.version = version
        self._root = root

    def changed(self, changes: Iterable[tuple[bytes, bytes | None]]) -> "Trie":
        """The trie with these values set, or removed where None."""
        node = self._root
        for key, value in changes:
            path = key.hex()
            node = _remove(node, path) if value is None else _insert(node, path, value)
        return Trie(self.version, node)

    def closest_descendant(self, key: bytes) -> bytes | None:
        """The Merkle value of the node that all keys beginning with `key` are below, or None.

        That is its hash, or its encoding when that is shorter than 32 bytes; of the root its hash.
        """
        node, path = self._root, key.hex()
        while node is not None:
            if node.partial.startswith(path):
                return self.root if node is self._root else node.reference(self.version)
            if not path.startswith(node.partial) or node.children is None:
                return None
            rest = path[len(node.partial) :]
            node, path = node.children[_DIGITS[rest[0]]], rest[1:]
        return None

    @property
    def root(self) -> bytes:
        """The trie's root hash."""
        if self._root is None:
            return EMPTY_ROOT
        # Not only by reference: the root is hashed however short its encoding is.
        reference = self._root.reference(self.version)
        return reference if len(reference) == 32 else blake2_256(reference)


def root(items: Iterable[tuple[bytes, bytes]], version: int) -> bytes:
    """Root of a trie of these keys and values."""
    return Trie(version).changed(items).root


def ordered_root(values: Iterable[bytes], version: int) -> bytes:
    """Root of a trie of values under their compact-encoded places."""
    return root(((compact(index), value) for index, value in enumerate(values)), version)
