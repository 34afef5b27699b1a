"""Kinds of feeds that the npm peers make, told from each other by their keys and signatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from npm_peers import Peer, block

SEEDS = tuple(bytes([number] * 32).hex() for number in (0x11, 0x22, 0x33))
NAMESPACE = bytes([0x4E] * 32).hex()
SIZE = 1024
VERSIONS = (11, 10)


@dataclass(frozen=True)
class Kind:
    """How a feed is made and signed.

    Attributes:
        name: for test ids.
        opened: what `open` of peer.mjs is told.
        manifest: the version and whether patches are allowed; the signers are added. None: the
            implementation makes the manifest, if any.
        signed_ahead: for 2 of 3 signers: by how many blocks the trees that they sign are longer.
            Empty: one signer.
        prologue: how many blocks need no signature.
        versions: of hypercore, that make it.
        padding: bytes that each block is longer on the wire than its author appended.
    """

    name: str
    opened: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None
    signed_ahead: tuple[int, ...] = ()
    prologue: int = 0
    versions: tuple[int, ...] = VERSIONS
    padding: int = 0

    def __str__(self) -> str:
        return self.name


LATER = {"userData": b"anything".hex(), "linked": [bytes(32).hex(), bytes([1] * 32).hex()]}
PLAIN = Kind("plain")
COMPAT = Kind("compat", {"compat": True})
CORESTORE = Kind("corestore", {"store": "store"})
KINDS = (
    PLAIN,
    COMPAT,
    CORESTORE,
    Kind("v0", manifest={"version": 0}),
    Kind("v0-2-of-3", manifest={"version": 0}, signed_ahead=(0, 0)),
    Kind("v0-2-of-3-patch", manifest={"version": 0, "allowPatch": True}, signed_ahead=(3, 0)),
    Kind("v1", manifest={"version": 1}),
    Kind("v1-2-of-3", manifest={"version": 1}, signed_ahead=(0, 0)),
    Kind("v1-2-of-3-patch", manifest={"version": 1, "allowPatch": True}, signed_ahead=(0, 6)),
    Kind("v1-both-patch", manifest={"version": 1, "allowPatch": True}, signed_ahead=(2, 7)),
    Kind("v1-prologue", manifest={"version": 1}, prologue=20),
    Kind("v2", manifest={"version": 2, **LATER}, versions=(11,)),
    Kind("v2-2-of-3", manifest={"version": 2, **LATER}, signed_ahead=(0, 0), versions=(11,)),
    Kind("v3", manifest={"version": 3, **LATER}, versions=(11,)),
    Kind(
        "v3-2-of-3-patch",
        manifest={"version": 3, "allowPatch": True, **LATER},
        signed_ahead=(0, 1),
        versions=(11,),
    ),
    Kind("encrypted", {"encryption": bytes([0x77] * 32).hex()}, padding=8),
    Kind("encrypted-compat", {"encryption": bytes([0x77] * 32).hex(), "compat": True}, padding=8),
)
CASES = tuple((version, kind) for kind in KINDS for version in kind.versions)
CASE_IDS = tuple(f"{version}-{kind}" for version, kind in CASES)


async def make_feed(peer: Peer, kind: Kind, count: int, name: str = "feed") -> bytes:
    """Make a feed of that kind with `count` blocks of the rule; returns its key."""
    opened = dict(kind.opened)
    if kind.manifest is not None:
        signers = SEEDS if kind.signed_ahead else SEEDS[:1]
        publics = [(await peer.do("keyPair", seed=seed))["publicKey"] for seed in signers]
        opened["manifest"] = {
            "quorum": 2 if kind.signed_ahead else 1,
            "signers": [{"publicKey": public, "namespace": NAMESPACE} for public in publics],
            **kind.manifest,
        }
        opened["seed"] = SEEDS[0]
    if kind.prologue:
        await peer.do("open", core="prologue")
        await peer.do("append", core="prologue", count=kind.prologue, size=SIZE)
        hashed = await peer.do("treeHash", core="prologue", length=kind.prologue)
        opened["manifest"]["prologue"] = {"hash": hashed["hash"], "length": kind.prologue}
    core = await peer.do("open", core=name, **opened)
    if kind.prologue:
        await peer.do("prologue", core=name, **{"from": "prologue"})
    await grow_feed(peer, kind, count - kind.prologue, name)
    return bytes.fromhex(core["key"])


async def grow_feed(peer: Peer, kind: Kind, count: int, name: str = "feed") -> None:
    """Append `count` blocks of the rule."""
    if not count:
        return
    if kind.signed_ahead:
        signers = [
            {"index": index, "seed": SEEDS[index], "ahead": ahead}
            for index, ahead in zip((2, 0), kind.signed_ahead, strict=True)
        ]
        await peer.do("appendSigned", core=name, count=count, size=SIZE, signers=signers)
    else:
        await peer.do("append", core=name, count=count, size=SIZE)


def blocks(indices: Sequence[int], size: int = SIZE) -> dict[int, bytes]:
    """What those blocks hold, unencrypted."""
    return {index: block(index, size) for index in indices}
