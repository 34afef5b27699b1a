"""Proofs of fraud: what one side takes, and against whom, the other takes as well.

The chain's signatures are looser (ZIP-215) than a peer's: it may take what a peer refuses, never
the other way round.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from compiled_rules import CompiledRules, Offence, Refused
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_types.records import FraudKind
from chain_types.report import (
    MAX_ENVELOPE_BYTES,
    BadReveal,
    Equivocation,
    FalseReceipt,
    decode_proof,
    encode_proof,
)
from offchain_worker.coinflip.commitments import number_commitment
from offchain_worker.coinflip.envelope import HEADER_BYTES, Kind, SignedEnvelope
from offchain_worker.coinflip.evidence import (
    EvidenceError,
    bad_reveal,
    equivocation,
    verify_evidence,
)
from offchain_worker.coinflip.topic import Flip
from offchain_worker.keys import KeyPair

PAIRS = sorted((KeyPair.from_seed(bytes([seed]) * 32) for seed in range(6)), key=lambda p: p.public)
ROSTER = tuple(pair.public for pair in PAIRS)
FLIP = Flip(bytes(32), 7, bytes(32), 2, ROSTER)
HASHES = st.binary(min_size=32, max_size=32)
MEMBERS = st.integers(0, len(PAIRS) - 1)
BODIES = {Kind.COMMIT: 64, Kind.ECHO: 32, Kind.REVEAL: 64}
Proof = Equivocation | BadReveal | FalseReceipt


def sign(kind: Kind, index: int, body: bytes, flip: Flip = FLIP) -> SignedEnvelope:
    return SignedEnvelope.sign(kind, flip.topic, index, body, PAIRS[index])


@st.composite
def equivocations(draw: st.DrawFn) -> Equivocation:
    """Two different bodies of one kind, zero echoes among them."""
    kind, index = draw(st.sampled_from(list(BODIES))), draw(MEMBERS)
    bodies = st.binary(min_size=BODIES[kind], max_size=BODIES[kind]) | st.just(bytes(BODIES[kind]))
    a, b = draw(st.lists(bodies, min_size=2, max_size=2, unique=True))
    proof = decode_proof(equivocation(FLIP, sign(kind, index, a), sign(kind, index, b)).encoded)
    assert isinstance(proof, Equivocation)
    return proof


@st.composite
def bad_reveals(draw: st.DrawFn) -> BadReveal:
    """A reveal that does not open the commit."""
    index = draw(MEMBERS)
    commit = sign(Kind.COMMIT, index, draw(HASHES) + draw(HASHES))
    reveal = sign(Kind.REVEAL, index, draw(HASHES) + draw(HASHES))
    proof = decode_proof(bad_reveal(FLIP, commit, reveal).encoded)
    assert isinstance(proof, BadReveal)
    return proof


def envelopes(proof: Equivocation | BadReveal) -> tuple[str, str]:
    """The names of the fields that hold envelopes."""
    return ("a", "b") if isinstance(proof, Equivocation) else ("commit", "reveal")


def ask(chain_rules: CompiledRules, proof: Proof, flip: Flip = FLIP) -> Offence | Refused:
    return chain_rules.verify_proof(flip.topic, flip.roster, proof)


def agree(chain_rules: CompiledRules, proof: Proof, flip: Flip = FLIP) -> bool:
    """Whether a peer takes the proof; then the chain does too, against the same member."""
    there = ask(chain_rules, proof, flip)
    try:
        evidence = verify_evidence(encode_proof(proof), flip)
    except EvidenceError:
        assert isinstance(there, Refused), there
        return False
    offender, kind = flip.roster[evidence.offender], FraudKind(evidence.proof_kind)
    assert there == Offence(evidence.offender, offender, kind, evidence.id)
    assert chain_rules.evidence_id(offender, flip.topic, kind) == evidence.id
    return True


@given(proof=equivocations() | bad_reveals())
@settings(deadline=None)
def test_proofs(chain_rules: CompiledRules, proof: Proof) -> None:
    assert agree(chain_rules, proof)


@given(proof=equivocations() | bad_reveals(), data=st.data())
@settings(deadline=None, max_examples=300)
def test_one_bit_flipped(
    chain_rules: CompiledRules, proof: Equivocation | BadReveal, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(envelopes(proof)))
    changed = bytearray(getattr(proof, name))
    at = data.draw(st.integers(0, 8 * len(changed) - 1))
    changed[at // 8] ^= 1 << at % 8
    assert not agree(chain_rules, replace(proof, **{name: bytes(changed)}))


@given(proof=equivocations() | bad_reveals(), data=st.data())
@settings(deadline=None)
def test_other_lengths(
    chain_rules: CompiledRules, proof: Equivocation | BadReveal, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(envelopes(proof)))
    whole: bytes = getattr(proof, name)
    other = data.draw(
        st.integers(0, len(whole) - 1).map(lambda length: whole[:length])
        | st.binary(min_size=1, max_size=MAX_ENVELOPE_BYTES - len(whole)).map(whole.__add__)
        | st.binary(max_size=MAX_ENVELOPE_BYTES)
    )
    changed = replace(proof, **{name: other})
    assert ask(chain_rules, changed) == Refused("Malformed")
    assert not agree(chain_rules, changed)


def opened(index: int) -> tuple[SignedEnvelope, SignedEnvelope]:
    """A commit and the reveal that opens it."""
    salt, x = b"s" * 32, b"x" * 32
    y = number_commitment(FLIP.topic, ROSTER[index], salt, x)
    return sign(Kind.COMMIT, index, y + b"z" * 32), sign(Kind.REVEAL, index, salt + x)


COMMIT, OTHER = sign(Kind.COMMIT, 1, b"c" * 64), sign(Kind.COMMIT, 1, b"d" * 64)
ECHO = sign(Kind.ECHO, 1, b"e" * 32)
REVEAL = sign(Kind.REVEAL, 1, b"r" * 64)
FOREIGN = Flip(bytes(32), 7, bytes(32), 1, ROSTER)
FEWER = Flip(bytes(32), 7, bytes(32), 2, ROSTER[:1])


def two(a: SignedEnvelope, b: SignedEnvelope) -> Equivocation:
    return Equivocation(FLIP.challenge_id, FLIP.attempt, a.raw, b.raw)


def opening(commit: SignedEnvelope, reveal: SignedEnvelope) -> BadReveal:
    return BadReveal(FLIP.challenge_id, FLIP.attempt, commit.raw, reveal.raw)


def in_the_name_of(index: int, envelope: SignedEnvelope) -> SignedEnvelope:
    """The envelope with another member's index, under the old signature."""
    raw = envelope.raw[: HEADER_BYTES - 2] + index.to_bytes(2, "little")
    return replace(envelope, index=index, raw=raw + envelope.raw[HEADER_BYTES:])


