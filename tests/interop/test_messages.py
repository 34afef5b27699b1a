"""The messages one by one: an npm hoster and ours answer the same, byte for byte."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from npm_feeds import COMPAT, PLAIN, VERSIONS, Kind, make_feed
from npm_peers import STEP_S, stock_peer
from our_peers import cloned, listening, our_feed, serving

from offchain_worker.audit.receipt import EXTENSION
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.connection import Channel, open_connection
from offchain_worker.hypercore.errors import Disconnected
from offchain_worker.hypercore.manifest import discovery_key
from offchain_worker.keys import KeyPair

LENGTH = 33
Message = tuple[int, bytes]


@asynccontextmanager
async def raw_channel(port: int, key: bytes) -> AsyncIterator[Channel]:
    """The feed's channel at a hoster, greeted; what it says is not looked at yet."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    opened = open_connection(stream, KeyPair.generate(), initiator=True, timeout=STEP_S)
    async with opened as connection:
        own = m.capability(connection.handshake_hash, key, initiator=True)
        channel = await connection.open_channel(
            m.PROTOCOL, discovery_key(key), m.Handshake(True, own).encode(), timeout=STEP_S
        )
        hello = m.Sync(0, 0, 0, can_upgrade=True, uploading=True, downloading=True)
        await channel.send(m.Type.SYNC, hello.encode())
        with trio.fail_after(STEP_S):
            while (await channel.receive()).type != m.Type.RANGE:
                pass
        yield channel


async def replies(channel: Channel, count: int) -> list[Message]:
    """The next messages but syncs."""
    received: list[Message] = []
    with trio.fail_after(STEP_S):
        while len(received) < count:
            incoming = await channel.receive()
            if incoming.type != m.Type.SYNC:
                received.append((incoming.type, incoming.body))
    return received


def request(number: int, **parts: object) -> Message:
    return int(m.Type.REQUEST), m.Request(number, **{"fork": 0, **parts}).encode()  # type: ignore[arg-type]


def block(index: int, nodes: int) -> dict[str, object]:
    return {"block": m.RequestBlock(index, nodes)}


def upgrade(start: int, length: int) -> dict[str, object]:
    return {"upgrade": m.RequestUpgrade(start, length)}


def node(index: int, nodes: int) -> dict[str, object]:
    return {"hash": m.RequestBlock(index, nodes)}


def cancel(number: int) -> Message:
    return int(m.Type.CANCEL), m.Cancel(number).encode()


CASES: dict[str, tuple[Sequence[Message], int]] = {
    "block": ([request(1, **block(7, 5))], 1),
    "block-alone": ([request(1, **block(7, 0))], 1),
    "block-of-a-root": ([request(1, **block(32, 0))], 1),
    "block-with-priority": ([request(1, **block(3, 2), priority=1)], 1),
    "hash-of-a-leaf": ([request(1, **node(14, 5))], 1),
    "hash-of-a-parent": ([request(1, **node(7, 2))], 1),
    "head": ([request(1, **upgrade(0, LENGTH))], 1),
    "head-and-manifest": ([request(1, **upgrade(0, LENGTH), manifest=True)], 1),
    "shorter-head": ([request(1, **upgrade(0, 10))], 1),
    "growth": ([request(1, **upgrade(5, LENGTH - 5))], 1),
    "shorter-growth": ([request(1, **upgrade(5, 6))], 1),
    "all-at-once": ([request(1, **block(6, 0), **upgrade(0, LENGTH), manifest=True)], 1),
    "block-of-the-growth": ([request(1, **block(20, 0), **upgrade(5, LENGTH - 5))], 1),
    "block-before-the-growth": ([request(1, **block(1, 2), **upgrade(5, LENGTH - 5))], 1),
    "hash-and-head": ([request(1, **node(12, 0), **upgrade(0, LENGTH))], 1),
    "id-0": ([request(0, **upgrade(0, LENGTH))], 1),
    "another-fork": ([request(1, **block(7, 5), fork=3)], 1),
    "block-beyond-the-end": ([request(1, **block(LENGTH, 0))], 1),
    "too-many-nodes": ([request(1, **block(7, 9))], 1),
    "head-beyond-the-end": ([request(1, **upgrade(0, LENGTH + 1))], 1),
    "no-growth": ([request(1, **upgrade(LENGTH, 0))], 1),
    "many": ([request(index + 1, **block(index, 0)) for index in range(30)], 30),
    "cancelled": ([request(1, **block(7, 5)), cancel(1), request(2, **block(8, 5))], 1),
    "cancelled-before": ([cancel(1), request(1, **block(7, 5))], 1),
    "replaced": ([request(1, **block(7, 5)), request(1, **block(8, 5))], 1),
    "unknown-type": ([(77, b"what"), request(1, **block(7, 5))], 1),
    "unknown-extension": (
        [(int(m.Type.EXTENSION), m.Extension("none", b"x").encode()), request(1, **block(7, 5))],
        1,
    ),
    "unwant": (
        [(int(m.Type.UNWANT), m.Unwant(0, 2097152).encode()), request(1, **block(7, 5))],
        1,
    ),
    "want": ([(int(m.Type.WANT), m.Want(0, 2097152).encode())], 1),
    "small-want": ([(int(m.Type.WANT), m.Want(0, 32).encode())], 1),
}


