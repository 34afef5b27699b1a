"""The Noise handshake: pattern XX over Ed25519, ChaCha20-Poly1305 and BLAKE2b (hypercore.md §2.2).

Both sides learn each other's static key, the keys of the two directions and the handshake hash.
Payloads are empty and so is the prologue. Diffie–Hellman runs on Edwards points, not on X25519.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import blake2b, sha512

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as SodiumError

from offchain_worker.hypercore.errors import HandshakeFailed
from offchain_worker.keys import KeyPair

PROTOCOL_NAME = b"Noise_XX_Ed25519_ChaChaPoly_BLAKE2b"
HASH_BYTES = 64
DH_BYTES = 32
TAG_BYTES = 16
MESSAGE_1_BYTES = DH_BYTES
MESSAGE_2_BYTES = DH_BYTES + DH_BYTES + TAG_BYTES + TAG_BYTES
MESSAGE_3_BYTES = DH_BYTES + TAG_BYTES + TAG_BYTES


@dataclass(frozen=True)
class Session:
    """What a completed handshake gives.

    Attributes:
        tx_key, rx_key: 32 bytes each, for what this side sends and receives.
        handshake_hash: 64 bytes, the same on both sides and different in every session.
        remote_public_key: 32 bytes, the peer's authenticated static key.
    """

    tx_key: bytes = field(repr=False)
    rx_key: bytes = field(repr=False)
    handshake_hash: bytes
    remote_public_key: bytes


def diffie_hellman(pair: KeyPair, public: bytes) -> bytes:
    """The shared 32-byte Edwards point of a pair and a peer's public key.

    Raises:
        HandshakeFailed: the peer's key is not a point of large order.
    """
    scalar = bytearray(sha512(pair.seed).digest()[:32])
    scalar[0] &= 248
    scalar[31] &= 127
    scalar[31] |= 64
    try:
        return bindings.crypto_scalarmult_ed25519_noclamp(bytes(scalar), public)
    except SodiumError as error:
        raise HandshakeFailed("the peer's key is not a valid point") from error


def hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """The first two 64-byte outputs of HKDF with HMAC-BLAKE2b-512."""
    secret = hmac.digest(chaining_key, material, "blake2b")
    first = hmac.digest(secret, b"\x01", "blake2b")
    second = hmac.digest(secret, first + b"\x02", "blake2b")
    return first, second


class _SymmetricState:
    """Chaining key, transcript hash and cipher of a handshake (Noise, SymmetricState)."""

    def __init__(self) -> None:
        self.hash = PROTOCOL_NAME.ljust(HASH_BYTES, b"\x00")
        self.chaining_key = self.hash
        self._key = b""
        self._nonce = 0
        self.mix_hash(b"")

    def mix_hash(self, data: bytes) -> None:
        self.hash = blake2b(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.chaining_key, key = hkdf(self.chaining_key, material)
        self._key = key[:32]
        self._nonce = 0

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
            plaintext, self.hash, self._next_nonce(), self._key
        )
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        try:
            plaintext = bindings.crypto_aead_chacha20poly1305_ietf_decrypt(
                ciphertext, self.hash, self._next_nonce(), self._key
            )
        except CryptoError as error:
            raise HandshakeFailed("a handshake message does not authenticate") from error
        self.mix_hash(ciphertext)
        return plaintext

    def _next_nonce(self) -> bytes:
        nonce = bytes(4) + self._nonce.to_bytes(8, "little")
        self._nonce += 1
        return nonce


class Handshake:
    """One side of a handshake, without any I/O.

    The initiator calls `write`, `read`, `write`; the responder `read`, `write`, `read`. Any other
    order is a programming error (`RuntimeError`). After the last step `session` is set.
    """

    def __init__(self, *, initiator: bool, static: KeyPair, ephemeral: KeyPair) -> None:
        """Begin.

        Args:
            initiator: whether this side speaks first.
            static: the key pair that the peer authenticates.
            ephemeral: a fresh key pair, never used again.
        """
        self.session: Session | None = None
        self._initiator = initiator
        self._static = static
        self._ephemeral = ephemeral
        self._remote_ephemeral = b""
        self._remote_static = b""
        self._state = _SymmetricState()
        self._step = 0

    @property
    def next_read_bytes(self) -> int:
        """How long the message is that `read` takes next."""
        return (MESSAGE_1_BYTES, MESSAGE_2_BYTES, MESSAGE_3_BYTES)[self._step]

    def write(self) -> bytes:
        """The next handshake message of this side.

        Raises:
            HandshakeFailed: the peer's ephemeral key is not a valid point.
        """
        step = self._advance(writing=True)
        state = self._state
        if step == 0:
            state.mix_hash(self._ephemeral.public)
            return self._ephemeral.public + self._empty_payload_unkeyed()
        if step == 1:
            state.mix_hash(self._ephemeral.public)
            state.mix_key(diffie_hellman(self._ephemeral, self._remote_ephemeral))
            static = state.encrypt_and_hash(self._static.public)
            state.mix_key(diffie_hellman(self._static, self._remote_ephemeral))
            return self._ephemeral.public + static + state.encrypt_and_hash(b"")
        static = state.encrypt_and_hash(self._static.public)
        state.mix_key(diffie_hellman(self._static, self._remote_ephemeral))
        message = static + state.encrypt_and_hash(b"")
        self._split()
        return message

    def read(self, message: bytes) -> None:
        """Take the peer's next handshake message.

        Raises:
            HandshakeFailed: wrong length, wrong authentication, invalid key.
        """
        if len(message) != self.next_read_bytes:
            raise HandshakeFailed(f"a handshake message of {len(message)} bytes")
        step = self._advance(writing=False)
        state = self._state
        if step == 0:
            self._remote_ephemeral = message
            state.mix_hash(message)
            self._empty_payload_unkeyed()
            return
        if step == 1:
            self._remote_ephemeral = message[:DH_BYTES]
            state.mix_hash(self._remote_ephemeral)
            state.mix_key(diffie_hellman(self._ephemeral, self._remote_ephemeral))
            self._remote_static = state.decrypt_and_hash(message[DH_BYTES:-TAG_BYTES])
            state.mix_key(diffie_hellman(self._ephemeral, self._remote_static))
            state.decrypt_and_hash(message[-TAG_BYTES:])
            return
        self._remote_static = state.decrypt_and_hash(message[:-TAG_BYTES])
        state.mix_key(diffie_hellman(self._ephemeral, self._remote_static))
        state.decrypt_and_hash(message[-TAG_BYTES:])
        self._split()

    def _advance(self, *, writing: bool) -> int:
        step = self._step
        if step > 2 or writing != (self._initiator == (step != 1)):
            raise RuntimeError("the steps of the handshake are out of order")
        self._step += 1
        return step

    def _empty_payload_unkeyed(self) -> bytes:
        """The first message's payload: nothing, not encrypted, but part of the transcript."""
        self._state.mix_hash(b"")
        return b""

    def _split(self) -> None:
        first, second = (key[:32] for key in hkdf(self._state.chaining_key, b""))
        tx_key, rx_key = (first, second) if self._initiator else (second, first)
        self.session = Session(tx_key, rx_key, self._state.hash, self._remote_static)
