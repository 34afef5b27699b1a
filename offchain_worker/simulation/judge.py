"""What the pallet accepts, written once more from the specification (coinflip.md §1, §4–§6).

Nothing here comes from the machine, the evidence module, or the chain's own code: only a hash
function and a signature check are shared, so that a mistake there is not repeated here. Every
function answers with a value or raises `Refused` with a short reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

CheckSignature = Callable[[bytes, bytes, bytes], bool]

Combine = Callable[[bytes, bytes, Sequence[bytes]], bytes]
"""(topic, root, numbers in roster order) → R."""

COMMIT, ECHO, REVEAL = 1, 2, 3
BODY = {COMMIT: 64, ECHO: 32, REVEAL: 64}
NAME = {COMMIT: b"commit", ECHO: b"echo", REVEAL: b"reveal"}
FALLBACK = 2**31
MOST_ATTEMPTS = 8
LONGEST_DELTA_MS = 30_000


class Refused(Exception):
    """The pallet refuses a call.

    Attributes:
        reason: a short fixed text.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def digest(*parts: bytes) -> bytes:
    """H of the specification."""
    return blake2b(b"".join(parts), digest_size=32).digest()


def tag(name: bytes) -> bytes:
    """TAG of the specification."""
    return (b"datdot.coinflip.v1." + name).ljust(32, b"\0")


_TOPIC, _Y, _Z, _ROOT = tag(b"topic"), tag(b"y"), tag(b"z"), tag(b"root")
_MAGIC, _MIX, _PRNG = tag(b"magic"), tag(b"mix"), tag(b"prng")
_SIGNED = {kind: tag(name) for kind, name in NAME.items()}
_RETRY = b"retry".ljust(32, b"\0")


def topic_of(
    genesis: bytes, challenge: int, start_hash: bytes, attempt: int, keys: Sequence[bytes]
) -> bytes:
    """The topic of an attempt among these keys."""
    return digest(
        _TOPIC,
        genesis,
        challenge.to_bytes(8, "little"),
        start_hash,
        attempt.to_bytes(4, "little"),
        len(keys).to_bytes(4, "little"),
        *keys,
    )


def number_hash(topic: bytes, key: bytes, salt: bytes, x: bytes) -> bytes:
    """y."""
    return digest(_Y, topic, key, salt, x)


def root_of(topic: bytes, pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The root over (y, z) of all members."""
    count = len(pairs).to_bytes(4, "little")
    return digest(_ROOT, topic, count, *(part for pair in pairs for part in pair))


def result_of(topic: bytes, root: bytes, numbers: Sequence[bytes]) -> bytes:
    """R by hash_concat."""
    return digest(_MAGIC, topic, root, *numbers)


def fallback_of(topic: bytes, seals: Sequence[bytes], randomness: bytes) -> tuple[bytes, bytes]:
    """Root and R of a fallback over the z of the active."""
    root = digest(_ROOT, topic, len(seals).to_bytes(4, "little"), *seals)
    return root, digest(_MIX, topic, root, randomness)


def jitter_of(topic: bytes, bound: int) -> int:
    """`prng(topic, "retry").below(bound)`."""
    limit = 2**64 - 2**64 % bound
    block = 0
    while True:
        words = digest(_PRNG, topic, _RETRY, block.to_bytes(8, "little"))
        for at in (0, 8, 16, 24):
            value = int.from_bytes(words[at : at + 8], "little")
            if value < limit:
                return value % bound
        block += 1


@dataclass(frozen=True)
class Envelope:
    """A signed envelope as the pallet reads it."""

    kind: int
    topic: bytes
    index: int
    body: bytes
    signature: bytes


def read_envelope(data: bytes) -> Envelope:
    """Read one signed envelope; nothing is checked but its shape."""
    if len(data) < 35 or data[0] not in BODY or len(data) != 35 + BODY[data[0]] + 64:
        raise Refused("no envelope")
    index = int.from_bytes(data[33:35], "little")
    return Envelope(data[0], data[1:33], index, data[35:-64], data[-64:])


@dataclass(frozen=True)
class Fraud:
    """A proof as the pallet reads it: two envelopes; `bad_reveal` tells which kind of proof."""

    challenge: int
    attempt: int
    bad_reveal: bool
    first: Envelope
    second: Envelope


def read_proof(data: bytes) -> Fraud:
    """Read the SCALE bytes of `report_fraud`'s argument, all of them."""
    if len(data) < 13 or data[0] not in (0, 1):
        raise Refused("no proof")
    challenge = int.from_bytes(data[1:9], "little")
    attempt = int.from_bytes(data[9:13], "little")
    first, at = _read_bytes(data, 13)
    second, at = _read_bytes(data, at)
    if at != len(data):
        raise Refused("no proof")
    pair = read_envelope(first), read_envelope(second)
    return Fraud(challenge, attempt, data[0] == 1, *pair)


def _read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """A SCALE byte string of at most 256 bytes, its length in the shortest form."""
    if at >= len(data):
        raise Refused("no proof")
    mode = data[at] & 3
    if mode == 0:
        length, at = data[at] >> 2, at + 1
    elif mode == 1 and at + 1 < len(data):
        length, at = int.from_bytes(data[at : at + 2], "little") >> 2, at + 2
        if length < 64:
            raise Refused("no proof")
    else:
        raise Refused("no proof")
    if length > 256 or at + length > len(data):
        raise Refused("no proof")
    return data[at : at + length], at + length


def signed(envelope: Envelope, key: bytes, check: CheckSignature) -> bool:
    """Whether that key signed it."""
    message = _SIGNED[envelope.kind] + envelope.topic + key + envelope.body
    return check(key, message, envelope.signature)


def offender_of(fraud: Fraud, topic: bytes, keys: Sequence[bytes], check: CheckSignature) -> int:
    """The index of who is proved guilty in that topic (coinflip.md §4)."""
    a, b = fraud.first, fraud.second
    if a.topic != topic or b.topic != topic:
        raise Refused("topic")
    if a.index != b.index or a.index >= len(keys):
        raise Refused("member")
    key = keys[a.index]
    if fraud.bad_reveal:
        if (a.kind, b.kind) != (COMMIT, REVEAL):
            raise Refused("kinds")
        if number_hash(topic, key, b.body[:32], b.body[32:]) == a.body[:32]:
            raise Refused("not contradictory")
    elif a.kind != b.kind or a.body == b.body:
        raise Refused("not contradictory")
    if not (signed(a, key, check) and signed(b, key, check)):
        raise Refused("signature")
    return a.index


def anchored_by(
    topic: bytes,
    keys: Sequence[bytes],
    openings: Sequence[tuple[bytes, bytes, bytes]],
    echoes: Sequence[bytes],
    check: CheckSignature,
    combine: Combine = result_of,
) -> tuple[bytes, bytes]:
    """Root and R of an `anchor_flip` with (z, salt, x) and echo signatures in roster order."""
    if len(openings) != len(keys) or len(echoes) != len(keys):
        raise Refused("count")
    pairs = [
        (number_hash(topic, key, salt, x), z)
        for key, (z, salt, x) in zip(keys, openings, strict=True)
    ]
    root = root_of(topic, pairs)
    for key, signature in zip(keys, echoes, strict=True):
        if not check(key, _SIGNED[ECHO] + topic + key + root, signature):
            raise Refused("echo")
    return root, combine(topic, root, [x for _z, _salt, x in openings])