INVALID = ("too-many-nodes", "head-beyond-the-end", "no-growth")
"""Hypercore 10 breaks the connection of who sends these; 11 and we refuse, after a while."""


def comparable(messages: Sequence[Message], version: int) -> list[Message]:
    """Without what is free: in which order much is answered, and 10 gives no reason for no data."""
    return sorted(
        (kind, m.NoData(m.NoData.decode(body).request).encode())
        if kind == m.Type.NO_DATA and version == 10
        else (kind, body)
        for kind, body in messages
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [PLAIN, COMPAT], ids=str)
async def test_the_same_answers(
    version: int, kind: Kind, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """Each case in a frame for each message, and as one batch."""
    async with stock_peer(version) as author:
        key = await make_feed(author, kind, LENGTH)
        port = await listening(author)
        with await cloned(tmp_path / "feeds", key, port) as library:
            ours = await serving(nursery, library)
            for name, (messages, count) in CASES.items():
                # Whether a cancel overtakes an answer is chance, but within one frame.
                for batch in (True,) if name in ("cancelled", "replaced") else (True, False):
                    our_own = await asked(ours, key, messages, count, batch)
                    if version == 10 and name in INVALID:
                        with pytest.raises(Disconnected):
                            await asked(port, key, messages, count, batch)
                        assert [kind for kind, _body in our_own] == [m.Type.NO_DATA]
                        continue
                    theirs = await asked(port, key, messages, count, batch)
                    assert comparable(theirs, version) == comparable(our_own, version), name
            nursery.cancel_scope.cancel()


async def asked(
    port: int, key: bytes, messages: Sequence[Message], count: int, batch: bool
) -> list[Message]:
    """What a hoster answers: so many messages, and nothing else before a last request's answer."""
    async with raw_channel(port, key) as channel:
        if batch:
            await channel.send_batch(messages)
        else:
            for message in messages:
                await channel.send(*message)
        answers = await replies(channel, count)
        await channel.send(*request(99, **block(0, 0)))
        ((kind, body),) = await replies(channel, 1)
        assert kind == m.Type.DATA
        assert m.Data.decode(body).request == 99
        return answers


@pytest.mark.parametrize("version", VERSIONS)
async def test_our_receipts_reach_a_client_that_listens(
    version: int, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """Unasked, as extension messages; a client without the extension reads as well."""
    with Library(tmp_path / "feeds") as library:
        feed = our_feed(library, 250)
        port = await serving(nursery, library)
        async with stock_peer(version) as reader:
            await reader.do("open", core="feed", key=feed.key.hex())
            await reader.do("extension", core="feed", extension=EXTENSION)
            await reader.do("connect", to=f"127.0.0.1:{port}")
            await reader.do("update", core="feed")
            await reader.do("download", core="feed", start=0, end=250)
            for _ in range(2):
                receipt = await reader.event("extension", extension=EXTENSION)
                assert len(receipt["message"]) > 2 * 4_000
        nursery.cancel_scope.cancel()
