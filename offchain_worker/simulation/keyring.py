"""Session keys that runs share, and signature checks and messages that are read once.

A run draws its members from a fixed pool, so that no time goes into making key pairs. Signatures
are real; a check is remembered by key, message and signature, since every member of a run checks
the same envelopes, and so is what bytes say, which are sent to many.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from offchain_worker.coinflip.envelope import Kind, Message, decode
from offchain_worker.coinflip.hashing import blake2b_256
from offchain_worker.coinflip.topic import Flip
from offchain_worker.keys import KeyPair, verify

POOL = 64
REMEMBERED = 1 << 15

LONG = 256
BUNDLE = bytes([Kind.BUNDLE])

_messages: dict[tuple[bytes, bytes, int], Message] = {}
_answers: dict[tuple[bytes, bytes, bytes], bool] = {}


@cache
def pool() -> Sequence[KeyPair]:
    """The pairs that all runs draw from, ascending by public key."""
    made = (KeyPair.from_seed(blake2b_256(b"simulation", bytes([n]))) for n in range(POOL))
    return tuple(sorted(made, key=lambda pair: pair.public))


def draw(dice: random.Random, size: int) -> list[KeyPair]:
    """`size` pairs in roster order."""
    everybody = pool()
    return [everybody[at] for at in sorted(dice.sample(range(POOL), size))]


def forget() -> None:
    """Another run begins: none of its messages was ever seen, and small memories are fast."""
    _messages.clear()
    _answers.clear()


def read(data: bytes, flip: Flip, sender: int) -> Message:
    """What `envelope.decode` says; a signed envelope or a short message that many members get is
    read once. The memory is bounded."""
    if len(data) > LONG or data[:1] == BUNDLE:
        return decode(data, flip, sender)
    question = (data, flip.topic, sender)
    answer = _messages.get(question)
    if answer is None:
        if len(_messages) >= REMEMBERED:
            _messages.clear()
        answer = _messages[question] = decode(data, flip, sender)
    return answer


def checked(public: bytes, message: bytes, signature: bytes) -> bool:
    """What `keys.verify` says; asked again, from memory. The memory is bounded."""
    question = (public, message, signature)
    answer = _answers.get(question)
    if answer is None:
        if len(_answers) >= REMEMBERED:
            _answers.clear()
        answer = _answers[question] = verify(public, message, signature)
    return answer
