"""Proof that a member broke the protocol: E1 equivocation, E2 bad reveal (coinflip.md §4).

A proof is the argument of `report_fraud`; its SCALE bytes are what travels between attestors.
Only signatures of the offender itself prove anything, so nobody honest can be blamed; a missing
message is never evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from chain_types.report import BadReveal, Equivocation, decode_proof, encode_proof
from chain_types.scale import ScaleError
from offchain_worker.coinflip.commitments import number_commitment
from offchain_worker.coinflip.envelope import (
    EnvelopeError,
    Kind,
    SignedEnvelope,
    Verify,
    decode_signed,
)
from offchain_worker.coinflip.hashing import ZEROS, blake2b_256
from offchain_worker.coinflip.topic import Flip
from offchain_worker.keys import verify

EQUIVOCATION = 0
BAD_REVEAL = 1


class EvidenceError(ValueError):
    """These bytes prove nothing about this topic.

    Attributes:
        reason: a short fixed word, for counters.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"no evidence in this coinflip: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Evidence:
    """A verified proof against one member.

    Attributes:
        offender: roster index.
        proof_kind: `EQUIVOCATION` or `BAD_REVEAL`, the variant's index in `Proof`.
        id: H(offender's key ‖ topic ‖ kind); one proof is kept for each.
        encoded: SCALE of the argument of `report_fraud`.
    """

    offender: int
    proof_kind: int
    id: bytes
    encoded: bytes = field(repr=False)


def fits(commit: SignedEnvelope, reveal: SignedEnvelope, public_key: bytes) -> bool:
    """Whether the number opened by `reveal` is the one committed to in `commit`."""
    salt, x = reveal.body[:32], reveal.body[32:]
    return number_commitment(commit.topic, public_key, salt, x) == commit.body[:32]


def equivocation(flip: Flip, a: SignedEnvelope, b: SignedEnvelope) -> Evidence:
    """E1 from two envelopes of one member and kind whose signatures were verified.

    Raises:
        EvidenceError: they do not contradict each other.
    """
    if (a.kind, a.topic, a.index) != (b.kind, b.topic, b.index) or a.body == b.body:
        raise EvidenceError("no contradiction")
    first, second = sorted((a.raw, b.raw))
    proof = Equivocation(flip.challenge_id, flip.attempt, first, second)
    return _evidence(flip, a.index, EQUIVOCATION, encode_proof(proof))


def bad_reveal(flip: Flip, commit: SignedEnvelope, reveal: SignedEnvelope) -> Evidence:
    """E2 from a commit and a reveal of one member whose signatures were verified.

    Raises:
        EvidenceError: other kinds or members, or the reveal opens the commit.
    """
    if (commit.kind, reveal.kind) != (Kind.COMMIT, Kind.REVEAL):
        raise EvidenceError("kinds")
    if (commit.topic, commit.index) != (reveal.topic, reveal.index):
        raise EvidenceError("no contradiction")
    if fits(commit, reveal, flip.roster[commit.index]):
        raise EvidenceError("no contradiction")
    proof = BadReveal(flip.challenge_id, flip.attempt, commit.raw, reveal.raw)
    return _evidence(flip, commit.index, BAD_REVEAL, encode_proof(proof))


def inspect(encoded: bytes, flip: Flip) -> tuple[Evidence, tuple[SignedEnvelope, SignedEnvelope]]:
    """Read a proof and check everything in it but the two signatures.

    Raises:
        EvidenceError: the bytes are no proof, of another topic, or contradict nothing.
    """
    try:
        proof = decode_proof(encoded)
    except ScaleError:
        raise EvidenceError("encoding") from None
    if not isinstance(proof, Equivocation | BadReveal):
        raise EvidenceError("kind of proof")
    if (proof.id, proof.attempt) != (flip.challenge_id, flip.attempt):
        raise EvidenceError("topic")
    try:
        if isinstance(proof, Equivocation):
            pair = decode_signed(proof.a, flip), decode_signed(proof.b, flip)
            evidence = equivocation(flip, *pair)
        else:
            pair = decode_signed(proof.commit, flip), decode_signed(proof.reveal, flip)
            evidence = bad_reveal(flip, *pair)
    except EnvelopeError as error:
        raise EvidenceError("envelope") from error
    return evidence, pair


def verify_evidence(encoded: bytes, flip: Flip, verify_signature: Verify = verify) -> Evidence:
    """Check a proof as the chain does: topic, membership, contradiction, two signatures.

    Raises:
        EvidenceError: it proves nothing.
    """
    evidence, pair = inspect(encoded, flip)
    key = flip.roster[evidence.offender]
    if not all(envelope.is_signed_by(key, verify_signature) for envelope in pair):
        raise EvidenceError("signature")
    return evidence


def evidence_digest(ids: Iterable[bytes]) -> bytes:
    """What a hello says about the evidence known: H of the sorted ids, zeros for none."""
    ordered = sorted(ids)
    return blake2b_256(*ordered) if ordered else ZEROS


def _evidence(flip: Flip, offender: int, proof_kind: int, encoded: bytes) -> Evidence:
    identifier = blake2b_256(flip.roster[offender], flip.topic, bytes([proof_kind]))
    return Evidence(offender, proof_kind, identifier, encoded)
