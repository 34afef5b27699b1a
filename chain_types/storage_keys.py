"""Raw storage keys: names and hashed map keys (sp-storage, frame-support's storage hashers)."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import xxhash

from chain_types.metadata import Hasher
from chain_types.scale import Codec, DecodeError, Reader

T = TypeVar("T")


def _twox(data: bytes, words: int) -> bytes:
    return b"".join(
        xxhash.xxh64_intdigest(data, seed).to_bytes(8, "little") for seed in range(words)
    )


def _blake2(data: bytes, size: int) -> bytes:
    return hashlib.blake2b(data, digest_size=size).digest()


def twox_128(data: bytes) -> bytes:
    """Return the 16-byte hash that names of pallets and entries get."""
    return _twox(data, 2)


def blake2_256(data: bytes) -> bytes:
    """Return the 32-byte hash of blocks and extrinsics, `H` of the specifications."""
    return _blake2(data, 32)


_HASH_BYTES = {
    Hasher.BLAKE2_128_CONCAT: 16,
    Hasher.TWOX_64_CONCAT: 8,
    Hasher.IDENTITY: 0,
}


def hashed(hasher: Hasher, key: bytes) -> bytes:
    """Return the part of the raw key that an encoded map key becomes."""
    match hasher:
        case Hasher.BLAKE2_128:
            return _blake2(key, 16)
        case Hasher.BLAKE2_256:
            return _blake2(key, 32)
        case Hasher.BLAKE2_128_CONCAT:
            return _blake2(key, 16) + key
        case Hasher.TWOX_128:
            return _twox(key, 2)
        case Hasher.TWOX_256:
            return _twox(key, 4)
        case Hasher.TWOX_64_CONCAT:
            return _twox(key, 1) + key
        case Hasher.IDENTITY:
            return key


@functools.cache
def entry_prefix(pallet: str, name: str) -> bytes:
    """Return the raw key of a plain entry, or the prefix of a map's: 32 bytes."""
    return twox_128(pallet.encode()) + twox_128(name.encode())


@dataclass(frozen=True)
class Item(Generic[T]):
    """A storage entry with one value.

    Attributes:
        pallet, name: where it is.
        value: how its value is encoded.
        optional: whether it may be absent; otherwise absence means the runtime's default.
    """

    pallet: str
    name: str
    value: Codec[Any]
    optional: bool = False

    def key(self) -> bytes:
        """Return its raw key."""
        return entry_prefix(self.pallet, self.name)


@dataclass(frozen=True)
class Map(Generic[T]):
    """A storage map.

    Attributes:
        pallet, name: where it is.
        keys: hasher and encoding of each of its keys.
        value: how its values are encoded.
        optional: whether a value may be absent; otherwise absence means the runtime's default.
    """

    pallet: str
    name: str
    keys: tuple[tuple[Hasher, Codec[Any]], ...]
    value: Codec[Any]
    optional: bool = True

    def key(self, *keys: Any) -> bytes:
        """Return the raw key for all of its keys, or the prefix for the first few.

        Raises:
            EncodeError: a key is of another type.
            ValueError: there are more keys than the map has.
        """
        if len(keys) > len(self.keys):
            raise ValueError(f"{self.pallet}.{self.name} has {len(self.keys)} keys")
        parts = [entry_prefix(self.pallet, self.name)]
        for (hasher, codec), key in zip(self.keys, keys, strict=False):
            parts.append(hashed(hasher, codec.encode(key)))
        return b"".join(parts)

    def split(self, raw: bytes) -> tuple[Any, ...]:
        """Return the keys in a raw key.

        Raises:
            DecodeError: it is no key of this map, or a hash in it does not fit.
        """
        prefix = entry_prefix(self.pallet, self.name)
        if not raw.startswith(prefix):
            raise DecodeError(f"no key of {self.pallet}.{self.name}")
        source = Reader(raw[len(prefix) :])
        keys = []
        for hasher, codec in self.keys:
            if hasher not in _HASH_BYTES:
                raise DecodeError(f"{hasher.name} does not keep the key")
            source.take(_HASH_BYTES[hasher])
            keys.append(codec.read(source))
        if source.left or self.key(*keys) != raw:
            raise DecodeError(f"no key of {self.pallet}.{self.name}")
        return tuple(keys)
