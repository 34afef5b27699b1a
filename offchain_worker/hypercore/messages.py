"""The messages of a `hypercore/alpha` channel (hypercore.md §4).

Each message is a dataclass with `encode()` and `decode(body, offset)`; the offset, where
the message begins in its frame, saves a copy of each block. A decoder reads only what is there,
refuses what is left over where the protocol has no extension, and raises nothing but
`DecodeError`.

What comes or goes for every block is made by plain dataclasses: a frozen one sets its fields by
`object.__setattr__`, which takes five times as long; with the nine objects that a reader makes for
a block some 6 µs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from offchain_worker.hypercore.encoding import (
    Decoder,
    encode_buffer,
    encode_string,
    encode_u32_array,
    encode_uint,
    keyed_blake2b_256,
    namespace,
)
from offchain_worker.hypercore.errors import DecodeError
from offchain_worker.hypercore.manifest import Manifest, encode_manifest, read_manifest
from offchain_worker.hypercore.tree import Node

PROTOCOL = "hypercore/alpha"
CAPABILITY_BYTES = 32
NS_REPLICATE_INITIATOR = namespace("hypercore", 1)
NS_REPLICATE_RESPONDER = namespace("hypercore", 2)
MAX_PROOF_NODES = 4096
MAX_BITFIELD_WORDS = 65_536
"""For as many blocks as the widest want."""
_NODE_BYTES = 1 + 1 + 32
# How a node above the first 126 blocks, over 64 KiB or more, is encoded in a feed of up to 32,768
# blocks. A block comes with some six of them when many are asked for at once: read and written in
# one call each, not three, that takes 3 µs instead of 6, and 1 instead of 2.4.
_COMMON_NODE = struct.Struct("<BHBI32s")


class Type(IntEnum):
    """The numbers of the messages."""

    SYNC = 0
    REQUEST = 1
    CANCEL = 2
    DATA = 3
    NO_DATA = 4
    WANT = 5
    UNWANT = 6
    BITFIELD = 7
    RANGE = 8
    EXTENSION = 9


class Reason(IntEnum):
    """Why a request got no data."""

    UNKNOWN = 0
    NOT_AVAILABLE = 1
    INVALID_REQUEST = 2


# What a request asks for and data carry. Plain numbers: an `IntFlag` makes an object for each
# operator, which came to 7 µs for a block on each side.
_BLOCK, _HASH, _SEEK, _UPGRADE, _MANIFEST, _PRIORITY = 1, 2, 4, 8, 16, 32


def capability(handshake_hash: bytes, key: bytes, *, initiator: bool) -> bytes:
    """The 32 bytes that prove knowledge of a feed's key in this session.

    Args:
        handshake_hash: 64 bytes.
        key: the feed's key.
        initiator: the role of the side that sends it.
    """
    context = NS_REPLICATE_INITIATOR if initiator else NS_REPLICATE_RESPONDER
    return keyed_blake2b_256(handshake_hash, context, key)


def encode_nodes(nodes: tuple[Node, ...]) -> bytes:
    """An array of tree nodes."""
    parts = [encode_uint(len(nodes))]
    for index, size, hashed in nodes:
        if 0xFC < index <= 0xFFFF and 0xFFFF < size <= 0xFFFFFFFF:
            parts.append(_COMMON_NODE.pack(0xFD, index, 0xFE, size, hashed))
        else:
            parts.append(encode_uint(index) + encode_uint(size) + hashed)
    return b"".join(parts)


def read_nodes(decoder: Decoder) -> tuple[Node, ...]:
    """An array of tree nodes; no proof has more than `MAX_PROOF_NODES`."""
    count = decoder.count(_NODE_BYTES)
    if count > MAX_PROOF_NODES:
        raise DecodeError(f"a proof of {count} nodes")
    nodes = []
    data = decoder.data
    for _ in range(count):
        start = decoder.offset
        if decoder.end - start >= _COMMON_NODE.size:
            index_form, index, size_form, size, hashed = _COMMON_NODE.unpack_from(data, start)
            if index_form == 0xFD and size_form == 0xFE:
                decoder.offset = start + _COMMON_NODE.size
                nodes.append(Node(index, size, hashed))
                continue
        nodes.append(Node(decoder.uint(), decoder.uint(), decoder.fixed(32)))
    return tuple(nodes)


@dataclass(frozen=True, slots=True)
class Handshake:
    """The channel's handshake: whether seeks are understood, and the 32-byte capability."""

    seeks: bool
    capability: bytes

    def encode(self) -> bytes:
        return encode_uint(int(self.seeks)) + self.capability

    @classmethod
    def decode(cls, body: bytes, offset: int = 0) -> Handshake:
        decoder = Decoder(body, offset)
        return cls(bool(decoder.uint() & 1), decoder.fixed(CAPABILITY_BYTES))


