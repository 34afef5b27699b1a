"""Making bytes that are nearly, or not at all, what a parser expects."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from offchain_worker.coinflip.envelope import HEADER_BYTES, Kind

MAX_BYTES = 70_000
"""Longer than any message of the channel."""

BYTES = (0x00, 0x01, 0x03, 0x10, 0x11, 0x12, 0x20, 0x23, 0x7F, 0x80, 0xFE, 0xFF)
NUMBERS = (0, 1, 2, 31, 32, 63, 64, 127, 128, 255, 256, 0x3FFF, 0x7FFF, 0xFFFF)
KINDS = tuple(Kind)
SENDER_AT = HEADER_BYTES - 2


def flip_bit(source: random.Random, data: bytearray) -> None:
    """One bit somewhere."""
    if data:
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)


def set_byte(source: random.Random, data: bytearray) -> None:
    """A telling byte somewhere, more often near the front, where the structure is."""
    if data:
        data[_somewhere(source, data)] = source.choice(BYTES)


def set_number(source: random.Random, data: bytearray) -> None:
    """A telling number of one, two, four or eight bytes."""
    size = source.choice((1, 2, 4, 8))
    number = source.choice(NUMBERS) % (1 << 8 * size)
    if source.random() < 0.2:
        number = (1 << 8 * size) - 1 - number
    at = _somewhere(source, data) if data else 0
    data[at : at + size] = number.to_bytes(size, "little")


def cut(source: random.Random, data: bytearray) -> None:
    """The end is missing."""
    del data[source.randrange(len(data) + 1) :]


def cut_one(source: random.Random, data: bytearray) -> None:
    """A byte or two are missing somewhere."""
    at = _somewhere(source, data) if data else 0
    del data[at : at + source.randrange(1, 3)]


def grow(source: random.Random, data: bytearray) -> None:
    """Something follows."""
    data += source.randbytes(source.choice((1, 2, 63, 64, 65, 300)))


def insert(source: random.Random, data: bytearray) -> None:
    """Something is in between."""
    at = _somewhere(source, data) if data else 0
    data[at:at] = source.randbytes(source.randrange(1, 5))


def repeat(source: random.Random, data: bytearray) -> None:
    """A piece comes again."""
    start = source.randrange(len(data) + 1)
    end = min(len(data), start + source.choice((1, 2, 32, 64, 131, 163)))
    data[end:end] = data[start:end] * source.choice((1, 1, 2, 7))


def swap_halves(source: random.Random, data: bytearray) -> None:
    """The order of two pieces is wrong."""
    at = source.randrange(len(data) + 1)
    data[:] = data[at:] + data[:at]


def set_kind(source: random.Random, data: bytearray) -> None:
    """It says to be something else."""
    data[:1] = bytes([source.choice(KINDS)])


def set_sender(source: random.Random, data: bytearray) -> None:
    """It says to be somebody else's."""
    data[SENDER_AT:HEADER_BYTES] = source.randrange(12).to_bytes(2, "little")


OPERATIONS: Sequence[Callable[[random.Random, bytearray], None]] = (
    flip_bit,
    set_byte,
    set_byte,
    set_number,
    set_number,
    cut,
    cut_one,
    grow,
    insert,
    repeat,
    swap_halves,
    set_kind,
    set_sender,
)


def mutate(source: random.Random, data: bytes, keep: int = 0) -> bytes:
    """`data` with one to four changes; its first `keep` bytes stay, most of the time."""
    kept = keep if source.random() < 0.85 else 0
    changed = bytearray(data[kept:])
    for _ in range(source.choice((1, 1, 1, 2, 2, 3, 4))):
        source.choice(OPERATIONS)(source, changed)
    return (data[:kept] + bytes(changed))[:MAX_BYTES]


def splice(source: random.Random, first: bytes, second: bytes) -> bytes:
    """The front of one and the back of another."""
    at = source.randrange(len(first) + 1)
    return (first[:at] + second[source.randrange(len(second) + 1) :])[:MAX_BYTES]


def noise(source: random.Random) -> bytes:
    """Bytes that mean nothing, mostly few."""
    return source.randbytes(source.choice((0, 1, 2, 34, 35, 36, 99, 131, 163, 400, 2_000)))


def _somewhere(source: random.Random, data: bytearray) -> int:
    limit = min(len(data), 48) if source.random() < 0.5 else len(data)
    return source.randrange(limit)
