"""The encrypted stream: frames, handshake, header exchange, ciphertext (hypercore.md §2).

A `SecretStream` takes the bytes that came and gives the bytes to send; it does no I/O. One
plaintext is one frame on the wire: 3-byte little-endian length, then the ciphertext.
"""

from __future__ import annotations

from offchain_worker.hypercore.encoding import keyed_blake2b_256, namespace
from offchain_worker.hypercore.errors import HandshakeFailed, ProtocolViolation
from offchain_worker.hypercore.noise import Handshake, Session
from offchain_worker.hypercore.sealing import (
    LENGTH_BYTES,
    SEAL_BYTES,
    STREAM_HEADER_BYTES,
    NotAuthentic,
    Opener,
    Sealer,
)
from offchain_worker.keys import KeyPair

MAX_FRAME_BYTES = 2**24 - 1
STREAM_ID_BYTES = 32
HEADER_BYTES = STREAM_ID_BYTES + STREAM_HEADER_BYTES

NS_INITIATOR = namespace("hyperswarm/secret-stream", 0)
NS_RESPONDER = namespace("hyperswarm/secret-stream", 1)


def stream_id(handshake_hash: bytes, *, initiator: bool) -> bytes:
    """The 32-byte id of the stream that the initiator or the responder sends."""
    return keyed_blake2b_256(handshake_hash, NS_INITIATOR if initiator else NS_RESPONDER)


def frame(payload: bytes) -> bytes:
    """A payload behind its 3-byte length.

    Raises:
        ValueError: it is longer than a frame can be.
    """
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError(f"{len(payload)} bytes do not fit a frame")
    return len(payload).to_bytes(LENGTH_BYTES, "little") + payload


class SecretStream:
    """One end of an encrypted stream, without any I/O.

    Attributes:
        session: the handshake's result, or None before its end.
        opened: whether the header exchange is over, so that plaintexts can be sent and come.
        keep_alives: how many have come.
    """

    def __init__(
        self,
        *,
        initiator: bool,
        keypair: KeyPair,
        ephemeral: KeyPair,
        max_frame: int = MAX_FRAME_BYTES,
    ) -> None:
        """Begin; the initiator has something to send at once (`data_to_send`).

        Args:
            initiator: whether this side dialled.
            keypair: the static key pair.
            ephemeral: a fresh key pair, never used again.
            max_frame: the longest ciphertext that is accepted, in bytes.
        """
        self.session: Session | None = None
        self.opened = False
        self.keep_alives = 0
        self._initiator = initiator
        self._max_frame = max_frame
        self._handshake = Handshake(initiator=initiator, static=keypair, ephemeral=ephemeral)
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None
        self._partial = bytearray()
        self._outgoing = bytearray()
        if initiator:
            self._outgoing += frame(self._handshake.write())

    def data_to_send(self) -> bytes:
        """The handshake's bytes that have to be sent now; each is returned once."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def encrypt(self, *plaintexts: bytes) -> bytearray:
        """The frames that carry the plaintexts (an empty one: a keep-alive), one after the other.

        The frames must be sent in the order in which they were made.

        Raises:
            ValueError: one is longer than a frame can be; no frame has been made then.
        """
        if self._sealer is None:
            raise RuntimeError("the handshake is not over")
        return self._sealer.frames(plaintexts)

    def receive(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Take bytes from the wire; returns the plaintexts that they complete.

        Keep-alives (empty plaintexts) are left out. At most one frame is kept unfinished.

        Raises:
            HandshakeFailed: before `opened`: anything wrong.
            ProtocolViolation: after: a frame too long, too short or not authentic.
        """
        plaintexts: list[bytes] = []
        partial = self._partial
        with memoryview(data) as view:
            position = self._complete_partial(view, plaintexts) if partial else 0
            end = len(view)
            while end - position >= LENGTH_BYTES:
                start = position + LENGTH_BYTES
                stop = start + int.from_bytes(view[position:start], "little")
                self._check_length(stop - start)
                if stop > end:
                    break
                self._take(view[start:stop], plaintexts)
                position = stop
            partial += view[position:]
        return plaintexts

    def _complete_partial(self, view: memoryview, plaintexts: list[bytes]) -> int:
        """Go on with the frame that was begun before; returns how many bytes it took."""
        partial = self._partial
        position = 0
        if len(partial) < LENGTH_BYTES:
            position = LENGTH_BYTES - len(partial)
            partial += view[:position]
            if len(partial) < LENGTH_BYTES:
                return len(view)
        length = int.from_bytes(partial[:LENGTH_BYTES], "little")
        self._check_length(length)
        missing = LENGTH_BYTES + length - len(partial)
        partial += view[position : position + missing]
        if len(view) - position < missing:
            return len(view)
        with memoryview(partial) as whole, whole[LENGTH_BYTES:] as payload:
            self._take(payload, plaintexts)
        partial.clear()
        return position + missing

    def _take(self, payload: memoryview, plaintexts: list[bytes]) -> None:
        """Take a whole frame; what it says goes to `plaintexts`."""
        if self._opener is None:
            self._advance(bytes(payload))
            return
        try:
            plaintext = self._opener.open(payload)
        except NotAuthentic as error:
            raise ProtocolViolation("a frame does not authenticate") from error
        if plaintext:
            plaintexts.append(plaintext)
        else:
            self.keep_alives += 1

    def _check_length(self, length: int) -> None:
        if self.opened:
            if not SEAL_BYTES <= length <= self._max_frame:
                raise ProtocolViolation(f"a frame of {length} bytes")
            return
        expected = HEADER_BYTES if self.session is not None else self._handshake.next_read_bytes
        if length != expected:
            raise HandshakeFailed(f"a handshake frame of {length} bytes instead of {expected}")

    def _advance(self, payload: bytes) -> None:
        """Take a handshake message or the header, and prepare what answers it."""
        session = self.session
        if session is not None:
            self._open(session, payload)
            return
        self._handshake.read(payload)
        if self._handshake.session is None:
            self._outgoing += frame(self._handshake.write())
        session = self._handshake.session
        if session is not None:
            self.session = session
            self._sealer = Sealer(session.tx_key)
            own_id = stream_id(session.handshake_hash, initiator=self._initiator)
            self._outgoing += frame(own_id + self._sealer.header)

    def _open(self, session: Session, payload: bytes) -> None:
        their_id = stream_id(session.handshake_hash, initiator=not self._initiator)
        if payload[:STREAM_ID_BYTES] != their_id:
            raise HandshakeFailed("the peer's stream id is not that of this session")
        self._opener = Opener(session.rx_key, payload[STREAM_ID_BYTES:])
        self.opened = True
