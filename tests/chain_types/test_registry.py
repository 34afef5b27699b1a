"""Plain values of the runtime's types: bounds against hostile bytes, and storage keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_types import metadata as md
from chain_types import scale, storage
from chain_types.metadata import Hasher, Primitive, decode_metadata
from chain_types.registry import Choice, Registry
from chain_types.runtime import DispatchError, Runtime
from chain_types.storage_keys import Map, entry_prefix, hashed

U8, EMPTY, VEC_U8, VEC_EMPTY, RECURSIVE, STRUCT, ENUM, HUGE, BITS, TEXT = range(10)


def field(kind: int, name: str | None = None) -> md.Field:
    return md.Field(name, kind, None, ())


def registry() -> Registry:
    definitions: dict[int, md.Definition] = {
        U8: md.PrimitiveType(Primitive.U8),
        EMPTY: md.TupleType(()),
        VEC_U8: md.SequenceType(U8),
        VEC_EMPTY: md.SequenceType(EMPTY),
        RECURSIVE: md.SequenceType(RECURSIVE),
        STRUCT: md.CompositeType((field(U8, "a"), field(VEC_U8, "b"))),
        ENUM: md.VariantType(
            (
                md.Variant("Nothing", (), 0, ()),
                md.Variant("Pair", (field(U8), field(U8)), 3, ()),
            )
        ),
        HUGE: md.ArrayType(2**31, EMPTY),
        BITS: md.BitSequenceType(U8, EMPTY),
        TEXT: md.PrimitiveType(Primitive.STR),
    }
    return Registry(
        [
            md.PortableType(number, md.Type((), (), definition, ()))
            for number, definition in definitions.items()
        ]
    )


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        (STRUCT, "01080203", {"a": 1, "b": b"\x02\x03"}),
        (ENUM, "00", Choice("Nothing", ())),
        (ENUM, "030102", Choice("Pair", (1, 2))),
        (TEXT, "0868c3", None),
        (TEXT, "0c68c3bc", "hü"),
        (RECURSIVE, "0400", ((),)),
    ],
)
def test_plain_values(kind: int, data: str, value: Any) -> None:
    source = scale.Reader(bytes.fromhex(data))
    if value is None:
        with pytest.raises(scale.DecodeError):
            registry().read(kind, source)
    else:
        assert registry().read(kind, source) == value


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        (VEC_EMPTY, "feffffff", "items in 0 bytes"),
        (HUGE, "00", "items in 1 bytes"),
        (RECURSIVE, "04" * 100, "nested too deeply"),
        (ENUM, "01", "no variant 1"),
        (STRUCT, "0108", "b: 2 items in 0 bytes"),
        (BITS, "00", "not supported"),
        (99, "00", "no type 99"),
    ],
)
def test_hostile_bytes_are_refused_before_they_cost_anything(
    kind: int, data: str, reason: str
) -> None:
    with pytest.raises(scale.DecodeError, match=reason):
        registry().read(kind, scale.Reader(bytes.fromhex(data)))


def test_a_wrapper_around_itself_is_refused() -> None:
    loop = Registry([md.PortableType(0, md.Type((), (), md.CompositeType((field(0),)), ()))])
    with pytest.raises(scale.DecodeError, match="nested too deeply"):
        loop.inner(0)
    with pytest.raises(scale.DecodeError, match="nested too deeply"):
        loop.is_empty(0)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_decoders(data: bytes) -> None:
    for decode in (decode_metadata, lambda rest: decode_metadata(b"meta\x0e" + rest)):
        with pytest.raises(scale.DecodeError):
            decode(data)


@given(data=st.binary(max_size=200))
def test_events_that_are_none_are_refused(runtime: Runtime, data: bytes) -> None:
    try:
        records = runtime.decode_events(data)
    except scale.DecodeError:
        return
    assert all(record.event is not None for record in records)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (Choice("BadOrigin", ()), DispatchError("", "BadOrigin")),
        (Choice("Token", Choice("Frozen", ())), DispatchError("", "Token.Frozen")),
    ],
)
def test_errors_of_the_runtime_itself(runtime: Runtime, value: Any, error: DispatchError) -> None:
    assert runtime.dispatch_error(value) == error


def test_errors_of_pallets_have_their_names(runtime: Runtime) -> None:
    pallet = runtime.pallet("Balances")
    (name, variant), *_ = runtime.errors("Balances").items()
    value = Choice("Module", {"index": pallet.index, "error": bytes([variant.index, 0, 0, 0])})
    error = runtime.dispatch_error(value)
    assert (error.pallet, error.name) == ("Balances", name)
    assert error.docs
    assert str(error) == f"Balances.{name}: {error.docs.rstrip('.')}"
    with pytest.raises(scale.DecodeError, match=r"no error 99\.0"):
        runtime.dispatch_error(Choice("Module", {"index": 99, "error": bytes(4)}))


def test_keys_are_those_of_other_tools() -> None:
    # The well-known prefix of System.Account, and //Alice's key.
    assert entry_prefix("System", "Account").hex() == (
        "26aa394eea5630e07c48ae0c9558cef7b99d880ec681799c0cf30e8886371da9"
    )
    alice = bytes.fromhex("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d")
    assert (
        storage.ACCOUNTS.key(alice).hex().endswith("de1e86a9a8c739864cf3cc5ec2bea59f" + alice.hex())
    )


@pytest.mark.parametrize("hasher", list(Hasher))
def test_hashed_keys_have_their_lengths(hasher: Hasher) -> None:
    lengths = {
        Hasher.BLAKE2_128: 16,
        Hasher.BLAKE2_256: 32,
        Hasher.BLAKE2_128_CONCAT: 20,
        Hasher.TWOX_128: 16,
        Hasher.TWOX_256: 32,
        Hasher.TWOX_64_CONCAT: 12,
        Hasher.IDENTITY: 4,
    }
    assert len(hashed(hasher, b"key!")) == lengths[hasher]


@given(st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32))
def test_keys_can_be_read_back(number: int, account: bytes) -> None:
    raw = storage.REPORTS.key(number, account)
    assert storage.REPORTS.split(raw) == (number, account)
    assert raw.startswith(storage.REPORTS.key(number))


def test_keys_that_are_none_are_refused() -> None:
    raw = storage.FLIPS.key(1)
    for wrong in (raw[1:], raw[:-1], raw + b"\0", raw[:40] + b"\xff" + raw[41:]):
        with pytest.raises(scale.DecodeError):
            storage.FLIPS.split(wrong)
    with pytest.raises(ValueError, match="has 1 keys"):
        storage.FLIPS.key(1, 2)
    opaque: Map[int] = Map("A", "B", ((Hasher.BLAKE2_256, scale.Int(8)),), scale.Int(8))
    key = opaque.key(1)
    with pytest.raises(scale.DecodeError, match="does not keep the key"):
        opaque.split(key)
