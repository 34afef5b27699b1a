"""What our client says, beside what an unmodified npm client says that reads the same.

Both read the same feed from the same kind of hoster, an npm peer that tells every plaintext. They
must be equal message by message but for what is random: the capability, which follows from the
Noise handshake, and the positions of a download. Where the npm client itself leaves the order of
messages to its storage, both are held to the rule instead.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial

import pytest
import trio
import trio.testing
from npm_feeds import SEEDS
from npm_peers import STEP_S, Peer, npm_peer
from our_peers import PATIENT, listening, reading

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.connection import open_connection
from offchain_worker.hypercore.encoding import Decoder
from offchain_worker.hypercore.order import DownloadOrder
from offchain_worker.hypercore.reader import WINDOW, read_feed
from offchain_worker.hypercore.tree import full_roots, parent
from offchain_worker.keys import KeyPair

CLOSE = bytes([0, 3, 1])
QUIET_S = 0.3
"""When neither the hoster nor what it tells us moves for so long, it is done."""
LATER = "later"
"""A step of a reading: the feed grows by three blocks."""

Steps = Sequence[int | str]


@dataclass(frozen=True)
class Frame:
    """A plaintext at the hoster: from the client, or to it."""

    sent: bool
    data: bytes


def tracing_peer() -> AbstractAsyncContextManager[Peer]:
    """An npm peer that tells every plaintext in whole."""
    return npm_peer("peer.mjs", "--trace", "--head", 1 << 24)


async def session_of(hoster: Peer, client: str) -> list[Frame]:
    """All plaintexts of a session, in the hoster's order, once its channel was closed."""
    await hoster.event("received", client=client, bytes=CLOSE.hex())
    events = [event for event in hoster.events if event.get("client") == client]
    hoster.events.clear()
    frames = [
        Frame(event["event"] == "sent", bytes.fromhex(event.get("bytes") or event["head"]))
        for event in events
        if event["event"] in ("received", "sent")
    ]
    return [*frames, Frame(False, CLOSE)]


def said(frames: Sequence[Frame]) -> list[bytes]:
    """What the client said, without its capability."""
    return [without_capability(frame.data) for frame in frames if not frame.sent]


def without_capability(data: bytes) -> bytes:
    decoder = Decoder(data)
    if decoder.uint() != 0 or decoder.uint() != 1:
        return data
    assert len(data) == 85
    return data[:-32]


async def make(hoster: Peer, length: int, size: int, *, compat: bool = False) -> bytes:
    """The same feed in every process; returns its key."""
    opened = await hoster.do("open", core="feed", seed=SEEDS[0], compat=compat)
    await hoster.do("append", core="feed", count=length, size=size)
    return bytes.fromhex(opened["key"])


async def npm_reads(reader: Peer, hoster: Peer, port: int, key: bytes, steps: Steps) -> list[Frame]:
    """`core.get` of one block after the other by an npm client."""
    client, length = await npm_opens(reader, hoster, port, key)
    for step in steps:
        if isinstance(step, str):
            length += 3
            await hoster.do("append", core="feed", count=3, size=10)
            await reader.event("append", core="copy", length=length)
        else:
            await reader.do("get", core="copy", index=step)
    await reader.do("close", core="copy")
    return await session_of(hoster, client)


async def npm_opens(reader: Peer, hoster: Peer, port: int, key: bytes) -> tuple[str, int]:
    """Let an npm client verify the head; returns its Noise key and the length."""
    await reader.do("open", core="copy", key=key.hex())
    await reader.do("connect", to=f"127.0.0.1:{port}")
    client = str((await hoster.event("stream"))["remote"])
    return client, (await reader.do("update", core="copy"))["length"]


async def we_read(hoster: Peer, port: int, key: bytes, steps: Steps) -> list[Frame]:
    """The same by ours."""
    async with reading(port, key) as reader:
        client = str((await hoster.event("stream"))["remote"])
        for step in steps:
            if isinstance(step, str):
                length = reader.head.length
                await hoster.do("append", core="feed", count=3, size=10)
                await reader.wait_longer(length)
            else:
                await reader.get(step)
    return await session_of(hoster, client)


