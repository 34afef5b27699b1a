"""Faults of what is served: chunks that are wrong or gone, heads that are old or forged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator

import structlog
import trio

from offchain_worker.hoster.feeds import sign_head
from offchain_worker.hoster.store import FeedStore, Library, StoreError
from offchain_worker.hypercore.encoding import blake2b_256
from offchain_worker.hypercore.feed import Feed, Head
from offchain_worker.hypercore.tree import Node, full_roots
from offchain_worker.keys import KeyPair

_log = structlog.get_logger()


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


class FaultyFeed:
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


class FlipsBit(FaultyFeed):
    """One bit of every chunk is flipped; what has no bits gets some."""

    def block(self, index: int) -> bytes | None:
        data = self._store.block(index)
        return data if data is None else bytes([(data or b"\x00")[0] ^ 1]) + data[1:]


class ServesAnother(FaultyFeed):
    """The chunk behind the asked one."""

    def block(self, index: int) -> bytes | None:
        head = self._store.head()
        return None if head is None else self._store.block((index + 1) % head.length)


class ShowsOldHead(FaultyFeed):
    """The oldest head in the store."""

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


class ForgesHead(FaultyFeed):
    """The right tree under a signature that is not the author's."""

    def head(self) -> Head | None:
        head = self._store.head()
        if head is None:
            return None
        forged = bytes([head.signature[-1] ^ 1])
        return Head(
            head.fork,
            head.length,
            head.tree_hash,
            head.roots,
            head.signature[:-1] + forged,
            head.manifest,
        )


class Lacks(FaultyFeed, ABC):
    """Announces everything and has lost the chunks that `is_lost` names; their hashes are left."""

    @abstractmethod
    def is_lost(self, index: int) -> bool:
        """Whether it is one of them, as long as the feed is now."""

    def has(self, index: int) -> bool:
        return not self.is_lost(index) and self._store.has(index)

    def block(self, index: int) -> bytes | None:
        return None if self.is_lost(index) else self._store.block(index)

    def held_in(self, start: int, stop: int) -> Iterator[int]:
        return self._store.held_in(start, stop)


class KeepsPrefix(Lacks):
    """Only the first half is left, of an odd number the smaller one."""

    def is_lost(self, index: int) -> bool:
        head = self._store.head()
        return head is not None and index >= head.length // 2


class KeepsHalf(Lacks):
    """About every second chunk is left, always the same ones, at random."""

    def is_lost(self, index: int) -> bool:
        return bool(blake2b_256(self.key, index.to_bytes(8, "little"))[0] & 1)


class Loses(Lacks):
    """The chunks in `missing` are lost."""

    def __init__(self, store: FeedStore, missing: Container[int]) -> None:
        super().__init__(store)
        self._missing = missing

    def is_lost(self, index: int) -> bool:
        return index in self._missing


class FaultySource:
    """The library's feeds, each made faulty when it is first asked for."""

    def __init__(self, library: Library, make: Callable[[FeedStore], Feed]) -> None:
        self._library = library
        self._make = make
        self._feeds: dict[bytes, Feed] = {}

    def find(self, discovery_key: bytes) -> Feed | None:
        store = self._library.find(discovery_key)
        if store is None:
            return None
        if store.key not in self._feeds:
            self._feeds[store.key] = self._make(store)
        return self._feeds[store.key]
