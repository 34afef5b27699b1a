"""Account addresses as people write them: SS58 with the prefix of this chain."""

from __future__ import annotations

import hashlib

PREFIX = 42
ACCOUNT_BYTES = 32

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_CHECKSUM_BYTES = 2
_MAX_CHARACTERS = 64


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(b"SS58PRE" + data).digest()[:_CHECKSUM_BYTES]


def ss58_encode(account: bytes) -> str:
    """Return the address of an account id of 32 bytes.

    Raises:
        ValueError: it has another length.
    """
    if len(account) != ACCOUNT_BYTES:
        raise ValueError(f"an account has {ACCOUNT_BYTES} bytes, not {len(account)}")
    data = bytes([PREFIX]) + account
    number = int.from_bytes(data + _checksum(data))
    text = ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        text = _ALPHABET[digit] + text
    return text


def ss58_decode(address: str) -> bytes:
    """Return the account id of an address.

    Raises:
        ValueError: it is no address of this chain.
    """
    if len(address) > _MAX_CHARACTERS:
        raise ValueError("an address is not so long")
    number = 0
    for character in address:
        digit = _ALPHABET.find(character)
        if digit < 0:
            raise ValueError(f"{character!r} does not occur in addresses")
        number = number * len(_ALPHABET) + digit
    size = 1 + ACCOUNT_BYTES + _CHECKSUM_BYTES
    data = number.to_bytes(size) if number < 256**size else b""
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if not body or body[0] != PREFIX:
        raise ValueError("an address of another chain, or none at all")
    if _checksum(body) != checksum or ss58_encode(body[1:]) != address:
        raise ValueError("the address is mistyped: its checksum is wrong")
    return body[1:]
