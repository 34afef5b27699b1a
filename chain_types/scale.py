"""A small strict SCALE codec for frozen dataclasses.

A field's annotation says how it is encoded: `Annotated` aliases carry a codec (`U32`, `Hash`),
frozen dataclasses are structs, `X | None` is Option, integer enums are variants without data,
`tuple[X, Y]` is a tuple. Whatever SCALE leaves open is refused: integers in compact form must be
minimal, flags are 0 or 1, vectors have a bound that is checked before anything is allocated, and
nothing may follow a decoded value.

Source: the SCALE encoding of parity-scale-codec 3; challenge.md §4 for the bounds.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, Union

T = TypeVar("T")

COMPACT_MAX = 2**536 - 1


class ScaleError(ValueError):
    """A value that does not fit its type.

    Attributes:
        field: where, as a path from the outermost type (`body.peers[2].index`), "" for the whole.
        reason: what is wrong with it.
    """

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason = reason
        self.field = field

    def within(self, outer: str) -> typing.Self:
        """Return the same error seen from one level further out."""
        separator = "." if self.field and not self.field.startswith("[") else ""
        return type(self)(self.reason, f"{outer}{separator}{self.field}")


class EncodeError(ScaleError):
    """The value cannot be encoded as this type."""


class DecodeError(ScaleError):
    """The bytes are not exactly one encoded value of this type."""


class Reader:
    """Bytes that are read from the front, never beyond their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    @property
    def left(self) -> int:
        """How many bytes are not read yet."""
        return len(self._data) - self._offset

    @property
    def offset(self) -> int:
        """How many bytes were read."""
        return self._offset

    def take(self, count: int) -> bytes:
        """Read `count` bytes.

        Raises:
            DecodeError: fewer are left.
        """
        if count > self.left:
            raise DecodeError(f"{count} bytes wanted, {self.left} left")
        start = self._offset
        self._offset += count
        return self._data[start : self._offset]


class Codec(ABC, Generic[T]):
    """How values of one type become bytes and back."""

    @abstractmethod
    def write(self, value: T, out: bytearray) -> None:
        """Append the encoded `value` to `out`; raises EncodeError."""

    @abstractmethod
    def read(self, source: Reader) -> T:
        """Read one value from the front of `source`; raises DecodeError."""

    def encode(self, value: T) -> bytes:
        """Return the encoded `value`.

        Raises:
            EncodeError: a part of it is out of its range or of another type.
        """
        out = bytearray()
        self.write(value, out)
        return bytes(out)

    def decode(self, data: bytes) -> T:
        """Return the value of which `data` is the whole encoding.

        Raises:
            DecodeError: it is not one, or bytes follow it.
        """
        source = Reader(data)
        value = self.read(source)
        if source.left:
            raise DecodeError(f"{source.left} bytes follow the value")
        return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise EncodeError(f"an integer wanted, not {type(value).__name__}")
    return value


