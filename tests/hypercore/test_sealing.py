"""Sealing and opening on buffers, beside PyNaCl's own functions for the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from offchain_worker.hypercore.sealing import (
    LENGTH_BYTES,
    SEAL_BYTES,
    NotAuthentic,
    Opener,
    Sealer,
)

KEY = bytes(range(32))
SIZES = [0, 1, 65_536, 3, 262_144, 262_145, 7, 1_000_000, 100_000]


def cut(wire: bytes | bytearray) -> list[bytes]:
    """The payloads of frames."""
    payloads = []
    while wire:
        stop = LENGTH_BYTES + int.from_bytes(wire[:LENGTH_BYTES], "little")
        payloads.append(bytes(wire[LENGTH_BYTES:stop]))
        wire = wire[stop:]
    return payloads


def test_pynacl_opens_what_was_sealed() -> None:
    sealer = Sealer(KEY)
    plaintexts = [bytes([number]) * size for number, size in enumerate(SIZES)]
    wire = sealer.frames(plaintexts) + sealer.frames([]) + sealer.frames(plaintexts[::-1])
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, sealer.header, KEY)
    opened = [
        bindings.crypto_secretstream_xchacha20poly1305_pull(state, payload) for payload in cut(wire)
    ]
    assert opened == [(plaintext, 0) for plaintext in (*plaintexts, *plaintexts[::-1])]


def test_what_pynacl_sealed_is_opened() -> None:
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    header = bindings.crypto_secretstream_xchacha20poly1305_init_push(state, KEY)
    opener = Opener(KEY, header)
    for number, size in enumerate(SIZES):
        plaintext = bytes([number]) * size
        sealed = bindings.crypto_secretstream_xchacha20poly1305_push(state, plaintext)
        around = bytearray(b"before" + sealed + b"behind")
        with memoryview(around) as view:
            assert opener.open(view[6:-6]) == plaintext
        # Nothing holds on to the buffer.
        around.clear()


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_frames_are_opened_in_their_order(plaintexts: list[bytes]) -> None:
    sealer = Sealer(KEY)
    opener = Opener(KEY, sealer.header)
    payloads = cut(sealer.frames(plaintexts))
    assert [len(payload) for payload in payloads] == [len(p) + SEAL_BYTES for p in plaintexts]
    assert [opener.open(payload) for payload in payloads] == plaintexts


@pytest.mark.parametrize("size", range(SEAL_BYTES))
def test_too_few_bytes_are_not_authentic(size: int) -> None:
    with pytest.raises(NotAuthentic):
        Opener(KEY, Sealer(KEY).header).open(bytes(size))


def test_what_was_changed_is_not_authentic_and_its_buffer_is_free() -> None:
    sealer = Sealer(KEY)
    wire = sealer.frames([b"hello"])
    wire[-1] ^= 1
    opener = Opener(KEY, sealer.header)
    with memoryview(wire) as view, view[LENGTH_BYTES:] as payload, pytest.raises(NotAuthentic):
        opener.open(payload)
    wire.clear()


def test_a_plaintext_too_long_for_a_frame_seals_nothing() -> None:
    sealer = Sealer(KEY)
    opener = Opener(KEY, sealer.header)
    most = 2**24 - 1 - SEAL_BYTES
    with pytest.raises(ValueError, match="do not fit"):
        sealer.frames([b"first", bytes(most + 1)])
    (payload,) = cut(sealer.frames([bytes(most)]))
    assert len(opener.open(payload)) == most
