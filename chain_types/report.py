"""What an attestor reports, and the evidence and answers around it (challenge.md §4, §5).

The bytes are SCALE with fixed-width integers; the order of fields and variants is the encoding.
`encode_…` raises `scale.EncodeError` for values out of bounds, `decode_…` raises
`scale.DecodeError` for anything that is not exactly one value; both name the field.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from chain_types.scale import (
    U8,
    U32,
    U64,
    Bytes,
    Hash,
    Limit,
    Signature,
    Variants,
    struct,
    variants,
)

MAX_ENTRIES = 128
MAX_NODES = 4_096
MAX_RECEIPT_BYTES = 6 * 1_024
MAX_PEERS = 31
MAX_ENVELOPE_BYTES = 256
MAX_DEMANDED_CHUNK_BYTES = 128 * 1_024

Receipt: TypeAlias = Annotated[bytes, Bytes(MAX_RECEIPT_BYTES)]
Sizes: TypeAlias = Annotated[tuple[U32, ...], Limit(MAX_ENTRIES)]


@dataclass(frozen=True)
class Node:
    """A node of the feed's Merkle tree: its hash (32 bytes) and the bytes below it."""

    hash: Hash
    size: U64


Nodes: TypeAlias = Annotated[tuple[Node, ...], Limit(MAX_NODES)]


@dataclass(frozen=True)
class Percentiles:
    """Nearest-rank percentiles of the chunks' latencies, in microseconds, ascending."""

    p50: U32
    p90: U32
    p99: U32
    max: U32


@dataclass(frozen=True)
class Observed:
    """Figures of the observed session (challenge.md §3.3).

    Attributes:
        chunks: how many were read.
        latency_p50_us: median latency of a chunk, microseconds.
        throughput: bytes per second.
    """

    chunks: U32
    latency_p50_us: U32
    throughput: U64


@dataclass(frozen=True)
class Metrics:
    """Figures of the audited session.

    Attributes:
        connect_us: until TCP stood, microseconds.
        handshake_us: Noise handshake, microseconds.
        first_chunk_us: from the first request to the first chunk, microseconds.
        latency_us: of a sequential session, else None.
        throughput: bytes per second of a windowed session, else None.
        timeouts: chunks that came later than chunk_timeout_ms.
        observed: of the observed session, None without one.
    """

    connect_us: U32
    handshake_us: U32
    first_chunk_us: U32
    latency_us: Percentiles | None
    throughput: U64 | None
    timeouts: U32
    observed: Observed | None


@dataclass(frozen=True)
class PeerMetrics:
    """What the reporter measured of a fellow attestor during the coinflip.

    Attributes:
        index: in the start roster; never the reporter's own.
        rtt_p50_us: median round trip, microseconds.
        throughput: bytes per second of the one bulk transfer.
    """

    index: U8
    rtt_p50_us: U32
    throughput: U64


class Reason(enum.IntEnum):
    """Why an audit failed."""

    UNREACHABLE = 0
    """No TCP connection."""
    WRONG_IDENTITY = 1
    """The handshake failed, or it was another static key."""
    NOT_HOSTED = 2
    """Channel rejected, no head, another fork, below the vouched length."""
    NO_DATA = 3
    """`noData`, or closed after a request."""
    BAD_PROOF = 4
    """A chunk or head that does not verify."""
    NO_RECEIPT = 5
    """None within chunk_timeout_ms after T chunks."""
    BAD_RECEIPT = 6
    """One that fails the checks of challenge.md §4."""
    TIMEOUT = 7
    """A chunk later than chunk_timeout_ms, or the session past END."""


@dataclass(frozen=True)
class Served:
    """The hoster served the drawn chunks.

    Attributes:
        receipt: the hoster's first receipt with its signature (challenge.md §3.4).
        head_signature: the feed signer's bare signature over the receipt's head.
        sizes: bytes of the proved chunks, in ascending order of their indices.
        nodes: the other nodes of the multiproof, in its order.
        metrics: how fast it was.
    """

    receipt: Receipt
    head_signature: Signature
    sizes: Sizes
    nodes: Nodes
    metrics: Metrics


@dataclass(frozen=True)
class Failure:
    """The hoster did not serve; variant `Failed` of the outcome.

    Attributes:
        reason: what went wrong.
        demand: index of a drawn chunk that the hoster shall show on chain, if any.
    """

    reason: Reason
    demand: U64 | None


