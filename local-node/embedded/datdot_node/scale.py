"""The little of SCALE that the host itself has to read and write.

Everything else is opaque to the host: the runtime encodes and decodes it.
"""

from collections.abc import Iterable


class ScaleError(ValueError):
    """Bytes that are not the encoding of what was asked for."""


def compact(value: int) -> bytes:
    """A compact unsigned integer below 2^536."""
    if value < 0:
        raise ScaleError("a compact integer is not negative")
    if value < 1 << 6:
        return bytes((value << 2,))
    if value < 1 << 14:
        return (value << 2 | 1).to_bytes(2, "little")
    if value < 1 << 30:
        return (value << 2 | 2).to_bytes(4, "little")
    length = max(4, (value.bit_length() + 7) // 8)
    if length > 67:
        raise ScaleError("too large for a compact integer")
    return bytes((length - 4 << 2 | 3,)) + value.to_bytes(length, "little")


def sized(data: bytes) -> bytes:
    """A byte vector: its compact length, then the bytes."""
    return compact(len(data)) + data


def vector(items: Iterable[bytes]) -> bytes:
    """A vector of items that are already encoded."""
    encoded = list(items)
    return compact(len(encoded)) + b"".join(encoded)


def option(data: bytes | None) -> bytes:
    """An `Option` of something already encoded."""
    return b"\0" if data is None else b"\1" + data


class Reader:
    """Reads values from the front of `data`; raises `ScaleError` where they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > self.remaining:
            raise ScaleError(f"{count} bytes wanted, {self.remaining} left")
        start = self.position
        self.position += count
        return self._data[start : self.position]

    def unsigned(self, size: int) -> int:
        """A little-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def u8(self) -> int:
        return self.unsigned(1)

    def u32(self) -> int:
        return self.unsigned(4)

    def u64(self) -> int:
        return self.unsigned(8)

    def u128(self) -> int:
        return self.unsigned(16)

    def compact(self) -> int:
        """A compact unsigned integer."""
        first = self.u8()
        mode = first & 3
        if mode == 3:
            return self.unsigned((first >> 2) + 4)
        self.position -= 1
        return self.unsigned(1 << mode) >> 2

    def length(self) -> int:
        """The length of a vector; refused when more items than bytes are announced."""
        count = self.compact()
        if count > self.remaining:
            raise ScaleError(f"{count} items announced, {self.remaining} bytes left")
        return count

    def sized(self) -> bytes:
        """A byte vector."""
        return self.take(self.length())

    def text(self) -> str:
        """A string."""
        try:
            return self.sized().decode()
        except UnicodeDecodeError as error:
            raise ScaleError("a string that is not UTF-8") from error

    def end(self) -> None:
        """Refuses trailing bytes."""
        if self.remaining:
            raise ScaleError(f"{self.remaining} bytes too many")
