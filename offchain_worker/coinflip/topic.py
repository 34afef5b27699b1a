"""What one coinflip is about: challenge, attempt and roster, and their hash (coinflip.md §1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from offchain_worker.coinflip.hashing import HASH_BYTES, blake2b_256, coinflip_tag
from offchain_worker.keys import is_valid_public_key

MAX_ROSTER = 32
FALLBACK_ATTEMPT = 1 << 31


class RosterError(ValueError):
    """The roster or the block hashes cannot make a topic."""


def topic_id(
    genesis: bytes,
    challenge_id: int,
    start_block_hash: bytes,
    attempt: int,
    roster: Sequence[bytes],
) -> bytes:
    """The 32-byte topic; `roster` holds session keys, distinct and ascending as bytes."""
    return blake2b_256(
        coinflip_tag("topic"),
        genesis,
        challenge_id.to_bytes(8, "little"),
        start_block_hash,
        attempt.to_bytes(4, "little"),
        len(roster).to_bytes(4, "little"),
        *roster,
    )


@dataclass(frozen=True)
class Flip:
    """One attempt at one challenge's shared random value; everything that its topic binds.

    Attributes:
        genesis: hash of the chain's first block, 32 bytes.
        challenge_id: u64.
        start_block_hash: hash of block S, 32 bytes; a reorganised S makes another topic.
        attempt: 0, 1, …; `FALLBACK_ATTEMPT` for the flip on the chain.
        roster: session keys, ascending; a member's index is its position.
        topic: computed, 32 bytes.
        size: the number of members, n.

    Raises:
        RosterError: keys that are invalid, repeated or out of order, more than `MAX_ROSTER`,
            none at all, or hashes of the wrong length.
    """

    genesis: bytes
    challenge_id: int
    start_block_hash: bytes
    attempt: int
    roster: tuple[bytes, ...]
    topic: bytes = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        if len(self.genesis) != HASH_BYTES or len(self.start_block_hash) != HASH_BYTES:
            raise RosterError("genesis and start block hashes have 32 bytes")
        if not 0 < len(self.roster) <= MAX_ROSTER:
            raise RosterError(f"a roster has 1 to {MAX_ROSTER} members, not {len(self.roster)}")
        if any(a >= b for a, b in zip(self.roster, self.roster[1:], strict=False)):
            raise RosterError("a roster is ascending and names nobody twice")
        if not all(is_valid_public_key(key) for key in self.roster):
            raise RosterError("a session key is not a canonical ed25519 point of prime order")
        topic = topic_id(
            self.genesis, self.challenge_id, self.start_block_hash, self.attempt, self.roster
        )
        object.__setattr__(self, "topic", topic)
        object.__setattr__(self, "size", len(self.roster))
