"""E1 and E2: what proves, and everything that looks like it and does not (row 13)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_types.report import BadReveal, Equivocation, FalseReceipt, encode_proof
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.coinflip.evidence import (
    BAD_REVEAL,
    EQUIVOCATION,
    Evidence,
    EvidenceError,
    bad_reveal,
    equivocation,
    evidence_digest,
    verify_evidence,
)
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.hashing import blake2b_256


@pytest.fixture
def case(tools: Any) -> Any:
    return Case(tools)


class Case:
    """A roster of three in which member 1 does as the tests want."""

    def __init__(self, tools: Any) -> None:
        self.pairs = tools.keypairs(3)
        self.flip = tools.flip_for(self.pairs)
        self.secrets = FlipSecrets(*[bytes([n]) * 32 for n in range(4)])

    def sign(self, kind: Kind, body: bytes, index: int = 1, flip: Any = None) -> SignedEnvelope:
        topic = (flip or self.flip).topic
        return SignedEnvelope.sign(kind, topic, index, body, self.pairs[index])

    def commit(self) -> SignedEnvelope:
        key = self.pairs[1].public
        return self.sign(Kind.COMMIT, self.secrets.commit_body(self.flip.topic, key))

    def pair(self, kind: Kind) -> tuple[SignedEnvelope, SignedEnvelope]:
        length = 32 if kind is Kind.ECHO else 64
        return self.sign(kind, b"a" * length), self.sign(kind, b"b" * length)


@pytest.mark.parametrize("kind", [Kind.COMMIT, Kind.ECHO, Kind.REVEAL])
def test_two_bodies_prove_equivocation(case: Any, kind: Kind) -> None:
    a, b = case.pair(kind)
    evidence = equivocation(case.flip, a, b)
    assert (evidence.offender, evidence.proof_kind) == (1, EQUIVOCATION)
    assert verify_evidence(evidence.encoded, case.flip) == evidence
    assert equivocation(case.flip, b, a) == evidence, "the order does not matter"
    key = case.pairs[1].public
    assert evidence.id == blake2b_256(key, case.flip.topic, bytes([EQUIVOCATION]))


def test_echo_of_zero_and_of_a_root_contradict(case: Any) -> None:
    zero, root = case.sign(Kind.ECHO, bytes(32)), case.sign(Kind.ECHO, b"r" * 32)
    assert verify_evidence(equivocation(case.flip, zero, root).encoded, case.flip).offender == 1


def test_a_reveal_that_does_not_open_the_commit(case: Any) -> None:
    evidence = bad_reveal(case.flip, case.commit(), case.sign(Kind.REVEAL, b"z" * 64))
    assert evidence.proof_kind == BAD_REVEAL
    assert verify_evidence(evidence.encoded, case.flip) == evidence


def test_the_layout_is_the_argument_of_report_fraud(case: Any) -> None:
    a, b = sorted(case.pair(Kind.COMMIT), key=lambda envelope: envelope.raw)
    length = (163 << 2 | 1).to_bytes(2, "little")
    assert equivocation(case.flip, a, b).encoded == (
        b"\0"
        + (7).to_bytes(8, "little")
        + (0).to_bytes(4, "little")
        + length
        + a.raw
        + length
        + b.raw
    )


def refused(case: Any, proof: Any, reason: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        verify_evidence(encode_proof(proof), case.flip)
    assert caught.value.reason == reason


def test_row_13_what_proves_nothing(case: Any, tools: Any) -> None:
    a, b = case.pair(Kind.COMMIT)
    other_flip = tools.flip_for(case.pairs, challenge_id=8)
    elsewhere = case.sign(Kind.COMMIT, b"b" * 64, flip=other_flip)
    other_member = case.sign(Kind.COMMIT, b"b" * 64, index=2)
    echo = case.sign(Kind.ECHO, b"b" * 32)
    reveal = case.sign(Kind.REVEAL, case.secrets.reveal_body())
    forged = SignedEnvelope.sign(Kind.COMMIT, case.flip.topic, 1, b"b" * 64, case.pairs[2])
    bad = case.sign(Kind.REVEAL, b"z" * 64)

    refused(case, Equivocation(7, 0, a.raw, a.raw), "no contradiction")
    refused(case, Equivocation(7, 0, a.raw, elsewhere.raw), "envelope")
    refused(case, Equivocation(8, 0, a.raw, b.raw), "topic")
    refused(case, Equivocation(7, 1, a.raw, b.raw), "topic")
    refused(case, Equivocation(7, 0, a.raw, other_member.raw), "no contradiction")
    refused(case, Equivocation(7, 0, a.raw, echo.raw), "no contradiction")
    refused(case, Equivocation(7, 0, a.raw, forged.raw), "signature")
    refused(case, Equivocation(7, 0, a.raw, b.raw[:-1]), "envelope")
    refused(case, BadReveal(7, 0, case.commit().raw, reveal.raw), "no contradiction")
    refused(case, BadReveal(7, 0, bad.raw, case.commit().raw), "kinds")
    refused(case, BadReveal(7, 0, other_member.raw, bad.raw), "no contradiction")
    refused(case, FalseReceipt(bytes(32), b"", 0, bytes(32), (), ()), "kind of proof")


def test_row_13_the_same_body_under_another_signature_is_no_contradiction(case: Any) -> None:
    a, _ = case.pair(Kind.COMMIT)
    altered = dataclasses.replace(a, raw=a.raw[:-64] + bytes(64))
    with pytest.raises(EvidenceError):
        equivocation(case.flip, a, altered)
    refused(case, Equivocation(7, 0, a.raw, altered.raw), "no contradiction")


@given(position=st.integers(0, 2_000), bit=st.integers(0, 7))
def test_row_13_no_altered_bit_blames_an_honest_member(position: int, bit: int) -> None:
    evidence = ALTERED.evidence
    data = bytearray(evidence.encoded)
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(EvidenceError):
        verify_evidence(bytes(data), ALTERED.flip)


@given(st.binary(max_size=600))
def test_garbage_is_refused_with_the_own_error(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        verify_evidence(data, ALTERED.flip)


def test_digest_of_what_is_known() -> None:
    one, two = b"1" * 32, b"2" * 32
    assert evidence_digest([]) == bytes(32)
    assert evidence_digest([two, one]) == evidence_digest([one, two]) == blake2b_256(one, two)


class _Altered:
    """Made once for the property tests, which take no fixtures."""

    def __init__(self) -> None:
        from offchain_worker.coinflip.topic import Flip
        from offchain_worker.keys import KeyPair

        pair = KeyPair.from_seed(b"q" * 32)
        self.flip = Flip(bytes(32), 7, bytes(32), 0, (pair.public,))
        commits = [
            SignedEnvelope.sign(Kind.COMMIT, self.flip.topic, 0, bytes([n]) * 64, pair)
            for n in (1, 2)
        ]
        self.evidence: Evidence = equivocation(self.flip, *commits)


ALTERED = _Altered()
