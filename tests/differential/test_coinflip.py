"""Topics, roots and results: the compiled runtime and the Python cores give the same bytes."""

from compiled_rules import Anchored, CompiledRules, Opening, Refused
from hypothesis import given, settings
from hypothesis import strategies as st

from offchain_worker.coinflip.commitments import (
    commitment_root,
    fallback_result,
    fallback_root,
    hash_concat,
    number_commitment,
)
from offchain_worker.coinflip.envelope import Kind, signing_payload
from offchain_worker.coinflip.topic import topic_id
from offchain_worker.keys import KeyPair

HASHES = st.binary(min_size=32, max_size=32)
U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)


@given(
    genesis=HASHES,
    challenge=U64,
    start=HASHES,
    attempt=U32,
    roster=st.lists(HASHES, max_size=32, unique=True).map(sorted),
)
@settings(deadline=None)
def test_topics(
    chain_rules: CompiledRules,
    genesis: bytes,
    challenge: int,
    start: bytes,
    attempt: int,
    roster: list[bytes],
) -> None:
    ours = topic_id(genesis, challenge, start, attempt, roster)
    assert chain_rules.topic(genesis, challenge, start, attempt, roster) == ours


@given(topic=HASHES, commitments=st.lists(st.tuples(HASHES, HASHES), max_size=32))
@settings(deadline=None)
def test_roots(
    chain_rules: CompiledRules, topic: bytes, commitments: list[tuple[bytes, bytes]]
) -> None:
    ours = commitment_root(topic, commitments)
    assert chain_rules.coinflip_root(topic, commitments) == ours


@given(topic=HASHES, root=HASHES, numbers=st.lists(HASHES, max_size=32))
@settings(deadline=None)
def test_results(
    chain_rules: CompiledRules, topic: bytes, root: bytes, numbers: list[bytes]
) -> None:
    ours = hash_concat(topic, root, numbers)
    assert chain_rules.coinflip_result(topic, root, numbers) == ours


@given(topic=HASHES, commitments=st.lists(HASHES, max_size=32), randomness=HASHES)
@settings(deadline=None)
def test_fallbacks(
    chain_rules: CompiledRules, topic: bytes, commitments: list[bytes], randomness: bytes
) -> None:
    root = fallback_root(topic, commitments)
    ours = Anchored(root, fallback_result(topic, root, randomness))
    assert chain_rules.coinflip_fallback(topic, commitments, randomness) == ours


@given(topic=HASHES, seeds=st.sets(HASHES, min_size=1, max_size=6), data=st.data())
@settings(deadline=None)
def test_anchors(
    chain_rules: CompiledRules, topic: bytes, seeds: set[bytes], data: st.DataObject
) -> None:
    pairs = sorted(map(KeyPair.from_seed, seeds), key=lambda pair: pair.public)
    roster = [pair.public for pair in pairs]
    openings = [Opening(*data.draw(st.tuples(HASHES, HASHES, HASHES))) for _ in pairs]
    commitments = [
        (number_commitment(topic, key, opening.salt, opening.x), opening.z)
        for key, opening in zip(roster, openings, strict=True)
    ]
    root = commitment_root(topic, commitments)
    echoes = [pair.sign(signing_payload(Kind.ECHO, topic, pair.public, root)) for pair in pairs]
    ours = Anchored(root, hash_concat(topic, root, [opening.x for opening in openings]))
    assert chain_rules.verify_anchor(topic, roster, openings, echoes) == ours

    at = data.draw(st.integers(0, len(pairs) - 1))
    changed = list(openings)
    field = data.draw(st.sampled_from(["z", "salt", "x"]))
    value = bytearray(getattr(openings[at], field))
    value[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
    parts = {name: getattr(openings[at], name) for name in ("z", "salt", "x")}
    changed[at] = Opening(**parts | {field: bytes(value)})
    refused = chain_rules.verify_anchor(topic, roster, changed, echoes)
    assert refused == Refused("WrongEcho.0")

    gives_up = signing_payload(Kind.ECHO, topic, roster[at], bytes(32))
    false_echoes = list(echoes)
    false_echoes[at] = pairs[at].sign(gives_up)
    refused = chain_rules.verify_anchor(topic, roster, openings, false_echoes)
    assert refused == Refused(f"WrongEcho.{at}")
    refused = chain_rules.verify_anchor(topic, roster, openings[1:], echoes)
    assert refused == Refused("OpeningCount")
    refused = chain_rules.verify_anchor(topic, roster, openings, echoes[1:])
    assert refused == Refused("EchoCount")
