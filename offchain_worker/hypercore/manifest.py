"""Feed keys, manifests and head signatures (hypercore.md §6).

A feed's key is the hash of its manifest, which names the signers; or, for a *compat* feed, the
signer's public key itself. What is signed differs between the kinds: version 1 and later sign
the feed's key with the head, version 0 the signer's namespace, compat neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from offchain_worker.hypercore.encoding import (
    Decoder,
    blake2b_256,
    encode_buffer,
    encode_uint,
    keyed_blake2b_256,
    namespace,
)
from offchain_worker.hypercore.errors import BadProof, DecodeError
from offchain_worker.hypercore.tree import Node, apply_upgrade, tree_hash, upgrade_steps
from offchain_worker.keys import SIGNATURE_BYTES, verify

NS_TREE = namespace("hypercore", 0)
NS_MANIFEST = namespace("hypercore", 3)
DEFAULT_NAMESPACE = namespace("hypercore", 4)

KEY_BYTES = 32
_SIGNER_BYTES = 1 + KEY_BYTES + KEY_BYTES
_NODE_BYTES = 1 + 1 + 32

_BLAKE2B = 0
_ED25519 = 0
_ALLOW_PATCH, _PROLOGUE, _LINKED, _USER_DATA = 1, 2, 4, 8
_V0_STATIC, _V0_SINGLE, _V0_MULTI = 0, 1, 2
LAST_VERSION = 3


class Signer(NamedTuple):
    """An Ed25519 key that signs heads: 32-byte namespace, 32-byte public key."""

    namespace: bytes
    public_key: bytes


class Prologue(NamedTuple):
    """A beginning of the feed that needs no signature: its 32-byte tree hash and length."""

    hash: bytes
    length: int


@dataclass(frozen=True)
class Manifest:
    """Who may sign heads of a feed.

    Attributes:
        version: 0 … 3.
        allow_patch: whether a signature over a longer tree counts.
        quorum: how many signatures a head needs.
        signers: the keys, in their order.
        prologue: an unsigned beginning, or None.
        linked: 32-byte keys of other feeds, or None; from version 2 on.
        user_data: the application's bytes, or None; from version 2 on.
    """

    version: int
    allow_patch: bool
    quorum: int
    signers: tuple[Signer, ...]
    prologue: Prologue | None = None
    linked: tuple[bytes, ...] | None = None
    user_data: bytes | None = None


def single_signer_manifest(public: bytes, namespace: bytes = DEFAULT_NAMESPACE) -> Manifest:
    """The version 1 manifest of one signer, 32-byte key and namespace; 70 bytes encoded.

    Raises:
        ValueError: a length is wrong.
    """
    if len(public) != KEY_BYTES or len(namespace) != KEY_BYTES:
        raise ValueError("a signer's key and namespace have 32 bytes each")
    return Manifest(1, allow_patch=False, quorum=1, signers=(Signer(namespace, public),))


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes that are hashed into the feed's key."""
    signers = encode_uint(len(manifest.signers)) + b"".join(
        encode_uint(_ED25519) + signer.namespace + signer.public_key for signer in manifest.signers
    )
    if manifest.version == 0:
        return _encode_v0(manifest, signers)
    flags = (
        (_ALLOW_PATCH if manifest.allow_patch else 0)
        | (_PROLOGUE if manifest.prologue is not None else 0)
        | (_LINKED if manifest.linked is not None else 0)
        | (_USER_DATA if manifest.user_data is not None else 0)
    )
    encoded = (
        encode_uint(manifest.version)
        + encode_uint(flags)
        + encode_uint(_BLAKE2B)
        + encode_uint(manifest.quorum)
        + signers
    )
    if manifest.prologue is not None:
        encoded += manifest.prologue.hash + encode_uint(manifest.prologue.length)
    if manifest.linked is not None:
        encoded += encode_uint(len(manifest.linked)) + b"".join(manifest.linked)
    if manifest.user_data is not None:
        encoded += encode_buffer(manifest.user_data)
    return encoded


