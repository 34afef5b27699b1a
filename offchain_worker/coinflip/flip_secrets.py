"""The four secrets that a member brings into one topic, and never into another (coinflip.md §1)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from offchain_worker.coinflip.commitments import audit_commitment, number_commitment
from offchain_worker.coinflip.hashing import HASH_BYTES
from offchain_worker.keys import KeyPair


@dataclass(frozen=True)
class FlipSecrets:
    """32 bytes each; none of them appears in its representation.

    Attributes:
        x: the member's number; public once revealed.
        salt: hides x inside its commitment; public once revealed.
        w: places the member's audit moment and draws its chunks; secret until its report.
        audit_seed: of the one-time Noise key of the audited session; never published.
    """

    x: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    w: bytes = field(repr=False)
    audit_seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if any(len(s) != HASH_BYTES for s in (self.x, self.salt, self.w, self.audit_seed)):
            raise ValueError(f"a secret has {HASH_BYTES} bytes")

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = secrets.token_bytes) -> FlipSecrets:
        """Fresh secrets, from the operating system unless a test brings its own source."""
        return cls(
            x=random(HASH_BYTES),
            salt=random(HASH_BYTES),
            w=random(HASH_BYTES),
            audit_seed=random(HASH_BYTES),
        )

    @cached_property
    def audit_keypair(self) -> KeyPair:
        """The one-time Noise key of the audited session."""
        return KeyPair.from_seed(self.audit_seed)

    def commit_body(self, topic: bytes, public_key: bytes) -> bytes:
        """y ‖ z: what the member with that session key commits to."""
        y = number_commitment(topic, public_key, self.salt, self.x)
        return y + self.audit_seal(topic, public_key)

    def audit_seal(self, topic: bytes, public_key: bytes) -> bytes:
        """z alone, as a fallback on the chain commits it."""
        return audit_commitment(topic, public_key, self.w, self.audit_keypair.public)

    def reveal_body(self) -> bytes:
        """salt ‖ x."""
        return self.salt + self.x
