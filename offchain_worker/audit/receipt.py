"""The hoster's receipt: what it says it served to one client on one session.

Bytes and rules: challenge.md §3.4. A receipt travels as the Hypercore extension message
`EXTENSION` and goes into the attestor's report as it came: what is verified is always the
received bytes, never a re-encoding.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from offchain_worker.coinflip.hashing import blake2b_256, performance_tag
from offchain_worker.keys import SIGNATURE_BYTES, KeyPair, verify

EXTENSION = "datdot/receipt/1"
VERSION = 1
MAX_ENTRIES = 128
"""Entries that a receipt may have at most; honest hosters put at most `MAX_PERIOD` into one."""
MAX_PERIOD = 100

_HEADER = struct.Struct("<B32sQQ32s32s32sIQQQH")
_ENTRY = struct.Struct("<Q32s")
MAX_RECEIPT_BYTES = _HEADER.size + MAX_ENTRIES * _ENTRY.size + SIGNATURE_BYTES


def session_id(handshake_hash: bytes) -> bytes:
    """The 32 bytes that name a session in receipts: H of the 64-byte Noise handshake hash."""
    return blake2b_256(handshake_hash)


def receipt_period(length: int) -> int:
    """How many distinct chunks a hoster serves before each receipt, T of challenge.md §3.4.

    Args:
        length: chunks in the head that the hoster's first sync on the session announced.
    """
    return min(MAX_PERIOD, max(1, length))


class ReceiptError(Exception):
    """A receipt's bytes are malformed, or its signature is not the hoster's."""


@dataclass(frozen=True)
class Entry:
    """One chunk in a receipt: its index in the feed and the hash of its leaf (32 bytes)."""

    index: int
    leaf: bytes


@dataclass(frozen=True)
class Receipt:
    """The signed content of a receipt (challenge.md §3.4).

    Attributes:
        feed_key: 32 bytes.
        fork, length, tree_hash: the newest head whose upgrade this session was sent.
        client: the client's static Noise key on the session, 32 bytes.
        session: `session_id` of the session's handshake hash.
        sequence: 0 for the first receipt of the session and feed, then counted up.
        opened: end of the handshake, unix milliseconds by the hoster's clock.
        issued: when the receipt was signed, unix milliseconds by the hoster's clock.
        byte_length: bytes of all chunks in `entries` together.
        entries: the chunks in the order first served.
    """

    feed_key: bytes
    fork: int
    length: int
    tree_hash: bytes
    client: bytes
    session: bytes
    sequence: int
    opened: int
    issued: int
    byte_length: int
    entries: tuple[Entry, ...]

    def body(self) -> bytes:
        """The bytes before the signature.

        Raises:
            ValueError: a field does not fit its width, or there are too many entries.
        """
        hashes = (self.feed_key, self.tree_hash, self.client, self.session)
        if any(len(value) != 32 for value in hashes):
            raise ValueError("keys and hashes of a receipt have 32 bytes")
        if any(len(entry.leaf) != 32 for entry in self.entries):
            raise ValueError("a leaf hash has 32 bytes")
        if len(self.entries) > MAX_ENTRIES:
            raise ValueError(f"a receipt has at most {MAX_ENTRIES} entries")
        try:
            header = _HEADER.pack(
                VERSION,
                self.feed_key,
                self.fork,
                self.length,
                self.tree_hash,
                self.client,
                self.session,
                self.sequence,
                self.opened,
                self.issued,
                self.byte_length,
                len(self.entries),
            )
            entries = b"".join(_ENTRY.pack(entry.index, entry.leaf) for entry in self.entries)
        except struct.error as error:
            raise ValueError(f"a field of the receipt does not fit its width: {error}") from error
        return header + entries

    def sign(self, hoster: KeyPair) -> bytes:
        """The whole receipt: body, then the hoster's signature over `TAG(receipt) ‖ body`.

        Raises:
            ValueError: as `body`.
        """
        body = self.body()
        return body + hoster.sign(performance_tag("receipt") + body)


def decode_receipt(message: bytes) -> Receipt:
    """Read a receipt without checking its signature.

    The length is checked against the number of entries before anything is built from them.

    Raises:
        ReceiptError: another version, too many entries, or too few or too many bytes.
    """
    if len(message) < _HEADER.size + SIGNATURE_BYTES:
        raise ReceiptError(f"{len(message)} bytes are too few for a receipt")
    (version, feed_key, fork, length, tree_hash, client, session, *numbers, count) = (
        _HEADER.unpack_from(message)
    )
    sequence, opened, issued, byte_length = numbers
    if version != VERSION:
        raise ReceiptError(f"receipt version {version} instead of {VERSION}")
    if count > MAX_ENTRIES:
        raise ReceiptError(f"{count} entries, more than {MAX_ENTRIES}")
    if len(message) != _HEADER.size + count * _ENTRY.size + SIGNATURE_BYTES:
        raise ReceiptError(f"{len(message)} bytes are not the length of {count} entries")
    entries = message[_HEADER.size : -SIGNATURE_BYTES]
    return Receipt(
        feed_key=feed_key,
        fork=fork,
        length=length,
        tree_hash=tree_hash,
        client=client,
        session=session,
        sequence=sequence,
        opened=opened,
        issued=issued,
        byte_length=byte_length,
        entries=tuple(Entry(index, leaf) for index, leaf in _ENTRY.iter_unpack(entries)),
    )


def verify_receipt(message: bytes, hoster: bytes) -> Receipt:
    """Read a receipt and check that `hoster` (a 32-byte Noise key) signed exactly its bytes.

    Raises:
        ReceiptError: malformed, or signed by another key.
    """
    receipt = decode_receipt(message)
    body, signature = message[:-SIGNATURE_BYTES], message[-SIGNATURE_BYTES:]
    if not verify(hoster, performance_tag("receipt") + body, signature):
        raise ReceiptError("the signature is not the hoster's")
    return receipt
