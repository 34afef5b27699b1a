"""The messages of a run and their bytes (coinflip.md §1).

Everything decoded here came from a peer: lengths are fixed or bounded before anything is copied,
and whatever is not exactly one message of this topic is refused with an `EnvelopeError` that
names the reason. A signed envelope keeps its original bytes: they are what is journalled, relayed
and shown to the chain; nothing is ever signed or sent on as a re-encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache

from offchain_worker.coinflip.hashing import HASH_BYTES, ZEROS, coinflip_tag
from offchain_worker.coinflip.topic import Flip
from offchain_worker.keys import SIGNATURE_BYTES, KeyPair, verify

NONCE_BYTES = 16
MAX_BULK_BYTES = 1 << 20
MAX_BULK_FRAME = 1 << 16
MAX_EVIDENCE_BYTES = 512
BUNDLE_PER_MEMBER = 4

Verify = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) → whether it is valid; a simulator may remember answers."""

_HEADER = struct.Struct("<B32sH")
HEADER_BYTES = _HEADER.size


class Kind(IntEnum):
    """The first byte of an envelope."""

    HELLO = 0
    COMMIT = 1
    ECHO = 2
    REVEAL = 3
    NEED = 16
    BUNDLE = 17
    EVIDENCE = 18
    PING = 32
    PONG = 33
    BULK_REQUEST = 34
    BULK_DATA = 35


_TAGS = {kind: coinflip_tag(kind.name.lower()) for kind in (Kind.COMMIT, Kind.ECHO, Kind.REVEAL)}
_KINDS = {kind.value: kind for kind in Kind}
SIGNED_BODY_BYTES: dict[int, int] = {Kind.COMMIT: 64, Kind.ECHO: 32, Kind.REVEAL: 64}
MAX_MESSAGE_BYTES = HEADER_BYTES + MAX_BULK_FRAME


class EnvelopeError(ValueError):
    """These bytes are not a message of this topic.

    Attributes:
        reason: a short fixed word, for counters.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"not a message of this coinflip: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class SignedEnvelope:
    """A commit, echo or reveal with the signature of the member that made it.

    Equality is by content without the signature, since ed25519 signatures are not unique: compare
    `body`, never `raw`.
    """

    kind: Kind
    topic: bytes
    index: int
    body: bytes
    raw: bytes

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SignedEnvelope):
            return NotImplemented
        return self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    def __repr__(self) -> str:
        return f"<{self.kind.name.lower()} of {self.index}: {self.body[:4].hex()}…>"

    @property
    def _content(self) -> tuple[Kind, bytes, int, bytes]:
        return self.kind, self.topic, self.index, self.body

    @classmethod
    def sign(
        cls, kind: Kind, topic: bytes, index: int, body: bytes, keypair: KeyPair
    ) -> SignedEnvelope:
        """Make the envelope of member `index`; ed25519 signatures are deterministic here.

        Raises:
            ValueError: a kind that carries no signature, or a body of the wrong length.
        """
        if len(body) != SIGNED_BODY_BYTES.get(kind):
            raise ValueError(f"no signed {kind.name.lower()} has a body of {len(body)} bytes")
        signature = keypair.sign(signing_payload(kind, topic, keypair.public, body))
        raw = _HEADER.pack(kind, topic, index) + body + signature
        return cls(kind, topic, index, body, raw)

    @property
    def signature(self) -> bytes:
        """The 64 bytes at the end."""
        return self.raw[-SIGNATURE_BYTES:]

    def is_signed_by(self, public_key: bytes, verify_signature: Verify = verify) -> bool:
        """Whether the signature is that key's; by libsodium unless told otherwise."""
        payload = signing_payload(self.kind, self.topic, public_key, self.body)
        return verify_signature(public_key, payload, self.signature)

    @cached_property
    def gives_up(self) -> bool:
        """Whether this is echo(0): its maker will never echo in this topic."""
        return self.kind is Kind.ECHO and self.body == ZEROS