READINGS: dict[str, tuple[int, int, bool, Steps]] = {
    "one block": (1, 10, False, [0]),
    "ascending": (33, 1_024, False, list(range(33))),
    "compat, ascending": (33, 1_024, True, list(range(33))),
    "those of the vector": (33, 10, False, [0, 7, 20, 32]),
    "random": (200, 100, False, random.Random(11).sample(range(200), 60)),
    "compat, random": (200, 100, True, random.Random(12).sample(range(200), 60)),
    "a larger tree": (3_000, 10, False, random.Random(13).sample(range(3_000), 60)),
    "large blocks": (9, 300_000, False, [8, 0, 3, 4, 1]),
    "empty blocks": (5, 0, False, [4, 2, 0, 1, 3]),
    "growing": (5, 10, False, [3, 0, LATER, 6, 1, LATER, LATER, 13, 9]),
    "compat, growing": (5, 10, True, [3, 0, LATER, 6, 1, LATER, LATER, 13, 9]),
    "growing when complete": (2, 10, False, [0, 1, LATER, 2, 3, 4, LATER, 7]),
}


@pytest.mark.parametrize("name", READINGS)
async def test_one_after_the_other(name: str) -> None:
    """Byte for byte."""
    length, size, compat, steps = READINGS[name]
    async with tracing_peer() as hoster, npm_peer("peer.mjs") as reader:
        key = await make(hoster, length, size, compat=compat)
        npm = await npm_reads(reader, hoster, await listening(hoster), key, steps)
    async with tracing_peer() as hoster:
        key = await make(hoster, length, size, compat=compat)
        our = await we_read(hoster, await listening(hoster), key, steps)
    assert said(our) == said(npm)
    assert sum(len(frame) for frame in said(our)) > 85


# --- a download of the whole feed --------------------------------------------------------------


async def npm_downloads(
    reader: Peer, hoster: Peer, port: int, key: bytes, *, stop_after: int | None = None
) -> list[Frame]:
    """`core.download` by an npm client that has been idle, whole or broken off."""
    client, length = await npm_opens(reader, hoster, port, key)
    await trio.testing.wait_all_tasks_blocked(QUIET_S)
    if stop_after is None:
        await reader.do("download", core="copy", start=0, end=length)
    else:
        async with trio.open_nursery() as nursery:
            # It never ends: the core is closed before.
            nursery.start_soon(partial(reader.do, "download", core="copy", start=0, end=length))
            for _ in range(stop_after):
                await reader.event("download", core="copy")
            await reader.do("close", core="copy")
            frames = await session_of(hoster, client)
            nursery.cancel_scope.cancel()
        return frames
    await reader.do("close", core="copy")
    return await session_of(hoster, client)


async def we_download(
    hoster: Peer, port: int, key: bytes, indices: Iterable[int], *, stop_after: int | None = None
) -> list[Frame]:
    """The same by ours, of given positions."""
    async with open_connection(
        await trio.open_tcp_stream("127.0.0.1", port),
        KeyPair.generate(),
        initiator=True,
        timeout=STEP_S,
    ) as connection:
        client = str((await hoster.event("stream"))["remote"])
        async with read_feed(connection, key, PATIENT) as reader:
            # Idle once the hoster has said what it has to say about the verified head.
            await trio.testing.wait_all_tasks_blocked(QUIET_S)
            arrived = 0
            async for _block in reader.download(indices):
                arrived += 1
                if arrived == stop_after:
                    break
        return await session_of(hoster, client)


def unpacked(data: bytes) -> list[tuple[int, bytes]]:
    """The channel's messages of one plaintext; none of the channel's own opening and closing."""
    decoder = Decoder(data)
    if decoder.uint() != 0:
        return [(decoder.uint(), decoder.raw())]
    if decoder.uint() != 0:
        return []
    decoder.uint()
    messages = []
    while decoder.remaining:
        message = Decoder(decoder.buffer())
        messages.append((message.uint(), message.raw()))
    return messages


