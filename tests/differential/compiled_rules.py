"""The runtime API `PerformanceRules`: the chain's rules that need no storage, as plain calls.

A rule that refuses its input gives `Refused`, with the path of error variants as the runtime
names them (`Receipt.WrongSignature`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from chain_types.records import FraudKind
from chain_types.report import Answer, Node, Proof, Report
from chain_types.scale import (
    U8,
    U16,
    U32,
    U64,
    Bool,
    Bytes,
    Codec,
    Hash,
    Limit,
    Reader,
    Signature,
    Variants,
    codec_of,
    struct,
    variants,
)

MANY = 1 << 16


@dataclass(frozen=True)
class Refused:
    """A rule's refusal: names of the error's variants, outermost first, joined by dots."""

    name: str


class _Errors:
    """An error enum of the runtime: its variants in order, some holding another such enum."""

    def __init__(self, *names: str, **inner: _Errors) -> None:
        self._names = names
        self._inner = inner

    def read(self, source: Reader) -> str:
        name = self._names[source.take(1)[0]]
        if name == "WrongEcho":
            return f"{name}.{int.from_bytes(source.take(2), 'little')}"
        return f"{name}.{self._inner[name].read(source)}" if name in self._inner else name


KEY = _Errors("NotOnCurve", "NotCanonical", "SmallOrder", "MixedOrder")
REGISTRATION = _Errors("Key", "WrongProof", Key=KEY)
TREE = _Errors("TooLong", "SizeOverflow")
MULTIPROOF = _Errors(
    "NotAscending",
    "OutOfRange",
    "SizeCount",
    "TooFewNodes",
    "TooManyNodes",
    "Tree",
    Tree=TREE,
)
FEED = _Errors("UnsupportedManifest", "WrongKey", "Signer", Signer=KEY)
RECEIPT = _Errors("UnknownVersion", "TooManyEntries", "WrongLength", "WrongSignature")
ANCHOR = _Errors("OpeningCount", "EchoCount", "WrongEcho")
PROOF = _Errors(
    "Malformed",
    "Kinds",
    "Topic",
    "Members",
    "NotMember",
    "NotContradictory",
    "Signature",
    "NoEnvelopes",
)
FALSE_RECEIPT = _Errors(
    "NoReceipt",
    "Receipt",
    "NotNamed",
    "NotContradictory",
    "Multiproof",
    "WrongTreeHash",
    Receipt=RECEIPT,
    Multiproof=MULTIPROOF,
)
ANSWER = _Errors(
    "TooShort",
    "WrongSize",
    "Multiproof",
    "ForkNotHigher",
    "WrongHeadSignature",
    Multiproof=MULTIPROOF,
)
MOMENT = _Errors("Window", "Schedule", "Place")
REPORT = _Errors(
    "WrongSecrets",
    "WrongBinding",
    "WrongPeers",
    "DemandNotDrawn",
    "Receipt",
    "OtherFeed",
    "OtherClient",
    "OtherFork",
    "TooShort",
    "NotFirst",
    "WrongMoment",
    "IssuedTooEarly",
    "RepeatedEntry",
    "TooFewEntries",
    "ChunkMissing",
    "WrongHeadSignature",
    "Multiproof",
    "WrongTreeHash",
    "WrongMetrics",
    "Moment",
    Receipt=RECEIPT,
    Multiproof=MULTIPROOF,
    Moment=MOMENT,
)


@dataclass(frozen=True)
class Root:
    """A root of a tree: its number, hash and size."""

    index: U64
    node: Node


@dataclass(frozen=True)
class Head:
    """A head of a feed."""

    fork: U64
    length: U64
    tree_hash: Hash


class FeedKind(enum.IntEnum):
    """How a feed's key names its signer."""

    MANIFEST = 0
    COMPAT = 1


@dataclass(frozen=True)
class Feed:
    """A feed as the chain keeps it."""

    key: Hash
    signer: Hash
    kind: FeedKind


@dataclass(frozen=True)
class Entry:
    """A chunk in a receipt."""

    index: U64
    leaf: Hash


