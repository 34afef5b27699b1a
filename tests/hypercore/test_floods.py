"""Hosters that send what was not asked for: bounded in time and memory, and cut off in the end.

Each of them answers every request as it should; what it says besides is the fault.
"""

from collections.abc import Callable

import pytest
import trio
from hypercore_feeds import MemoryFeed, block
from hypercore_network import Liar, Reply, reading

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.client import RemoteBlocks
from offchain_worker.hypercore.connection import Channel, Connection
from offchain_worker.hypercore.encoding import encode_uint
from offchain_worker.hypercore.errors import DecodeError, ProtocolViolation
from offchain_worker.hypercore.reader import (
    MAX_EXTENSION_BYTES,
    UNASKED_BYTES,
    UNASKED_BYTES_PER_S,
    Allowance,
)
from offchain_worker.hypercore.server import NoEvents

BATCH = 20_000
FLOODS: dict[str, tuple[int, bytes]] = {
    "data": (m.Type.DATA, m.Data(9, 0, block=m.DataBlock(0, b"", ())).encode()),
    "no data": (m.Type.NO_DATA, m.NoData(7).encode()),
    "syncs": (m.Type.SYNC, m.Sync(0, 3, 0, uploading=True).encode()),
    "ranges": (m.Type.RANGE, m.Range(1, 1 << 50).encode()),
    "drops": (m.Type.RANGE, m.Range(1, 1 << 50, drop=True).encode()),
    "bitfields": (m.Type.BITFIELD, m.Bitfield(32, (1,) * 1024).encode()),
    "extensions": (m.Type.EXTENSION, m.Extension("x", b"y").encode()),
    "requests": (m.Type.REQUEST, m.Request(1, 0, block=m.RequestBlock(0, 0)).encode()),
    "unknown types": (77, b""),
}


def honest(_request: m.Request, right: Reply) -> Reply:
    return right


def after_head(
    action: Callable[[Connection, Channel], None],
) -> Callable[[m.Request, Connection, Channel], None]:
    """Do it once, right after the head was sent."""

    def hook(request: m.Request, connection: Connection, channel: Channel) -> None:
        if request.upgrade is not None:
            action(connection, channel)

    return hook


async def cut_off(feed: MemoryFeed, flood: Callable[[Connection, Channel], None]) -> str:
    """Read until the reader has had enough; returns why it ended."""
    with trio.fail_after(20), pytest.raises(ProtocolViolation) as ended:
        await read_on(feed, Liar(feed, honest, after=after_head(flood)))
    return str(ended.value)


async def read_on(feed: MemoryFeed, liar: Liar) -> None:
    async with reading(feed, liar=liar) as reader:
        for _ in range(100):
            assert (await reader.get(0)).data == block(0)


@pytest.mark.parametrize("name", FLOODS)
async def test_a_batch_of_what_was_not_asked_for(name: str) -> None:
    kind, body = FLOODS[name]
    feed = MemoryFeed(3)
    # A batch has no limit but its frame's, of 16 MiB.
    count = min(BATCH, 12_000_000 // (len(body) + 4))
    batch = [(int(kind), body)] * count
    why = await cut_off(feed, lambda _, channel: channel.send_batch_nowait(batch))
    assert why == "the peer sends far more than it was asked for"


async def test_a_frame_of_nothing() -> None:
    def flood(connection: Connection, _channel: Channel) -> None:
        connection._send_control(bytes(8_000_000))

    assert "messages for no channel" in await cut_off(MemoryFeed(3), flood)


async def test_others_have_their_turn_while_a_long_batch_is_taken() -> None:
    feed = MemoryFeed(3)
    kind, body = FLOODS["no data"]
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        async with reading(feed) as reader:
            session = reader.connection
            nursery.start_soon(count_turns)
            await trio.lowlevel.checkpoint()
            before = turns
            batch = b"".join(
                encode_uint(len(body) + 1) + bytes([kind]) + body for _ in range(9_000)
            )
            await session._take([bytes([0, 0, 1]) + batch], trio.current_time())
            assert turns - before >= 5
        nursery.cancel_scope.cancel()


async def test_long_names_of_extensions_are_dropped_too() -> None:
    feed = MemoryFeed(3)

    def flood(_connection: Connection, channel: Channel) -> None:
        for number in range(20):
            name = f"{number:02}" * (MAX_EXTENSION_BYTES // 2)
            channel.send_nowait(m.Type.EXTENSION, m.Extension(name, b"!").encode())

    async with reading(feed, liar=Liar(feed, honest, after=after_head(flood))) as reader:
        await reader.get(0)
        await reader.get(1)
        assert reader.extensions_dropped == 20
        with pytest.raises(trio.WouldBlock):
            reader.extensions.receive_nowait()


async def test_large_answers_to_requests_taken_back_cost_nothing() -> None:
    feed = MemoryFeed(0)
    feed.append([bytes(1024 * 1024)] * 12)
    gate = trio.Event()

    class Late(NoEvents):
        async def on_head_sent(self, *_rest: object) -> None:
            await gate.wait()

    async with reading(feed, events=Late()) as reader:
        download = reader.download(range(10), 10)
        download._refill()
        download.close()
        gate.set()
        assert len((await reader.get(11)).data) == 1024 * 1024


async def test_what_an_honest_hoster_says_is_far_below_the_allowance() -> None:
    """One that fetches the feed itself and tells each block: 16,000 at once, 8,000 a second."""
    allowance = Allowance(0.0)
    body = m.Range(123_456, 1).encode()
    cost = 512 + 64 + len(body) + 2
    for _ in range(14_000):
        allowance.take(cost, 0.0)
    now = 0.0
    for _ in range(30_000):
        now += 1 / 7_000
        allowance.take(cost, now)
    with pytest.raises(ProtocolViolation):
        allowance.take(UNASKED_BYTES + 1, now + 1e6)


def test_time_refills_the_allowance_and_nothing_more() -> None:
    allowance = Allowance(5.0)
    allowance.take(UNASKED_BYTES, 5.0)
    with pytest.raises(ProtocolViolation):
        allowance.take(1, 5.0)
    allowance = Allowance(5.0)
    allowance.take(UNASKED_BYTES, 5.0)
    allowance.take(UNASKED_BYTES_PER_S, 6.0)
    with pytest.raises(ProtocolViolation):
        allowance.take(1, 6.0)


def test_wide_ranges_and_bitfields() -> None:
    remote = RemoteBlocks()
    assert remote.set_range(10, 1, has=True) == 1
    assert remote.set_range(10, 1 << 50, has=True) == 1024
    assert remote.has(10)
    assert remote.has(1_000_000)
    assert not remote.has(9)
    assert remote.set_range(32_768, 65_536, has=False) == 2
    assert not remote.has(32_768)
    assert not remote.has(98_303)
    assert remote.has(98_304)
    assert remote.set_range(1 << 52, 1, has=True) == 1
    assert len(remote._pages) == 1024
    widest = m.Bitfield(0, (1,) * 65_536)
    assert m.Bitfield.decode(widest.encode()) == widest
    with pytest.raises(DecodeError, match="65536 words"):
        m.Bitfield.decode(m.Bitfield(0, (1,) * 65_537).encode())
