"""Commitments, the root over all of them, and the three ways to combine the openings.

coinflip.md §1 (y, z, root), §5 (the fallback on the chain), §6 (magic).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from offchain_worker.coinflip.hashing import HASH_BYTES, blake2b_256, coinflip_tag

Magic = Callable[[bytes, bytes, Sequence[bytes]], bytes]
"""(topic, root, x of every member in roster order) → the shared value, 32 bytes."""


def number_commitment(topic: bytes, public_key: bytes, salt: bytes, x: bytes) -> bytes:
    """y: binds a member to its number x without telling it."""
    return blake2b_256(coinflip_tag("y"), topic, public_key, salt, x)


def audit_commitment(topic: bytes, public_key: bytes, w: bytes, audit_key: bytes) -> bytes:
    """z: binds a member to the secret w of its audit and to its one-time Noise key."""
    return blake2b_256(coinflip_tag("z"), topic, public_key, w, audit_key)


def commitment_root(topic: bytes, commitments: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The root over (y, z) of every member, in roster order."""
    flat = (part for pair in commitments for part in pair)
    return blake2b_256(coinflip_tag("root"), topic, len(commitments).to_bytes(4, "little"), *flat)


def hash_concat(topic: bytes, root: bytes, numbers: Sequence[bytes]) -> bytes:
    """The default, and the only combination that the chain accepts."""
    return blake2b_256(coinflip_tag("magic"), topic, root, *numbers)


def xor(topic: bytes, root: bytes, numbers: Sequence[bytes]) -> bytes:
    """The bare exclusive or. For study only.

    Equal numbers cancel, a flaw that all generators share survives, it does not depend on topic
    or root, and whoever chooses last sets the result exactly.
    """
    del topic, root
    return reduce(
        lambda a, b: bytes(p ^ q for p, q in zip(a, b, strict=True)), numbers, bytes(HASH_BYTES)
    )


def xor_hash(topic: bytes, root: bytes, numbers: Sequence[bytes]) -> bytes:
    """The hash of the exclusive or. For study only: equal numbers still cancel inside."""
    return blake2b_256(coinflip_tag("magic"), topic, root, xor(topic, root, numbers))


def fallback_root(topic: bytes, audit_commitments: Sequence[bytes]) -> bytes:
    """The root over z of the active members of a fallback, in roster order (coinflip.md §5)."""
    count = len(audit_commitments).to_bytes(4, "little")
    return blake2b_256(coinflip_tag("root"), topic, count, *audit_commitments)


def fallback_result(topic: bytes, root: bytes, chain_randomness: bytes) -> bytes:
    """R of a fallback: the root mixed with the chain's randomness (coinflip.md §5)."""
    return blake2b_256(coinflip_tag("mix"), topic, root, chain_randomness)
