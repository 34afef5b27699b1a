"""Hosters with one fault, to show that an audit names it (tests, `datdot testnet`).

Each fault wraps what the honest hoster is made of, a feed or the signing of receipts; the honest
path knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum

import structlog
import trio

from offchain_worker.audit.receipt import Receipt
from offchain_worker.hoster.feeds import sign_head
from offchain_worker.hoster.receipts import SignReceipt
from offchain_worker.hoster.store import FeedStore, Library, StoreError
from offchain_worker.hypercore.feed import Feed, FeedSource, Head
from offchain_worker.hypercore.tree import Node, full_roots
from offchain_worker.keys import KeyPair

_log = structlog.get_logger()


class Fault(StrEnum):
    """What a hoster does wrong."""

    FLIP_BIT = "flip-bit"
    """One bit of every chunk is flipped: BadProof."""
    WRONG_CHUNK = "wrong-chunk"
    """Another chunk instead of the asked one: BadProof."""
    OLD_HEAD = "old-head"
    """The oldest head in the store: NotHosted, when that is below the vouched one.

    `give_old_head` puts one there for a feed that was fetched as it is."""
    NO_RECEIPT = "no-receipt"
    """Serves, but signs nothing: NoReceipt."""
    RECEIPT_OTHER_CHUNKS = "receipt-other-chunks"
    """Receipts name other chunks than were served: BadReceipt."""
    RECEIPT_OTHER_CLIENT = "receipt-other-client"
    """Receipts name another client: BadReceipt."""


def faulty_source(library: Library, fault: Fault) -> FeedSource:
    """The library's feeds, served with the fault if it is one of serving."""
    kinds: dict[Fault, type[_Faulty]] = {
        Fault.FLIP_BIT: _FlipsBit,
        Fault.WRONG_CHUNK: _ServesAnother,
        Fault.OLD_HEAD: _ShowsOldHead,
    }
    kind = kinds.get(fault)
    return library if kind is None else _FaultySource(library, kind)


def faulty_signer(sign: SignReceipt, fault: Fault) -> SignReceipt:
    """`sign` with the fault if it is one of receipts."""

    def other_chunks(receipt: Receipt) -> bytes | None:
        entries = tuple(
            replace(entry, index=(entry.index + 1) % receipt.length) for entry in receipt.entries
        )
        return sign(replace(receipt, entries=entries))

    def other_client(receipt: Receipt) -> bytes | None:
        return sign(replace(receipt, client=KeyPair.generate().public))

    signers: dict[Fault, SignReceipt] = {
        Fault.NO_RECEIPT: lambda _receipt: None,
        Fault.RECEIPT_OTHER_CHUNKS: other_chunks,
        Fault.RECEIPT_OTHER_CLIENT: other_client,
    }
    return signers.get(fault, sign)


def give_old_head(store: FeedStore, author: KeyPair, length: int) -> None:
    """Put an old head of `length` chunks into a complete store, signed as the author once did.

    Raises:
        StoreError: the feed is not longer than that, or nodes of it are missing.
    """
    current = store.head()
    found = [store.node(index) for index in full_roots(length)]
    roots = [node for node in found if node is not None]
    if current is None or len(roots) != len(found):
        raise StoreError(f"The feed {store.key.hex()} has not all of its first {length} chunks.")
    store.keep_older_head(sign_head(store, author, current.fork, roots))


class _Faulty:
    """A feed that is served as it is; the faults override one thing each."""

    def __init__(self, store: FeedStore) -> None:
        self._store = store

    @property
    def key(self) -> bytes:
        return self._store.key

    def head(self) -> Head | None:
        return self._store.head()

    def has(self, index: int) -> bool:
        return self._store.has(index)

    def block(self, index: int) -> bytes | None:
        return self._store.block(index)

    def node(self, index: int) -> Node | None:
        return self._store.node(index)

    def held_in(self, start: int, stop: int) -> Iterator[int]:
        return (index for index in range(start, stop) if self.has(index))

    def contiguous_length(self) -> int:
        return self._store.contiguous_length()

    def next_change(self) -> trio.Event:
        return self._store.next_change()


class _FlipsBit(_Faulty):
    def block(self, index: int) -> bytes | None:
        data = self._store.block(index)
        return data and bytes([data[0] ^ 1]) + data[1:]


class _ServesAnother(_Faulty):
    def block(self, index: int) -> bytes | None:
        head = self._store.head()
        return None if head is None else self._store.block((index + 1) % head.length)


class _ShowsOldHead(_Faulty):
    def __init__(self, store: FeedStore) -> None:
        super().__init__(store)
        self._oldest: Head | None = None

    def head(self) -> Head | None:
        if self._oldest is None:
            heads = self._store.heads()
            if len(heads) == 1:
                _log.warning("adversary.no_older_head", feed=self.key, length=heads[0].length)
            self._oldest = heads[0] if heads else None
        return self._oldest

    def contiguous_length(self) -> int:
        head = self.head()
        return min(self._store.contiguous_length(), 0 if head is None else head.length)


class _FaultySource:
    def __init__(self, library: Library, kind: type[_Faulty]) -> None:
        self._library = library
        self._kind = kind
        self._feeds: dict[bytes, Feed] = {}

    def find(self, discovery_key: bytes) -> Feed | None:
        store = self._library.find(discovery_key)
        if store is None:
            return None
        if store.key not in self._feeds:
            self._feeds[store.key] = self._kind(store)
        return self._feeds[store.key]
