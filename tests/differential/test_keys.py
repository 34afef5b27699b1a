"""Keys, registrations, feeds and heads: both sides take and refuse the same."""

import json
from pathlib import Path

from compiled_rules import CompiledRules, Feed, FeedKind, Head, Refused
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from offchain_worker.coinflip.hashing import performance_tag
from offchain_worker.hypercore.errors import BadProof
from offchain_worker.hypercore.manifest import (
    encode_manifest,
    feed_key,
    signable,
    single_signer_manifest,
    verify_head,
    wrap_signature,
)
from offchain_worker.keys import KeyPair, is_valid_public_key

MANIFESTS = json.loads((Path(__file__).parents[1] / "vectors" / "manifests.json").read_text())
HASHES = st.binary(min_size=32, max_size=32)
U64 = st.integers(0, 2**64 - 1)
PAIRS = st.builds(KeyPair.from_seed, HASHES)
P = 2**255 - 19
"""The field's prime."""

ORDER_EIGHT = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
"""A point that generates all points of small order."""


def multiples(point: bytes) -> list[bytes]:
    """The point times 1 to 8."""
    points = [point]
    for _ in range(7):
        points.append(bindings.crypto_core_ed25519_add(points[-1], point))
    return points


def agree(chain_rules: CompiledRules, key: bytes) -> bool:
    """Whether both take the key, after both said the same."""
    taken = chain_rules.check_public_key(key) is None
    assert taken == is_valid_public_key(key)
    return taken


@given(key=HASHES)
@settings(deadline=None, max_examples=300)
def test_any_bytes_as_key(chain_rules: CompiledRules, key: bytes) -> None:
    agree(chain_rules, key)


@given(pair=PAIRS)
@settings(deadline=None)
def test_honest_and_mixed_keys(chain_rules: CompiledRules, pair: KeyPair) -> None:
    assert agree(chain_rules, pair.public)
    for torsion in multiples(ORDER_EIGHT)[:-1]:
        assert not agree(chain_rules, bindings.crypto_core_ed25519_add(pair.public, torsion))


def test_keys_of_small_order_and_other_encodings(chain_rules: CompiledRules) -> None:
    for key in multiples(ORDER_EIGHT):
        assert not agree(chain_rules, key)
    for y in [*range(20), *range(P - 3, 2**255)]:
        for sign in (0, 2**255):
            agree(chain_rules, (y + sign).to_bytes(32, "little"))
    for y in range(P, 2**255):
        for sign in (0, 2**255):
            assert not agree(chain_rules, (y + sign).to_bytes(32, "little"))


@given(pair=PAIRS, genesis=HASHES, account=HASHES, role=st.integers(0, 1), other=HASHES)
@settings(deadline=None)
def test_registrations(
    chain_rules: CompiledRules,
    pair: KeyPair,
    genesis: bytes,
    account: bytes,
    role: int,
    other: bytes,
) -> None:
    proof = pair.sign(performance_tag("register") + genesis + bytes([role]) + account)
    check = chain_rules.check_registration
    assert check(genesis, role, account, pair.public, proof) is None
    refused = Refused("WrongProof")
    assert check(genesis, 1 - role, account, pair.public, proof) == refused
    if other not in (genesis, account):
        assert check(other, role, account, pair.public, proof) == refused
        assert check(genesis, role, other, pair.public, proof) == refused


@given(author=PAIRS, namespace=HASHES, head=st.builds(Head, U64, U64, HASHES), compat=st.booleans())
@settings(deadline=None)
def test_heads(
    chain_rules: CompiledRules, author: KeyPair, namespace: bytes, head: Head, compat: bool
) -> None:
    manifest = None if compat else single_signer_manifest(author.public, namespace)
    key = author.public if manifest is None else feed_key(manifest)
    raw = None if manifest is None else encode_manifest(manifest)
    kind = FeedKind.COMPAT if compat else FeedKind.MANIFEST
    feed = Feed(key, author.public, kind)
    assert chain_rules.feed(key, raw) == feed

    message = signable(key, manifest, head.fork, head.length, head.tree_hash)
    signature = author.sign(message)
    for candidate in (signature, bytes(64), signature[:-1] + bytes([signature[-1] ^ 1])):
        blob = candidate if compat else wrap_signature(candidate)
        try:
            verify_head(key, manifest, head.fork, head.length, head.tree_hash, blob)
            ours = True
        except BadProof:
            ours = False
        assert chain_rules.verify_head(feed, head, candidate) is ours is (candidate == signature)


def test_only_manifests_of_one_signer_are_taken(chain_rules: CompiledRules) -> None:
    for vector in MANIFESTS["manifests"]:
        key, raw = bytes.fromhex(vector["key"]), bytes.fromhex(vector["raw"])
        answer = chain_rules.feed(key, raw)
        if vector["label"] in ("v1 single", "v1 single own namespace"):
            signer = bytes.fromhex(vector["decoded"]["signers"][0]["publicKey"])
            assert answer == Feed(key, signer, FeedKind.MANIFEST)
            assert chain_rules.feed(bytes(32), raw) == Refused("WrongKey")
        else:
            assert answer == Refused("UnsupportedManifest")
