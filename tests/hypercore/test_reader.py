"""A reader of ours, with a hoster of ours and with hosters that lie, on memory streams.

Each reason of a failed audit has its own error type; these tests name them all.
"""

import random
from collections import Counter
from dataclasses import replace

import pytest
import trio
import trio.testing
from hypercore_feeds import AUTHOR, CLIENT, HOSTER, KEY, MemoryFeed, block
from hypercore_network import QUICK, Liar, Reply, host, reading

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.answers import answer
from offchain_worker.hypercore.client import BlockVerified, ClientSession
from offchain_worker.hypercore.connection import Channel, Connection, Offer, open_connection
from offchain_worker.hypercore.errors import (
    BadProof,
    Disconnected,
    HandshakeFailed,
    HypercoreError,
    NoData,
    NotHosted,
    ProtocolViolation,
    ReadTimeout,
    WrongIdentity,
)
from offchain_worker.hypercore.feed import Head
from offchain_worker.hypercore.manifest import single_signer_manifest
from offchain_worker.hypercore.pace import Pace
from offchain_worker.hypercore.reader import EXTENSION_QUEUE, Reader, open_reader
from offchain_worker.hypercore.server import FeedSession, NoEvents
from offchain_worker.hypercore.tree import Node

LOOKED_UP_S = 0.05
"""Of virtual time: what is asked for has been sent then."""


def honest(_request: m.Request, right: Reply) -> Reply:
    return right


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


@pytest.mark.parametrize("window", [0, 49])
async def test_no_other_windows(window: int) -> None:
    async with reading(MemoryFeed(1)) as reader:
        with pytest.raises(ValueError, match="window"):
            reader.download([0], window)


def only_heads(request: m.Request, right: Reply) -> Reply:
    return right if request.upgrade else None


async def test_a_download_begins_with_one_request_and_fills_its_window_then(autojump_clock) -> None:
    """As the stock client: a range that was just added is looked at once, then at each message."""
    feed = MemoryFeed(200)
    channels: list[Channel] = []
    liar = Liar(
        feed,
        only_heads,
        after=lambda _request, _connection, channel: channels.append(channel),
    )
    sync = m.Sync(0, 200, 200, can_upgrade=True).encode()
    async with reading(feed, liar=liar) as reader, trio.open_nursery() as nursery:
        channels[0].send_nowait(m.Type.SYNC, sync)
        await trio.sleep(LOOKED_UP_S)
        nursery.start_soon(reader.download(range(200), 48).__anext__)
        await trio.sleep(LOOKED_UP_S)
        assert [r.id for r in liar.requests[1:]] == [1]
        channels[0].send_nowait(m.Type.SYNC, sync)
        await trio.sleep(LOOKED_UP_S)
        assert sorted(r.id for r in liar.requests if r.block) == list(range(1, 49))
        nursery.cancel_scope.cancel()


async def test_with_a_new_head_never_more_in_flight_than_the_window_and_no_cancels(
    autojump_clock,
) -> None:
    feed = MemoryFeed(200)
    liar = Liar(feed, only_heads)
    async with reading(feed, liar=liar) as reader, trio.open_nursery() as nursery:
        download = reader.download(range(200), 48)
        nursery.start_soon(download.__anext__)
        await trio.sleep(LOOKED_UP_S)
        assert sorted(r.id for r in liar.requests[1:]) == list(range(1, 49))
        nursery.cancel_scope.cancel()
    assert liar.cancels == []


async def test_requests_leave_when_their_nodes_are_looked_up(autojump_clock) -> None:
    """Of a window those that need the fewest nodes first, some at a time, as the stock client's."""
    window: list[tuple[int, float]] = []

    def tap(is_sent: bool, plaintext: bytes, at: float) -> None:
        if is_sent and plaintext[:2] == bytes([1, m.Type.REQUEST]):
            window.append((m.Request.decode(plaintext, 2).block.nodes, at))

    feed = MemoryFeed(200)
    async with reading(feed, liar=Liar(feed, only_heads)) as reader, trio.open_nursery() as nursery:
        reader.connection.tap = tap
        reader._look_ups._pace = Pace(random.Random(1))
        nursery.start_soon(reader.download(range(199, -1, -4), 48).__anext__)
        await trio.sleep(LOOKED_UP_S)
        # What is measured begins when the request left, not when it was made.
        requested = {request.requested for request in reader._requests.values()}
        nursery.cancel_scope.cancel()
    assert len(window) == 48
    assert window == sorted(window)
    assert {at for _nodes, at in window} == requested
    (most, count), *_ = Counter(nodes for nodes, _at in window).most_common()
    assert 1 < len({at for nodes, at in window if nodes == most}) < count


