"""A reader and a hoster of ours, end to end on memory streams."""

import pytest
from feeds import MemoryFeed, block
from network import reading


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("length", [1, 5, 33])
async def test_reads_every_block(length: int, compat: bool) -> None:
    feed = MemoryFeed(length, compat=compat)
    async with reading(feed) as reader:
        assert reader.head == feed.head()
        for i in range(length):
            got = await reader.get(i)
            assert (got.index, got.data, got.leaf) == (i, block(i), feed.nodes[2 * i])
            assert got.arrived >= got.requested
        assert dict(reader.nodes) == feed.nodes


@pytest.mark.parametrize("window", [1, 7, 48])
async def test_downloads_in_a_window(window: int) -> None:
    feed = MemoryFeed(200)
    async with reading(feed) as reader:
        got = {b.index: b.data async for b in reader.download(range(200), window)}
    assert got == feed.blocks


async def test_growth() -> None:
    feed = MemoryFeed(5)
    async with reading(feed) as reader:
        await reader.get(4)
        feed.append([block(i) for i in range(5, 12)])
        head = await reader.wait_longer(5)
        assert head == feed.head()
        assert (await reader.get(11)).data == block(11)
        assert (await reader.get(0)).data == block(0)
