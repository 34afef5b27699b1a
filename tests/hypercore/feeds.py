"""The vectors' feed: content by rule, signed by the vectors' seed."""

import json
from pathlib import Path
from typing import Any

from offchain_worker.hypercore import manifest as manifests
from offchain_worker.hypercore.tree import Node, TreeBuilder

VECTORS = Path(__file__).parents[1] / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


TREES = load("trees.json")
KEY = bytes.fromhex(TREES["key"])
MANIFEST = manifests.decode_manifest(bytes.fromhex(TREES["manifest"]))


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