async def test_a_request_that_is_taken_back_before_it_was_sent_is_not_sent(autojump_clock) -> None:
    feed = MemoryFeed(200)
    liar = Liar(feed, honest)
    async with reading(feed, liar=liar) as reader:
        with trio.move_on_after(1e-6):
            await reader.get(0)
        assert (await reader.get(1)).data == block(1)
    assert [r.block.index for r in liar.requests if r.block] == [1]
    assert liar.cancels == [1]


async def test_what_has_come_in_time_is_not_late_for_being_written(
    autojump_clock, monkeypatch
) -> None:
    monkeypatch.setattr(Pace, "write", lambda _pace, _size: 100.0)
    feed = MemoryFeed(60)
    async with reading(feed) as reader:
        assert (await reader.get(7)).data == block(7)
        got = {b.index: b.data async for b in reader.download(range(60), 8)}
    assert got == feed.blocks


async def test_what_a_longer_head_has_is_asked_for_when_the_hoster_knows_that_it_came(
    autojump_clock, monkeypatch
) -> None:
    """Whatever the hoster says between the head's arrival and the time when it is written."""
    feed = MemoryFeed(5)
    async with reading(feed) as reader:
        monkeypatch.setattr(Pace, "write_head", lambda _pace: 100.0)
        said: list[bytes] = []
        reader.connection.tap = lambda sent, data, _at: said.append(data) if sent else None
        feed.append([b"more"] * 3)
        await trio.testing.wait_all_tasks_blocked()
        feed.append([b"again"])
        assert (await reader.wait_longer(5)).length == 8
        assert (await reader.get(6)).data == b"more"
    told = m.Sync(0, 8, 8, uploading=True, downloading=True, has_manifest=True)
    [asked] = [frame for frame in said if frame[:2] == bytes([1, m.Type.REQUEST]) and frame[2] & 1]
    assert said.index(bytes([1, m.Type.SYNC]) + told.encode()) < said.index(asked)


async def test_without_the_pace_no_time_is_its_own(autojump_clock) -> None:
    """From the first byte to the last, closing included; with it, virtual time goes by."""
    seconds = {}
    for paced in (False, True):
        feed = MemoryFeed(60)
        begun = trio.current_time()
        async with reading(feed, paced=paced) as reader:
            assert (await reader.get(7)).data == block(7)
            got = {b.index: b.data async for b in reader.download(range(60))}
        assert got == feed.blocks
        seconds[paced] = trio.current_time() - begun
    assert seconds[False] == 0.0 < seconds[True]


async def test_what_has_come_is_read_though_the_hoster_leaves(autojump_clock, monkeypatch) -> None:
    monkeypatch.setattr(Pace, "write", lambda _pace, _size: 100.0)
    feed = MemoryFeed(60)
    channels: list[Channel] = []
    liar = Liar(
        feed,
        lambda _request, right: right if len(liar.requests) <= 11 else None,
        after=lambda _request, _connection, channel: channels.append(channel),
    )
    got: list[int] = []

    async def read_all(reader: Reader) -> None:
        async for one in reader.download(range(60)):
            got.append(one.index)  # noqa: PERF401 - it ends with an error

    async def read_until_refused(reader: Reader) -> None:
        with pytest.raises(NoData):
            await read_all(reader)

    async with reading(feed, liar=liar) as reader, trio.open_nursery() as nursery:
        nursery.start_soon(read_until_refused, reader)
        await trio.sleep(LOOKED_UP_S)
        assert got == []
        channels[0].close()
    assert got == [r.block.index for r in liar.requests[1:11] if r.block]


async def test_what_a_closed_download_asked_for_is_thrown_away() -> None:
    feed = MemoryFeed(200)
    async with reading(feed) as reader:
        download = reader.download(range(200), 48)
        await download.__anext__()
        download.close()
        with pytest.raises(StopAsyncIteration):
            await download.__anext__()
        assert (await reader.get(150)).data == block(150)
        got = {b.index: b.data async for b in reader.download(range(200))}
    assert got == {i: block(i) for i in range(200)}


