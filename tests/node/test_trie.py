"""The incremental trie against a straightforward one and against known roots."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datdot_node import trie


def blake(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def length_prefix(count: int) -> bytes:
    if count < 64:
        return bytes([count << 2])
    if count < 2**14:
        return (count << 2 | 1).to_bytes(2, "little")
    return (count << 2 | 2).to_bytes(4, "little")


def reference_encoding(items: dict[tuple[int, ...], bytes], skip: int, hash_long: bool) -> bytes:
    """Encodes the node over all `items`, whose first `skip` nibbles lead to it; from scratch."""
    paths = sorted(items)
    end = skip
    while all(len(path) > end for path in paths) and len({path[end] for path in paths}) == 1:
        end += 1
    partial = paths[0][skip:end]
    value = items.get(paths[0][:end])
    below = [path for path in paths if len(path) > end]
    hashed = value is not None and hash_long and len(value) > 32
    if not below:
        first, bits = (0x20, 5) if hashed else (0x40, 6)
    elif value is None:
        first, bits = 0x80, 6
    else:
        first, bits = (0x10, 4) if hashed else (0xC0, 6)
    out = bytearray()
    left = len(partial)
    most = 2**bits - 1
    if left < most:
        out.append(first + left)
    else:
        out.append(first + most)
        left -= most
        while left >= 255:
            out.append(255)
            left -= 255
        out.append(left)
    padded = ((0,) if len(partial) % 2 else ()) + partial
    out += bytes(padded[i] * 16 + padded[i + 1] for i in range(0, len(padded), 2))
    children = b""
    if below:
        bitmap = 0
        for nibble in range(16):
            under = {path: items[path] for path in below if path[end] == nibble}
            if under:
                bitmap += 2**nibble
                encoded = reference_encoding(under, end + 1, hash_long)
                child = encoded if len(encoded) < 32 else blake(encoded)
                children += length_prefix(len(child)) + child
        out += bitmap.to_bytes(2, "little")
    if value is not None:
        out += blake(value) if hashed else length_prefix(len(value)) + value
    return bytes(out) + children


def reference_root(items: dict[bytes, bytes], version: int) -> bytes:
    if not items:
        return blake(b"\0")
    nibbles = {tuple(int(digit, 16) for digit in key.hex()): value for key, value in items.items()}
    return blake(reference_encoding(nibbles, 0, version == 1))


KEYS = st.one_of(
    st.binary(max_size=3),
    st.binary(max_size=40),
    st.binary(min_size=120, max_size=160),
    st.sampled_from([b"\x26\xaa" * 16 + bytes([i]) for i in range(20)]),
)
VALUES = st.one_of(st.binary(max_size=40), st.binary(min_size=30, max_size=100))
VERSIONS = st.sampled_from([0, 1])


def test_root_of_an_empty_trie_is_that_of_substrate() -> None:
    expected = "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314"
    assert trie.root([], 1).hex() == trie.root([], 0).hex() == expected


def test_encoding_of_one_leaf_by_hand() -> None:
    assert trie.root([(b"\xab", b"\x01")], 0) == blake(bytes.fromhex("42ab0401"))
    assert trie.root([(b"\xab", b"\x01" * 33)], 1) == blake(
        bytes.fromhex("22ab") + blake(b"\x01" * 33)
    )
    assert trie.root([(b"\xab", b"\x01" * 32)], 1) == blake(bytes.fromhex("42ab80") + b"\x01" * 32)


def test_encoding_of_a_branch_by_hand() -> None:
    # 0x12 → 01, 0x1234 → 02: a branch of value 01 at nibbles 1, 2, below nibble 3 a leaf 4.
    leaf = bytes.fromhex("41040402")
    assert trie.root([(b"\x12", b"\1"), (b"\x12\x34", b"\2")], 0) == blake(
        bytes.fromhex("c2120800") + bytes.fromhex("0401") + bytes([len(leaf) << 2]) + leaf
    )


@pytest.mark.parametrize("length", [62, 63, 64, 300, 317, 318, 319, 600])
def test_long_paths(length: int) -> None:
    items = {b"\x5a" * length: b"value", b"\x5a" * length + b"\xff": b"v" * 50}
    for version in (0, 1):
        assert trie.root(items.items(), version) == reference_root(items, version)


@given(st.dictionaries(KEYS, VALUES, max_size=40), VERSIONS)
def test_roots_agree_with_the_reference(items: dict[bytes, bytes], version: int) -> None:
    assert trie.root(items.items(), version) == reference_root(items, version)


@given(
    st.lists(st.lists(st.tuples(KEYS, st.none() | VALUES), max_size=12), min_size=1, max_size=6),
    VERSIONS,
)
def test_changes_give_the_same_root_as_building_anew(
    batches: list[list[tuple[bytes, bytes | None]]], version: int
) -> None:
    current = trie.Trie(version)
    items: dict[bytes, bytes] = {}
    for batch in batches:
        before, before_root = current, current.root
        current = current.changed(batch)
        for key, value in batch:
            if value is None:
                items.pop(key, None)
            else:
                items[key] = value
        assert current.root == reference_root(items, version)
        assert before.root == before_root


@given(st.lists(VALUES, max_size=70), VERSIONS)
def test_ordered_roots(values: list[bytes], version: int) -> None:
    items = {length_prefix(index): value for index, value in enumerate(values)}
    assert trie.ordered_root(values, version) == reference_root(items, version)


def test_an_unknown_state_version_is_refused() -> None:
    with pytest.raises(ValueError, match="state version 2"):
        trie.Trie(2)