@dataclass
class Downloaded:
    """What a session's frames say about its download.

    Attributes:
        requests: of blocks, in the order of sending.
        first_alone: how many were sent before the hoster had answered one.
        most: how many were open at once.
        frames: what the client said besides the requests of blocks.
    """

    requests: list[m.Request]
    first_alone: int
    most: int
    frames: list[bytes]


def downloaded(frames: Sequence[Frame], length: int, *, ours: bool) -> Downloaded:
    """Look at a session; each request must follow from what the hoster had sent before.

    The client may not have looked yet at what was sent last. The npm client looks a request's nodes
    up one by one, and more of them may be known from one look to the next.
    """
    found = Downloaded([], 0, 0, [])
    known = [set(full_roots(length))]
    open_ids: set[int] = set()
    for frame in frames:
        for kind, body in unpacked(frame.data):
            if frame.sent and kind == m.Type.DATA:
                data = m.Data.decode(body)
                if data.block is not None:
                    open_ids.remove(data.request)
                    path = {2 * data.block.index, *(node.index for node in data.block.nodes)}
                    known.append(known[-1] | path | {parent(node) for node in path})
            elif not frame.sent and kind == m.Type.REQUEST:
                request = m.Request.decode(body)
                if request.block is None:
                    found.frames.append(frame.data)
                    continue
                assert request.id not in open_ids
                open_ids.add(request.id)
                found.most = max(found.most, len(open_ids))
                found.first_alone += len(known) == 1
                found.requests.append(request)
                nodes = request.block.nodes
                levels = {missing(2 * request.block.index, before) for before in known}
                assert nodes in levels or (not ours and min(levels) < nodes < max(levels))
            elif not frame.sent:
                found.frames.append(frame.data)
        if not frame.sent and not unpacked(frame.data):
            found.frames.append(without_capability(frame.data))
    return found


def missing(index: int, nodes: set[int]) -> int:
    """How many levels lie between a node and the first known one above it."""
    levels = 0
    while index not in nodes:
        index = parent(index)
        levels += 1
    return levels


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("length", [1, 2, 30, 47])
async def test_a_download_that_fits_the_window(length: int, compat: bool) -> None:
    """Our client asks for the positions that chance gave to the npm client, under the same ids."""
    async with tracing_peer() as hoster, npm_peer("peer.mjs") as reader:
        key = await make(hoster, length, 100, compat=compat)
        port = await listening(hoster)
        npm = downloaded(await npm_downloads(reader, hoster, port, key), length, ours=False)
        first, *rest = npm.requests
        # Sent later, asked for in the order of their ids; the first one's id is free again.
        positions = [r.block.index for r in (first, *sorted(rest, key=id_of)) if r.block]
        our = downloaded(await we_download(hoster, port, key, positions), length, ours=True)
    assert our.frames == npm.frames
    assert our.first_alone == npm.first_alone == 1
    assert our.requests[0] == npm.requests[0]
    assert sorted(map(asked, our.requests)) == sorted(map(asked, npm.requests))
    levels = [request.block.nodes for request in our.requests[1:] if request.block]
    assert levels == sorted(levels)


def id_of(request: m.Request) -> int:
    return request.id


def asked(request: m.Request) -> tuple[int, int, int]:
    """Which block, under which id, with which priority; there is nothing else in it."""
    assert request.block is not None
    block = replace(request.block, nodes=0)
    assert replace(request, block=None) == m.Request(request.id, request.fork, priority=0)
    return block.index, request.id, request.priority