async def test_sequential_gets_reuse_one_id_as_the_stock_client_does() -> None:
    feed = MemoryFeed(33)
    liar = Liar(feed, honest)
    async with reading(feed, liar=liar) as reader:
        for i in (0, 7, 20, 32):
            await reader.get(i)
    assert [(r.id, r.priority) for r in liar.requests] == [(1, 0)] + [(1, 1)] * 4
    assert [r.block.nodes for r in liar.requests if r.block] == [5, 2, 4, 0]


async def test_growth() -> None:
    feed = MemoryFeed(5)
    async with reading(feed) as reader:
        await reader.get(4)
        feed.append([block(i) for i in range(5, 12)])
        head = await reader.wait_longer(5)
        assert head == feed.head()
        assert (await reader.get(11)).data == block(11)
        assert (await reader.get(0)).data == block(0)


async def test_a_rewritten_feed_is_noticed() -> None:
    feed = MemoryFeed(5)
    async with reading(feed) as reader:
        feed.fork = 1
        feed.append([b"other"])
        with pytest.raises(NoData):
            await reader.get(0)
        assert reader.remote_fork == 1
        assert reader.head.fork == 0


async def test_a_forked_feed_is_read() -> None:
    feed = MemoryFeed(5, fork=3)
    async with reading(feed) as reader:
        assert reader.head.fork == 3
        assert (await reader.get(2)).data == block(2)


async def test_only_blocks_below_the_head_can_be_asked_for() -> None:
    async with reading(MemoryFeed(5)) as reader:
        for index in (-1, 5):
            with pytest.raises(ValueError, match="below"):
                await reader.get(index)


# --- identity and hosting ----------------------------------------------------------------------


async def test_another_identity() -> None:
    seen: list[HypercoreError] = []
    near, far = trio.testing.memory_stream_pair()

    async def impostor() -> None:
        with pytest.raises(HandshakeFailed) as caught:
            async with open_connection(far, HOSTER, initiator=False, timeout=5):
                pass
        seen.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(impostor)
        with pytest.raises(WrongIdentity):
            async with open_reader(
                near, feed_key=KEY, keypair=CLIENT, expected_remote=CLIENT.public, timeouts=QUICK
            ):
                pass
    assert seen, "the impostor has not learnt the reader's key"


async def test_another_feed() -> None:
    other = MemoryFeed(3, compat=True)
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host, far, other)
        with pytest.raises(NotHosted):
            async with open_reader(
                near, feed_key=KEY, keypair=CLIENT, expected_remote=HOSTER.public, timeouts=QUICK
            ):
                pass


async def test_an_empty_feed() -> None:
    with pytest.raises(NotHosted):
        async with reading(MemoryFeed(0)):
            pass


def keep_open(connection: Connection) -> None:
    """Accept the channel and say nothing in it."""

    def on_offer(offer: Offer) -> None:
        own = m.capability(connection.handshake_hash, KEY, initiator=False)
        offer.accept(m.Handshake(True, own).encode())

    connection.pair(m.PROTOCOL, None, on_offer)


