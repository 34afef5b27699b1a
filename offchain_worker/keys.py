"""Ed25519 key pairs: session keys, Noise keys, audit keys, feed signers.

Signatures are libsodium's (PyNaCl ≥ 1.6.2): what it accepts is a subset of what the chain's
ZIP-215 verifier accepts, so a signature that an honest peer accepts always stands on chain
(coinflip.md §1).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import lru_cache

from nacl import bindings
from nacl.exceptions import BadSignatureError

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class KeyPair:
    """An Ed25519 key pair; the seed never appears in its representation.

    Attributes:
        public: 32 bytes, the compressed Edwards point.
        seed: 32 bytes, the secret.
    """

    public: bytes
    seed: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> KeyPair:
        """Derive the pair of a 32-byte seed.

        Raises:
            ValueError: the seed is not 32 bytes long.
        """
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 seed has {SEED_BYTES} bytes, not {len(seed)}")
        public, _secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(public=public, seed=seed)

    @classmethod
    def generate(cls) -> KeyPair:
        """Make a pair from 32 fresh bytes of the operating system."""
        return cls.from_seed(secrets.token_bytes(SEED_BYTES))

    def sign(self, message: bytes) -> bytes:
        """Sign `message`; returns the 64-byte detached signature (RFC 8032)."""
        signed = bindings.crypto_sign(message, self.seed + self.public)
        return signed[:SIGNATURE_BYTES]


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is `public`'s (32 bytes) over `message`, by libsodium."""
    if len(public) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public)
    except BadSignatureError:
        return False
    return True


@lru_cache(maxsize=1024)
def is_valid_public_key(public: bytes) -> bool:
    """Whether `public` is canonical, of prime order and not the identity.

    The chain refuses all other keys at registration by the equal rule (challenge.md §2.1).
    """
    return len(public) == PUBLIC_KEY_BYTES and bindings.crypto_core_ed25519_is_valid_point(public)
