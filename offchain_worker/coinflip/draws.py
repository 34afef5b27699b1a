"""Everything that is drawn from a shared seed: rosters, moments, chunks, the session's habit.

coinflip.md §6; the roster's bound on steps is challenge.md §2.2. All arithmetic is in integers,
since the chain repeats it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from offchain_worker.coinflip.hashing import blake2b_256, coinflip_tag, padded_label

U64 = 1 << 64
HALF = 1 << 63
MAX_SLOTS = 32
MAX_WINDOW_MS = 1 << 58
MAX_MULTIPLE = 6
SKIPPED_AT_MOST = 2
"""The hoster's and the sponsor's accounts are the only ones that a roster draw skips."""


class Prng:
    """The counter-mode generator `prng(seed, label)`: four u64 per hashed block, in order."""

    def __init__(self, seed: bytes, label: str) -> None:
        self._prefix = coinflip_tag("prng") + seed + padded_label(label)
        self._block = 0
        self._ready: list[int] = []

    def __repr__(self) -> str:
        return f"<Prng at block {self._block}>"

    def next_u64(self) -> int:
        """The next u64."""
        if not self._ready:
            digest = blake2b_256(self._prefix, self._block.to_bytes(8, "little"))
            self._block += 1
            self._ready = [
                int.from_bytes(digest[at : at + 8], "little") for at in range(24, -1, -8)
            ]
        return self._ready.pop()

    def below(self, bound: int) -> int:
        """A uniform integer in [0, `bound`), without modulo bias.

        Raises:
            ValueError: `bound` is not in 1 … 2^64.
        """
        if not 0 < bound <= U64:
            raise ValueError(f"a bound is in 1 … 2^64, not {bound}")
        accepted = U64 - U64 % bound
        while True:
            value = self.next_u64()
            if value < accepted:
                return value % bound


def _fisher_yates(prng: Prng, size: int) -> Iterator[int]:
    """The elements of a permutation of 0 … size−1 as they become fixed, from the top down.

    Swapped positions are kept sparsely, so a draw of few out of many costs the few.
    """
    moved: dict[int, int] = {}
    for top in range(size - 1, -1, -1):
        other = prng.below(top + 1) if top else 0
        taken = moved.get(other, other)
        moved[other] = moved.get(top, top)
        moved.pop(top, None)
        yield taken


def permutation(prng: Prng, size: int) -> list[int]:
    """A permutation of 0 … size−1 by Fisher-Yates from the top."""
    return list(_fisher_yates(prng, size))[::-1]


def roster_seed(chain_randomness: bytes, challenge_id: int) -> bytes:
    """The seed of a roster's draw."""
    return blake2b_256(coinflip_tag("draw"), chain_randomness, challenge_id.to_bytes(8, "little"))


def draw_roster(seed: bytes, eligible: int, size: int, skip: Collection[int] = ()) -> list[int]:
    """Draw `size` places out of a dense list of `eligible`, in the order drawn.

    Stops after `size` + 2 steps, so that the chain's work is bounded; that suffices when `skip`
    holds at most two places. Fewer than `size` come back when fewer may be taken.
    """
    steps = islice(_fisher_yates(Prng(seed, "roster"), eligible), size + SKIPPED_AT_MOST)
    return list(islice((place for place in steps if place not in skip), size))


def join_number(topic: bytes, result: bytes, public_key: bytes, w: bytes) -> int:
    """u: the u64 that places a member's audit moment; only who knows w can compute it."""
    digest = blake2b_256(coinflip_tag("join"), topic, result, public_key, w)
    return int.from_bytes(digest[:8], "little")


def moment_uniform(u: int, low_ms: int, window_ms: int) -> int:
    """The audit moment in [low, low + window) ms under the schedule Uniform."""
    return low_ms + (u * window_ms >> 64)


def slot_order(result: bytes, active: int) -> list[int]:
    """The permutation of slots of the schedule Slots: entry Y is the slot of active member Y."""
    return permutation(Prng(result, "slots"), active)


def slot_offset(u: int, numerator: int, denominator: int) -> int:
    """The place inside a slot, in 2^64ths; jitter `numerator`/`denominator` of the slot's width.

    Raises:
        ValueError: the jitter is wider than the slot, or the denominator is not positive.
    """
    if denominator <= 0 or numerator < 0 or 2 * numerator > denominator:
        raise ValueError(f"jitter {numerator}/{denominator} does not fit into a slot")
    return HALF + (u - HALF) * 2 * numerator // denominator


def moment_slots(slot: int, offset: int, slots: int, low_ms: int, window_ms: int) -> int:
    """The audit moment under the schedule Slots, in [low, low + window) ms.

    Raises:
        ValueError: more slots or a wider window than u128 arithmetic holds, or no such slot.
    """
    if not 0 <= slot < slots <= MAX_SLOTS or window_ms >= MAX_WINDOW_MS:
        raise ValueError(f"slot {slot} of {slots} in a window of {window_ms} ms")
    return low_ms + (slot * U64 + offset) * window_ms // (slots * U64)


def chunk_seed(topic: bytes, result: bytes, public_key: bytes, w: bytes) -> bytes:
    """The seed of a member's drawn chunks and of its session's habit."""
    return blake2b_256(coinflip_tag("chunks"), topic, result, public_key, w)


def drawn_chunks(seed: bytes, length: int, count: int) -> list[int]:
    """The first min(`count`, `length`) drawn chunk indices of a feed of `length` chunks.

    Each is the first index not drawn before at or after a random one, wrapping at `length`.
    """
    prng = Prng(seed, "chunks")
    following: dict[int, int] = {}
    chunks = []
    for _ in range(min(count, length)):
        start = prng.below(length)
        path = []
        index = start
        while index in following:
            path.append(index)
            index = following[index]
        chunks.append(index)
        after = (index + 1) % length
        following[index] = after
        for passed in path:
            following[passed] = after
    return chunks


@dataclass(frozen=True)
class SessionHabit:
    """How an audited session reads (challenge.md §3.2).

    Attributes:
        windowed: with the stock client's full window (throughput) or one by one (latency).
        multiple: m: it goes on to m·N chunks in all, 1 … 6.
    """

    windowed: bool
    multiple: int


def session_habit(seed: bytes) -> SessionHabit:
    """The habit that a member's chunk seed draws."""
    prng = Prng(seed, "session")
    windowed = bool(prng.next_u64() & 1)
    second = prng.next_u64()
    trailing_ones = (~second & (second + 1)).bit_length() - 1 if second != U64 - 1 else 64
    return SessionHabit(windowed=windowed, multiple=min(1 + trailing_ones, MAX_MULTIPLE))


def retry_jitter(topic: bytes, delta_ms: int) -> int:
    """The random part of the pause before the next attempt, in [0, delta) ms (coinflip.md §2)."""
    return Prng(topic, "retry").below(delta_ms)