@dataclass(frozen=True)
class Receipt:
    """A receipt as the chain reads it."""

    feed: Hash
    head: Head
    client: Hash
    session: Hash
    sequence: U32
    opened: U64
    issued: U64
    byte_length: U64
    entries: Annotated[tuple[Entry, ...], Limit(128)]


@dataclass(frozen=True)
class Opening:
    """What an anchor says of one member."""

    z: Hash
    salt: Hash
    x: Hash


@dataclass(frozen=True)
class Anchored:
    """Root and R of a flip."""

    root: Hash
    result: Hash


@dataclass(frozen=True)
class Opened:
    """What determines an attestor's audit."""

    topic: Hash
    result: Hash
    session_key: Hash
    w: Hash


@dataclass(frozen=True)
class Uniform:
    """The schedule Uniform."""


@dataclass(frozen=True)
class Slots:
    """The schedule Slots."""

    num: U32
    den: U32


SCHEDULE: Variants[Uniform | Slots] = variants(Uniform=Uniform, Slots=Slots)


@dataclass(frozen=True)
class Window:
    """Tlo and W."""

    start: U64
    width: U64


@dataclass(frozen=True)
class Habit:
    """How a session reads."""

    windowed: bool
    multiple: U8


@dataclass(frozen=True)
class Expected:
    """What the chain knows when a report arrives."""

    topic: Hash
    result: Hash
    account: Hash
    session_key: Hash
    z: Hash
    members: U32
    member: U32
    active: U32
    place: U32
    hoster: Hash
    feed: Feed
    fork: U64
    length: U64
    chunks: U32
    proved: U32
    schedule: Annotated[Uniform | Slots, SCHEDULE]
    window: Window
    clock_tolerance_ms: U64


@dataclass(frozen=True)
class Durations:
    """The durations of a flip, milliseconds."""

    block_ms: U64
    join_ms: U64
    delta_ms: U64
    finality_ms: U64
    flip_ms: U64


@dataclass(frozen=True)
class Expelled:
    """Who was expelled, and when."""

    place: U8
    timestamp_ms: U64


@dataclass(frozen=True)
class Flipping:
    """What the attempts of a challenge follow from."""

    genesis: Hash
    challenge: U64
    start_block: Hash
    t0: U64
    durations: Durations
    min_active: U32
    roster: Annotated[tuple[Hash, ...], Limit(MANY)]
    expulsions: Annotated[tuple[Expelled, ...], Limit(MANY)]


@dataclass(frozen=True)
class Attempt:
    """An attempt of the coinflip: bit i of `members` is place i of the start roster."""

    number: U32
    topic: Hash
    members: U32
    delta_ms: U64
    start_ms: U64
    commit_ms: U64
    echo_ms: U64
    reveal_ms: U64
    end_ms: U64


@dataclass(frozen=True)
class Offence:
    """What a proof proves: against whom, by index and session key, of which kind, its id."""

    index: U16
    offender: Hash
    kind: FraudKind
    id: Hash


@dataclass(frozen=True)
class ProvenFalse:
    """A false receipt: whose, for which feed, of which session, when; the evidence's id."""

    hoster: Hash
    feed: Hash
    session: Hash
    issued: U64
    id: Hash


@dataclass(frozen=True)
class Demanded:
    """What was demanded: of which feed, vouched fork and length, the chunk."""

    feed: Feed
    fork: U64
    length: U64
    chunk: U64


@dataclass(frozen=True)
class Checked:
    """What a report that passed says."""

    moment_ms: U64
    head: Head | None


U32S = Annotated[tuple[U32, ...], Limit(MANY)]
U64S = Annotated[tuple[U64, ...], Limit(MANY)]
HASHES = Annotated[tuple[Hash, ...], Limit(MANY)]
SIGNATURES = Annotated[tuple[Signature, ...], Limit(MANY)]
BYTES = Annotated[bytes, Bytes(1 << 20)]


def _encode(annotation: Any, value: Any) -> bytes:
    codec: Codec[Any] = codec_of(annotation)
    return codec.encode(value)