OUTCOME: Variants[Served | Failure] = variants(Served=Served, Failed=Failure)
Outcome: TypeAlias = Annotated[Served | Failure, OUTCOME]


@dataclass(frozen=True)
class Body:
    """What the audit key signs (by its hash, `binding`)."""

    outcome: Outcome
    peers: Annotated[tuple[PeerMetrics, ...], Limit(MAX_PEERS)]


@dataclass(frozen=True)
class Report:
    """The argument of `submit_report`.

    Attributes:
        w: the opened secret behind the attestor's moment and chunks.
        audit_key: public key of the audited session, committed with w.
        binding: signature by the audit key over `TAG(report) ‖ topic ‖ account ‖ H(body)`.
        body: outcome and measurements.
    """

    w: Hash
    audit_key: Hash
    binding: Signature
    body: Body


Envelope: TypeAlias = Annotated[bytes, Bytes(MAX_ENVELOPE_BYTES)]


@dataclass(frozen=True)
class Equivocation:
    """E1: two signed envelopes of one kind, topic and key with different bodies."""

    id: U64
    attempt: U32
    a: Envelope
    b: Envelope


@dataclass(frozen=True)
class BadReveal:
    """E2: a signed commit and a signed reveal that does not open it."""

    id: U64
    attempt: U32
    commit: Envelope
    reveal: Envelope


@dataclass(frozen=True)
class FalseReceipt:
    """E6: a receipt, and a multiproof of another leaf under the receipt's own tree hash.

    Attributes:
        hoster: the Noise key that signed the receipt, which does not name it.
        receipt: body and signature.
        index, leaf: a chunk that the receipt names, and the leaf that its tree has there.
        sizes, nodes: the multiproof of that one leaf.
    """

    hoster: Hash
    receipt: Receipt
    index: U64
    leaf: Hash
    sizes: Sizes
    nodes: Nodes


PROOF: Variants[Equivocation | BadReveal | FalseReceipt] = variants(
    Equivocation=Equivocation, BadReveal=BadReveal, FalseReceipt=FalseReceipt
)
Proof: TypeAlias = Annotated[Equivocation | BadReveal | FalseReceipt, PROOF]


@dataclass(frozen=True)
class Chunk:
    """The demanded chunk itself, with its proof under a head of the vouched fork.

    Attributes:
        bytes: the chunk.
        length: of the head, at least the vouched one.
        head_signature: the feed signer's bare signature over the head.
        sizes: the size of the chunk.
        nodes: the rest of its multiproof.
    """

    bytes: Annotated[bytes, Bytes(MAX_DEMANDED_CHUNK_BYTES)]
    length: U64
    head_signature: Signature
    sizes: Sizes
    nodes: Nodes


@dataclass(frozen=True)
class Rewritten:
    """The author's signature on a higher fork: the chunk is gone by the author's will."""

    fork: U64
    length: U64
    tree_hash: Hash
    head_signature: Signature


ANSWER: Variants[Chunk | Rewritten] = variants(Chunk=Chunk, Rewritten=Rewritten)
Answer: TypeAlias = Annotated[Chunk | Rewritten, ANSWER]


def encode_report(report: Report) -> bytes:
    """Return the SCALE bytes of a report."""
    return struct(Report).encode(report)


def decode_report(data: bytes) -> Report:
    """Return the report of which `data` is the whole encoding."""
    return struct(Report).decode(data)


def encode_body(body: Body) -> bytes:
    """Return the SCALE bytes of a report's body, whose hash the audit key signs."""
    return struct(Body).encode(body)


def decode_body(data: bytes) -> Body:
    """Return the body of which `data` is the whole encoding."""
    return struct(Body).decode(data)


def encode_proof(proof: Equivocation | BadReveal | FalseReceipt) -> bytes:
    """Return the SCALE bytes of a fraud proof, as they also travel between attestors."""
    return PROOF.encode(proof)


def decode_proof(data: bytes) -> Equivocation | BadReveal | FalseReceipt:
    """Return the fraud proof of which `data` is the whole encoding."""
    return PROOF.decode(data)


def encode_answer(answer: Chunk | Rewritten) -> bytes:
    """Return the SCALE bytes of an answer to a demand."""
    return ANSWER.encode(answer)


def decode_answer(data: bytes) -> Chunk | Rewritten:
    """Return the answer of which `data` is the whole encoding."""
    return ANSWER.decode(data)