async def test_a_hoster_without_a_word(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()

    async def silent() -> None:
        async with open_connection(far, HOSTER, initiator=False, timeout=5) as connection:
            keep_open(connection)
            await connection.wait_closed()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(silent)
        with pytest.raises(NotHosted):
            async with open_reader(
                near, feed_key=KEY, keypair=CLIENT, expected_remote=None, timeouts=QUICK
            ):
                pass


async def test_a_hoster_that_never_shows_its_head(autojump_clock: trio.testing.MockClock) -> None:
    feed = MemoryFeed(5)
    with pytest.raises(NotHosted):
        async with reading(feed, liar=Liar(feed, lambda _request, _right: None)):
            pass


async def test_a_hoster_that_refuses_its_head() -> None:
    feed = MemoryFeed(5)
    with pytest.raises(NoData):
        async with reading(feed, liar=Liar(feed, lambda request, _: m.NoData(request.id, 1))):
            pass


async def test_a_hoster_that_leaves_when_asked_for_its_head() -> None:
    feed = MemoryFeed(5)
    liar = Liar(feed, lambda _q, _r: None, after=lambda _q, connection, _c: connection.close())
    with pytest.raises(NoData):
        async with reading(feed, liar=liar):
            pass


async def test_a_hoster_that_closes_the_channel_when_asked_for_its_head() -> None:
    feed = MemoryFeed(5)
    liar = Liar(feed, lambda _q, _r: None, after=lambda _q, _c, channel: channel.close())
    with pytest.raises(NotHosted):
        async with reading(feed, liar=liar):
            pass


# --- heads that do not verify ------------------------------------------------------------------


def head_of(feed: MemoryFeed) -> Head:
    head = feed.head()
    assert head is not None
    return head


@pytest.mark.parametrize(
    "change",
    ["signature", "no signature", "manifest", "no manifest", "fork", "short", "node", "not a head"],
)
async def test_heads_that_do_not_verify(change: str) -> None:
    feed = MemoryFeed(5)

    def lie(_request: m.Request, right: Reply) -> Reply:
        assert isinstance(right, m.Data)
        upgrade = right.upgrade
        assert upgrade is not None
        first, *others = upgrade.nodes
        match change:
            case "signature":
                return replace(right, upgrade=replace(upgrade, signature=bytes(68)))
            case "no signature":
                return replace(right, upgrade=replace(upgrade, signature=None))
            case "manifest":
                return replace(right, manifest=single_signer_manifest(HOSTER.public))
            case "no manifest":
                return replace(right, manifest=None)
            case "fork":
                return replace(right, fork=1)
            case "short":
                return replace(right, upgrade=replace(upgrade, length=4))
            case "node":
                bad = Node(first.index, first.size + 1, first.hash)
                return replace(right, upgrade=replace(upgrade, nodes=(bad, *others)))
            case _:
                return replace(right, upgrade=None)

    with pytest.raises(BadProof):
        async with reading(feed, liar=Liar(feed, lie)):
            pass


async def test_growth_that_does_not_verify_ends_reading() -> None:
    feed = MemoryFeed(5)
    async with reading(feed) as reader:
        feed.append([block(5)])
        feed.set_head(replace(head_of(feed), signature=AUTHOR.sign(b"something else")))
        with pytest.raises(BadProof):
            await reader.wait_longer(5)
        with pytest.raises(BadProof):
            await reader.get(0)


# --- blocks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", ["data", "index", "other block", "fork", "sibling", "levels", "only the hash"]
)
async def test_blocks_that_do_not_verify(change: str) -> None:
    feed = MemoryFeed(8)

    def lie(request: m.Request, right: Reply) -> Reply:
        if request.block is None:
            return right
        assert isinstance(right, m.Data)
        assert right.block is not None
        part = right.block
        first, *others = part.nodes
        match change:
            case "data":
                flipped = bytes([part.value[0] ^ 1]) + part.value[1:]
                return replace(right, block=replace(part, value=flipped))
            case "index":
                return replace(right, block=replace(part, index=part.index + 1))
            case "other block":
                other = m.Request(request.id, 0, block=m.RequestBlock(2, 3))
                return _right_answer(feed, other)
            case "fork":
                return replace(right, fork=1)
            case "sibling":
                bad = Node(first.index, first.size, bytes(32))
                return replace(right, block=replace(part, nodes=(bad, *others)))
            case "levels":
                return replace(right, block=replace(part, nodes=part.nodes[:1]))
            case _:
                return replace(
                    right, block=None, hash=m.DataHash(2 * part.index, (feed.nodes[0], *part.nodes))
                )

    async with reading(feed, liar=Liar(feed, lie)) as reader:
        with pytest.raises(BadProof):
            await reader.get(3)
        with pytest.raises(BadProof):
            async for _ in reader.download([3]):
                pass


def _right_answer(feed: MemoryFeed, request: m.Request) -> m.Data:
    right = answer(feed, request)
    assert isinstance(right, m.Data)
    return right