def _encode_v0(manifest: Manifest, signers: bytes) -> bytes:
    encoded = encode_uint(0) + encode_uint(_BLAKE2B)
    if manifest.prologue is not None:
        return encoded + encode_uint(_V0_STATIC) + manifest.prologue.hash
    if len(manifest.signers) == 1 and manifest.quorum == 1 and not manifest.allow_patch:
        return encoded + encode_uint(_V0_SINGLE) + signers[1:]
    flags = _ALLOW_PATCH if manifest.allow_patch else 0
    return (
        encoded
        + encode_uint(_V0_MULTI)
        + encode_uint(flags)
        + encode_uint(manifest.quorum)
        + signers
    )


def decode_manifest(data: bytes) -> Manifest:
    """Decode the bytes of a manifest, all of them.

    Raises:
        DecodeError: they are not the one encoding of a manifest of version 0 … 3.
    """
    decoder = Decoder(data)
    manifest = read_manifest(decoder)
    decoder.finish()
    return manifest


def read_manifest(decoder: Decoder) -> Manifest:
    """Decode a manifest out of a longer message.

    Only the encoding that `encode_manifest` gives is accepted: the feed's key is the hash of
    the bytes, so that keeping the decoded manifest must lose nothing.

    Raises:
        DecodeError: as `decode_manifest`.
    """
    start = decoder.offset
    version = decoder.uint()
    if version > LAST_VERSION:
        raise DecodeError(f"a manifest of the unknown version {version}")
    manifest = _read_v0(decoder) if version == 0 else _read_v1(decoder, version)
    if encode_manifest(manifest) != decoder.data[start : decoder.offset]:
        raise DecodeError("a manifest in an unusual encoding")
    return manifest


def _read_signer(decoder: Decoder) -> Signer:
    if decoder.uint() != _ED25519:
        raise DecodeError("a signer that is not Ed25519")
    return Signer(decoder.fixed(KEY_BYTES), decoder.fixed(KEY_BYTES))


def _read_signers(decoder: Decoder) -> tuple[Signer, ...]:
    return tuple(_read_signer(decoder) for _ in range(decoder.count(_SIGNER_BYTES)))


def _read_hash_kind(decoder: Decoder) -> None:
    if decoder.uint() != _BLAKE2B:
        raise DecodeError("a manifest with another hash than BLAKE2b")


def _read_v0(decoder: Decoder) -> Manifest:
    _read_hash_kind(decoder)
    kind = decoder.uint()
    if kind == _V0_STATIC:
        prologue = Prologue(decoder.fixed(KEY_BYTES), 0)
        return Manifest(0, allow_patch=False, quorum=0, signers=(), prologue=prologue)
    if kind == _V0_SINGLE:
        return Manifest(0, allow_patch=False, quorum=1, signers=(_read_signer(decoder),))
    if kind == _V0_MULTI:
        flags = decoder.uint()
        quorum = decoder.uint()
        return Manifest(
            0, allow_patch=bool(flags & 1), quorum=quorum, signers=_read_signers(decoder)
        )
    raise DecodeError(f"a version 0 manifest of the unknown kind {kind}")


def _read_v1(decoder: Decoder, version: int) -> Manifest:
    flags = decoder.uint()
    if version == 1 and flags & (_LINKED | _USER_DATA):
        raise DecodeError("a version 1 manifest with fields of version 2")
    _read_hash_kind(decoder)
    quorum = decoder.uint()
    signers = _read_signers(decoder)
    prologue = linked = user_data = None
    if flags & _PROLOGUE:
        prologue = Prologue(decoder.fixed(KEY_BYTES), decoder.uint())
    if flags & _LINKED:
        linked = tuple(decoder.fixed(KEY_BYTES) for _ in range(decoder.count(KEY_BYTES)))
    if flags & _USER_DATA:
        user_data = decoder.buffer()
    return Manifest(
        version, bool(flags & _ALLOW_PATCH), quorum, signers, prologue, linked, user_data
    )


def feed_key(manifest: Manifest) -> bytes:
    """The 32-byte key of the feed with that manifest."""
    return blake2b_256(NS_MANIFEST, encode_manifest(manifest))


def discovery_key(key: bytes) -> bytes:
    """The 32-byte name under which a feed is looked for; it does not reveal the feed's key."""
    return keyed_blake2b_256(key, b"hypercore")


def is_compat(key: bytes, manifest: Manifest | None) -> bool:
    """Whether the feed's key is its signer's key."""
    return manifest is None or (
        len(manifest.signers) == 1 and manifest.signers[0].public_key == key
    )