@dataclass(frozen=True, slots=True)
class Sync:
    """What a side has and does.

    Attributes:
        fork, length: of its own head.
        remote_length: the other side's length, as it knows it.
        can_upgrade: whether it can prove an upgrade to the other side.
        uploading, downloading: what it does.
        has_manifest: whether it knows the manifest.
        allow_push: whether it takes blocks that it did not ask for.
    """

    fork: int
    length: int
    remote_length: int
    can_upgrade: bool = False
    uploading: bool = False
    downloading: bool = False
    has_manifest: bool = False
    allow_push: bool = False

    def encode(self) -> bytes:
        flags = (
            (1 if self.can_upgrade else 0)
            | (2 if self.uploading else 0)
            | (4 if self.downloading else 0)
            | (8 if self.has_manifest else 0)
            | (16 if self.allow_push else 0)
        )
        return (
            encode_uint(flags)
            + encode_uint(self.fork)
            + encode_uint(self.length)
            + encode_uint(self.remote_length)
        )

    @classmethod
    def decode(cls, body: bytes, offset: int = 0) -> Sync:
        decoder = Decoder(body, offset)
        flags = decoder.uint()
        return cls(
            decoder.uint(),
            decoder.uint(),
            decoder.uint(),
            can_upgrade=bool(flags & 1),
            uploading=bool(flags & 2),
            downloading=bool(flags & 4),
            has_manifest=bool(flags & 8),
            allow_push=bool(flags & 16),
        )


@dataclass(slots=True)
class RequestBlock:
    """A block by its index, with `nodes` levels of siblings; also a hash by its tree index."""

    index: int
    nodes: int


@dataclass(frozen=True, slots=True)
class RequestSeek:
    """The block at a byte offset."""

    bytes: int
    padding: int


@dataclass(frozen=True, slots=True)
class RequestUpgrade:
    """A proof from length `start` to `start + length`."""

    start: int
    length: int


@dataclass(slots=True)
class Request:
    """A request; `priority` is 1 for a single `get`, 0 in a download."""

    id: int
    fork: int
    block: RequestBlock | None = None
    hash: RequestBlock | None = None
    seek: RequestSeek | None = None
    upgrade: RequestUpgrade | None = None
    manifest: bool = False
    priority: int = 0

    def encode(self) -> bytes:
        flags = (
            (_BLOCK if self.block is not None else 0)
            | (_HASH if self.hash is not None else 0)
            | (_SEEK if self.seek is not None else 0)
            | (_UPGRADE if self.upgrade is not None else 0)
            | (_MANIFEST if self.manifest else 0)
            | (_PRIORITY if self.priority else 0)
        )
        numbers = [flags, self.id, self.fork]
        if self.block is not None:
            numbers += (self.block.index, self.block.nodes)
        if self.hash is not None:
            numbers += (self.hash.index, self.hash.nodes)
        if self.seek is not None:
            numbers += (self.seek.bytes, self.seek.padding)
        if self.upgrade is not None:
            numbers += (self.upgrade.start, self.upgrade.length)
        if self.priority:
            numbers.append(self.priority)
        return b"".join(map(encode_uint, numbers))

    @classmethod
    def decode(cls, body: bytes, offset: int = 0) -> Request:
        decoder = Decoder(body, offset)
        uint = decoder.uint
        flags = uint()
        return cls(
            id=uint(),
            fork=uint(),
            block=RequestBlock(uint(), uint()) if flags & _BLOCK else None,
            hash=RequestBlock(uint(), uint()) if flags & _HASH else None,
            seek=RequestSeek(uint(), uint()) if flags & _SEEK else None,
            upgrade=RequestUpgrade(uint(), uint()) if flags & _UPGRADE else None,
            manifest=bool(flags & _MANIFEST),
            priority=uint() if flags & _PRIORITY else 0,
        )


@dataclass(frozen=True, slots=True)
class Cancel:
    """The request with this id needs no answer any more."""

    request: int

    def encode(self) -> bytes:
        return encode_uint(self.request)

    @classmethod
    def decode(cls, body: bytes, offset: int = 0) -> Cancel:
        return cls(Decoder(body, offset).uint())


@dataclass(slots=True)
class DataBlock:
    """A block's bytes and its siblings, bottom-up."""

    index: int
    value: bytes
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class DataHash:
    """A tree node (the first of `nodes`) and its siblings, bottom-up."""

    index: int
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class DataSeek:
    """The nodes that lead to a byte offset."""

    bytes: int
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class DataUpgrade:
    """A proof from `start` to `start + length`, and by `additional` to the signed head."""

    start: int
    length: int
    nodes: tuple[Node, ...]
    additional: tuple[Node, ...]
    signature: bytes | None


