"""The compact encoding all messages are made of (hypercore.md §1).

A `Decoder` walks over received bytes and never reads, copies or allocates beyond what is there:
every announced length is compared with the bytes that remain before anything is made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from offchain_worker.hypercore.errors import DecodeError

MAX_UINT = 2**53 - 1
MAX_ARRAY = 0x100000


def blake2b_256(*parts: bytes) -> bytes:
    """32-byte BLAKE2b of the concatenation of `parts` (B32 of hypercore.md §1)."""
    digest = blake2b(digest_size=32)
    for part in parts:
        digest.update(part)
    return digest.digest()


def keyed_blake2b_256(key: bytes, *parts: bytes) -> bytes:
    """32-byte BLAKE2b of the concatenation of `parts`, keyed with `key` (at most 64 bytes)."""
    digest = blake2b(digest_size=32, key=key)
    for part in parts:
        digest.update(part)
    return digest.digest()


def namespace(name: str, number: int) -> bytes:
    """The 32-byte namespace `number` (0 … 255) of a module's name (hypercore.md §1)."""
    return blake2b_256(blake2b_256(name.encode()), bytes([number]))


_SHORT = [bytes([value]) for value in range(0xFD)]


def encode_uint(value: int) -> bytes:
    """Encode 0 ≤ value < 2^53 in 1, 3, 5 or 9 bytes.

    Raises:
        ValueError: the value is out of range.
    """
    if 0 <= value <= 0xFC:
        return _SHORT[value]
    if value <= 0xFFFF:
        return b"\xfd" + value.to_bytes(2, "little")
    if value <= 0xFFFFFFFF:
        return b"\xfe" + value.to_bytes(4, "little")
    if value <= MAX_UINT:
        return b"\xff" + value.to_bytes(8, "little")
    raise ValueError(f"{value} does not fit a uint (at most 2^53 - 1)")


def encode_buffer(value: bytes) -> bytes:
    """Encode bytes behind their length; the same encoding serves optional buffers."""
    return encode_uint(len(value)) + value


def encode_string(value: str) -> bytes:
    """Encode text as UTF-8 behind its length in bytes."""
    return encode_buffer(value.encode())


def encode_u32_array(values: Sequence[int]) -> bytes:
    """Encode 32-bit words, little-endian, behind their number."""
    return encode_uint(len(values)) + b"".join(value.to_bytes(4, "little") for value in values)


class Decoder:
    """Reads values from the front of `data`; `offset` is the place of the next one.

    Every method raises `DecodeError` when the bytes are too few or not allowed.
    """

    __slots__ = ("data", "end", "offset")

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self.data = data
        self.offset = offset
        self.end = len(data)

    @property
    def remaining(self) -> int:
        """How many bytes have not been read."""
        return self.end - self.offset

    def uint(self) -> int:
        """Read a uint; longer forms than needed are accepted, values above 2^53 - 1 are not."""
        offset = self.offset
        if offset >= self.end:
            raise DecodeError("the message ends where a number is expected")
        first = self.data[offset]
        if first <= 0xFC:
            self.offset = offset + 1
            return first
        width = 2 << (first - 0xFD)
        stop = offset + 1 + width
        if stop > self.end:
            raise DecodeError("the message ends inside a number")
        value = int.from_bytes(self.data[offset + 1 : stop], "little")
        if value > MAX_UINT:
            raise DecodeError("a number above 2^53 - 1")
        self.offset = stop
        return value

    def fixed(self, length: int) -> bytes:
        """Read exactly `length` bytes."""
        start = self.offset
        stop = start + length
        if stop > self.end:
            raise DecodeError(f"{length} bytes announced, {self.end - start} left")
        self.offset = stop
        return self.data[start:stop]

    def buffer(self) -> bytes:
        """Read bytes behind their length."""
        return self.fixed(self.uint())

    def optional_buffer(self) -> bytes | None:
        """Read bytes behind their length; none and empty look the same and give None."""
        return self.buffer() or None

    def string(self) -> str:
        """Read UTF-8 text behind its length in bytes."""
        try:
            return self.buffer().decode()
        except UnicodeDecodeError as error:
            raise DecodeError("a text that is not UTF-8") from error

    def count(self, item_bytes: int) -> int:
        """Read the number of items of an array whose items have at least `item_bytes` bytes.

        Raises:
            DecodeError: more items than the array's cap, or than the remaining bytes can hold.
        """
        count = self.uint()
        if count > MAX_ARRAY or count * item_bytes > self.remaining:
            raise DecodeError(f"an array of {count} items does not fit its message")
        return count

    def u32_array(self) -> tuple[int, ...]:
        """Read little-endian 32-bit words behind their number."""
        raw = self.fixed(4 * self.count(4))
        return tuple(int.from_bytes(raw[i : i + 4], "little") for i in range(0, len(raw), 4))

    def raw(self) -> bytes:
        """Read everything to the end."""
        return self.fixed(self.remaining)

    def finish(self) -> None:
        """Refuse bytes that are left over."""
        if self.offset != self.end:
            raise DecodeError(f"{self.remaining} bytes too many")
