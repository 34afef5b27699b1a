from typing import Any

import pytest
from hypercore_feeds import KEY, MANIFEST, TREES, grow, load
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.hypercore import manifest as m
from offchain_worker.hypercore import tree
from offchain_worker.hypercore.encoding import Decoder
from offchain_worker.hypercore.errors import BadProof, DecodeError
from offchain_worker.keys import KeyPair

MANIFESTS = load("manifests.json")["manifests"]
AUTHOR = KeyPair.from_seed(bytes.fromhex(TREES["signer_seed"]))
OTHER = KeyPair.from_seed(bytes([7]) * 32)


def as_vector(manifest: m.Manifest) -> dict[str, Any]:
    return {
        "version": manifest.version,
        "hash": "blake2b",
        "allowPatch": manifest.allow_patch,
        "quorum": manifest.quorum,
        "signers": [
            {
                "signature": "ed25519",
                "namespace": signer.namespace.hex(),
                "publicKey": signer.public_key.hex(),
            }
            for signer in manifest.signers
        ],
        "prologue": manifest.prologue
        and {"hash": manifest.prologue.hash.hex(), "length": manifest.prologue.length},
        "linked": None if manifest.linked is None else [key.hex() for key in manifest.linked],
        "userData": None if manifest.user_data is None else manifest.user_data.hex(),
    }


@pytest.mark.parametrize("case", MANIFESTS, ids=lambda case: case["label"])
def test_manifest_vectors(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["raw"])
    manifest = m.decode_manifest(raw)
    assert as_vector(manifest) == case["decoded"]
    assert m.encode_manifest(manifest) == raw
    assert m.feed_key(manifest).hex() == case["key"]
    m.check_manifest(bytes.fromhex(case["key"]), manifest)
    for cut in range(len(raw)):
        with pytest.raises(DecodeError):
            m.decode_manifest(raw[:cut])
    with pytest.raises(DecodeError):
        m.decode_manifest(raw + b"\x00")


def test_the_chain_s_form_of_a_manifest() -> None:
    manifest = m.single_signer_manifest(AUTHOR.public)
    assert m.encode_manifest(manifest) == (
        bytes.fromhex("010000010100") + m.DEFAULT_NAMESPACE + AUTHOR.public
    )
    assert m.feed_key(manifest) == KEY
    with pytest.raises(ValueError, match="32 bytes"):
        m.single_signer_manifest(b"short")


@pytest.mark.parametrize("raw", ["04", "0110000100", "010001", "01040001000001", "00000200"])
def test_unknown_manifests(raw: str) -> None:
    with pytest.raises(DecodeError):
        m.decode_manifest(bytes.fromhex(raw))


def test_a_manifest_in_an_unusual_encoding_is_refused() -> None:
    raw = m.encode_manifest(MANIFEST)
    with pytest.raises(DecodeError):
        m.decode_manifest(b"\xfd\x01\x00" + raw[1:])


@pytest.mark.parametrize("case", TREES["trees"], ids=lambda case: str(case["length"]))
def test_head_vectors(case: dict[str, Any]) -> None:
    root_hash = bytes.fromhex(case["tree_hash"])
    blob = bytes.fromhex(case["signature"])
    length = case["length"]
    assert m.signable(KEY, MANIFEST, 0, length, root_hash).hex() == case["signable"]
    m.verify_head(KEY, MANIFEST, 0, length, root_hash, blob)
    bare = m.bare_signature(blob, MANIFEST)
    assert AUTHOR.sign(bytes.fromhex(case["signable"])) == bare
    assert m.wrap_signature(bare) == blob

    compat = bytes.fromhex(case["compat"]["signature"])
    assert m.signable(AUTHOR.public, None, 0, length, root_hash).hex() == case["compat"]["signable"]
    m.verify_head(AUTHOR.public, None, 0, length, root_hash, compat)
    m.verify_head(AUTHOR.public, MANIFEST, 0, length, root_hash, compat)
    assert m.bare_signature(compat, None) == compat

    for arguments in (
        (KEY, MANIFEST, 1, length, root_hash, blob),
        (KEY, MANIFEST, 0, length + 1, root_hash, blob),
        (KEY, MANIFEST, 0, length, bytes(32), blob),
        (KEY, MANIFEST, 0, length, root_hash, compat),
        (KEY, MANIFEST, 0, length, root_hash, m.wrap_signature(compat)),
        (KEY, MANIFEST, 0, length, root_hash, None),
        (KEY, None, 0, length, root_hash, bare),
        (OTHER.public, MANIFEST, 0, length, root_hash, blob),
        (AUTHOR.public, None, 0, length, root_hash, blob),
    ):
        with pytest.raises(BadProof):
            m.verify_head(*arguments)


