"""The receipts that a hoster sends to every peer, unasked (challenge.md §3.4)."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from offchain_worker.audit.receipt import Entry, Receipt, receipt_period
from offchain_worker.hypercore.feed import Feed, Head
from offchain_worker.hypercore.tree import Node, full_roots, tree_hash
from offchain_worker.keys import KeyPair

_log = structlog.get_logger()

SignReceipt = Callable[[Receipt], bytes | None]
"""Turns a receipt into the message that is sent; None sends nothing."""


def signer(hoster: KeyPair) -> SignReceipt:
    """The honest way to sign: each receipt as it is, with the hoster's Noise key."""
    return lambda receipt: receipt.sign(hoster)


class ReceiptCollector:
    """Collects what one session was served of one feed, and makes its receipts.

    Without I/O: the shell tells it which heads and chunks were sent, and sends what it returns.
    It holds at most 100 entries.
    """

    def __init__(
        self,
        feed: Feed,
        sign: SignReceipt,
        *,
        client: bytes,
        session: bytes,
        opened_ms: int,
        first_length: int,
    ) -> None:
        """Begin with nothing served.

        Args:
            feed: as it is on disk.
            sign: makes the message.
            client: the peer's static Noise key.
            session: H of the handshake hash.
            opened_ms: end of the handshake, unix milliseconds.
            first_length: the length in the first sync that the session was sent.
        """
        self._feed = feed
        self._sign = sign
        self._client = client
        self._session = session
        self._opened_ms = opened_ms
        self._period = receipt_period(first_length)
        self._head: Head | None = None
        self._served: dict[int, Node] = {}
        self._sequence = 0

    def head_sent(self, head: Head) -> None:
        """The session was sent the upgrade to `head`; another fork or a shorter head discards."""
        if self._head is not None and (
            head.fork != self._head.fork or head.length < self._head.length
        ):
            self._served.clear()
        self._head = head

    def chunk_sent(self, index: int, leaf: Node, now_ms: int) -> bytes | None:
        """The session was sent a chunk; returns the receipt that is due now, if one is.

        A client that was sent no head holds nothing that a receipt could refer to, so its chunks
        do not count.
        """
        if self._head is None:
            return None
        self._served.setdefault(index, leaf)
        if len(self._served) < self._period:
            return None
        served, self._served = self._served, {}
        if not self._is_in_tree(self._head, served):
            _log.warning("receipt.dropped", feed=self._feed.key, client=self._client)
            return None
        receipt = Receipt(
            feed_key=self._feed.key,
            fork=self._head.fork,
            length=self._head.length,
            tree_hash=self._head.tree_hash,
            client=self._client,
            session=self._session,
            sequence=self._sequence,
            opened=self._opened_ms,
            issued=max(now_ms, self._opened_ms),
            byte_length=sum(leaf.size for leaf in served.values()),
            entries=tuple(Entry(index, leaf.hash) for index, leaf in served.items()),
        )
        self._sequence += 1
        return self._sign(receipt)

    def _is_in_tree(self, head: Head, served: dict[int, Node]) -> bool:
        """Whether the tree of `head` is still the stored one and has exactly these leaves."""
        current = self._feed.head()
        if current is None or current.fork != head.fork or current.length < head.length:
            return False
        roots = [self._feed.node(index) for index in full_roots(head.length)]
        known = [node for node in roots if node is not None]
        return (
            len(known) == len(roots)
            and tree_hash(known) == head.tree_hash
            and all(
                index < head.length and self._feed.node(2 * index) == leaf
                for index, leaf in served.items()
            )
        )