class CompiledRules:
    """The runtime's rules.

    Args:
        call: calls a runtime API by name with SCALE arguments; `datdot_node.Chain.call`.
    """

    def __init__(self, call: Callable[[str, bytes], bytes]) -> None:
        self._call = call

    def _ask(self, method: str, *arguments: tuple[Any, Any]) -> bytes:
        encoded = b"".join(_encode(annotation, value) for annotation, value in arguments)
        return self._call(f"PerformanceRules_{method}", encoded)

    def _value(self, answer: Any, method: str, *arguments: tuple[Any, Any]) -> Any:
        codec: Codec[Any] = codec_of(answer)
        return codec.decode(self._ask(method, *arguments))

    def _result(
        self, answer: Codec[Any] | None, errors: _Errors, method: str, *arguments: tuple[Any, Any]
    ) -> Any:
        source = Reader(self._ask(method, *arguments))
        if Bool().read(source):
            value: Any = Refused(errors.read(source))
        else:
            value = answer.read(source) if answer else None
        assert source.left == 0
        return value

    def check_public_key(self, key: bytes) -> Refused | None:
        """None for a key that the chain takes."""
        return self._result(None, KEY, "check_public_key", (Hash, key))

    def check_registration(
        self, genesis: bytes, role: int, account: bytes, key: bytes, proof: bytes
    ) -> Refused | None:
        """None for a proof that the chain takes."""
        return self._result(
            None,
            REGISTRATION,
            "check_registration",
            (Hash, genesis),
            (U8, role),
            (Hash, account),
            (Hash, key),
            (Signature, proof),
        )

    def full_roots(self, length: int) -> list[int] | Refused:
        """Numbers of the full roots."""
        answer = self._result(codec_of(U64S), TREE, "full_roots", (U64, length))
        return list(answer) if isinstance(answer, tuple) else answer

    def leaf_hash(self, data: bytes) -> bytes:
        """Hash of a chunk."""
        return self._value(Hash, "leaf_hash", (BYTES, data))

    def parent(self, left: Node, right: Node) -> Node | Refused:
        """The node over two siblings."""
        return self._result(struct(Node), TREE, "parent", (Node, left), (Node, right))

    def tree_hash(self, roots: Sequence[Root]) -> bytes:
        """Hash over the roots."""
        roots_type = Annotated[tuple[Root, ...], Limit(MANY)]
        return self._value(Hash, "tree_hash", (roots_type, tuple(roots)))

    def multiproof_tree_hash(
        self,
        length: int,
        leaves: Sequence[tuple[int, bytes]],
        sizes: Sequence[int],
        nodes: Sequence[Node],
    ) -> bytes | Refused:
        """The tree hash that a multiproof leads to."""
        return self._result(
            codec_of(Hash),
            MULTIPROOF,
            "multiproof_tree_hash",
            (U64, length),
            (Annotated[tuple[tuple[U64, Hash], ...], Limit(MANY)], tuple(leaves)),
            (U32S, tuple(sizes)),
            (Annotated[tuple[Node, ...], Limit(MANY)], tuple(nodes)),
        )

    def feed(self, key: bytes, manifest: bytes | None) -> Feed | Refused:
        """The feed that the chain makes of a key and a manifest."""
        return self._result(struct(Feed), FEED, "feed", (Hash, key), (BYTES | None, manifest))

    def verify_head(self, feed: Feed, head: Head, signature: bytes) -> bool:
        """Whether the author signed a head."""
        return self._value(bool, "verify_head", (Feed, feed), (Head, head), (Signature, signature))

    def open_receipt(self, message: bytes, hoster: bytes) -> Receipt | Refused:
        """A receipt, read and verified."""
        return self._result(
            struct(Receipt), RECEIPT, "open_receipt", (BYTES, message), (Hash, hoster)
        )

    def topic(
        self,
        genesis: bytes,
        challenge: int,
        start_block: bytes,
        attempt: int,
        roster: Sequence[bytes],
    ) -> bytes:
        """Topic of an attempt."""
        return self._value(
            Hash,
            "topic",
            (Hash, genesis),
            (U64, challenge),
            (Hash, start_block),
            (U32, attempt),
            (HASHES, tuple(roster)),
        )

    def coinflip_root(self, topic: bytes, commitments: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Root over all (y, z)."""
        pairs = Annotated[tuple[tuple[Hash, Hash], ...], Limit(MANY)]
        return self._value(Hash, "coinflip_root", (Hash, topic), (pairs, tuple(commitments)))

    def coinflip_result(self, topic: bytes, root: bytes, numbers: Sequence[bytes]) -> bytes:
        """R by hash_concat."""
        return self._value(
            Hash, "coinflip_result", (Hash, topic), (Hash, root), (HASHES, tuple(numbers))
        )

    def verify_anchor(
        self,
        topic: bytes,
        roster: Sequence[bytes],
        openings: Sequence[Opening],
        echoes: Sequence[bytes],
    ) -> Anchored | Refused:
        """What an anchor fixes."""
        return self._result(
            struct(Anchored),
            ANCHOR,
            "verify_anchor",
            (Hash, topic),
            (HASHES, tuple(roster)),
            (Annotated[tuple[Opening, ...], Limit(MANY)], tuple(openings)),
            (SIGNATURES, tuple(echoes)),
        )

    def coinflip_fallback(
        self, topic: bytes, commitments: Sequence[bytes], randomness: bytes
    ) -> Anchored:
        """Root and R of the fallback."""
        return self._value(
            Anchored,
            "coinflip_fallback",
            (Hash, topic),
            (HASHES, tuple(commitments)),
            (Hash, randomness),
        )

    def attempt(self, flipping: Flipping, number: int) -> Attempt | None:
        """An attempt, None if it does not exist."""
        return self._value(Attempt | None, "attempt", (Flipping, flipping), (U32, number))

    def verify_proof(self, topic: bytes, roster: Sequence[bytes], proof: Any) -> Offence | Refused:
        """What a proof of fraud proves."""
        return self._result(
            struct(Offence),
            PROOF,
            "verify_proof",
            (Hash, topic),
            (HASHES, tuple(roster)),
            (Proof, proof),
        )

    def verify_false_receipt(self, proof: Any) -> ProvenFalse | Refused:
        """What a proof of a false receipt proves."""
        return self._result(
            struct(ProvenFalse), FALSE_RECEIPT, "verify_false_receipt", (Proof, proof)
        )

    def check_answer(self, answer: Any, demanded: Demanded) -> Head | Refused:
        """The head that an answer to a demand leads to."""
        return self._result(
            struct(Head), ANSWER, "check_answer", (Answer, answer), (Demanded, demanded)
        )

    def evidence_id(self, offender: bytes, topic: bytes, kind: FraudKind) -> bytes:
        """Under which id a proof is kept."""
        return self._value(Hash, "evidence_id", (Hash, offender), (Hash, topic), (FraudKind, kind))

    def draw_roster(
        self, randomness: bytes, challenge: int, eligible: int, count: int, skip: Sequence[int]
    ) -> list[int] | None:
        """The drawn places, None if there are too few."""
        answer = self._value(
            U32S | None,
            "draw_roster",
            (Hash, randomness),
            (U64, challenge),
            (U32, eligible),
            (U32, count),
            (U32S, tuple(skip)),
        )
        return None if answer is None else list(answer)

    def moment(
        self, opened: Opened, schedule: Uniform | Slots, window: Window, place: int, active: int
    ) -> int | Refused:
        """The audit moment in unix milliseconds."""
        return self._result(
            codec_of(U64),
            MOMENT,
            "moment",
            (Opened, opened),
            (Annotated[Uniform | Slots, SCHEDULE], schedule),
            (Window, window),
            (U32, place),
            (U32, active),
        )

    def drawn_chunks(self, opened: Opened, length: int, count: int) -> list[int]:
        """The drawn chunks in the order they are read."""
        return list(
            self._value(U64S, "drawn_chunks", (Opened, opened), (U64, length), (U32, count))
        )

    def session_habit(self, opened: Opened) -> Habit:
        """How the session reads."""
        return self._value(Habit, "session_habit", (Opened, opened))

    def reencode_report(self, encoded: bytes) -> bytes | None:
        """A report decoded and encoded by the chain, None if it is none."""
        return self._value(BYTES | None, "reencode_report", (BYTES, encoded))

    def check_report(self, report: Report, expected: Expected) -> Checked | Refused:
        """The checks of a report."""
        return self._result(
            struct(Checked),
            REPORT,
            "check_report",
            (Report, report),
            (Expected, expected),
        )
