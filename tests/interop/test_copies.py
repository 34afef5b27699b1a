"""Copies of copies: what we clone from npm peers and serve again, and what they clone from us."""

from pathlib import Path

import pytest
import trio
from npm_feeds import (
    CASE_IDS,
    CASES,
    COMPAT,
    KINDS,
    PLAIN,
    VERSIONS,
    Kind,
    blocks,
    grow_feed,
    make_feed,
)
from npm_peers import STEP_S, Peer, stock_peer
from our_peers import (
    PATIENT,
    cloned,
    dialler,
    download_all,
    listening,
    our_append,
    our_feed,
    reading,
    serving,
)

from offchain_worker.hoster.replicate import Replication
from offchain_worker.hoster.store import FeedStore, Library

LENGTH = 33


async def copy(peer: Peer, key: bytes, port: int, **opened: object) -> str:
    """Let an npm peer download a whole feed; returns the SHA-256 of what its user reads."""
    await peer.do("open", core="copy", key=key.hex(), **opened)
    await peer.do("connect", to=f"127.0.0.1:{port}")
    length = (await peer.do("update", core="copy"))["length"]
    await peer.do("download", core="copy", start=0, end=length)
    return str((await peer.do("read", core="copy"))["sha256"])


@pytest.mark.parametrize(("version", "kind"), CASES, ids=CASE_IDS)
async def test_their_feed_by_our_hoster_to_them(
    version: int, kind: Kind, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """Encrypted ones too: only who has the key reads what the author wrote."""
    async with stock_peer(version) as author, stock_peer(version) as reader:
        key = await make_feed(author, kind, LENGTH)
        original = (await author.do("read", core="feed"))["sha256"]
        with await cloned(tmp_path / "feeds", key, await listening(author)) as library:
            feed = library.get(key)
            assert feed is not None
            assert feed.is_sound()
            port = await serving(nursery, library)
            secret = {name: kind.opened[name] for name in ("encryption",) if name in kind.opened}
            if kind.name == "encrypted-compat" and version == 11:
                # Hypercore 11 cannot decrypt a copy of such a feed, not even of its own hosters:
                # it looks for the signer in a manifest, which compat feeds do not send.
                await copy(reader, key, port)
            else:
                assert await copy(reader, key, port, **secret) == original
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("author_version", VERSIONS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.versions == VERSIONS], ids=str)
async def test_between_the_versions(
    author_version: int, kind: Kind, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """The author with one version, our hoster between, the reader with the other."""
    (reader_version,) = {*VERSIONS} - {author_version}
    async with stock_peer(author_version) as author, stock_peer(reader_version) as reader:
        key = await make_feed(author, kind, LENGTH)
        with await cloned(tmp_path / "feeds", key, await listening(author)) as library:
            port = await serving(nursery, library)
            read = await copy(reader, key, port)
            if not kind.padding:
                assert read == (await author.do("read", core="feed"))["sha256"]
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("compat", [False, True], ids=["manifest", "compat"])
@pytest.mark.parametrize("store", [{}, {"store": "store"}], ids=["hypercore", "corestore"])
async def test_our_feed_by_their_replica_to_us(
    version: int, compat: bool, store: dict[str, str], tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Library(tmp_path / "feeds") as library:
        feed = our_feed(library, LENGTH, compat=compat)
        port = await serving(nursery, library)
        async with stock_peer(version) as replica:
            await copy(replica, feed.key, port, **store)
            again = await listening(replica)
            async with reading(again, feed.key) as reader:
                assert await download_all(reader, range(LENGTH)) == blocks(range(LENGTH))
                our_append(feed, 2)
                await reader.wait_longer(LENGTH)
                await replica.do("download", core="copy", start=LENGTH, end=LENGTH + 2)
                assert await download_all(reader, (33, 34)) == blocks((33, 34))
            with await cloned(tmp_path / "again", feed.key, again) as clone:
                copied = clone.get(feed.key)
                assert copied is not None
                assert copied.head() == feed.head()
                assert copied.is_sound()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [PLAIN, COMPAT], ids=str)
async def test_a_clone_that_goes_on_after_its_stream_broke(
    version: int, kind: Kind, tmp_path: Path
) -> None:
    """The author's process breaks all streams while we copy."""
    length, size = 300, 65_536
    async with stock_peer(version) as author:
        await author.do("open", core="feed", **kind.opened)
        core = await author.do("append", core="feed", count=length, size=size)
        key = bytes.fromhex(core["key"])
        port = await listening(author)
        with Library(tmp_path / "feeds") as library, trio.fail_after(STEP_S):
            breaks = 5

            def break_off(feed: FeedStore) -> None:
                nonlocal breaks
                if breaks and feed.contiguous_length() > (6 - breaks) * 30:
                    breaks -= 1
                    nursery.start_soon(author.do, "destroy")

            replication = Replication(
                library, key, [dialler(port)], timeouts=PATIENT, progress=break_off
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(replication.run)
                await author.event("stream-closed")
                feed = library.get(key)
                assert feed is not None
                while not feed.is_complete():
                    await feed.next_change().wait()
                nursery.cancel_scope.cancel()
            assert breaks == 0
            assert feed.is_sound()
            head = feed.head()
            assert head is not None
            assert head.length == length


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_empty_feed_that_we_wait_for(version: int, tmp_path: Path) -> None:
    async with stock_peer(version) as author:
        key = await make_feed(author, PLAIN, 0)
        with Library(tmp_path / "feeds") as library:
            replication = Replication(library, key, [dialler(await listening(author))])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(replication.run)
                await author.event("peer-add")
                await grow_feed(author, PLAIN, 3)
                for index in range(3):
                    await author.event("upload", index=index)
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", VERSIONS)
async def test_blocks_of_15_mib(version: int, tmp_path: Path, nursery: trio.Nursery) -> None:
    async with stock_peer(version) as author, stock_peer(version) as reader:
        core = await author.do("open", core="feed")
        await author.do("append", core="feed", count=3, size=15 * 1024 * 1024)
        key = bytes.fromhex(core["key"])
        with await cloned(tmp_path / "feeds", key, await listening(author)) as library:
            port = await serving(nursery, library)
            read = await copy(reader, key, port)
            assert read == (await author.do("read", core="feed"))["sha256"]
            nursery.cancel_scope.cancel()
