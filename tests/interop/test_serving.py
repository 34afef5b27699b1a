"""npm clients on our hoster: `get`, `download`, updates, growth, forks, sparse feeds."""

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio
from npm_feeds import COMPAT, PLAIN, SIZE, VERSIONS, Kind, grow_feed, make_feed
from npm_peers import Peer, block, stock_peer
from our_peers import (
    PATIENT,
    cloned,
    dialler,
    listening,
    our_append,
    our_feed,
    serving,
)

from offchain_worker.hoster.replicate import Replication
from offchain_worker.hoster.store import FeedStore, Library
from offchain_worker.hypercore.tree import TreeBuilder

LENGTH = 33
MIB = 1024 * 1024


async def follow(reader: Peer, key: bytes, port: int, **opened: str) -> int:
    """Let an npm peer read a feed; returns the length that it learns."""
    await reader.do("open", core="feed", key=key.hex(), **opened)
    await reader.do("connect", to=f"127.0.0.1:{port}")
    return int((await reader.do("update", core="feed"))["length"])


def sha256(*data: bytes) -> str:
    return hashlib.sha256(b"".join(data)).hexdigest()


async def check_blocks(reader: Peer, indices: Iterable[int], size: int = SIZE) -> None:
    """Have the npm peer get blocks, which must be those of the rule."""
    for index in indices:
        got = await reader.do("get", core="feed", index=index)
        assert (got["bytes"], got["sha256"]) == (size, sha256(block(index, size)))


async def check_whole(reader: Peer, length: int, size: int = SIZE) -> None:
    """The npm peer has the whole feed, with the blocks of the rule."""
    info = await reader.do("info", core="feed")
    assert (info["length"], info["contiguousLength"]) == (length, length)
    read = await reader.do("read", core="feed")
    assert read["sha256"] == sha256(*(block(index, size) for index in range(length)))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("compat", [False, True], ids=["manifest", "compat"])
@pytest.mark.parametrize("store", [{}, {"store": "store"}], ids=["hypercore", "corestore"])
@pytest.mark.parametrize("way", ["get", "download"])
async def test_a_feed_of_ours(
    version: int,
    compat: bool,
    store: dict[str, str],
    way: str,
    tmp_path: Path,
    nursery: trio.Nursery,
) -> None:
    with Library(tmp_path / "feeds") as library:
        feed = our_feed(library, LENGTH, compat=compat)
        port = await serving(nursery, library)
        async with stock_peer(version) as reader:
            assert await follow(reader, feed.key, port, **store) == LENGTH
            if way == "get":
                await check_blocks(reader, random.Random(6).sample(range(LENGTH), LENGTH))
            else:
                await reader.do("download", core="feed", start=0, end=LENGTH)
            await check_whole(reader, LENGTH)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("compat", [False, True], ids=["manifest", "compat"])
async def test_a_feed_of_ours_that_grows(
    version: int, compat: bool, tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Library(tmp_path / "feeds") as library:
        feed = our_feed(library, 5, compat=compat)
        port = await serving(nursery, library)
        async with stock_peer(version) as reader:
            assert await follow(reader, feed.key, port) == 5
            length = 5
            async with trio.open_nursery() as waiting:
                # A read of a block that does not exist yet, and a download without an end.
                waiting.start_soon(check_blocks, reader, [7])
                for more in (1, 2, 30):
                    our_append(feed, more)
                    length += more
                    await reader.event("append", length=length)
                    await check_blocks(reader, [0, length - 1])
            await reader.do("download", core="feed", start=0, end=length)
            await check_whole(reader, length)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_live_download(version: int, tmp_path: Path, nursery: trio.Nursery) -> None:
    with Library(tmp_path / "feeds") as library:
        feed = our_feed(library, 5)
        port = await serving(nursery, library)
        async with stock_peer(version) as reader, trio.open_nursery() as waiting:
            await follow(reader, feed.key, port)

            async def download_for_ever() -> None:
                await reader.do("download", core="feed", start=0, end=-1)

            waiting.start_soon(download_for_ever)
            for more in (1, 2, 30):
                our_append(feed, more)
            for index in range(38):
                await reader.event("download", index=index)
            await check_whole(reader, 38)
            waiting.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("compat", [False, True], ids=["manifest", "compat"])
async def test_an_empty_feed_of_ours(
    version: int, compat: bool, tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Library(tmp_path / "feeds") as library:
        feed = our_feed(library, 0, compat=compat)
        port = await serving(nursery, library)
        async with stock_peer(version) as reader:
            assert await follow(reader, feed.key, port) == 0
            our_append(feed, 3)
            await reader.event("append", length=3)
            await check_blocks(reader, range(3))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [PLAIN, COMPAT], ids=str)
async def test_a_feed_that_was_cut_before(
    version: int, kind: Kind, tmp_path: Path, nursery: trio.Nursery
) -> None:
    async with stock_peer(version) as author, stock_peer(version) as reader:
        key = await make_feed(author, kind, LENGTH)
        await author.do("truncate", core="feed", length=21)
        await grow_feed(author, kind, 4)
        with await cloned(tmp_path / "feeds", key, await listening(author)) as library:
            port = await serving(nursery, library)
            assert await follow(reader, key, port) == 25
            assert (await reader.do("info", core="feed"))["fork"] == 1
            await reader.do("download", core="feed", start=0, end=25)
            await check_whole(reader, 25)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [PLAIN, COMPAT], ids=str)
async def test_a_feed_that_we_replicate_live(
    version: int, kind: Kind, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """Author, our hoster, reader: what the author appends, cuts and appends reaches the reader."""
    async with stock_peer(version) as author, stock_peer(version) as reader:
        key = await make_feed(author, kind, 5)
        with Library(tmp_path / "feeds") as library:
            replication = Replication(
                library, key, [dialler(await listening(author))], timeouts=PATIENT
            )
            nursery.start_soon(replication.run)
            port = await serving(nursery, library)
            await author.event("upload", index=4)
            await follow(reader, key, port)
            await check_blocks(reader, range(5))
            await grow_feed(author, kind, 28)
            await reader.event("append", length=LENGTH, fork=0)
            await check_blocks(reader, [32, 6, 17])
            await author.do("truncate", core="feed", length=10)
            await author.do("append", core="feed", blocks=[b"another".hex()])
            await reader.event("truncate", fork=1)
            await check_blocks(reader, range(10))
            got = await reader.do("get", core="feed", index=10)
            assert got["sha256"] == sha256(b"another")
            nursery.cancel_scope.cancel()


def partial_feed(library: Library, length: int, held: Iterable[int], size: int = SIZE) -> FeedStore:
    """A feed of ours of which a hoster has only some blocks, with the nodes that prove them."""
    whole = our_feed(library, length, size=size)
    head = whole.head()
    assert head is not None
    part = Library(library.folder.with_name("part"))
    feed = part.create(whole.key, whole.manifest)
    feed.put_head(head)
    builder = TreeBuilder()
    nodes = [node for index in range(length) for node in builder.append(block(index, size))]
    feed.add([(index, block(index, size)) for index in held], nodes)
    return feed
