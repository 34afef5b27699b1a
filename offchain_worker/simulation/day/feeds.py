"""Feeds in memory, whole or with losses, as hosters of a simulated day hold them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import trio

from offchain_worker.hypercore.feed import Head
from offchain_worker.hypercore.manifest import (
    Manifest,
    feed_key,
    signable,
    single_signer_manifest,
    wrap_signature,
)
from offchain_worker.hypercore.tree import Node, TreeBuilder
from offchain_worker.keys import KeyPair


class MemoryFeed:
    """A whole feed that never changes.

    Attributes:
        key, manifest: of the feed.
        nodes: all tree nodes, by tree index.
        bare_signature: the author's over the head, 64 bytes.
    """

    def __init__(self, author: KeyPair, blocks: Iterable[bytes]) -> None:
        self.manifest: Manifest = single_signer_manifest(author.public)
        self.key = feed_key(self.manifest)
        self._blocks = list(blocks)
        builder = TreeBuilder()
        self.nodes: dict[int, Node] = {
            node.index: node for block in self._blocks for node in builder.append(block)
        }
        tree_hash = builder.tree_hash()
        self.bare_signature = author.sign(
            signable(self.key, self.manifest, 0, self.length, tree_hash)
        )
        signature = wrap_signature(self.bare_signature)
        roots = tuple(builder.roots)
        self._head = Head(0, self.length, tree_hash, roots, signature, self.manifest)

    @classmethod
    def invent(cls, dice: random.Random, length: int) -> MemoryFeed:
        """A feed of so many small blocks of drawn bytes, by an author of its own."""
        author = KeyPair.from_seed(dice.randbytes(32))
        return cls(author, (dice.randbytes(dice.randint(40, 400)) for _ in range(length)))

    @property
    def length(self) -> int:
        """Number of blocks."""
        return len(self._blocks)

    @property
    def whole_head(self) -> Head:
        """Its only head."""
        return self._head

    def head(self) -> Head | None:
        return self._head

    def has(self, index: int) -> bool:
        return 0 <= index < self.length

    def block(self, index: int) -> bytes | None:
        return self._blocks[index] if self.has(index) else None

    def node(self, index: int) -> Node | None:
        return self.nodes.get(index)

    def held_in(self, start: int, stop: int) -> Iterable[int]:
        return range(start, min(stop, self.length))

    def contiguous_length(self) -> int:
        return self.length

    def next_change(self) -> trio.Event:
        return trio.Event()


class Lossy(MemoryFeed):
    """What is left of a feed when some blocks are gone; all hashes are there."""

    def __init__(self, whole: MemoryFeed, is_lost: Callable[[int], bool]) -> None:
        self.__dict__.update(whole.__dict__)
        self._is_lost = is_lost

    def has(self, index: int) -> bool:
        return super().has(index) and not self._is_lost(index)