UNSIGNED = replace(OTHER, raw=OTHER.raw[:-64] + bytes(64))


@pytest.mark.parametrize(
    ("proof", "reason"),
    [
        (two(COMMIT, ECHO), "Kinds"),
        (opening(REVEAL, COMMIT), "Kinds"),
        (opening(COMMIT, OTHER), "Kinds"),
        (two(COMMIT, sign(Kind.COMMIT, 1, b"d" * 64, FOREIGN)), "Topic"),
        (two(COMMIT, sign(Kind.COMMIT, 2, b"d" * 64)), "Members"),
        (opening(COMMIT, sign(Kind.REVEAL, 2, b"r" * 64)), "Members"),
        (two(in_the_name_of(6, COMMIT), in_the_name_of(6, OTHER)), "NotMember"),
        (two(COMMIT, COMMIT), "NotContradictory"),
        (opening(*opened(1)), "NotContradictory"),
        (two(in_the_name_of(2, COMMIT), in_the_name_of(2, OTHER)), "Signature"),
        (two(COMMIT, UNSIGNED), "Signature"),
        (FalseReceipt(bytes(32), b"", 0, bytes(32), (), ()), "NoEnvelopes"),
    ],
)
def test_false_evidence(chain_rules: CompiledRules, proof: Proof, reason: str) -> None:
    assert ask(chain_rules, proof) == Refused(reason)
    assert not agree(chain_rules, proof)


def test_a_body_signed_twice_proves_nothing(chain_rules: CompiledRules) -> None:
    """Signatures are not unique: only bodies are compared, before the signatures are looked at."""
    assert ask(chain_rules, two(COMMIT, replace(COMMIT, raw=COMMIT.raw[:-1] + b"\0"))) == Refused(
        "NotContradictory"
    )


@pytest.mark.parametrize("flip", [FOREIGN, FEWER])
def test_a_proof_belongs_to_its_topic(chain_rules: CompiledRules, flip: Flip) -> None:
    proof = two(COMMIT, OTHER)
    assert ask(chain_rules, proof, flip) == Refused("Topic")
    assert not agree(chain_rules, proof, flip)
    # The topic binds the roster; were it the same, who is not in the roster could not be accused.
    assert chain_rules.verify_proof(FLIP.topic, FEWER.roster, proof) == Refused("NotMember")