async def test_every_flipped_bit_of_an_answer_is_refused_or_harmless() -> None:
    """The mutation test of hypercore.md §6, on one block's answer."""
    feed = MemoryFeed(8)
    request = m.Request(1, 0, block=m.RequestBlock(3, 3))
    encoded = _right_answer(feed, request).encode()
    for bit in range(8 * len(encoded)):
        session = ClientSession(feed.key)
        session.receive(m.Type.SYNC, m.Sync(0, 8, 0, has_manifest=True).encode())
        upgrade = m.Request(1, 0, upgrade=m.RequestUpgrade(0, 8), manifest=True)
        session.receive(m.Type.DATA, _right_answer(feed, upgrade).encode())
        assert session.request_block(3, 1) == 1
        flipped = bytearray(encoded)
        flipped[bit // 8] ^= 1 << (bit % 8)
        try:
            events = session.receive(m.Type.DATA, bytes(flipped))
        except HypercoreError:
            continue
        for event in events:
            if isinstance(event, BlockVerified):
                assert (event.index, event.data) == (3, block(3))


async def test_a_block_that_is_announced_and_not_there() -> None:
    feed = MemoryFeed(8)

    def refuse(request: m.Request, right: Reply) -> Reply:
        return right if request.block is None else m.NoData(request.id, 1)

    async with reading(feed, liar=Liar(feed, refuse)) as reader:
        with pytest.raises(NoData):
            await reader.get(3)
        with pytest.raises(NoData):
            await reader.get(4)


async def test_a_block_that_is_not_announced() -> None:
    feed = MemoryFeed(8)
    del feed.blocks[3], feed.nodes[6]
    async with reading(feed) as reader:
        with pytest.raises(NoData):
            await reader.get(3)
        assert (await reader.get(4)).data == block(4)


@pytest.mark.parametrize("what", ["connection", "channel"])
async def test_closed_after_a_request(what: str) -> None:
    feed = MemoryFeed(8)

    def leave(request: m.Request, connection: Connection, channel: Channel) -> None:
        if request.block is not None:
            (connection if what == "connection" else channel).close()

    def none(request: m.Request, right: Reply) -> Reply:
        return right if request.block is None else None

    async with reading(feed, liar=Liar(feed, none, after=leave)) as reader:
        with pytest.raises(NoData):
            await reader.get(3)
        with pytest.raises(HypercoreError):
            await reader.get(4)


async def test_a_block_that_does_not_come(autojump_clock: trio.testing.MockClock) -> None:
    feed = MemoryFeed(8)
    liar = Liar(feed, lambda request, right: right if request.upgrade else None)
    async with reading(feed, liar=liar) as reader:
        for timeout in (None, 1.0):
            began = trio.current_time()
            with pytest.raises(ReadTimeout):
                await reader.get(3, timeout=timeout)
            assert trio.current_time() - began == pytest.approx(timeout or QUICK.block, abs=0.01)
        began = trio.current_time()
        with pytest.raises(ReadTimeout):
            async for _ in reader.download([1, 2]):
                pass
        assert trio.current_time() - began == pytest.approx(QUICK.block, abs=0.01)


async def test_the_block_that_is_refused_is_named_though_others_are_open_longer() -> None:
    feed = MemoryFeed(20)

    def reply(request: m.Request, right: Reply) -> Reply:
        if request.block is None or request.block.index == 0:
            return right
        return m.NoData(request.id) if request.block.index == 13 else None

    async with reading(feed, liar=Liar(feed, reply)) as reader:
        download = reader.download(range(20))
        assert (await anext(download)).index == 0
        with pytest.raises(NoData) as refused:
            await anext(download)
    assert refused.value.block == 13


@pytest.mark.parametrize("windowed", [False, True])
async def test_the_block_that_does_not_come_is_named(
    autojump_clock: trio.testing.MockClock, windowed: bool
) -> None:
    feed = MemoryFeed(20)

    def reply(request: m.Request, right: Reply) -> Reply:
        return None if request.block is not None else right

    async with reading(feed, liar=Liar(feed, reply)) as reader:
        with pytest.raises(ReadTimeout) as late:
            await (anext(reader.download([7, 3])) if windowed else reader.get(7))
    assert late.value.block == 7


async def test_a_late_answer_is_not_taken_for_another() -> None:
    feed = MemoryFeed(8)
    late: list[m.Data] = []

    def delay(request: m.Request, right: Reply) -> Reply:
        if request.block is not None and request.block.index == 3:
            assert isinstance(right, m.Data)
            late.append(right)
            return None
        if late:
            return late.pop()
        return right

    async with reading(feed, liar=Liar(feed, delay)) as reader:
        with trio.move_on_after(0.05) as scope:
            await reader.get(3)
        assert scope.cancelled_caught
        with trio.move_on_after(0.05):
            await reader.get(4)
        assert (await reader.get(5)).data == block(5)


async def test_cancelled_gets_leave_the_reader_usable() -> None:
    feed = MemoryFeed(8)
    liar = Liar(feed, lambda q, r: None if q.block and q.block.index < 4 else r)
    async with reading(feed, liar=liar) as reader:
        for i in range(4):
            with trio.move_on_after(0.01) as scope:
                await reader.get(i)
            assert scope.cancelled_caught
        assert (await reader.get(5)).data == block(5)
    assert liar.cancels == [1, 2, 3, 4]


async def test_many_gets_at_once_stay_in_the_window() -> None:
    feed = MemoryFeed(100)
    got = []
    async with reading(feed) as reader, trio.open_nursery() as nursery:

        async def one(i: int) -> None:
            got.append((await reader.get(i)).data)

        for i in range(100):
            nursery.start_soon(one, i)
    assert sorted(got) == sorted(feed.blocks.values())


async def test_errors_of_the_body_leave_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError):
        async with reading(MemoryFeed(1)):
            raise ZeroDivisionError


