"""The runtime's own description of its types, pallets and extrinsics: metadata version 14.

Decoding is a matter of tenths of a second for this runtime and of seconds for a huge one, so the
caller does it once, in a thread. Source: frame-metadata 23, scale-info 2.11.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from chain_types.scale import (
    U8,
    U32,
    Bytes,
    Compact,
    DecodeError,
    Limit,
    Reader,
    Text,
    Variants,
    struct,
    variants,
)

MAGIC = b"meta"
VERSION = 14

MAX_METADATA_BYTES = 16 * 2**20

String: TypeAlias = Annotated[str, Text(limit=2**16)]
Docs: TypeAlias = Annotated[tuple[String, ...], Limit(2**12)]
TypeId: TypeAlias = Annotated[int, Compact(limit=2**32 - 1)]
Value: TypeAlias = Annotated[bytes, Bytes(limit=MAX_METADATA_BYTES)]


class Primitive(enum.IntEnum):
    """The types that are not made of others."""

    BOOL = 0
    CHAR = 1
    STR = 2
    U8 = 3
    U16 = 4
    U32 = 5
    U64 = 6
    U128 = 7
    U256 = 8
    I8 = 9
    I16 = 10
    I32 = 11
    I64 = 12
    I128 = 13
    I256 = 14


class Hasher(enum.IntEnum):
    """How a key of a storage map becomes a part of the raw key."""

    BLAKE2_128 = 0
    BLAKE2_256 = 1
    BLAKE2_128_CONCAT = 2
    TWOX_128 = 3
    TWOX_256 = 4
    TWOX_64_CONCAT = 5
    IDENTITY = 6


class Modifier(enum.IntEnum):
    """What a storage entry without a value means."""

    OPTIONAL = 0
    DEFAULT = 1


@dataclass(frozen=True)
class Field:
    """A field of a struct or variant; without a name in tuple form."""

    name: String | None
    type: TypeId
    type_name: String | None
    docs: Docs


Fields: TypeAlias = Annotated[tuple[Field, ...], Limit(2**12)]


@dataclass(frozen=True)
class Variant:
    """One variant of an enum."""

    name: String
    fields: Fields
    index: U8
    docs: Docs


@dataclass(frozen=True)
class CompositeType:
    """A struct."""

    fields: Fields


@dataclass(frozen=True)
class VariantType:
    """An enum."""

    variants: Annotated[tuple[Variant, ...], Limit(256)]


@dataclass(frozen=True)
class SequenceType:
    """A vector."""

    item: TypeId


@dataclass(frozen=True)
class ArrayType:
    """An array."""

    length: U32
    item: TypeId


@dataclass(frozen=True)
class TupleType:
    """A tuple."""

    items: Annotated[tuple[TypeId, ...], Limit(256)]


@dataclass(frozen=True)
class PrimitiveType:
    """A type that is not made of others."""

    primitive: Primitive


@dataclass(frozen=True)
class CompactType:
    """An integer in compact form."""

    inner: TypeId


@dataclass(frozen=True)
class BitSequenceType:
    """A vector of bits."""

    store: TypeId
    order: TypeId


Definition: TypeAlias = (
    CompositeType
    | VariantType
    | SequenceType
    | ArrayType
    | TupleType
    | PrimitiveType
    | CompactType
    | BitSequenceType
)

DEFINITION: Variants[Definition] = variants(
    Composite=CompositeType,
    Variant=VariantType,
    Sequence=SequenceType,
    Array=ArrayType,
    Tuple=TupleType,
    Primitive=PrimitiveType,
    Compact=CompactType,
    BitSequence=BitSequenceType,
)


@dataclass(frozen=True)
class TypeParameter:
    """A generic parameter of a type."""

    name: String
    type: TypeId | None


@dataclass(frozen=True)
class Type:
    """A type with the path of its definition in Rust."""

    path: Annotated[tuple[String, ...], Limit(64)]
    parameters: Annotated[tuple[TypeParameter, ...], Limit(256)]
    definition: Annotated[Definition, DEFINITION]
    docs: Docs


@dataclass(frozen=True)
class PortableType:
    """A type and the number by which others refer to it."""

    id: TypeId
    type: Type


@dataclass(frozen=True)
class PlainEntry:
    """A storage entry with one value."""

    value: TypeId


@dataclass(frozen=True)
class MapEntry:
    """A storage map; `key` is a tuple when there are several hashers."""

    hashers: Annotated[tuple[Hasher, ...], Limit(16)]
    key: TypeId
    value: TypeId


ENTRY: Variants[PlainEntry | MapEntry] = variants(Plain=PlainEntry, Map=MapEntry)


@dataclass(frozen=True)
class StorageEntry:
    """A storage entry of a pallet."""

    name: String
    modifier: Modifier
    kind: Annotated[PlainEntry | MapEntry, ENTRY]
    default: Value
    docs: Docs


@dataclass(frozen=True)
class PalletStorage:
    """The storage of a pallet under its prefix."""

    prefix: String
    entries: Annotated[tuple[StorageEntry, ...], Limit(2**12)]


@dataclass(frozen=True)
class Constant:
    """A constant of a pallet with its encoded value."""

    name: String
    type: TypeId
    value: Value
    docs: Docs


@dataclass(frozen=True)
class Pallet:
    """A pallet: the types of its calls, events and errors are enums."""

    name: String
    storage: PalletStorage | None
    calls: TypeId | None
    events: TypeId | None
    constants: Annotated[tuple[Constant, ...], Limit(2**12)]
    errors: TypeId | None
    index: U8


@dataclass(frozen=True)
class Extension:
    """What each signed extrinsic carries (`type`) and what it signs besides (`additional`)."""

    identifier: String
    type: TypeId
    additional: TypeId


@dataclass(frozen=True)
class Extrinsic:
    """The format of extrinsics."""

    type: TypeId
    version: U8
    extensions: Annotated[tuple[Extension, ...], Limit(64)]


@dataclass(frozen=True)
class Metadata:
    """The whole description."""

    types: Annotated[tuple[PortableType, ...], Limit(2**16)]
    pallets: Annotated[tuple[Pallet, ...], Limit(256)]
    extrinsic: Extrinsic
    runtime: TypeId


def decode_metadata(data: bytes) -> Metadata:
    """Decode metadata with its magic number, as `state_getMetadata` returns it.

    Raises:
        DecodeError: it is not metadata of version 14, or malformed.
    """
    if len(data) > MAX_METADATA_BYTES:
        raise DecodeError(f"{len(data)} bytes of metadata, at most {MAX_METADATA_BYTES} allowed")
    source = Reader(data)
    if source.take(len(MAGIC)) != MAGIC:
        raise DecodeError("no metadata: the magic number is missing")
    version = source.take(1)[0]
    if version != VERSION:
        raise DecodeError(f"metadata of version {version}, only {VERSION} is known")
    metadata = struct(Metadata).read(source)
    if source.left:
        raise DecodeError(f"{source.left} bytes follow the metadata")
    return metadata
