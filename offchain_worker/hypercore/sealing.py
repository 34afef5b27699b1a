"""libsodium's secretstream (hypercore.md §2.3), from buffer to buffer.

PyNaCl's own functions take and return `bytes` of their own, so that each frame is copied before
and after. With frames of 64 KiB that costs more than the encryption: several of them, sealed and
put together for one write, take 120 µs each instead of 50, and opening one from among received
bytes 56 µs instead of 49. Here the same library works on buffers that are there already. Every
length is that of a Python object, or checked against one, before the library gets an address.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nacl import bindings
from nacl._sodium import ffi, lib

SEAL_BYTES = bindings.crypto_secretstream_xchacha20poly1305_ABYTES
STREAM_HEADER_BYTES = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES
LENGTH_BYTES = 3
# Longer plaintexts than this are opened in memory that is given back.
_KEPT_BYTES = 256 * 1024
_TAG_MESSAGE = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE


class NotAuthentic(Exception):
    """Bytes that the holder of the key did not seal, or not as the next ones."""


class Sealer:
    """The sending half.

    Attributes:
        header: the 24 bytes that the peer's `Opener` needs.
    """

    def __init__(self, key: bytes) -> None:
        """Begin under a 32-byte key."""
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        self.header = bindings.crypto_secretstream_xchacha20poly1305_init_push(self._state, key)

    def frames(self, plaintexts: Sequence[bytes]) -> bytearray:
        """Each plaintext sealed, behind its 3-byte length, one after the other.

        Raises:
            ValueError: one is too long for a frame; nothing has been sealed then.
        """
        for plaintext in plaintexts:
            if len(plaintext) + SEAL_BYTES >= 1 << 8 * LENGTH_BYTES:
                raise ValueError(f"{len(plaintext)} bytes do not fit a frame")
        wire = bytearray(sum(map(len, plaintexts)) + len(plaintexts) * (LENGTH_BYTES + SEAL_BYTES))
        at = 0
        with ffi.from_buffer("unsigned char[]", wire, require_writable=True) as target:
            for plaintext in plaintexts:
                size = len(plaintext) + SEAL_BYTES
                wire[at : at + LENGTH_BYTES] = size.to_bytes(LENGTH_BYTES, "little")
                at += LENGTH_BYTES
                status = lib.crypto_secretstream_xchacha20poly1305_push(
                    self._state.statebuf,
                    target + at,
                    ffi.NULL,
                    plaintext,
                    len(plaintext),
                    ffi.NULL,
                    0,
                    _TAG_MESSAGE,
                )
                if status != 0:
                    raise RuntimeError("libsodium cannot seal")
                at += size
        return wire


class Opener:
    """The receiving half."""

    def __init__(self, key: bytes, header: bytes) -> None:
        """Begin under a 32-byte key with the peer's 24-byte header."""
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        bindings.crypto_secretstream_xchacha20poly1305_init_pull(self._state, header, key)
        self._tag = ffi.new("unsigned char *")
        self._target = _room(0)

    def open(self, sealed: bytes | memoryview) -> bytes:
        """The plaintext; its tag is not looked at.

        Raises:
            NotAuthentic: this is not what was sealed next.
        """
        size = len(sealed) - SEAL_BYTES
        if size < 0:
            raise NotAuthentic(f"{len(sealed)} bytes are too few")
        target = self._target
        if size > len(target):
            target = _room(size)
            if size <= _KEPT_BYTES:
                self._target = target
        with ffi.from_buffer("unsigned char[]", sealed) as source:
            status = lib.crypto_secretstream_xchacha20poly1305_pull(
                self._state.statebuf,
                target,
                ffi.NULL,
                self._tag,
                source,
                len(sealed),
                ffi.NULL,
                0,
            )
        if status != 0:
            raise NotAuthentic("the bytes do not authenticate")
        plaintext: bytes = ffi.buffer(target, size)[:]
        return plaintext


def _room(size: int) -> Any:
    return ffi.new("unsigned char[]", size)