@pytest.mark.parametrize(("length", "size"), [(300, 100), (120, 65_536)])
async def test_a_download_beyond_the_window(length: int, size: int) -> None:
    """The same rules for both: when each request is sent is up to the hoster's answers."""
    async with tracing_peer() as hoster, npm_peer("peer.mjs") as reader:
        key = await make(hoster, length, size)
        port = await listening(hoster)
        npm = downloaded(await npm_downloads(reader, hoster, port, key), length, ours=False)
        order = DownloadOrder(length, random.Random(14))
        our = downloaded(await we_download(hoster, port, key, order), length, ours=True)
    assert our.frames == npm.frames
    for one in (our, npm):
        assert sorted(r.block.index for r in one.requests if r.block) == list(range(length))
        assert {(r.fork, r.priority, r.manifest) for r in one.requests} == {(0, 0, False)}
        assert {r.id for r in one.requests} == set(range(1, WINDOW + 1))
        assert one.first_alone == 1
        assert one.most <= WINDOW


async def test_a_download_that_is_broken_off() -> None:
    """Neither takes back what is in flight; both close the channel, and that is all."""
    async with tracing_peer() as hoster, npm_peer("peer.mjs") as reader:
        key = await make(hoster, 500, 20_000)
        port = await listening(hoster)
        npm = await npm_downloads(reader, hoster, port, key, stop_after=60)
        our = await we_download(
            hoster, port, key, DownloadOrder(500, random.Random(15)), stop_after=60
        )
    for frames in (npm, our):
        kinds = {kind for frame in frames if not frame.sent for kind, _ in unpacked(frame.data)}
        assert kinds == {m.Type.SYNC, m.Type.REQUEST}
        seen = downloaded(frames, 500, ours=frames is our)
        assert 60 < len(seen.requests) < 500
        assert seen.frames == downloaded(npm, 500, ours=False).frames


async def test_the_order_of_a_download() -> None:
    """How often a block is asked for after the one before it: runs grow, as a shuffle has none."""

    def follows(order: Sequence[int]) -> int:
        before: set[int] = set()
        count = 0
        for index in order:
            count += (index - 1) % len(order) in before
            before.add(index)
        return count

    counts = []
    async with tracing_peer() as hoster, npm_peer("peer.mjs") as reader:
        key = await make(hoster, 48, 10)
        port = await listening(hoster)
        for _ in range(12):
            frames = await npm_downloads(reader, hoster, port, key)
            npm = downloaded(frames, 48, ours=False)
            first, *rest = npm.requests
            order = [r.block.index for r in (first, *sorted(rest, key=id_of)) if r.block]
            counts.append(follows(order))
            await reader.do("destroy")
    ours = [follows(list(DownloadOrder(48, random.Random(seed)))) for seed in range(600)]
    shuffled = [follows(random.Random(seed).sample(range(48), 48)) for seed in range(600)]
    mean = statistics.mean(counts)
    error = statistics.stdev(ours) / math.sqrt(len(counts))
    assert abs(mean - statistics.mean(ours)) < 4 * error
    assert abs(mean - statistics.mean(shuffled)) > 4 * error


# --- silence -----------------------------------------------------------------------------------


async def test_keep_alives() -> None:
    """A client that has nothing to say for eleven seconds says two empty messages."""
    hoster_key = KeyPair.generate()
    silences: list[int] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with open_connection(
            stream, hoster_key, initiator=False, timeout=STEP_S, keep_alive=math.inf
        ) as connection:
            with trio.move_on_after(11):
                await connection.wait_closed()
            silences.append(connection._secret.keep_alives)

    async with npm_peer("peer.mjs") as reader, trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        port = listeners[0].socket.getsockname()[1]
        await reader.do("open", core="copy", key=bytes(32).hex())
        await reader.do("connect", to=f"127.0.0.1:{port}")
        async with open_connection(
            await trio.open_tcp_stream("127.0.0.1", port),
            KeyPair.generate(),
            initiator=True,
            timeout=STEP_S,
        ) as connection:
            await connection.wait_closed()
        with trio.fail_after(STEP_S):
            while len(silences) < 2:
                await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
    assert silences == [2, 2]