def _octets(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise EncodeError(f"bytes wanted, not {type(value).__name__}")
    return value


def _items(value: object) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise EncodeError(f"a tuple wanted, not {type(value).__name__}")
    return value


class Unit(Codec[None]):
    """The empty tuple: no bytes."""

    def write(self, value: None, out: bytearray) -> None:
        """Append nothing."""
        if value is not None:
            raise EncodeError(f"None wanted, not {type(value).__name__}")

    def read(self, source: Reader) -> None:
        """Read nothing."""


class Bool(Codec[bool]):
    """One byte, 0 or 1."""

    def write(self, value: bool, out: bytearray) -> None:
        """Append the flag."""
        if not isinstance(value, bool):
            raise EncodeError(f"a bool wanted, not {type(value).__name__}")
        out.append(value)

    def read(self, source: Reader) -> bool:
        """Read the flag."""
        flag = source.take(1)[0]
        if flag > 1:
            raise DecodeError(f"a flag is 0 or 1, not {flag}")
        return flag == 1


@dataclass(frozen=True)
class Int(Codec[int]):
    """A fixed-width little-endian integer of `width` bytes."""

    width: int
    signed: bool = False

    def write(self, value: int, out: bytearray) -> None:
        """Append the integer."""
        try:
            out += _integer(value).to_bytes(self.width, "little", signed=self.signed)
        except OverflowError:
            kind = "i" if self.signed else "u"
            raise EncodeError(f"{value} is no {kind}{8 * self.width}") from None

    def read(self, source: Reader) -> int:
        """Read the integer."""
        return int.from_bytes(source.take(self.width), "little", signed=self.signed)


@dataclass(frozen=True)
class Compact(Codec[int]):
    """An integer up to `limit` in the compact form, which must be the shortest one."""

    limit: int = 2**128 - 1

    def write(self, value: int, out: bytearray) -> None:
        """Append the integer."""
        if not 0 <= _integer(value) <= self.limit:
            raise EncodeError(f"{value} is not within 0 … {self.limit}")
        if value < 2**6:
            out.append(value << 2)
        elif value < 2**14:
            out += (value << 2 | 1).to_bytes(2, "little")
        elif value < 2**30:
            out += (value << 2 | 2).to_bytes(4, "little")
        else:
            width = max(4, (value.bit_length() + 7) // 8)
            out.append((width - 4) << 2 | 3)
            out += value.to_bytes(width, "little")

    def read(self, source: Reader) -> int:
        """Read the integer."""
        first = source.take(1)[0]
        mode = first & 3
        if mode == 3:
            width = (first >> 2) + 4
            value = int.from_bytes(source.take(width), "little")
            smallest = 2**30 if width == 4 else 2 ** (8 * (width - 1))
        else:
            width = 1 << mode
            value = int.from_bytes(bytes([first]) + source.take(width - 1), "little") >> 2
            smallest = (0, 2**6, 2**14)[mode]
        if value < smallest:
            raise DecodeError(f"{value} is not in its shortest compact form")
        if value > self.limit:
            raise DecodeError(f"{value} is more than {self.limit}")
        return value


_LENGTH = Compact(limit=2**32 - 1)


def _read_length(source: Reader, limit: int, what: str) -> int:
    count = _LENGTH.read(source)
    if count > limit:
        raise DecodeError(f"{count} {what}, at most {limit} allowed")
    return count


@dataclass(frozen=True)
class FixedBytes(Codec[bytes]):
    """Exactly `length` bytes, without a prefix."""

    length: int

    def write(self, value: bytes, out: bytearray) -> None:
        """Append the bytes."""
        if len(_octets(value)) != self.length:
            raise EncodeError(f"{self.length} bytes wanted, not {len(value)}")
        out += value

    def read(self, source: Reader) -> bytes:
        """Read the bytes."""
        return source.take(self.length)


@dataclass(frozen=True)
class Bytes(Codec[bytes]):
    """At most `limit` bytes behind their compact length."""

    limit: int

    def write(self, value: bytes, out: bytearray) -> None:
        """Append length and bytes."""
        if len(_octets(value)) > self.limit:
            raise EncodeError(f"{len(value)} bytes, at most {self.limit} allowed")
        _LENGTH.write(len(value), out)
        out += value

    def read(self, source: Reader) -> bytes:
        """Read length and bytes."""
        return source.take(_read_length(source, self.limit, "bytes"))


class Text(Codec[str]):
    """UTF-8 text of at most `limit` bytes behind its compact length."""

    def __init__(self, limit: int) -> None:
        self._octets = Bytes(limit)

    def write(self, value: str, out: bytearray) -> None:
        """Append length and text."""
        if not isinstance(value, str):
            raise EncodeError(f"text wanted, not {type(value).__name__}")
        self._octets.write(value.encode(), out)

    def read(self, source: Reader) -> str:
        """Read length and text."""
        try:
            return self._octets.read(source).decode()
        except UnicodeDecodeError as error:
            raise DecodeError("not UTF-8") from error


@dataclass(frozen=True)
class Vec(Codec[tuple[T, ...]]):
    """At most `limit` values behind their compact number."""

    item: Codec[T]
    limit: int

    def write(self, value: tuple[T, ...], out: bytearray) -> None:
        """Append number and values."""
        if len(_items(value)) > self.limit:
            raise EncodeError(f"{len(value)} items, at most {self.limit} allowed")
        _LENGTH.write(len(value), out)
        _write_items(self.item, value, out)

    def read(self, source: Reader) -> tuple[T, ...]:
        """Read number and values."""
        return _read_items(self.item, _read_length(source, self.limit, "items"), source)


@dataclass(frozen=True)
class Array(Codec[tuple[T, ...]]):
    """Exactly `length` values."""

    item: Codec[T]
    length: int

    def write(self, value: tuple[T, ...], out: bytearray) -> None:
        """Append the values."""
        if len(_items(value)) != self.length:
            raise EncodeError(f"{self.length} items wanted, not {len(value)}")
        _write_items(self.item, value, out)

    def read(self, source: Reader) -> tuple[T, ...]:
        """Read the values."""
        return _read_items(self.item, self.length, source)


def _write_items(item: Codec[T], values: Iterable[T], out: bytearray) -> None:
    for index, value in enumerate(values):
        try:
            item.write(value, out)
        except EncodeError as error:
            raise error.within(f"[{index}]") from None


def _read_items(item: Codec[T], count: int, source: Reader) -> tuple[T, ...]:
    values = []
    for index in range(count):
        try:
            values.append(item.read(source))
        except DecodeError as error:
            raise error.within(f"[{index}]") from None
    return tuple(values)


@dataclass(frozen=True)
class Tuple(Codec[tuple[Any, ...]]):
    """Values of different types, one after the other."""

    items: tuple[Codec[Any], ...]

    def write(self, value: tuple[Any, ...], out: bytearray) -> None:
        """Append the values."""
        if len(_items(value)) != len(self.items):
            raise EncodeError(f"{len(self.items)} items wanted, not {len(value)}")
        for index, (codec, part) in enumerate(zip(self.items, value, strict=True)):
            try:
                codec.write(part, out)
            except EncodeError as error:
                raise error.within(f"[{index}]") from None

    def read(self, source: Reader) -> tuple[Any, ...]:
        """Read the values."""
        values = []
        for index, codec in enumerate(self.items):
            try:
                values.append(codec.read(source))
            except DecodeError as error:
                raise error.within(f"[{index}]") from None
        return tuple(values)


@dataclass(frozen=True)
class Option(Codec[T | None]):
    """A value or None."""

    item: Codec[T]

    def write(self, value: T | None, out: bytearray) -> None:
        """Append the flag, and the value if there is one."""
        if value is None:
            out.append(0)
        else:
            out.append(1)
            self.item.write(value, out)

    def read(self, source: Reader) -> T | None:
        """Read the flag, and the value if it says so."""
        return self.item.read(source) if Bool().read(source) else None


@dataclass(frozen=True)
class Struct(Codec[T]):
    """A frozen dataclass: its fields in their order."""

    kind: type[T]
    fields: tuple[tuple[str, Codec[Any]], ...]

    def write(self, value: T, out: bytearray) -> None:
        """Append the fields."""
        if type(value) is not self.kind:
            raise EncodeError(f"{self.kind.__name__} wanted, not {type(value).__name__}")
        for name, codec in self.fields:
            try:
                codec.write(getattr(value, name), out)
            except EncodeError as error:
                raise error.within(name) from None

    def read(self, source: Reader) -> T:
        """Read the fields."""
        values = []
        for name, codec in self.fields:
            try:
                values.append(codec.read(source))
            except DecodeError as error:
                raise error.within(name) from None
        return self.kind(*values)


E = TypeVar("E", bound=enum.IntEnum)


@dataclass(frozen=True)
class Index(Codec[E]):
    """An enum whose variants carry no data: its value in one byte."""

    kind: type[E]

    def write(self, value: E, out: bytearray) -> None:
        """Append the index."""
        if not isinstance(value, self.kind):
            raise EncodeError(f"{self.kind.__name__} wanted, not {type(value).__name__}")
        out.append(value)

    def read(self, source: Reader) -> E:
        """Read the index."""
        index = source.take(1)[0]
        try:
            return self.kind(index)
        except ValueError:
            raise DecodeError(f"{self.kind.__name__} has no variant {index}") from None


@dataclass(frozen=True)
class Variants(Codec[T]):
    """An enum whose variants carry data: one dataclass each, behind its index.

    Attributes:
        cases: name of the variant and the codec of its data, by index.
        partial: whether the chain's type has more variants, which are refused here.
    """

    cases: Mapping[int, tuple[str, Struct[Any]]]
    partial: bool = False

    def write(self, value: T, out: bytearray) -> None:
        """Append the index of the value's class, and its data."""
        for index, (name, codec) in self.cases.items():
            if type(value) is codec.kind:
                out.append(index)
                try:
                    codec.write(value, out)
                except EncodeError as error:
                    raise error.within(name) from None
                return
        names = ", ".join(name for name, _ in self.cases.values())
        raise EncodeError(f"one of {names} wanted, not {type(value).__name__}")

    def read(self, source: Reader) -> T:
        """Read the index and the data of that variant."""
        index = source.take(1)[0]
        if index not in self.cases:
            raise DecodeError(f"no variant {index}")
        name, codec = self.cases[index]
        try:
            return typing.cast(T, codec.read(source))
        except DecodeError as error:
            raise error.within(name) from None


@dataclass(frozen=True)
class Limit:
    """Bound of a vector: `Annotated[tuple[Node, ...], Limit(4096)]`."""

    items: int


U8 = Annotated[int, Int(1)]
U16 = Annotated[int, Int(2)]
U32 = Annotated[int, Int(4)]
U64 = Annotated[int, Int(8)]
U128 = Annotated[int, Int(16)]
Hash = Annotated[bytes, FixedBytes(32)]
Signature = Annotated[bytes, FixedBytes(64)]


def variants(**cases: type[Any]) -> Variants[Any]:
    """Make the codec of an enum: names of the variants with their dataclasses, from index 0 on."""
    return Variants(
        {index: (name, struct(kind)) for index, (name, kind) in enumerate(cases.items())}
    )


def struct(kind: type[T]) -> Struct[T]:
    """Make the codec of a frozen dataclass from its annotations.

    Raises:
        TypeError: a field's annotation says no encoding.
    """
    return typing.cast(Struct[T], _struct(typing.cast(Any, kind)))


@functools.cache
def _struct(kind: Any) -> Struct[Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = dataclasses.fields(kind)
    return Struct(kind, tuple((field.name, codec_of(hints[field.name])) for field in fields))


def codec_of(annotation: Any) -> Codec[Any]:
    """Make the codec of an annotation.

    Raises:
        TypeError: the annotation says no encoding.
    """
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
        inner = arguments[0] if arguments[1] is type(None) else arguments[1]
        return Option(codec_of(inner))
    if origin is tuple and Ellipsis not in arguments:
        return Tuple(tuple(codec_of(argument) for argument in arguments))
    if annotation is bool:
        return Bool()
    if isinstance(annotation, type):
        if issubclass(annotation, enum.IntEnum):
            return Index(annotation)
        if dataclasses.is_dataclass(annotation):
            return struct(annotation)
    raise TypeError(f"{annotation!r} says no encoding")


def _annotated(inner: Any, marks: Iterable[object]) -> Codec[Any]:
    for mark in marks:
        if isinstance(mark, Codec):
            return mark
        if isinstance(mark, Limit) and typing.get_origin(inner) is tuple:
            item, _ellipsis = typing.get_args(inner)
            return Vec(codec_of(item), mark.items)
    raise TypeError(f"{inner!r} says no encoding")