@dataclass(slots=True)
class Data:
    """The answer to the request with id `request`."""

    request: int
    fork: int
    block: DataBlock | None = None
    hash: DataHash | None = None
    seek: DataSeek | None = None
    upgrade: DataUpgrade | None = None
    manifest: Manifest | None = None

    def encode(self) -> bytes:
        flags = (
            (_BLOCK if self.block is not None else 0)
            | (_HASH if self.hash is not None else 0)
            | (_SEEK if self.seek is not None else 0)
            | (_UPGRADE if self.upgrade is not None else 0)
            | (_MANIFEST if self.manifest is not None else 0)
        )
        parts = [encode_uint(flags), encode_uint(self.request), encode_uint(self.fork)]
        if self.block is not None:
            parts += (
                encode_uint(self.block.index),
                encode_uint(len(self.block.value)),
                self.block.value,
                encode_nodes(self.block.nodes),
            )
        if self.hash is not None:
            parts += (encode_uint(self.hash.index), encode_nodes(self.hash.nodes))
        if self.seek is not None:
            parts += (encode_uint(self.seek.bytes), encode_nodes(self.seek.nodes))
        if self.upgrade is not None:
            parts += (
                encode_uint(self.upgrade.start),
                encode_uint(self.upgrade.length),
                encode_nodes(self.upgrade.nodes),
                encode_nodes(self.upgrade.additional),
                encode_buffer(self.upgrade.signature or b""),
            )
        if self.manifest is not None:
            parts.append(encode_manifest(self.manifest))
        return b"".join(parts)

    @classmethod
    def decode(cls, body: bytes, offset: int = 0) -> Data:
        decoder = Decoder(body, offset)
        flags = decoder.uint()
        request = decoder.uint()
        fork = decoder.uint()
        block = data_hash = seek = upgrade = manifest = None
        if flags & _BLOCK:
            block = DataBlock(decoder.uint(), decoder.buffer(), read_nodes(decoder))
        if flags & _HASH:
            data_hash = DataHash(decoder.uint(), read_nodes(decoder))
        if flags & _SEEK:
            seek = DataSeek(decoder.uint(), read_nodes(decoder))
        if flags & _UPGRADE:
            upgrade = DataUpgrade(
                decoder.uint(),
                decoder.uint(),
                read_nodes(decoder),
                read_nodes(decoder),
                decoder.optional_buffer(),
            )
        if flags & _MANIFEST:
            manifest = read_manifest(decoder)
        decoder.finish()
        return cls(request, fork, block, data_hash, seek, upgrade, manifest)


@dataclass(frozen=True, slots=True)
class NoData:
    """The request with id `request` is not answered; older peers give no reason."""

    request: int
    reason: int = Reason.UNKNOWN

    def encode(self) -> bytes:
        if not self.reason:
            return encode_uint(self.request) + b"\x00"
        return encode_uint(self.request) + b"\x01" + encode_uint(self.reason)

    @classmethod
    def decode(cls, body: bytes, offset: int = 0) -> NoData:
        decoder = Decoder(body, offset)
        request = decoder.uint()
        flags = decoder.uint() if decoder.remaining else 0
        return cls(request, decoder.uint() if flags & 1 else Reason.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Want:
    """Tell me which of these blocks you have (`any`: one of them suffices)."""

    start: int
    length: int
    any: bool = False

    def encode(self) -> bytes:
        return encode_uint(self.start) + encode_uint(self.length) + (b"\x01" if self.any else b"")

    @classmethod
    def decode(cls, body: bytes, offset: int = 0) -> Want:
        decoder = Decoder(body, offset)
        start, length = decoder.uint(), decoder.uint()
        return cls(start, length, bool(decoder.remaining and decoder.uint() & 1))


class Unwant(Want):
    """The end of a `Want`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Bitfield:
    """Which blocks the sender has: bit i of word w is block `start + 32·w + i`."""

    start: int
    words: tuple[int, ...]

    def encode(self) -> bytes:
        return encode_uint(self.start) + encode_u32_array(self.words)

    @classmethod
    def decode(cls, body: bytes, offset: int = 0) -> Bitfield:
        decoder = Decoder(body, offset)
        start = decoder.uint()
        # Looked at before the words are made: in memory they take nine times their bytes.
        if Decoder(body, decoder.offset).uint() > MAX_BITFIELD_WORDS:
            raise DecodeError(f"a bitfield of more than {MAX_BITFIELD_WORDS} words")
        return cls(start, decoder.u32_array())


@dataclass(frozen=True, slots=True)
class Range:
    """The sender has (or, `drop`, has no longer) `length` blocks from `start` on."""

    start: int
    length: int
    drop: bool = False

    def encode(self) -> bytes:
        flags = (1 if self.drop else 0) | (2 if self.length == 1 else 0)
        encoded = encode_uint(flags) + encode_uint(self.start)
        return encoded if self.length == 1 else encoded + encode_uint(self.length)

    @classmethod
    def decode(cls, body: bytes, offset: int = 0) -> Range:
        decoder = Decoder(body, offset)
        flags = decoder.uint()
        start = decoder.uint()
        return cls(start, 1 if flags & 2 else decoder.uint(), bool(flags & 1))


@dataclass(frozen=True, slots=True)
class Extension:
    """An application's message; an empty name repeats the last one of this direction."""

    name: str
    message: bytes

    def encode(self) -> bytes:
        return encode_string(self.name) + self.message

    @classmethod
    def decode(cls, body: bytes, offset: int = 0) -> Extension:
        decoder = Decoder(body, offset)
        return cls(decoder.string(), decoder.raw())