def test_discovery_keys() -> None:
    for case in load("constants.json")["discovery_keys"]:
        assert m.discovery_key(bytes.fromhex(case["key"])).hex() == case["discovery_key"]


def test_fork_vector() -> None:
    vector = load("forks.json")
    manifest = m.decode_manifest(bytes.fromhex(vector["manifest"]))
    for case in vector["forks"]:
        root_hash = bytes.fromhex(case["tree_hash"])
        head = (bytes.fromhex(vector["key"]), manifest, case["fork"], case["length"], root_hash)
        assert m.signable(*head).hex() == case["signable"]
        m.verify_head(*head, bytes.fromhex(case["signature"]))


def test_multisignature_vectors() -> None:
    cases = load("multisig.json")["cases"]
    manifest = m.decode_manifest(bytes.fromhex(cases[0]["manifest"]))
    assert {case["valid"] for case in cases} == {True, False}
    for case in cases:
        blob = bytes.fromhex(case["signature"])
        head = (case["fork"], case["length"], bytes.fromhex(case["tree_hash"]), blob)
        assert m.encode_multisignature(m.decode_multisignature(blob)) == blob
        if case["valid"]:
            m.verify_head(bytes.fromhex(case["key"]), manifest, *head)
        else:
            with pytest.raises(BadProof):
                m.verify_head(bytes.fromhex(case["key"]), manifest, *head)
        with pytest.raises(DecodeError):
            m.bare_signature(blob, manifest)


def signed(manifest: m.Manifest, signers: list[tuple[int, KeyPair]], length: int) -> bytes:
    key = m.feed_key(manifest)
    root_hash = grow(length)[0].tree_hash()
    return m.encode_multisignature(
        m.Multisignature(
            tuple(
                m.PartialSignature(i, pair.sign(m.signable(key, manifest, 0, length, root_hash)), 0)
                for i, pair in signers
            )
        )
    )


def test_one_signer_cannot_fill_a_quorum() -> None:
    signers = (m.Signer(bytes(32), AUTHOR.public), m.Signer(bytes(32), OTHER.public))
    manifest = m.Manifest(1, allow_patch=False, quorum=2, signers=signers)
    root_hash = grow(5)[0].tree_hash()
    key = m.feed_key(manifest)
    good = signed(manifest, [(0, AUTHOR), (1, OTHER)], 5)
    m.verify_head(key, manifest, 0, 5, root_hash, good)
    for bad in ([(0, AUTHOR), (0, AUTHOR)], [(0, AUTHOR)], [(0, AUTHOR), (2, OTHER)]):
        with pytest.raises(BadProof):
            m.verify_head(key, manifest, 0, 5, root_hash, signed(manifest, bad, 5))


def test_a_feed_without_signers_has_no_other_head_than_its_prologue() -> None:
    builder, _ = grow(4)
    manifest = m.Manifest(
        1, allow_patch=False, quorum=0, signers=(), prologue=m.Prologue(builder.tree_hash(), 4)
    )
    key = m.feed_key(manifest)
    m.verify_head(key, manifest, 0, 4, builder.tree_hash(), None)
    for length in (3, 5):
        with pytest.raises(BadProof):
            m.verify_head(key, manifest, 0, length, grow(length)[0].tree_hash(), b"\x00\x00")


