"""Hash functions of a Substrate host."""

import hashlib

import xxhash
from Crypto.Hash import keccak


def blake2_128(data: bytes) -> bytes:
    """BLAKE2b, 16 bytes."""
    return hashlib.blake2b(data, digest_size=16).digest()


def blake2_256(data: bytes) -> bytes:
    """BLAKE2b, 32 bytes: the hash of blocks, extrinsics and trie nodes."""
    return hashlib.blake2b(data, digest_size=32).digest()


def sha2_256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def keccak_256(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it."""
    return keccak.new(digest_bits=256, data=data).digest()


def _twox(data: bytes, words: int) -> bytes:
    return b"".join(
        xxhash.xxh64_intdigest(data, seed).to_bytes(8, "little") for seed in range(words)
    )


def twox_64(data: bytes) -> bytes:
    """xxHash64 with seed 0, little-endian."""
    return _twox(data, 1)


def twox_128(data: bytes) -> bytes:
    """xxHash64 with the seeds 0 and 1: the names of pallets and storage items in keys."""
    return _twox(data, 2)


def twox_256(data: bytes) -> bytes:
    """xxHash64 with the seeds 0 to 3."""
    return _twox(data, 4)


def storage_key(pallet: str, item: str) -> bytes:
    """The key of a plain storage item of a pallet."""
    return twox_128(pallet.encode()) + twox_128(item.encode())