@dataclass(frozen=True)
class Hello:
    """First message on a connection: what evidence the sender knows."""

    capabilities: int
    evidence_digest: bytes


@dataclass(frozen=True)
class Need:
    """A pull: which members' envelopes of a signed kind the sender lacks."""

    kind: Kind
    indices: frozenset[int]


@dataclass(frozen=True)
class Bundle:
    """Signed envelopes, relayed."""

    envelopes: tuple[SignedEnvelope, ...]


@dataclass(frozen=True)
class EvidenceMessage:
    """The SCALE argument of `report_fraud`; decoded and judged by `evidence`."""

    proof: bytes


@dataclass(frozen=True)
class Ping:
    """ "I know R, do you?" with a fresh nonce; the confirmation is zeros before R (§7)."""

    nonce: bytes
    confirmation: bytes


@dataclass(frozen=True)
class Pong:
    """The answer to a ping, with its nonce."""

    nonce: bytes
    confirmation: bytes


@dataclass(frozen=True)
class BulkRequest:
    """Asks for that many bytes, to measure throughput."""

    size: int


@dataclass(frozen=True)
class BulkData:
    """One frame of the bytes asked for."""

    data: bytes


Message = (
    SignedEnvelope | Hello | Need | Bundle | EvidenceMessage | Ping | Pong | BulkRequest | BulkData
)


Decode = Callable[[bytes, Flip, int], Message]
"""(data, flip, sender) → the message, or an `EnvelopeError`, as `decode`."""


def signed_length(kind: Kind) -> int:
    """Bytes of a whole signed envelope of that kind."""
    return HEADER_BYTES + SIGNED_BODY_BYTES[kind] + SIGNATURE_BYTES


def signing_payload(kind: Kind, topic: bytes, public_key: bytes, body: bytes) -> bytes:
    """The bytes that a member's signature covers."""
    return _TAGS[kind] + topic + public_key + body


def decode_signed(data: bytes, flip: Flip) -> SignedEnvelope:
    """Read one signed envelope; its signature is not checked here.

    Raises:
        EnvelopeError: another length, kind or topic, or no such member.
    """
    kind, index = _decode_header(data, flip)
    return _decode_signed(kind, index, data, flip)


def _decode_signed(kind: Kind, index: int, data: bytes, flip: Flip) -> SignedEnvelope:
    length = SIGNED_BODY_BYTES.get(kind)
    if length is None:
        raise EnvelopeError("unsigned kind")
    if len(data) != HEADER_BYTES + length + SIGNATURE_BYTES:
        raise EnvelopeError("length")
    body = data[HEADER_BYTES : HEADER_BYTES + length]
    return SignedEnvelope(kind, flip.topic, index, body, data)


