"""Our client on npm hosters: writers, replicas, sparse replicas, forks, growth, odd blocks."""

import random

import pytest
import trio
from npm_feeds import (
    CASE_IDS,
    CASES,
    COMPAT,
    KINDS,
    PLAIN,
    SIZE,
    VERSIONS,
    Kind,
    blocks,
    grow_feed,
    make_feed,
)
from npm_peers import STEP_S, Peer, block, stock_peer
from our_peers import PATIENT, announced, download_all, get_all, listening, reading, until

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.connection import open_connection
from offchain_worker.hypercore.errors import Disconnected, NoData, NotHosted
from offchain_worker.hypercore.reader import Timeouts, read_feed
from offchain_worker.keys import KeyPair

LENGTH = 33
MIB = 1024 * 1024
CANCEL = f"{m.Type.CANCEL:02x}"
LARGEST = 15 * MIB
"""The longest block that an npm author can append."""


async def follow(reader: Peer, key: bytes, source: Peer, name: str = "feed") -> None:
    """Let an npm peer know a feed, and read it from another one."""
    await reader.do("open", core=name, key=key.hex())
    await reader.do("connect", to=f"127.0.0.1:{await listening(source)}")
    await reader.do("update", core=name)


@pytest.mark.parametrize(("version", "kind"), CASES, ids=CASE_IDS)
@pytest.mark.parametrize("way", ["get", "download"])
async def test_a_writer(version: int, kind: Kind, way: str) -> None:
    async with stock_peer(version) as author:
        key = await make_feed(author, kind, LENGTH)
        async with reading(await listening(author), key) as reader:
            assert (reader.head.fork, reader.head.length) == (0, LENGTH)
            order = random.Random(5).sample(range(LENGTH), LENGTH)
            read = await (get_all if way == "get" else download_all)(reader, order)
            if kind.padding:
                assert {len(data) for data in read.values()} == {SIZE + kind.padding}
                assert read.keys() == set(range(LENGTH))
            else:
                assert read == blocks(range(LENGTH))


@pytest.mark.parametrize(("version", "kind"), CASES, ids=CASE_IDS)
async def test_a_replica(version: int, kind: Kind) -> None:
    async with stock_peer(version) as author, stock_peer(version) as replica:
        key = await make_feed(author, kind, LENGTH)
        await follow(replica, key, author)
        await replica.do("download", core="feed", start=0, end=LENGTH)
        async with reading(await listening(replica), key) as reader:
            read = await download_all(reader, range(LENGTH))
            assert len(read) == LENGTH
            if not kind.padding:
                assert read == blocks(range(LENGTH))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [PLAIN, COMPAT], ids=str)
async def test_a_sparse_replica(version: int, kind: Kind) -> None:
    held = (3, 4, 7, 20, 31, 32)
    async with stock_peer(version) as author, stock_peer(version) as replica:
        key = await make_feed(author, kind, LENGTH)
        await follow(replica, key, author)
        for index in held:
            await replica.do("get", core="feed", index=index)
        async with reading(await listening(replica), key) as reader:
            assert reader.head.length == LENGTH
            assert await get_all(reader, held[:3]) == blocks(held[:3])
            assert await download_all(reader, held) == blocks(held)
            for missing in (0, 5, 30):
                with pytest.raises(NoData):
                    await reader.get(missing)
            await replica.do("get", core="feed", index=5)
            await until(reader, lambda: announced(reader, 5))
            assert await get_all(reader, [5]) == blocks([5])


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_sparse_replica_of_many_blocks(version: int) -> None:
    """Three pages of the bitfield; the page in the middle is held whole, the last in part."""
    length, held = 70_000, (32_767, 40_000, 65_536, 69_999)
    async with stock_peer(version) as author, stock_peer(version) as replica:
        await author.do("open", core="feed")
        core = await author.do("append", core="feed", count=length, size=1)
        key = bytes.fromhex(core["key"])
        await follow(replica, key, author)
        await replica.do("download", core="feed", start=32_768, end=65_536)
        for index in held:
            await replica.do("get", core="feed", index=index)
        async with reading(await listening(replica), key) as reader:
            some = (*held, *range(50_000, 50_100))
            assert await download_all(reader, some) == blocks(some, 1)
            for missing in (0, 32_766, 65_535 + 2, 69_998):
                with pytest.raises(NoData):
                    await reader.get(missing)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.signed_ahead], ids=str)
