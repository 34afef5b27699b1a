"""A feed of which some blocks are held in memory, as a peer holds it that reads and serves."""

from __future__ import annotations

from collections import OrderedDict

import trio

from offchain_worker.hypercore.feed import ChangeSignal, Head
from offchain_worker.hypercore.tree import Node

MAX_BLOCKS = 4_096
"""Held at most, however short they are: what is held is told to each peer, block by block."""


class SparseFeed:
    """Verified blocks of one feed with what proves them; a `Feed` for the server.

    Memory is bounded by `capacity` and `MAX_BLOCKS` for blocks: the oldest ones make room. The
    tree nodes, some 300 bytes for each block that was ever read, stay until the feed is dropped.

    Attributes:
        key: the feed's 32-byte key.
        nodes: the verified tree nodes by index, shared with the client sessions that add to it.
    """

    def __init__(self, key: bytes, *, capacity: int) -> None:
        """Hold nothing yet.

        Args:
            key: 32 bytes.
            capacity: bytes of blocks that are held at most; a single block may be larger.
        """
        self.key = key
        self.nodes: dict[int, Node] = {}
        self._capacity = capacity
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        self._head: Head | None = None
        self._changes = ChangeSignal()

    @property
    def held(self) -> frozenset[int]:
        """The numbers of the blocks that are held."""
        return frozenset(self._blocks)

    def take_head(self, head: Head) -> None:
        """Take a verified head whose roots are among `nodes`, if it is longer than the last."""
        if self._head is None or (head.fork == self._head.fork and head.length > self._head.length):
            self._head = head
            self._changes.notify()

    def add(self, index: int, data: bytes) -> None:
        """Hold a verified block whose proof is in `nodes`; the oldest may have to go."""
        self._bytes += len(data) - len(self._blocks.pop(index, b""))
        self._blocks[index] = data
        while len(self._blocks) > 1 and (
            self._bytes > self._capacity or len(self._blocks) > MAX_BLOCKS
        ):
            _, oldest = self._blocks.popitem(last=False)
            self._bytes -= len(oldest)
        self._changes.notify()

    def forget(self) -> None:
        """Hold no block any more; head and nodes stay."""
        self._blocks.clear()
        self._bytes = 0
        self._changes.notify()

    # As a `Feed`.

    def head(self) -> Head | None:
        """The newest verified head; None as long as there is none."""
        return self._head

    def has(self, index: int) -> bool:
        """Whether a block is held."""
        return index in self._blocks

    def block(self, index: int) -> bytes | None:
        """The data of a block, or None."""
        return self._blocks.get(index)

    def node(self, index: int) -> Node | None:
        """The tree node with that tree index, or None."""
        return self.nodes.get(index)

    def held_in(self, start: int, stop: int) -> list[int]:
        """The blocks from `start` to before `stop` that are held, ascending."""
        return sorted(index for index in self._blocks if start <= index < stop)

    def contiguous_length(self) -> int:
        """How many blocks are held from the first on."""
        length = 0
        while length in self._blocks:
            length += 1
        return length

    def next_change(self) -> trio.Event:
        """An event that is set when the head or the blocks held change next."""
        return self._changes.next_change()