def decode(data: bytes, flip: Flip, sender: int) -> Message:
    """Read one message that arrived from roster member `sender`.

    Raises:
        EnvelopeError: not exactly one message of this topic; an unsigned message in another
            member's name.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise EnvelopeError("length")
    kind, index = _decode_header(data, flip)
    if kind in SIGNED_BODY_BYTES:
        return _decode_signed(kind, index, data, flip)
    if index != sender:
        raise EnvelopeError("sender")
    body = data[HEADER_BYTES:]
    match kind:
        case Kind.HELLO:
            _expect(body, 4 + HASH_BYTES)
            return Hello(int.from_bytes(body[:4], "little"), body[4:])
        case Kind.NEED:
            return _decode_need(body, flip.size)
        case Kind.BUNDLE:
            return _decode_bundle(body, flip)
        case Kind.EVIDENCE:
            if not 0 < len(body) <= MAX_EVIDENCE_BYTES:
                raise EnvelopeError("length")
            return EvidenceMessage(body)
        case Kind.PING | Kind.PONG:
            _expect(body, NONCE_BYTES + HASH_BYTES)
            message = Ping if kind is Kind.PING else Pong
            return message(body[:NONCE_BYTES], body[NONCE_BYTES:])
        case Kind.BULK_REQUEST:
            _expect(body, 4)
            size = int.from_bytes(body, "little")
            if not 0 < size <= MAX_BULK_BYTES:
                raise EnvelopeError("bulk size")
            return BulkRequest(size)
        case _:
            if not body:
                raise EnvelopeError("length")
            return BulkData(body)


def encode(message: Message, flip: Flip, sender: int) -> bytes:
    """The wire bytes of `message` from roster member `sender`; a signed one keeps its own.

    Raises:
        ValueError: a bundle with more envelopes than a receiver accepts.
    """
    match message:
        case SignedEnvelope():
            return message.raw
        case Hello():
            kind = Kind.HELLO
            body = message.capabilities.to_bytes(4, "little") + message.evidence_digest
        case Need():
            kind = Kind.NEED
            bitmap = sum(1 << index for index in message.indices)
            body = bytes([message.kind]) + bitmap.to_bytes(_bitmap_bytes(flip.size), "little")
        case Bundle():
            if len(message.envelopes) > BUNDLE_PER_MEMBER * flip.size:
                raise ValueError("too many envelopes for one bundle")
            kind = Kind.BUNDLE
            raws = (envelope.raw for envelope in message.envelopes)
            body = len(message.envelopes).to_bytes(2, "little") + b"".join(raws)
        case EvidenceMessage():
            kind, body = Kind.EVIDENCE, message.proof
        case Ping():
            kind, body = Kind.PING, message.nonce + message.confirmation
        case Pong():
            kind, body = Kind.PONG, message.nonce + message.confirmation
        case BulkRequest():
            kind, body = Kind.BULK_REQUEST, message.size.to_bytes(4, "little")
        case BulkData():
            kind, body = Kind.BULK_DATA, message.data
    return _HEADER.pack(kind, flip.topic, sender) + body


def bundles(envelopes: Sequence[SignedEnvelope], flip: Flip) -> Iterable[Bundle]:
    """Split `envelopes` into bundles that a receiver accepts."""
    most = BUNDLE_PER_MEMBER * flip.size
    for start in range(0, len(envelopes), most):
        yield Bundle(tuple(envelopes[start : start + most]))


def _decode_header(data: bytes, flip: Flip) -> tuple[Kind, int]:
    if len(data) < HEADER_BYTES:
        raise EnvelopeError("length")
    number, topic, index = _HEADER.unpack_from(data)
    kind = _KINDS.get(number)
    if kind is None:
        raise EnvelopeError("kind")
    if topic != flip.topic:
        raise EnvelopeError("topic")
    if index >= flip.size:
        raise EnvelopeError("index")
    return kind, index


def _expect(body: bytes, length: int) -> None:
    if len(body) != length:
        raise EnvelopeError("length")


def _bitmap_bytes(size: int) -> int:
    return (size + 7) // 8


def _decode_need(body: bytes, size: int) -> Need:
    _expect(body, 1 + _bitmap_bytes(size))
    if body[0] not in SIGNED_BODY_BYTES:
        raise EnvelopeError("kind")
    bitmap = int.from_bytes(body[1:], "little")
    if bitmap == 0 or bitmap >> size:
        raise EnvelopeError("bitmap")
    return _need(body[0], bitmap)


@lru_cache(maxsize=1024)
def _need(kind: int, bitmap: int) -> Need:
    return Need(_KINDS[kind], frozenset(i for i in range(bitmap.bit_length()) if bitmap >> i & 1))


def _decode_bundle(body: bytes, flip: Flip) -> Bundle:
    if len(body) < 2:
        raise EnvelopeError("length")
    count = int.from_bytes(body[:2], "little")
    if not 0 < count <= BUNDLE_PER_MEMBER * flip.size:
        raise EnvelopeError("count")
    envelopes = []
    at = 2
    for _ in range(count):
        if at >= len(body) or body[at] not in SIGNED_BODY_BYTES:
            raise EnvelopeError("kind")
        end = at + signed_length(Kind(body[at]))
        envelopes.append(decode_signed(body[at:end], flip))
        at = end
    if at != len(body):
        raise EnvelopeError("length")
    return Bundle(tuple(envelopes))
