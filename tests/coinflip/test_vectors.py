"""The shared vectors: flips, generator and roster draws of tests/vectors/challenge.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from offchain_worker.coinflip import commitments, draws
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope, decode_signed
from offchain_worker.coinflip.topic import FALLBACK_ATTEMPT, Flip, topic_id
from offchain_worker.keys import KeyPair

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "challenge.json").read_text()
)
FLIPS = VECTORS["flips"]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def flip_of(vector: dict[str, Any]) -> Flip:
    return Flip(
        genesis=unhex(vector["genesis"]),
        challenge_id=int(vector["challenge_id"]),
        start_block_hash=unhex(vector["start_block_hash"]),
        attempt=vector["attempt"],
        roster=tuple(unhex(member["public_key"]) for member in vector["members"]),
    )


def members_of(vector: dict[str, Any]) -> list[dict[str, Any]]:
    members: list[dict[str, Any]] = vector["members"]
    return members


@pytest.mark.parametrize("vector", FLIPS)
def test_topic_root_and_results(vector: dict[str, Any]) -> None:
    topic = flip_of(vector).topic
    assert topic == unhex(vector["topic"])
    pairs = []
    for member in members_of(vector):
        key = unhex(member["public_key"])
        y = commitments.number_commitment(topic, key, unhex(member["salt"]), unhex(member["x"]))
        audit_key = KeyPair.from_seed(unhex(member["audit_seed"])).public
        assert audit_key == unhex(member["audit_key"])
        z = commitments.audit_commitment(topic, key, unhex(member["w"]), audit_key)
        assert (y, z) == (unhex(member["y"]), unhex(member["z"]))
        pairs.append((y, z))
    root = commitments.commitment_root(topic, pairs)
    assert root == unhex(vector["root"])
    numbers = [unhex(member["x"]) for member in members_of(vector)]
    assert commitments.hash_concat(topic, root, numbers) == unhex(vector["result"])
    assert commitments.xor_hash(topic, root, numbers) == unhex(vector["xor_hash"])
    assert commitments.xor(topic, root, numbers) == unhex(vector["xor"])


@pytest.mark.parametrize("vector", FLIPS)
def test_envelopes(vector: dict[str, Any]) -> None:
    flip = flip_of(vector)
    for index, member in enumerate(members_of(vector)):
        keypair = KeyPair.from_seed(unhex(member["seed"]))
        bodies = {
            "commit": (Kind.COMMIT, unhex(member["y"]) + unhex(member["z"])),
            "echo": (Kind.ECHO, unhex(vector["root"])),
            "give_up": (Kind.ECHO, bytes(32)),
            "reveal": (Kind.REVEAL, unhex(member["salt"]) + unhex(member["x"])),
        }
        for name, (kind, body) in bodies.items():
            made = SignedEnvelope.sign(kind, flip.topic, index, body, keypair)
            assert made.raw == unhex(member[name])
            read = decode_signed(unhex(member[name]), flip)
            assert read == made
            assert read.is_signed_by(keypair.public)


@pytest.mark.parametrize("vector", FLIPS)
def test_moments_chunks_and_habits(vector: dict[str, Any]) -> None:
    topic, result = unhex(vector["topic"]), unhex(vector["result"])
    low, window = int(vector["window"]["tlo"]), int(vector["window"]["W"])
    jitter = vector["window"]["jitter_num"], vector["window"]["jitter_den"]
    slots = draws.slot_order(result, len(members_of(vector)))
    assert slots == vector["slots"]
    for index, member in enumerate(members_of(vector)):
        key, w = unhex(member["public_key"]), unhex(member["w"])
        u = draws.join_number(topic, result, key, w)
        assert u == int(member["u"])
        assert draws.moment_uniform(u, low, window) == int(member["moment_uniform"])
        assert slots[index] == member["slot"]
        offset = draws.slot_offset(u, *jitter)
        assert offset == int(member["off"])
        moment = draws.moment_slots(slots[index], offset, len(slots), low, window)
        assert moment == int(member["moment_slots"])
        seed = draws.chunk_seed(topic, result, key, w)
        assert seed == unhex(member["seed_chunks"])
        chunks = draws.drawn_chunks(seed, vector["draws"]["L"], vector["draws"]["N"])
        assert chunks == member["chunks"]
        habit = draws.session_habit(seed)
        assert (int(habit.windowed), habit.multiple) == (member["windowed"], member["multiple"])


@pytest.mark.parametrize("vector", FLIPS)
def test_fallback_on_the_chain(vector: dict[str, Any]) -> None:
    fallback = vector["fallback"]
    flip = flip_of(vector)
    active = [flip.roster[index] for index in fallback["active"]]
    # The vectors' fallback keeps the whole start roster: nobody was expelled.
    topic = topic_id(
        flip.genesis, flip.challenge_id, flip.start_block_hash, FALLBACK_ATTEMPT, flip.roster
    )
    assert topic == unhex(fallback["topic"])
    seals = []
    for key, member in zip(active, fallback["members"], strict=True):
        audit_key = KeyPair.from_seed(unhex(member["audit_seed"])).public
        seals.append(commitments.audit_commitment(topic, key, unhex(member["w"]), audit_key))
        assert seals[-1] == unhex(member["z"])
    root = commitments.fallback_root(topic, seals)
    assert root == unhex(fallback["root"])
    result = commitments.fallback_result(topic, root, unhex(fallback["chain_randomness"]))
    assert result == unhex(fallback["result"])
    low, window = int(vector["window"]["tlo"]), int(vector["window"]["W"])
    for key, member in zip(active, fallback["members"], strict=True):
        w = unhex(member["w"])
        seed = draws.chunk_seed(topic, result, key, w)
        chunks = draws.drawn_chunks(seed, vector["draws"]["L"], vector["draws"]["N"])
        assert chunks == member["chunks"]
        u = draws.join_number(topic, result, key, w)
        assert draws.moment_uniform(u, low, window) == int(member["moment_uniform"])


@pytest.mark.parametrize("vector", FLIPS)
def test_retry_jitter(vector: dict[str, Any]) -> None:
    assert draws.retry_jitter(unhex(vector["topic"]), 3000) == vector["retry_jitter_below_3000"]


@pytest.mark.parametrize("vector", VECTORS["prng"])
def test_generator(vector: dict[str, Any]) -> None:
    seed = unhex(vector["seed"])
    prng = draws.Prng(seed, vector["label"])
    assert [prng.next_u64() for _ in vector["u64"]] == [int(value) for value in vector["u64"]]
    prng = draws.Prng(seed, vector["label"])
    assert [prng.below(int(m)) for m in vector["moduli"]] == [int(v) for v in vector["below"]]
    size = vector["permutation_of"]
    assert draws.permutation(draws.Prng(seed, vector["label"]), size) == vector["permutation"]


@pytest.mark.parametrize("vector", VECTORS["draws"])
def test_roster_draw(vector: dict[str, Any]) -> None:
    seed = draws.roster_seed(unhex(vector["chain_randomness"]), int(vector["challenge_id"]))
    drawn = draws.draw_roster(seed, vector["eligible"], vector["k"], set(vector["skip"]))
    assert drawn == vector["drawn"]
