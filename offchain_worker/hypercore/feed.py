"""What the protocol needs to know of a feed: its verified head, and where a hoster's data is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import trio

from offchain_worker.hypercore.manifest import Manifest
from offchain_worker.hypercore.tree import Node


@dataclass(frozen=True, slots=True)
class Head:
    """A signed state of a feed.

    Attributes:
        fork: number of the rewriting.
        length: number of blocks.
        tree_hash: 32 bytes, over `roots`.
        roots: the full roots, left to right.
        signature: the signature field as the author made it (hypercore.md §6); empty for a head
            inside a prologue.
        manifest: None for a compat feed.
    """

    fork: int
    length: int
    tree_hash: bytes
    roots: tuple[Node, ...]
    signature: bytes
    manifest: Manifest | None

    @property
    def byte_length(self) -> int:
        """Bytes of all blocks."""
        return sum(root.size for root in self.roots)


class ChangeSignal:
    """Tells waiters, whoever they are, that something changed."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def next_change(self) -> trio.Event:
        """An event that is set at the next `notify`."""
        return self._event

    def notify(self) -> None:
        """Wake all that wait for a change, and begin anew."""
        self._event.set()
        self._event = trio.Event()


class Feed(Protocol):
    """A feed as a store holds it; calls answer from memory or local disk, without waiting long."""

    @property
    def key(self) -> bytes:
        """The feed's 32-byte key."""
        ...

    def head(self) -> Head | None:
        """The newest verified head; None as long as there is none."""
        ...

    def has(self, index: int) -> bool:
        """Whether block `index` is held."""
        ...

    def block(self, index: int) -> bytes | None:
        """The data of a block, or None."""
        ...

    def node(self, index: int) -> Node | None:
        """The tree node with that tree index, or None."""
        ...

    def held_in(self, start: int, stop: int) -> Iterable[int]:
        """The blocks from `start` to before `stop` that are held, ascending."""
        ...

    def contiguous_length(self) -> int:
        """How many blocks are held from the first on."""
        ...

    def next_change(self) -> trio.Event:
        """An event that is set when the head or the blocks held change next."""
        ...


class FeedSource(Protocol):
    """The feeds that a hoster serves."""

    def find(self, discovery_key: bytes) -> Feed | None:
        """The feed with that 32-byte discovery key, or None."""
        ...