async def test_a_feed_that_was_cut_and_went_on(version: int, kind: Kind) -> None:
    if version not in kind.versions:
        return
    async with stock_peer(version) as author:
        key = await make_feed(author, kind, LENGTH)
        await author.do("truncate", core="feed", length=21)
        await grow_feed(author, kind, 2)
        await author.do("truncate", core="feed", length=22, fork=9)
        await author.do("append", core="feed", blocks=[b"another block".hex()])
        async with reading(await listening(author), key) as reader:
            assert (reader.head.fork, reader.head.length) == (9, 23)
            read = await get_all(reader, range(23))
            if not kind.padding:
                assert read == blocks(range(22)) | {22: b"another block"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [PLAIN, COMPAT], ids=str)
async def test_a_feed_that_is_cut_while_it_is_read(version: int, kind: Kind) -> None:
    async with stock_peer(version) as author:
        key = await make_feed(author, kind, LENGTH)
        port = await listening(author)
        async with reading(port, key) as reader:
            assert await get_all(reader, [20]) == blocks([20])
            await author.do("truncate", core="feed", length=10)
            await until(reader, lambda: reader.remote_fork == 1)
            with pytest.raises(NoData):
                await reader.get(5)
        async with reading(port, key) as reader:
            assert (reader.head.fork, reader.head.length) == (1, 10)
            assert await get_all(reader, range(10)) == blocks(range(10))


@pytest.mark.parametrize(("version", "kind"), CASES, ids=CASE_IDS)
async def test_a_growing_feed(version: int, kind: Kind) -> None:
    async with stock_peer(version) as author:
        key = await make_feed(author, kind, max(5, kind.prologue))
        async with reading(await listening(author), key) as reader:
            length = reader.head.length
            for more in (1, 2, 30):
                await grow_feed(author, kind, more)
                with trio.fail_after(STEP_S):
                    head = await reader.wait_longer(length)
                length += more
                assert head.length == length
                read = await get_all(reader, [0, length - 1])
                if not kind.padding:
                    assert read == blocks([0, length - 1])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [PLAIN, COMPAT], ids=str)
async def test_an_empty_feed_and_one_that_is_not_there(version: int, kind: Kind) -> None:
    async with stock_peer(version) as author:
        key = await make_feed(author, kind, 0)
        port = await listening(author)
        with pytest.raises(NotHosted, match="no block"):
            async with reading(port, key):
                pass
        with pytest.raises(NotHosted, match="does not serve"):
            async with reading(port, bytes(32)):
                pass
        await grow_feed(author, kind, 1)
        async with reading(port, key) as reader:
            assert await get_all(reader, [0]) == blocks([0])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [0, 1, 65_536, 8 * MIB, LARGEST])
async def test_blocks_of_any_size(version: int, size: int) -> None:
    async with stock_peer(version) as author:
        core = await author.do("open", core="feed")
        await author.do("append", core="feed", count=3, size=size)
        async with reading(await listening(author), bytes.fromhex(core["key"])) as reader:
            assert await get_all(reader, [1]) == blocks([1], size)
            assert await download_all(reader, range(3)) == blocks(range(3), size)


@pytest.mark.parametrize("version", VERSIONS)
async def test_blocks_of_mixed_sizes(version: int) -> None:
    sizes = (0, 1, 8 * MIB, 0, 100, LARGEST, 1)
    async with stock_peer(version) as author:
        core = await author.do("open", core="feed")
        for size in sizes:
            await author.do("append", core="feed", count=1, size=size)
        async with reading(await listening(author), bytes.fromhex(core["key"])) as reader:
            read = await download_all(reader, range(len(sizes)))
            assert read == {index: block(index, size) for index, size in enumerate(sizes)}
            assert reader.head.byte_length == sum(sizes)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_block_that_is_cleared_while_we_are_connected(version: int) -> None:
    async with stock_peer(version) as author:
        key = await make_feed(author, PLAIN, LENGTH)
        async with reading(await listening(author), key) as reader:
            assert await get_all(reader, [6]) == blocks([6])
            await author.do("clear", core="feed", start=2, end=3)
            await until(reader, lambda: not announced(reader, 2))
            with pytest.raises(NoData):
                await reader.get(2)
            others = (0, 1, *range(3, LENGTH))
            assert await download_all(reader, others) == blocks(others)


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_neighbours_of_cleared_blocks(version: int) -> None:
    """Hypercore 11 loses tree nodes with them, and breaks the connection when it needs one."""
    cleared = range(5, 12)
    async with stock_peer(version) as author:
        key = await make_feed(author, PLAIN, LENGTH)
        await author.do("clear", core="feed", start=cleared.start, end=cleared.stop)
        port = await listening(author)
        read, reasons = {}, {}
        for index in range(LENGTH):
            async with reading(port, key) as reader:
                try:
                    read[index] = (await reader.get(index)).data
                except NoData as error:
                    reasons[index] = str(error)
        assert read == blocks(sorted(read))
        broken = {index for index, reason in reasons.items() if "closed" in reason}
        assert reasons.keys() - broken == set(cleared)
        assert broken == ({4} if version == 11 else set())


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_connection_that_breaks_in_the_middle(version: int) -> None:
    async with stock_peer(version) as author:
        key = await make_feed(author, PLAIN, LENGTH)
        port = await listening(author)
        async with reading(port, key) as reader:
            assert await get_all(reader, range(10)) == blocks(range(10))
            await author.do("destroy")
            with trio.fail_after(STEP_S):
                await reader.connection.wait_closed()
            with pytest.raises(Disconnected):
                await reader.get(10)
        async with reading(port, key) as reader:
            assert await get_all(reader, range(10, LENGTH)) == blocks(range(10, LENGTH))


