"""Our side of the tests, on loopback TCP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import trio
from npm_peers import STEP_S, Peer, block

from offchain_worker.hoster.feeds import append
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hoster.replicate import DialPeer, Replication
from offchain_worker.hoster.store import FeedStore, Library
from offchain_worker.hypercore.manifest import feed_key, single_signer_manifest
from offchain_worker.hypercore.reader import Block, Reader, Timeouts, open_reader
from offchain_worker.hypercore.tree import TreeBuilder
from offchain_worker.keys import KeyPair

AUTHOR = KeyPair.from_seed(b"\x61" * 32)
NOISE = KeyPair.from_seed(b"\x62" * 32)
PATIENT = Timeouts(handshake=STEP_S, head=STEP_S, block=STEP_S)
"""A busy machine may be slow; that a peer is too slow is tested elsewhere."""


async def listening(peer: Peer) -> int:
    """Let an npm peer serve its cores; returns the port."""
    port = (await peer.do("listen"))["port"]
    if not isinstance(port, int):
        raise TypeError("a port is a number")
    return port


def dialler(port: int) -> DialPeer:
    """Connects to a peer on loopback."""

    async def dial() -> trio.abc.Stream:
        return await trio.open_tcp_stream("127.0.0.1", port)

    return dial


@asynccontextmanager
async def reading(port: int, key: bytes, *, timeouts: Timeouts = PATIENT) -> AsyncIterator[Reader]:
    """Our reader, connected."""
    opened: AbstractAsyncContextManager[Reader] = open_reader(
        await trio.open_tcp_stream("127.0.0.1", port),
        feed_key=key,
        keypair=KeyPair.generate(),
        expected_remote=None,
        timeouts=timeouts,
    )
    async with opened as reader:
        yield reader


def announced(reader: Reader, index: int) -> bool:
    """Whether the hoster says that it has the block."""
    return reader._session.remote_blocks.has(index)


async def until(reader: Reader, condition: Callable[[], bool]) -> None:
    """Wait until what the hoster says of the feed makes the condition true."""
    with trio.fail_after(STEP_S):
        while not condition():
            await reader._changed.park()


async def get_all(reader: Reader, indices: Iterable[int]) -> dict[int, bytes]:
    """Blocks one after the other."""
    return {index: (await reader.get(index)).data for index in indices}


async def download_all(
    reader: Reader, indices: Iterable[int], window: int = 48
) -> dict[int, bytes]:
    """Blocks as they come."""
    arrived: list[Block] = [block async for block in reader.download(indices, window)]
    return {block.index: block.data for block in arrived}


async def serving(nursery: trio.Nursery, library: Library) -> int:
    """Serve a library until the test ends; returns the port."""
    _host, port = await nursery.start(Hoster(library, NOISE).serve, "127.0.0.1", 0)
    return int(port)


def our_feed(library: Library, count: int, *, compat: bool = False, size: int = 1024) -> FeedStore:
    """A feed of ours with blocks of the rule."""
    manifest = None if compat else single_signer_manifest(AUTHOR.public)
    key = AUTHOR.public if manifest is None else feed_key(manifest)
    store = library.create(key, manifest)
    if count:
        our_append(store, count, size)
    return store


def our_append(store: FeedStore, count: int, size: int = 1024) -> None:
    """Append blocks of the rule, and tell those who are connected."""
    head = store.head()
    begin = 0 if head is None else head.length
    append(store, [block(index, size) for index in range(begin, begin + count)], AUTHOR)
    store.notify()


async def cloned(folder: Path, key: bytes, port: int) -> Library:
    """A library with our clone of a peer's feed."""
    library = Library(folder)
    await Replication(library, key, [dialler(port)], timeouts=PATIENT).clone()
    return library


@contextmanager
def partial_library(
    folder: Path, length: int, held: Iterable[int], size: int = 1024
) -> Iterator[tuple[Library, FeedStore]]:
    """A library that has only some blocks of a feed of ours, and all nodes of the tree."""
    with Library(folder / "whole") as library:
        whole = our_feed(library, length, size=size)
        head = whole.head()
    if head is None:
        raise ValueError("a feed without blocks is whole")
    with Library(folder / "part") as library:
        part = library.create(whole.key, whole.manifest)
        part.put_head(head)
        builder = TreeBuilder()
        nodes = [node for index in range(length) for node in builder.append(block(index, size))]
        part.add([(index, block(index, size)) for index in held], nodes)
        yield library, part


def add_blocks(store: FeedStore, indices: Iterable[int], size: int = 1024) -> None:
    """Let a hoster have more blocks, and tell those who are connected."""
    store.add([(index, block(index, size)) for index in indices], [])
    store.notify()
