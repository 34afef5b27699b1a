import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.hypercore import encoding
from offchain_worker.hypercore.encoding import MAX_UINT, Decoder
from offchain_worker.hypercore.errors import DecodeError

VECTORS = Path(__file__).parents[1] / "vectors"
ENCODING = json.loads((VECTORS / "encoding.json").read_text())
CONSTANTS = json.loads((VECTORS / "constants.json").read_text())


@pytest.mark.parametrize("case", ENCODING["uint"], ids=lambda case: str(case["value"]))
def test_uint_vectors(case: dict[str, object]) -> None:
    encoded = bytes.fromhex(str(case["encoded"]))
    assert encoding.encode_uint(int(str(case["value"]))) == encoded
    decoder = Decoder(encoded)
    assert decoder.uint() == case["value"]
    decoder.finish()


@pytest.mark.parametrize("kind", ["string", "buffer"])
def test_text_and_buffer_vectors(kind: str) -> None:
    for case in ENCODING[kind]:
        encoded = bytes.fromhex(case["encoded"])
        if kind == "string":
            assert encoding.encode_string(case["value"]) == encoded
            assert Decoder(encoded).string() == case["value"]
        else:
            value = bytes.fromhex(case["value"])
            assert encoding.encode_buffer(value) == encoded
            assert Decoder(encoded).buffer() == value


def test_null_and_empty_optional_buffers_look_the_same() -> None:
    assert Decoder(bytes.fromhex(ENCODING["optional_buffer_null"])).optional_buffer() is None
    assert Decoder(b"\x01a").optional_buffer() == b"a"


def test_namespaces() -> None:
    for case in CONSTANTS["namespace_of_string"]:
        assert encoding.namespace(case["name"], case["id"]).hex() == case["value"]


def test_numbers_longer_than_needed_are_accepted() -> None:
    assert Decoder(b"\xff\x01" + bytes(7)).uint() == 1
    assert Decoder(b"\xfd\x00\x00").uint() == 0


@pytest.mark.parametrize(
    ("encoded", "read"),
    [
        (b"", Decoder.uint),
        (b"\xfd\x01", Decoder.uint),
        (b"\xff" + (MAX_UINT + 1).to_bytes(8, "little"), Decoder.uint),
        (b"\x02a", Decoder.buffer),
        (b"\xff" + b"\xff" * 6 + b"\x1f\x00", Decoder.buffer),
        (b"\x01\xff", Decoder.string),
        (b"\x02" + bytes(7), Decoder.u32_array),
        (b"\xfe\x01\x00\x10\x00" + bytes(9), Decoder.u32_array),
        (b"a", Decoder.finish),
    ],
)
def test_refused(encoded: bytes, read: Callable[[Decoder], object]) -> None:
    with pytest.raises(DecodeError):
        read(Decoder(encoded))


def test_a_count_beyond_the_cap_is_refused_even_if_it_fits() -> None:
    encoded = encoding.encode_uint(encoding.MAX_ARRAY + 1) + bytes(encoding.MAX_ARRAY + 1)
    with pytest.raises(DecodeError):
        Decoder(encoded).count(1)


@pytest.mark.parametrize("value", [-1, MAX_UINT + 1])
def test_values_out_of_range_cannot_be_encoded(value: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        encoding.encode_uint(value)


@given(st.integers(0, MAX_UINT))
def test_uint_round_trip(value: int) -> None:
    decoder = Decoder(encoding.encode_uint(value))
    assert decoder.uint() == value
    decoder.finish()


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_u32_array_round_trip(values: list[int]) -> None:
    assert Decoder(encoding.encode_u32_array(values)).u32_array() == tuple(values)
