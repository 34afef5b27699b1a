"""The vectors' feed: content by rule, signed by the vectors' seed; and a feed in memory."""

import json
from pathlib import Path
from typing import Any

import trio

from offchain_worker.hypercore import manifest as manifests
from offchain_worker.hypercore.feed import ChangeSignal, Feed, Head
from offchain_worker.hypercore.manifest import Manifest
from offchain_worker.hypercore.tree import Node, TreeBuilder
from offchain_worker.keys import KeyPair

VECTORS = Path(__file__).parents[1] / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


TREES = load("trees.json")
KEY = bytes.fromhex(TREES["key"])
MANIFEST = manifests.decode_manifest(bytes.fromhex(TREES["manifest"]))
AUTHOR = KeyPair.from_seed(bytes.fromhex(TREES["signer_seed"]))
HOSTER = KeyPair.from_seed(b"\x51" * 32)
CLIENT = KeyPair.from_seed(b"\x52" * 32)


def block(i: int) -> bytes:
    """Block i by the rule in trees.json."""
    return bytes((i * 31 + k * 17 + 5) & 255 for k in range((i * 7 + 3) % 41))


def grow(length: int) -> tuple[TreeBuilder, dict[int, Node]]:
    """The tree over the first `length` blocks, and all its nodes."""
    builder = TreeBuilder()
    nodes = {}
    for i in range(length):
        nodes.update({node.index: node for node in builder.append(block(i))})
    return builder, nodes


def node(value: list[Any] | dict[str, Any]) -> Node:
    """A node as the vectors write it."""
    if isinstance(value, dict):
        return Node(value["index"], value["size"], bytes.fromhex(value["hash"]))
    return Node(value[0], value[1], bytes.fromhex(value[2]))


class MemoryFeed:
    """A signed feed in memory that its author can grow and damage."""

    def __init__(self, length: int, *, compat: bool = False, fork: int = 0) -> None:
        self.manifest: Manifest | None = None if compat else MANIFEST
        self.key = AUTHOR.public if compat else KEY
        self.fork = fork
        self.blocks: dict[int, bytes] = {}
        self.nodes: dict[int, Node] = {}
        self.builder = TreeBuilder()
        self.changes = ChangeSignal()
        self._head: Head | None = None
        self.append([block(i) for i in range(length)])

    def append(self, blocks: list[bytes]) -> None:
        for data in blocks:
            self.blocks[self.builder.length] = data
            for one in self.builder.append(data):
                self.nodes[one.index] = one
        length, root_hash = self.builder.length, self.builder.tree_hash()
        signature = AUTHOR.sign(
            manifests.signable(self.key, self.manifest, self.fork, length, root_hash)
        )
        if self.manifest is not None:
            signature = manifests.wrap_signature(signature)
        if length:
            self._head = Head(
                self.fork, length, root_hash, tuple(self.builder.roots), signature, self.manifest
            )
        self.changes.notify()

    def set_head(self, head: Head | None) -> None:
        self._head = head

    def head(self) -> Head | None:
        return self._head

    def has(self, index: int) -> bool:
        return index in self.blocks

    def block(self, index: int) -> bytes | None:
        return self.blocks.get(index)

    def node(self, index: int) -> Node | None:
        return self.nodes.get(index)

    def held_in(self, start: int, stop: int) -> list[int]:
        return [index for index in sorted(self.blocks) if start <= index < stop]

    def contiguous_length(self) -> int:
        length = 0
        while length in self.blocks:
            length += 1
        return length

    def next_change(self) -> trio.Event:
        return self.changes.next_change()


class Shelf:
    """A `FeedSource` of some feeds."""

    def __init__(self, *feeds: Feed) -> None:
        self.feeds = {manifests.discovery_key(feed.key): feed for feed in feeds}

    def find(self, discovery_key: bytes) -> Feed | None:
        return self.feeds.get(discovery_key)
