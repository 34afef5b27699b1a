"""npm clients on our hoster: `get`, `download`, updates, growth, forks, sparse feeds."""

import hashlib
import random
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
import trio
from npm_feeds import COMPAT, PLAIN, SIZE, VERSIONS, Kind, grow_feed, make_feed
from npm_peers import STEP_S, Peer, PeerError, block, stock_peer
from our_peers import (
    NOISE,
    PATIENT,
    add_blocks,
    cloned,
    dialler,
    listening,
    our_append,
    our_feed,
    partial_library,
    serving,
)

from offchain_worker.hoster.replicate import Replication
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.connection import open_connection
from offchain_worker.hypercore.feed import Feed
from offchain_worker.hypercore.server import FeedSession, NoEvents, serve_connection
from offchain_worker.hypercore.tree import Node

LENGTH = 33
MIB = 1024 * 1024
LARGEST = 15 * MIB
"""The longest block that an npm author can append."""

CANCEL = f"{m.Type.CANCEL:02x}"


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


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("start", [0, 1], ids=["with-the-first", "without-the-first"])
async def test_a_sparse_hoster(
    version: int, start: int, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """What it has can be read; what it gets later, too, by those who wait for it."""
    held = (*range(start, 3), 7, 20, 31, 32)
    with partial_library(tmp_path, LENGTH, held) as (library, feed):
        port = await serving(nursery, library)
        async with stock_peer(version) as reader:
            assert await follow(reader, feed.key, port) == LENGTH
            await check_blocks(reader, held)
            async with trio.open_nursery() as waiting:
                waiting.start_soon(check_blocks, reader, [12])
                waiting.start_soon(check_blocks, reader, [25])
                add_blocks(feed, [25])
                await reader.event("download", index=25)
                add_blocks(feed, [11, 12, 13])
            add_blocks(feed, range(LENGTH))
            await reader.do("download", core="feed", start=0, end=LENGTH)
            await check_whole(reader, LENGTH)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_sparse_hoster_of_many_blocks(
    version: int, tmp_path: Path, nursery: trio.Nursery
) -> None:
    length = 70_000
    held = (32_767, *range(32_768, 65_536), 65_600, 69_999)
    with partial_library(tmp_path, length, held, 1) as (library, feed):
        port = await serving(nursery, library)
        async with stock_peer(version) as reader:
            assert await follow(reader, feed.key, port) == length
            await check_blocks(reader, (32_767, 32_768, 65_535, 65_600, 69_999), 1)
            await reader.do("download", core="feed", start=40_000, end=41_000)
            assert (await reader.do("has", core="feed", start=40_000, end=41_000))["has"]
            async with trio.open_nursery() as waiting:
                waiting.start_soon(check_blocks, reader, [69_000], 1)
                waiting.start_soon(check_blocks, reader, [5], 1)
                add_blocks(feed, (5, 69_000), 1)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
async def test_blocks_of_any_size(version: int, tmp_path: Path, nursery: trio.Nursery) -> None:
    sizes = (0, 1, 65_536, 8 * MIB, 0, LARGEST, 100)
    with Library(tmp_path / "feeds") as library:
        feed = our_feed(library, 0)
        for size in sizes:
            our_append(feed, 1, size)
        port = await serving(nursery, library)
        async with stock_peer(version) as getter, stock_peer(version) as downloader:
            await follow(getter, feed.key, port)
            for index, size in enumerate(sizes):
                await check_blocks(getter, [index], size)
            await follow(downloader, feed.key, port)
            await downloader.do("download", core="feed", start=0, end=len(sizes))
            read = await downloader.do("read", core="feed")
            assert read["sha256"] == sha256(*(block(i, size) for i, size in enumerate(sizes)))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_that_goes_on_after_its_stream_broke(
    version: int, tmp_path: Path, nursery: trio.Nursery
) -> None:
    length, size = 300, 65_536
    with Library(tmp_path / "feeds") as library:
        feed = our_feed(library, length, size=size)
        port = await serving(nursery, library)
        async with stock_peer(version) as reader, trio.open_nursery() as waiting:
            await follow(reader, feed.key, port)

            async def download() -> None:
                await reader.do("download", core="feed", start=0, end=length)

            waiting.start_soon(download)
            for _ in range(5):
                for _ in range(20):
                    await reader.event("download")
                await reader.do("destroy")
                await reader.event("stream-closed")
                await reader.do("connect", to=f"127.0.0.1:{port}")
            # The nursery waits for the download.
        nursery.cancel_scope.cancel()


class StopsAfterOne(NoEvents):
    """A hoster that, after its first block, goes on only when it is told."""

    def __init__(self) -> None:
        self.served: list[int] = []
        self.go_on = trio.Event()

    async def on_upload(
        self, session: FeedSession, feed: Feed, index: int, leaf: Node, size: int
    ) -> None:
        self.served.append(index)
        await self.go_on.wait()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_that_gives_up(version: int, tmp_path: Path, nursery: trio.Nursery) -> None:
    """It cancels what is in flight; the session goes on."""
    length = 40
    hooks = StopsAfterOne()
    with Library(tmp_path / "feeds") as library:
        feed = our_feed(library, length)

        async def serve(stream: trio.SocketStream) -> None:
            opened = open_connection(stream, NOISE, initiator=False, timeout=STEP_S)
            async with opened as connection:
                await serve_connection(connection, library, hooks)

        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with stock_peer(version, "--trace") as reader, trio.open_nursery() as waiting:
            await follow(reader, feed.key, port)
            await reader.do("session", core="feed", session="impatient")
            given_up: list[int] = []

            async def get(index: int) -> None:
                try:
                    await reader.do("get", core="impatient", index=index)
                except PeerError:
                    given_up.append(index)

            for index in range(length):
                waiting.start_soon(get, index)
            first = (await reader.event("download"))["index"]
            await reader.do("close", core="impatient")
            for _ in range(length - 1):
                await reader.event("sent", where=lambda event: event["head"][2:4] == CANCEL)
            hooks.go_on.set()
            await check_blocks(reader, [3, 30])
        assert {*given_up, first} == set(range(length))
        assert len(hooks.served) < length
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
async def test_many_cores_on_one_connection(
    version: int, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """A store that reads two feeds of ours, and has others that we do not know."""
    with Library(tmp_path / "feeds") as library:
        feeds = [our_feed(library, LENGTH), our_feed(library, LENGTH, compat=True)]
        port = await serving(nursery, library)
        async with stock_peer(version) as reader:
            for name in ("own", "other"):
                await reader.do("open", core=name, store="store")
                await reader.do("append", core=name, count=3)
            await reader.do("open", core="unknown", store="store", key=bytes([9] * 32).hex())
            await reader.do("connect", to=f"127.0.0.1:{port}")
            for number, feed in enumerate(feeds):
                await reader.do("open", core=f"feed {number}", store="store", key=feed.key.hex())
                assert (await reader.do("update", core=f"feed {number}"))["length"] == LENGTH
                await reader.do("download", core=f"feed {number}", start=0, end=LENGTH)
                info = await reader.do("info", core=f"feed {number}")
                assert info["contiguousLength"] == LENGTH
            assert len(reader.take("stream")) == 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_seek_without_seeks(version: int, tmp_path: Path, nursery: trio.Nursery) -> None:
    """Our hoster says that it serves no seeks; then a client asks for hashes."""
    with Library(tmp_path / "feeds") as library:
        feed = our_feed(library, LENGTH)
        port = await serving(nursery, library)
        async with stock_peer(version) as reader:
            await follow(reader, feed.key, port)
            for position in (0, 1, 20 * SIZE - 1, 20 * SIZE, 30 * SIZE + 7):
                found = await reader.do("seek", core="feed", bytes=position)
                assert found["found"] == [position // SIZE, position % SIZE]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("start", [0, 1], ids=["with-the-first", "without-the-first"])
async def test_a_client_that_wants_small_parts(
    start: int, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """A switch of hypercore 11: wants of 4,096 blocks, and wants of any block of a range."""
    length, held = 10_000, (*range(start, 3), 4_095, 4_097, 9_000)
    with partial_library(tmp_path, length, held, 1) as (library, feed):
        port = await serving(nursery, library)
        async with stock_peer(11, "--small-wants") as reader:
            await follow(reader, feed.key, port)
            await check_blocks(reader, held, 1)
            found = await reader.do("seek", core="feed", bytes=9_000)
            assert found["found"] == [9_000, 0]
            async with trio.open_nursery() as waiting:
                waiting.start_soon(check_blocks, reader, [8_999], 1)
                add_blocks(feed, [8_999], 1)
        nursery.cancel_scope.cancel()