async def test_messages_that_cannot_be_read_end_the_connection() -> None:
    feed = MemoryFeed(5)

    def garbage(request: m.Request, _connection: Connection, channel: Channel) -> None:
        if request.block is not None:
            channel.send_nowait(m.Type.DATA, b"\xff")

    def none(request: m.Request, right: Reply) -> Reply:
        return right if request.block is None else None

    async with reading(feed, liar=Liar(feed, none, after=garbage)) as reader:
        with pytest.raises(ProtocolViolation):
            await reader.get(0)
        with pytest.raises(Disconnected):
            await reader.get(1)


# --- extensions --------------------------------------------------------------------------------


async def test_extensions_arrive_with_their_time() -> None:
    class Receipts(NoEvents):
        async def on_upload(self, session: FeedSession, *_rest: object) -> None:
            await session.send_extension("datdot/receipt/1", b"one")

    async with reading(MemoryFeed(3), events=Receipts()) as reader:
        got = await reader.get(1)
        message = await reader.extensions.receive()
    assert (message.name, message.payload) == ("datdot/receipt/1", b"one")
    assert message.arrived >= got.arrived


async def test_a_flood_of_extensions_is_bounded() -> None:
    feed = MemoryFeed(3)

    def flood(request: m.Request, _connection: Connection, channel: Channel) -> None:
        if request.block is not None:
            for i in range(EXTENSION_QUEUE + 10):
                name = "" if i else "name"
                message = m.Extension(name, i.to_bytes(4, "little"))
                channel.send_nowait(m.Type.EXTENSION, message.encode())
            channel.send_nowait(m.Type.EXTENSION, m.Extension("big", bytes(70_000)).encode())

    async with reading(feed, liar=Liar(feed, honest, after=flood)) as reader:
        await reader.get(0)
        await reader.get(1)
        first = await reader.extensions.receive()
        assert first.name == "name"
        assert reader.extensions_dropped >= 11


async def test_the_extension_channel_ends_with_the_connection() -> None:
    async with reading(MemoryFeed(3)) as reader:
        pass
    with pytest.raises(trio.EndOfChannel):
        await reader.extensions.receive()


async def test_an_answered_request_is_not_cancelled_in_the_name_of_its_successor() -> None:
    """The id of an answered request is free at once, before its owner has looked."""
    async with reading(MemoryFeed(300)) as reader:

        async def get(index: int) -> None:
            assert (await reader.get(index, timeout=2)).data == block(index)

        async def follow(index: int) -> None:
            while not reader._requests:
                await trio.lowlevel.checkpoint()
            while reader._requests:
                await trio.lowlevel.checkpoint()
            await get(index)

        # In which order tasks go on is random: both are tried.
        for index in range(0, 100, 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(get, index)
                nursery.start_soon(follow, index + 1)
        # Many at once, each as soon as another one is there.
        limit = trio.Semaphore(8)

        async def get_limited(index: int) -> None:
            async with limit:
                await get(index)

        async with trio.open_nursery() as nursery:
            for index in range(100, 300):
                nursery.start_soon(get_limited, index)
