"""Receipts: the vectors of challenge.md §3.4, and what a decoder must refuse."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.audit.receipt import (
    MAX_ENTRIES,
    Entry,
    Receipt,
    ReceiptError,
    decode_receipt,
    receipt_period,
    session_id,
    verify_receipt,
)
from offchain_worker.keys import KeyPair

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "challenge.json").read_text())
HOSTER = KeyPair.from_seed(bytes(range(32)))


def from_vector(vector: dict) -> Receipt:
    return Receipt(
        feed_key=bytes.fromhex(vector["feed_key"]),
        fork=int(vector["fork"]),
        length=int(vector["length"]),
        tree_hash=bytes.fromhex(vector["tree_hash"]),
        client=bytes.fromhex(vector["client"]),
        session=session_id(bytes.fromhex(vector["handshake_hash"])),
        sequence=vector["sequence"],
        opened=int(vector["opened"]),
        issued=int(vector["issued"]),
        byte_length=int(vector["bytes"]),
        entries=tuple(Entry(e["index"], bytes.fromhex(e["hash"])) for e in vector["entries"]),
    )


@pytest.mark.parametrize("vector", VECTORS["receipts"])
def test_vector(vector):
    receipt = from_vector(vector)
    message = bytes.fromhex(vector["message"])
    assert receipt.sign(KeyPair.from_seed(bytes.fromhex(vector["hoster_seed"]))) == message
    assert verify_receipt(message, bytes.fromhex(vector["hoster"])) == receipt


@pytest.mark.parametrize("vector", VECTORS["receipts"][:2])
def test_every_flipped_bit_is_refused(vector):
    message = bytes.fromhex(vector["message"])
    hoster = bytes.fromhex(vector["hoster"])
    for bit in range(8 * len(message)):
        changed = bytearray(message)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ReceiptError):
            verify_receipt(bytes(changed), hoster)


def test_truncated_or_extended_is_refused():
    message = bytes.fromhex(VECTORS["receipts"][0]["message"])
    for length in range(len(message)):
        with pytest.raises(ReceiptError):
            decode_receipt(message[:length])
    with pytest.raises(ReceiptError):
        decode_receipt(message + b"\0")


def test_too_many_entries_are_neither_written_nor_read():
    receipt = from_vector(VECTORS["receipts"][0])
    full = replace(receipt, entries=tuple(Entry(i, bytes(32)) for i in range(MAX_ENTRIES)))
    message = full.sign(HOSTER)
    assert verify_receipt(message, HOSTER.public) == full
    with pytest.raises(ValueError, match="at most"):
        replace(full, entries=(*full.entries, Entry(MAX_ENTRIES, bytes(32)))).body()
    count_at = message.index(bytes.fromhex("8000") + bytes(40))
    longer = message[:count_at] + b"\x81\x00" + message[count_at + 2 :] + bytes(40)
    with pytest.raises(ReceiptError, match="more than"):
        decode_receipt(longer)


@pytest.mark.parametrize(
    "change",
    [
        {"fork": 1 << 64},
        {"length": -1},
        {"sequence": 1 << 32},
        {"feed_key": bytes(31)},
        {"session": bytes(33)},
        {"entries": (Entry(0, bytes(31)),)},
        {"entries": (Entry(-1, bytes(32)),)},
    ],
)
def test_a_field_beyond_its_width_is_not_written(change):
    with pytest.raises(ValueError, match=r"receipt|hash"):
        replace(from_vector(VECTORS["receipts"][0]), **change).body()


@pytest.mark.parametrize(
    ("length", "period"), [(0, 1), (1, 1), (40, 40), (100, 100), (101, 100), (1 << 40, 100)]
)
def test_period(length, period):
    assert receipt_period(length) == period


@given(st.binary(max_size=400))
def test_arbitrary_bytes_decode_or_are_refused(data):
    try:
        receipt = decode_receipt(data)
    except ReceiptError:
        return
    assert receipt.body() == data[:-64]
