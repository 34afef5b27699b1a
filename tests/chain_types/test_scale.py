"""The codec: round trips, the encoding of SCALE, and what it refuses."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_types import scale


class Colour(enum.IntEnum):
    RED = 0
    BLUE = 1


@dataclass(frozen=True)
class Point:
    x: scale.U16
    y: scale.U64 | None


@dataclass(frozen=True)
class Empty:
    pass


SHAPE = scale.variants(Dot=Point, Nothing=Empty)


@dataclass(frozen=True)
class Everything:
    flag: bool
    colour: Colour
    pair: tuple[scale.U8, scale.U128]
    points: Annotated[tuple[Point, ...], scale.Limit(3)]
    shape: Annotated[Point | Empty, SHAPE]
    digest: scale.Hash
    blob: Annotated[bytes, scale.Bytes(5)]
    count: Annotated[int, scale.Compact()]


def uints(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


points = st.builds(Point, uints(16), st.none() | uints(64))
everything = st.builds(
    Everything,
    flag=st.booleans(),
    colour=st.sampled_from(Colour),
    pair=st.tuples(uints(8), uints(128)),
    points=st.lists(points, max_size=3).map(tuple),
    shape=points | st.just(Empty()),
    digest=st.binary(min_size=32, max_size=32),
    blob=st.binary(max_size=5),
    count=uints(128),
)


@given(everything)
def test_round_trip(value: Everything) -> None:
    codec = scale.struct(Everything)
    data = codec.encode(value)
    assert codec.decode(data) == value
    with pytest.raises(scale.DecodeError):
        codec.decode(data + b"\0")
    with pytest.raises(scale.DecodeError):
        codec.decode(data[:-1])


@given(st.binary(max_size=100))
def test_what_decodes_was_encoded_so(data: bytes) -> None:
    codec = scale.struct(Everything)
    try:
        value = codec.decode(data)
    except scale.DecodeError:
        return
    assert codec.encode(value) == data


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "04"),
        (63, "fc"),
        (64, "0101"),
        (16383, "fdff"),
        (16384, "02000100"),
        (2**30 - 1, "feffffff"),
        (2**30, "0300000040"),
        (2**32, "070000000001"),
        (100_000_000_000_000, "0b00407a10f35a"),
    ],
)
def test_compact(value: int, encoded: str) -> None:
    assert scale.Compact().encode(value).hex() == encoded
    assert scale.Compact().decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    "encoded", ["0100", "02000000", "0300000000", "03ffffff3f", "070000000000"]
)
def test_compact_must_be_the_shortest(encoded: str) -> None:
    with pytest.raises(scale.DecodeError, match="shortest"):
        scale.Compact().decode(bytes.fromhex(encoded))


def test_compact_is_bounded() -> None:
    data = scale.Compact(scale.COMPACT_MAX).encode(2**128)
    with pytest.raises(scale.DecodeError, match="more than"):
        scale.Compact().decode(data)
    with pytest.raises(scale.EncodeError):
        scale.Compact(limit=9).encode(10)


@pytest.mark.parametrize(
    ("codec", "encoded"),
    [
        (scale.Bool(), "02"),
        (scale.Option(scale.Int(1)), "0201"),
        (scale.Index(Colour), "02"),
        (SHAPE, "02"),
        (scale.Vec(scale.Int(1), 2), "0c010203"),
        (scale.Bytes(2), "0c010203"),
        (scale.Text(9), "08ffff"),
        (scale.Array(scale.Int(2), 2), "010002"),
        (scale.Unit(), "00"),
    ],
)
def test_malformed_bytes_are_refused(codec: scale.Codec[Any], encoded: str) -> None:
    with pytest.raises(scale.DecodeError):
        codec.decode(bytes.fromhex(encoded))


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (scale.Int(1), 256),
        (scale.Int(1), -1),
        (scale.Int(1), True),
        (scale.Int(1), "1"),
        (scale.Int(1, signed=True), 128),
        (scale.Bool(), 1),
        (scale.FixedBytes(2), b"1"),
        (scale.FixedBytes(2), [1, 2]),
        (scale.Bytes(2), b"123"),
        (scale.Text(1), "ü"),
        (scale.Text(1), b"u"),
        (scale.Vec(scale.Int(1), 1), (1, 2)),
        (scale.Vec(scale.Int(1), 1), [1]),
        (scale.Array(scale.Int(1), 2), (1,)),
        (scale.Tuple((scale.Int(1),)), (1, 2)),
        (scale.Index(Colour), 1),
        (SHAPE, Colour.RED),
        (scale.struct(Point), Empty()),
        (scale.Unit(), 0),
    ],
)
def test_values_of_another_kind_are_refused(codec: scale.Codec[Any], value: object) -> None:
    with pytest.raises(scale.EncodeError):
        codec.encode(value)


def test_errors_carry_the_path() -> None:
    codec = scale.struct(Everything)
    value = Everything(
        True, Colour.RED, (1, 2), (Point(1, None), Point(2, 2**64)), Empty(), bytes(32), b"", 0
    )
    with pytest.raises(scale.EncodeError) as caught:
        codec.encode(value)
    assert caught.value.field == "points[1].y"
    with pytest.raises(scale.DecodeError) as refused:
        codec.decode(bytes.fromhex("010001" + "00" * 16 + "04010002"))
    assert refused.value.field == "points[0].y"
    assert str(refused.value) == "points[0].y: a flag is 0 or 1, not 2"


@pytest.mark.parametrize("annotation", [int, bytes, list[int], tuple[int, ...], int | str])
def test_an_annotation_without_encoding_is_an_error(annotation: object) -> None:
    with pytest.raises(TypeError, match="says no encoding"):
        scale.codec_of(annotation)
