"""Headers and blocks: their fields and their encoding."""

from collections.abc import Sequence
from dataclasses import dataclass

from datdot_node.hashing import blake2_256
from datdot_node.scale import Reader, ScaleError, compact, sized, vector

AURA_ENGINE = b"aura"

_OTHER, _CONSENSUS, _SEAL, _PRE_RUNTIME, _ENVIRONMENT_UPDATED = 0, 4, 5, 6, 8


@dataclass(frozen=True, slots=True)
class Header:
    """A block's header. `digest` holds its items, each already encoded."""

    parent_hash: bytes
    number: int
    state_root: bytes
    extrinsics_root: bytes
    digest: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The encoding that is hashed."""
        return (
            self.parent_hash
            + compact(self.number)
            + self.state_root
            + self.extrinsics_root
            + vector(self.digest)
        )

    @property
    def hash(self) -> bytes:
        """The block's hash."""
        return blake2_256(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> "Header":
        """Raises `ScaleError`."""
        reader = Reader(data)
        header = cls.read(reader)
        reader.end()
        return header

    @classmethod
    def read(cls, reader: Reader) -> "Header":
        """Reads a header from the front. Raises `ScaleError`."""
        parent, number = reader.take(32), reader.compact()
        state_root, extrinsics_root = reader.take(32), reader.take(32)
        digest = tuple(_read_digest_item(reader) for _ in range(reader.length()))
        return cls(parent, number, state_root, extrinsics_root, digest)


def _read_digest_item(reader: Reader) -> bytes:
    kind = reader.u8()
    if kind == _OTHER:
        return bytes((kind,)) + sized(reader.sized())
    if kind in (_CONSENSUS, _SEAL, _PRE_RUNTIME):
        return bytes((kind,)) + reader.take(4) + sized(reader.sized())
    if kind == _ENVIRONMENT_UPDATED:
        return bytes((kind,))
    raise ScaleError(f"unknown digest item {kind}")


def aura_slot(slot: int) -> bytes:
    """The pre-runtime digest item that tells Aura the block's slot."""
    return bytes((_PRE_RUNTIME,)) + AURA_ENGINE + sized(slot.to_bytes(8, "little"))


@dataclass(frozen=True, slots=True)
class Block:
    """A block. Each extrinsic is whole, its own length prefix included."""

    header: Header
    extrinsics: tuple[bytes, ...]

    @property
    def hash(self) -> bytes:
        """The hash of its header."""
        return self.header.hash

    @property
    def number(self) -> int:
        """Its number."""
        return self.header.number

    def encode(self) -> bytes:
        """The block as the runtime takes it."""
        return self.header.encode() + encode_body(self.extrinsics)


def encode_body(extrinsics: Sequence[bytes]) -> bytes:
    """The encoding of a vector of extrinsics."""
    return vector(extrinsics)


def decode_body(data: bytes) -> tuple[bytes, ...]:
    """Raises `ScaleError`."""
    reader = Reader(data)
    body = tuple(sized(reader.sized()) for _ in range(reader.length()))
    reader.end()
    return body