def test_a_signature_over_a_longer_tree() -> None:
    manifest = m.Manifest(
        1, allow_patch=True, quorum=1, signers=(m.Signer(bytes(32), AUTHOR.public),)
    )
    key = m.feed_key(manifest)
    short, _ = grow(5)
    long, nodes = grow(8)
    patch = tuple(nodes[index] for index in tree.upgrade_steps(5, 8))
    signature = AUTHOR.sign(m.signable(key, manifest, 0, 8, long.tree_hash()))
    part = (m.PartialSignature(0, signature, 3),)
    blob = m.encode_multisignature(m.Multisignature(part, patch))
    m.verify_head(key, manifest, 0, 5, short.tree_hash(), blob, short.roots)
    incomplete = m.encode_multisignature(m.Multisignature(part, patch[1:]))
    for other, roots in ((blob, None), (incomplete, short.roots), (blob, grow(6)[0].roots)):
        with pytest.raises(BadProof):
            m.verify_head(key, manifest, 0, 5, short.tree_hash(), other, roots)


def test_version_0() -> None:
    root_hash = grow(5)[0].tree_hash()
    manifest = m.Manifest(
        0, allow_patch=False, quorum=1, signers=(m.Signer(b"n" * 32, AUTHOR.public),)
    )
    key = m.feed_key(manifest)
    message = m.signable(key, manifest, 0, 5, root_hash)
    assert message[32:64] == b"n" * 32
    m.verify_head(key, manifest, 0, 5, root_hash, AUTHOR.sign(message))
    with pytest.raises(BadProof):
        m.verify_head(key, manifest, 0, 5, root_hash, OTHER.sign(message))
    several = m.Manifest(0, allow_patch=False, quorum=1, signers=manifest.signers * 2)
    with pytest.raises(BadProof):
        m.verify_head(m.feed_key(several), several, 0, 5, root_hash, AUTHOR.sign(message))


@pytest.mark.parametrize("ahead", [0, 3])
def test_version_0_with_several_signers(ahead: int) -> None:
    """Each signs with its own namespace; a patch names its nodes by their places in a list."""
    signers = tuple(
        m.Signer(bytes([number]) * 32, pair.public) for number, pair in enumerate((AUTHOR, OTHER))
    )
    manifest = m.Manifest(0, allow_patch=True, quorum=2, signers=signers)
    key = m.feed_key(manifest)
    short, _ = grow(5)
    long, nodes = grow(5 + ahead)
    patch = [nodes[index] for index in tree.upgrade_steps(5, 5 + ahead)] if ahead else []

    def part(number: int, pair: KeyPair, *, patched: bool) -> bytes:
        signed = long if patched else short
        message = m.signable(key, manifest, 0, signed.length, signed.tree_hash(), number)
        assert message[32:64] == bytes([number]) * 32
        places = bytes([5, ahead, len(patch), *range(len(patch))]) if patched else b""
        return bytes([patched, number]) + pair.sign(message) + places

    def field(*parts: bytes) -> bytes:
        encoded = b"".join(bytes([one.index, one.size]) + one.hash for one in patch)
        return bytes([len(parts)]) + b"".join(parts) + bytes([len(patch)]) + encoded

    one, other = part(0, AUTHOR, patched=bool(ahead)), part(1, OTHER, patched=False)
    head = (key, manifest, 0, 5, short.tree_hash())
    m.verify_head(*head, field(one, other), short.roots)
    m.verify_head(*head, field(other, one), short.roots)
    for bad in (field(one), field(one, one), field(one, part(1, AUTHOR, patched=False)), one[2:66]):
        with pytest.raises(BadProof):
            m.verify_head(*head, bad, short.roots)
    for cut in range(len(field(one, other))):
        with pytest.raises(DecodeError):
            m.decode_v0_multisignature(field(one, other)[:cut])


@given(st.binary(max_size=200))
def test_only_decode_errors_leave_the_decoders(data: bytes) -> None:
    for decode in (m.decode_manifest, m.decode_multisignature, m.decode_v0_multisignature):
        try:
            decode(data)
        except DecodeError:
            continue


@given(st.sampled_from(MANIFESTS), st.data())
def test_a_flipped_bit_changes_the_key_or_is_refused(
    case: dict[str, Any], data: st.DataObject
) -> None:
    raw = bytearray.fromhex(case["raw"])
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << (bit % 8)
    try:
        manifest = m.read_manifest(Decoder(bytes(raw)))
    except DecodeError:
        return
    assert m.feed_key(manifest).hex() != case["key"]
