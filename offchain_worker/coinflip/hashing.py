"""The one hash function and the domain tags of DatDot (coinflip.md §1, challenge.md "Words")."""

from __future__ import annotations

import hashlib
from functools import cache

HASH_BYTES = 32
ZEROS = bytes(HASH_BYTES)


def blake2b_256(*parts: bytes) -> bytes:
    """BLAKE2b with a 32-byte digest over the concatenation of `parts`; no key, salt or person."""
    state = hashlib.blake2b(digest_size=HASH_BYTES)
    for part in parts:
        state.update(part)
    return state.digest()


@cache
def coinflip_tag(name: str) -> bytes:
    """`datdot.coinflip.v1.` + `name` as ASCII, zero-padded to 32 bytes.

    Raises:
        ValueError: the text is longer than 32 bytes or not ASCII.
    """
    return _padded("datdot.coinflip.v1." + name)


@cache
def performance_tag(name: str) -> bytes:
    """`datdot.performance.v1.` + `name` as ASCII, zero-padded to 32 bytes.

    Raises:
        ValueError: the text is longer than 32 bytes or not ASCII.
    """
    return _padded("datdot.performance.v1." + name)


def _padded(text: str) -> bytes:
    encoded = text.encode("ascii")
    if len(encoded) > HASH_BYTES:
        raise ValueError(f"a label has at most {HASH_BYTES} bytes: {text!r}")
    return encoded.ljust(HASH_BYTES, b"\0")


def padded_label(text: str) -> bytes:
    """`text` as ASCII, zero-padded to 32 bytes: the label of a generator (coinflip.md §6).

    Raises:
        ValueError: the text is longer than 32 bytes or not ASCII.
    """
    return _padded(text)


# The specification's names.
H = blake2b_256
TAG = coinflip_tag
