"""Accounts of the chain: sr25519 keys and their derivation from a development phrase or a seed."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field

import sr25519

from chain_types.scale import COMPACT_MAX, Compact
from chain_types.ss58 import ss58_decode, ss58_encode
from chain_types.storage_keys import blake2_256

__all__ = ["Account", "ss58_decode", "ss58_encode"]

SEED_BYTES = 32
# The mini secret of the phrase that all Substrate development chains know: its accounts are public.
DEVELOPMENT_SEED = bytes.fromhex("fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e")

_URI = re.compile(r"(?P<seed>0x[0-9a-fA-F]{64})?(?P<path>(//[^/]+)*)")
_CHAIN_CODE_BYTES = 32


@dataclass(frozen=True)
class Account:
    """An account and its key; the secret never appears in its representation.

    Attributes:
        public: 32 bytes, the account's id.
    """

    public: bytes
    _secret: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> Account:
        """Derive the key of a 32-byte seed.

        Raises:
            ValueError: the seed is not 32 bytes long.
        """
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        return cls(*sr25519.pair_from_seed(seed))

    @classmethod
    def generate(cls) -> tuple[Account, bytes]:
        """Make a key from a fresh seed of the operating system; returns both."""
        seed = secrets.token_bytes(SEED_BYTES)
        return cls.from_seed(seed), seed

    @classmethod
    def from_uri(cls, uri: str) -> Account:
        """Derive a key: `//Alice`, `//Alice//stash`, `0x…` (a seed), `0x…//1`.

        Only hard junctions (`//`) are known; without a seed the development phrase is meant.

        Raises:
            ValueError: the text is no such path; the message does not repeat it.
        """
        match = _URI.fullmatch(uri)
        if match is None or not uri:
            raise ValueError("a key is given as //Name for development, or as 0x and 64 digits")
        seed = bytes.fromhex(match["seed"][2:]) if match["seed"] else DEVELOPMENT_SEED
        public, secret = sr25519.pair_from_seed(seed)
        for junction in match["path"].split("//")[1:]:
            _, public, secret = sr25519.hard_derive_keypair(
                (_chain_code(junction), public, secret), b""
            )
        return cls(public, secret)

    @property
    def address(self) -> str:
        """The account's SS58 address."""
        return ss58_encode(self.public)

    def sign(self, message: bytes) -> bytes:
        """Sign `message`; returns the 64-byte signature, which differs each time."""
        return bytes(sr25519.sign((self.public, self._secret), message))


def _chain_code(junction: str) -> bytes:
    if junction.isdecimal():
        encoded = int(junction).to_bytes(8, "little")
    else:
        text = junction.encode()
        encoded = Compact(COMPACT_MAX).encode(len(text)) + text
    if len(encoded) > _CHAIN_CODE_BYTES:
        encoded = blake2_256(encoded)
    return encoded.ljust(_CHAIN_CODE_BYTES, b"\0")