def check_manifest(key: bytes, manifest: Manifest | None) -> None:
    """Check that a manifest belongs to the feed.

    Raises:
        BadProof: it is another feed's.
    """
    if not is_compat(key, manifest) and manifest is not None and feed_key(manifest) != key:
        raise BadProof("the manifest does not belong to the feed's key")


# --- signatures --------------------------------------------------------------------------------


def signable(
    key: bytes, manifest: Manifest | None, fork: int, length: int, tree_hash: bytes, signer: int = 0
) -> bytes:
    """The bytes that signer number `signer` signs for a head.

    Args:
        key: the feed's 32-byte key.
        manifest: None for a compat feed.
        fork, length: of the head.
        tree_hash: 32 bytes, over the head's roots.
        signer: matters in version 0 only, whose signables name the signer.
    """
    if manifest is None or is_compat(key, manifest):
        context = b""
    elif manifest.version == 0:
        context = manifest.signers[signer].namespace
    else:
        context = key
    return NS_TREE + context + tree_hash + length.to_bytes(8, "little") + fork.to_bytes(8, "little")


class PartialSignature(NamedTuple):
    """One signer's part of a multisignature.

    Attributes:
        signer: its number in the manifest.
        signature: 64 bytes.
        patch: by how many blocks the tree that it signed is longer.
    """

    signer: int
    signature: bytes
    patch: int


class Multisignature(NamedTuple):
    """The signature field of several signers: the parts, and nodes for longer trees."""

    parts: tuple[PartialSignature, ...]
    patch: tuple[Node, ...] = ()


def encode_multisignature(multisignature: Multisignature) -> bytes:
    """The bytes of the signature field."""
    parts = b"".join(
        encode_uint(part.signer) + part.signature + encode_uint(part.patch)
        for part in multisignature.parts
    )
    patch = b"".join(
        encode_uint(node.index) + encode_uint(node.size) + node.hash
        for node in multisignature.patch
    )
    return (
        encode_uint(len(multisignature.parts))
        + parts
        + encode_uint(len(multisignature.patch))
        + patch
    )


def decode_multisignature(blob: bytes) -> Multisignature:
    """Decode the signature field of version 1 and later.

    Raises:
        DecodeError: it is something else.
    """
    decoder = Decoder(blob)
    parts = tuple(
        PartialSignature(decoder.uint(), decoder.fixed(SIGNATURE_BYTES), decoder.uint())
        for _ in range(decoder.count(1 + SIGNATURE_BYTES + 1))
    )
    patch = tuple(
        Node(decoder.uint(), decoder.uint(), decoder.fixed(32))
        for _ in range(decoder.count(_NODE_BYTES))
    )
    decoder.finish()
    return Multisignature(parts, patch)


def decode_v0_multisignature(blob: bytes) -> Multisignature:
    """Decode the signature field of version 0 with several signers, or with patches.

    Each part names its nodes by their places in the list of all nodes. That is not looked at: a
    tree index says as well where a node belongs.

    Raises:
        DecodeError: it is something else.
    """
    decoder = Decoder(blob)
    parts = tuple(_read_v0_part(decoder) for _ in range(decoder.count(1 + 1 + SIGNATURE_BYTES)))
    patch = tuple(
        Node(decoder.uint(), decoder.uint(), decoder.fixed(32))
        for _ in range(decoder.count(_NODE_BYTES))
    )
    decoder.finish()
    return Multisignature(parts, patch)


def _read_v0_part(decoder: Decoder) -> PartialSignature:
    has_patch = decoder.uint() & 1
    signer, signature, patch = decoder.uint(), decoder.fixed(SIGNATURE_BYTES), 0
    if has_patch:
        decoder.uint()  # the head's length, which is known
        patch = decoder.uint()
        for _ in range(decoder.count(1)):
            decoder.uint()
    return PartialSignature(signer, signature, patch)


def wrap_signature(bare: bytes) -> bytes:
    """The signature field (68 bytes) of a version 1 feed with one signer.

    Raises:
        ValueError: the bare signature has not 64 bytes.
    """
    if len(bare) != SIGNATURE_BYTES:
        raise ValueError(f"a signature has {SIGNATURE_BYTES} bytes, not {len(bare)}")
    return encode_multisignature(Multisignature((PartialSignature(0, bare, 0),)))


