from typing import Any

import pytest
from hypercore_feeds import MemoryFeed, load

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.answers import answer, sync_of
from offchain_worker.hypercore.client import RemoteBlocks
from offchain_worker.hypercore.errors import InvalidRequest

PROOFS = load("proofs.json")["proofs"]
FEEDS: dict[int, MemoryFeed] = {}


def feed_of(length: int) -> MemoryFeed:
    if length not in FEEDS:
        FEEDS[length] = MemoryFeed(length)
    return FEEDS[length]


@pytest.mark.parametrize("case", PROOFS, ids=lambda case: str(case["request"]["id"]))
def test_the_same_data_for_the_same_request(case: dict[str, Any]) -> None:
    request = m.Request.decode(bytes.fromhex(case["request_encoded"]))
    assert answer(feed_of(case["feed_length"]), request).encode().hex() == case["data_encoded"]


@pytest.mark.parametrize(
    "request_",
    [
        m.Request(1, 0, block=m.RequestBlock(10, 0)),
        m.Request(1, 1, block=m.RequestBlock(0, 0)),
        m.Request(1, 0, block=m.RequestBlock(3, 0)),
        m.Request(1, 0, block=m.RequestBlock(2, 1)),
        m.Request(1, 0),
    ],
)
def test_not_available(request_: m.Request) -> None:
    feed = MemoryFeed(10)
    del feed.blocks[3], feed.nodes[6]
    assert answer(feed, request_) == m.NoData(1, m.Reason.NOT_AVAILABLE)


def test_a_feed_without_a_head_has_nothing() -> None:
    feed = MemoryFeed(0)
    assert answer(feed, m.Request(1, 0, upgrade=m.RequestUpgrade(0, 1))) == m.NoData(
        1, m.Reason.NOT_AVAILABLE
    )
    assert sync_of(feed, None, None) == m.Sync(0, 0, 0, uploading=True, downloading=True)


@pytest.mark.parametrize(
    "request_",
    [
        m.Request(1, 0, block=m.RequestBlock(0, 5)),
        m.Request(1, 0, upgrade=m.RequestUpgrade(10, 0)),
        m.Request(1, 0, upgrade=m.RequestUpgrade(0, 11)),
        m.Request(1, 0, hash=m.RequestBlock(40, 0)),
        m.Request(1, 0, seek=m.RequestSeek(1, 0)),
        m.Request(1, 0, block=m.RequestBlock(0, 0), hash=m.RequestBlock(0, 0)),
    ],
)
def test_invalid(request_: m.Request) -> None:
    with pytest.raises(InvalidRequest):
        answer(feed_of(10), request_)


def test_a_manifest_alone() -> None:
    feed = feed_of(5)
    assert answer(feed, m.Request(4, 0, manifest=True)) == m.Data(4, 0, manifest=feed.manifest)
    compat = MemoryFeed(5, compat=True)
    assert isinstance(answer(compat, m.Request(4, 0, manifest=True)), m.NoData)


def test_a_dropped_block_says_nothing_about_those_behind_it() -> None:
    remote = RemoteBlocks()
    remote.set_range(0, 100_000, has=True)
    remote.set_range(7, 1, has=False)
    assert remote.denied(7)
    assert remote.has(6)
    for other in (8, 99_999):
        assert not remote.has(other)
        assert not remote.denied(other)
    remote.set_bitfield(m.Bitfield(65_504, (0xFFFFFFFF, 0xFFFFFFFE)))
    assert remote.has(65_535)
    assert remote.has(65_537)
    assert remote.denied(65_536)
    assert not remote.denied(65_568)


def test_what_a_peer_announces_is_bounded() -> None:
    remote = RemoteBlocks()
    remote.set_range(1, 2**53 - 2, has=True)
    assert remote.has(1000)
    assert not remote.has(0)
    assert len(remote._pages) <= 1024
    remote.set_range(0, 50, has=True)
    remote.set_range(20, 10, has=False)
    assert remote.has(19)
    assert not remote.has(25)
    remote.set_bitfield(m.Bitfield(0, (1,)))
    assert remote.has(0)
    assert not remote.has(1)
    assert remote.denied(1)