@pytest.mark.parametrize("version", VERSIONS)
async def test_two_feeds_of_a_corestore_on_one_connection(version: int) -> None:
    """The store opens all its cores at once; what we do not want we reject."""
    async with stock_peer(version) as author:
        keys = []
        for name in ("one", "two", "three", "four"):
            core = await author.do("open", core=name, store="store")
            await author.do("append", core=name, count=9)
            keys.append(bytes.fromhex(core["key"]))
        stream = await trio.open_tcp_stream("127.0.0.1", await listening(author))
        opened = open_connection(stream, KeyPair.generate(), initiator=True, timeout=STEP_S)
        async with (
            opened as connection,
            read_feed(connection, keys[0], PATIENT) as one,
            read_feed(connection, keys[2], PATIENT) as three,
        ):
            for reader in (one, three):
                assert await download_all(reader, range(9)) == blocks(range(9))


@pytest.mark.parametrize("version", VERSIONS)
async def test_extension_messages(version: int) -> None:
    async with stock_peer(version) as author:
        key = await make_feed(author, PLAIN, 3)
        for name in ("first", "second"):
            await author.do("extension", core="feed", extension=name)
        async with reading(await listening(author), key) as reader:
            await author.event("peer-add")
            for name, text in (("first", "00"), ("first", ""), ("second", "01"), ("first", "02")):
                await author.do("broadcast", core="feed", extension=name, message=text)
                with trio.fail_after(STEP_S):
                    message = await reader.extensions.receive()
                assert (message.name, message.payload.hex()) == (name, text)
            await author.do("broadcast", core="feed", extension="second", message="aa" * 60_000)
            with trio.fail_after(STEP_S):
                assert len((await reader.extensions.receive()).payload) == 60_000


@pytest.mark.parametrize("version", VERSIONS)
async def test_cancelled_reads_leave_the_session_well(version: int) -> None:
    """Reads that nobody waits for any more are taken back; downloads come to their end."""
    length, size = 40, 256 * 1024
    async with stock_peer(version, "--trace") as author:
        core = await author.do("open", core="feed")
        await author.do("append", core="feed", count=length, size=size)
        async with reading(await listening(author), bytes.fromhex(core["key"])) as reader:
            for start in range(0, 30, 10):
                download = reader.download(range(start, start + 10))
                first = await anext(download)
                assert first.data == block(first.index, size)
                download.close()
            async with trio.open_nursery() as nursery:

                async def get_and_stop_others(index: int) -> None:
                    await reader.get(index)
                    nursery.cancel_scope.cancel()

                for index in range(length):
                    nursery.start_soon(get_and_stop_others, index)
            await author.event("received", where=lambda event: event["bytes"][2:4] == CANCEL)
            assert await download_all(reader, range(length)) == blocks(range(length), size)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_block_that_nobody_announces_is_late(version: int) -> None:
    """A replica that holds nothing at all answers no want."""
    short = Timeouts(handshake=STEP_S, head=STEP_S, block=1.0)
    async with stock_peer(version) as author, stock_peer(version) as replica:
        key = await make_feed(author, PLAIN, LENGTH)
        await follow(replica, key, author)
        async with reading(await listening(replica), key, timeouts=short) as reader:
            assert reader.head.length == LENGTH
            with pytest.raises(NoData):
                await reader.get(4)