def bare_signature(blob: bytes, manifest: Manifest | None) -> bytes:
    """The only signer's 64-byte signature out of the signature field.

    Args:
        blob: the field as received; of a compat feed it is the signature itself.
        manifest: None for a compat feed.

    Raises:
        DecodeError: the field has another form, or more signers are needed.
    """
    if manifest is None or manifest.version == 0:
        if len(blob) != SIGNATURE_BYTES:
            raise DecodeError(f"a signature of {len(blob)} bytes")
        return blob
    parts = decode_multisignature(blob).parts
    if len(manifest.signers) != 1 or len(parts) != 1 or parts[0].signer != 0:
        raise DecodeError("not the signature of one signer")
    return parts[0].signature


def verify_head(
    key: bytes,
    manifest: Manifest | None,
    fork: int,
    length: int,
    head_hash: bytes,
    signature: bytes | None,
    roots: Sequence[Node] | None = None,
) -> None:
    """Check that a head is its author's.

    Args:
        key: the feed's 32-byte key.
        manifest: None for a compat feed.
        fork, length: of the head.
        head_hash: the tree hash, 32 bytes.
        signature: the signature field; may be None only for a head inside a prologue.
        roots: the head's roots; needed only for signatures over a longer tree (patches).

    Raises:
        BadProof: another feed's manifest, or too few good signatures.
    """
    check_manifest(key, manifest)
    prologue = None if manifest is None else manifest.prologue
    if prologue is not None and length <= prologue.length:
        if length != prologue.length or head_hash != prologue.hash:
            raise BadProof("the head is not that of the manifest's prologue")
        return
    if signature is None:
        raise BadProof("the head has no signature")
    if manifest is None or is_compat(key, manifest):
        if not verify(key, signable(key, None, fork, length, head_hash), signature):
            raise BadProof("the head's signature is not the feed's")
        return
    if manifest.version == 0 and len(manifest.signers) == 1 and not manifest.allow_patch:
        message = signable(key, manifest, fork, length, head_hash)
        if not verify(manifest.signers[0].public_key, message, signature):
            raise BadProof("the head's signature is not its signer's")
        return
    _verify_quorum(key, manifest, fork, length, head_hash, signature, roots)


def _verify_quorum(
    key: bytes,
    manifest: Manifest,
    fork: int,
    length: int,
    head_hash: bytes,
    blob: bytes,
    roots: Sequence[Node] | None,
) -> None:
    try:
        decode = decode_v0_multisignature if manifest.version == 0 else decode_multisignature
        multisignature = decode(blob)
    except DecodeError as error:
        raise BadProof(f"the head's signature cannot be read: {error}") from error
    if manifest.quorum == 0 or len(multisignature.parts) < manifest.quorum:
        raise BadProof(f"{len(multisignature.parts)} of {manifest.quorum} signatures")
    seen: set[int] = set()
    for part in multisignature.parts[: manifest.quorum]:
        if part.signer >= len(manifest.signers) or part.signer in seen:
            raise BadProof(f"signer {part.signer} is unknown or signs twice")
        seen.add(part.signer)
        signed_length, signed_hash = length, head_hash
        # The reference ignores a patch that the manifest does not allow.
        if part.patch and manifest.allow_patch:
            if roots is None:
                raise BadProof("a signature over a longer tree, without the head's roots")
            signed_length = length + part.patch
            signed_hash = _patched_hash(roots, length, signed_length, multisignature.patch)
        message = signable(key, manifest, fork, signed_length, signed_hash, part.signer)
        if not verify(manifest.signers[part.signer].public_key, message, part.signature):
            raise BadProof(f"the signature of signer {part.signer} does not hold")


def _patched_hash(
    roots: Sequence[Node], length: int, signed_length: int, patch: Sequence[Node]
) -> bytes:
    """The tree hash of the longer tree, its new nodes looked up by index."""
    by_index = {node.index: node for node in patch}
    try:
        nodes = [by_index[index] for index in upgrade_steps(length, signed_length)]
    except KeyError as error:
        raise BadProof(f"the signature's patch lacks node {error}") from error
    return tree_hash(apply_upgrade(roots, signed_length, nodes).roots)
