"""The judge was written apart from the product; here the two meet, on random values and by rule."""

from __future__ import annotations

import random

import pytest

from chain_types.report import BadReveal, Equivocation, encode_proof
from offchain_worker.coinflip.attempts import Attempt, Expulsion
from offchain_worker.coinflip.commitments import (
    commitment_root,
    fallback_result,
    fallback_root,
    hash_concat,
    number_commitment,
)
from offchain_worker.coinflip.draws import retry_jitter
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.coinflip.topic import topic_id
from offchain_worker.keys import verify
from offchain_worker.simulation import judge, keyring
from offchain_worker.simulation.chain import ChainTiming, Expelled
from offchain_worker.simulation.scenario import LONG, PRODUCTION, QUICK, Scenario
from offchain_worker.simulation.world import World


def test_hashes_agree() -> None:
    dice = random.Random(1)
    for _ in range(50):
        topic, key, salt, x, root = (dice.randbytes(32) for _ in range(5))
        pairs = [(dice.randbytes(32), dice.randbytes(32)) for _ in range(dice.randrange(1, 9))]
        flat = [y for y, _z in pairs]
        assert judge.number_hash(topic, key, salt, x) == number_commitment(topic, key, salt, x)
        assert judge.root_of(topic, pairs) == commitment_root(topic, pairs)
        assert judge.result_of(topic, root, flat) == hash_concat(topic, root, flat)
        theirs = fallback_root(topic, flat)
        assert judge.fallback_of(topic, flat, salt) == (
            theirs,
            fallback_result(topic, theirs, salt),
        )
        bound = dice.randrange(1, 1 << 20)
        assert judge.jitter_of(topic, bound) == retry_jitter(topic, bound)
        arguments = (topic, dice.randrange(1 << 60), root, dice.randrange(9), flat)
        assert judge.topic_of(*arguments) == topic_id(*arguments)


@pytest.mark.parametrize("timing", [PRODUCTION, QUICK, LONG])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_attempts_agree_around_the_boundary(timing: ChainTiming, offset: int) -> None:
    world = World(Scenario(seed=3, size=5, timing=timing, min_active=3))
    settled = world.chain.attempts()[1][2] - 2 * timing.block_ms - timing.finality_ms
    world.chain.expelled = [Expelled(2, settled + offset), Expelled(0, settled + 10**9)]
    attempts = world.attempts(world.chain.start_hash)
    expulsions = [Expulsion(one.place, one.timestamp_ms) for one in world.chain.expelled]
    mine = []
    attempt: Attempt | None = attempts.first()
    while attempt is not None:
        mine.append((attempt.flip.topic, attempt.places, attempt.schedule.start_ms))
        attempt = attempts.after(attempt, expulsions)
    assert mine == world.chain.attempts()
    assert (2 in mine[1][1]) is (offset > 0)
    assert len(mine) <= 8


def envelopes() -> tuple[bytes, list[bytes], SignedEnvelope, SignedEnvelope, SignedEnvelope]:
    pairs = keyring.draw(random.Random(2), 3)
    topic = bytes(range(32))
    bodies = (bytes(64), bytes([1]) * 64)
    commits = [SignedEnvelope.sign(Kind.COMMIT, topic, 1, body, pairs[1]) for body in bodies]
    reveal = SignedEnvelope.sign(Kind.REVEAL, topic, 1, bytes(64), pairs[1])
    return topic, [pair.public for pair in pairs], *commits, reveal


def test_true_proofs_are_read_and_convict() -> None:
    topic, keys, first, second, reveal = envelopes()
    e1 = judge.read_proof(encode_proof(Equivocation(7, 1, first.raw, second.raw)))
    assert (e1.challenge, e1.attempt, e1.bad_reveal) == (7, 1, False)
    assert judge.offender_of(e1, topic, keys, verify) == 1
    e2 = judge.read_proof(encode_proof(BadReveal(7, 1, first.raw, reveal.raw)))
    assert judge.offender_of(e2, topic, keys, verify) == 1


def test_false_proofs_convict_nobody() -> None:
    topic, keys, first, second, reveal = envelopes()
    flipped = second.raw[:-1] + bytes([second.raw[-1] ^ 1])
    for proof, reason in [
        (Equivocation(7, 1, first.raw, first.raw), "not contradictory"),
        (Equivocation(7, 1, first.raw, reveal.raw), "not contradictory"),
        (Equivocation(7, 1, first.raw, flipped), "signature"),
        (Equivocation(7, 1, first.raw, second.raw[:33] + b"\2" + second.raw[34:]), "member"),
        (BadReveal(7, 1, reveal.raw, first.raw), "kinds"),
    ]:
        with pytest.raises(judge.Refused, match=reason):
            judge.offender_of(judge.read_proof(encode_proof(proof)), topic, keys, verify)
    true = judge.read_proof(encode_proof(Equivocation(7, 1, first.raw, second.raw)))
    with pytest.raises(judge.Refused, match="topic"):
        judge.offender_of(true, bytes(32), keys, verify)


def test_only_whole_proofs_are_read() -> None:
    _topic, _keys, first, second, _reveal = envelopes()
    whole = encode_proof(Equivocation(7, 1, first.raw, second.raw))
    for at in range(len(whole)):
        with pytest.raises(judge.Refused):
            judge.read_proof(whole[:at])
    with pytest.raises(judge.Refused):
        judge.read_proof(whole + b"\0")
    with pytest.raises(judge.Refused):
        judge.read_proof(b"\2" + whole[1:])
