"""Finalized heads: each once, in order, without gaps, whatever the notifications do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio

from offchain_worker.chain.errors import ChainReverted, MalformedAnswer
from offchain_worker.chain.heads import SUBSCRIBE, Head, Heads, read_header
from offchain_worker.chain.rpc import Limits, open_rpc

HEADER = {
    "parentHash": "0x" + "11" * 32,
    "number": "0x7",
    "stateRoot": "0x" + "22" * 32,
    "extrinsicsRoot": "0x" + "33" * 32,
    "digest": {"logs": ["0x0642"]},
}


async def take(heads: Heads, count: int) -> list[Head]:
    with trio.fail_after(10):
        return [await anext(heads) for _ in range(count)]


def numbers(heads: list[Head]) -> list[int]:
    return [head.number for head in heads]


async def test_the_newest_comes_first_and_has_the_chains_hash_and_time(
    node: Any, limits: Limits
) -> None:
    await node.new_block()
    async with open_rpc(node.url, limits) as rpc:
        heads = Heads(rpc)
        (head,) = await take(heads, 1)
        heads.close()
    assert head.hash == node.chain.hash(1)
    assert head.parent == node.chain.genesis_hash
    assert head.timestamp_ms == node.chain.timestamp(1)


async def test_blocks_that_were_not_notified_are_fetched(node: Any, limits: Limits) -> None:
    async with open_rpc(node.url, limits) as rpc:
        heads = Heads(rpc)
        await take(heads, 1)
        for _ in range(4):
            await node.new_block(notify=0)
        await node.notify()
        found = await take(heads, 4)
        heads.close()
    assert numbers(found) == [1, 2, 3, 4]
    assert [head.hash for head in found] == [node.chain.hash(number) for number in range(1, 5)]


async def test_a_block_that_is_notified_twice_comes_once(node: Any, limits: Limits) -> None:
    async with open_rpc(node.url, limits) as rpc:
        heads = Heads(rpc)
        await take(heads, 1)
        await node.new_block(notify=3)
        await node.new_block(notify=2)
        assert numbers(await take(heads, 2)) == [1, 2]
        heads.close()


async def test_a_lost_connection_leaves_no_gap(node: Any, limits: Limits) -> None:
    async with open_rpc(node.url, limits) as rpc:
        heads = Heads(rpc)
        await take(heads, 1)
        await node.drop()
        for _ in range(3):
            await node.new_block(notify=0)
        assert numbers(await take(heads, 3)) == [1, 2, 3]
        await node.new_block()
        assert numbers(await take(heads, 1)) == [4]
        heads.close()
    assert node.count(SUBSCRIBE) == 2


async def test_more_notifications_than_can_wait_leave_no_gap(node: Any, limits: Limits) -> None:
    async with open_rpc(node.url, replace(limits, notifications=2)) as rpc:
        heads = Heads(rpc)
        await take(heads, 1)
        for _ in range(6):
            await node.new_block()
        assert numbers(await take(heads, 6)) == [1, 2, 3, 4, 5, 6]
        heads.close()


async def test_a_silent_subscription_is_asked(node: Any, limits: Limits) -> None:
    async with open_rpc(node.url, limits) as rpc:
        heads = Heads(rpc, poll=0.02)
        await take(heads, 1)
        await node.new_block(notify=0)
        assert numbers(await take(heads, 1)) == [1]
        heads.close()


async def test_going_on_after_a_known_head(node: Any, limits: Limits) -> None:
    for _ in range(3):
        await node.new_block()
    known = Head(1, node.chain.hash(1), node.chain.genesis_hash, 0)
    async with open_rpc(node.url, limits) as rpc:
        heads = Heads(rpc, after=known)
        assert numbers(await take(heads, 2)) == [2, 3]
        heads.close()


@pytest.mark.parametrize("number", [2, 3])
async def test_another_history_is_noticed(node: Any, limits: Limits, number: int) -> None:
    for _ in range(3):
        await node.new_block()
    known = Head(number, bytes(32), bytes(32), 0)
    async with open_rpc(node.url, limits) as rpc:
        heads = Heads(rpc, after=known)
        with pytest.raises(ChainReverted):
            await take(heads, 1)
        heads.close()


async def test_cancelling_loses_no_block(node: Any, limits: Limits) -> None:
    async with open_rpc(node.url, limits) as rpc:
        heads = Heads(rpc)
        await take(heads, 1)
        node.fault("state_getStorage", "silent")
        await node.new_block()
        with trio.move_on_after(0.1) as waited:
            await anext(heads)
        assert waited.cancelled_caught
        assert numbers(await take(heads, 1)) == [1]
        heads.close()


def test_a_header_names_itself() -> None:
    assert read_header(HEADER).number == 7
    other = read_header({**HEADER, "digest": {"logs": ["0x0643"]}})
    assert other.hash != read_header(HEADER).hash


def test_a_header_tells_of_another_runtime() -> None:
    assert not read_header(HEADER).upgraded
    assert read_header({**HEADER, "digest": {"logs": ["0x0642", "0x08"]}}).upgraded


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {**HEADER, "number": "seven"},
        {**HEADER, "number": hex(2**32)},
        {**HEADER, "stateRoot": "0x11"},
        {**HEADER, "parentHash": "11" * 32},
        {**HEADER, "digest": {"logs": "0x"}},
    ],
)
def test_a_malformed_header_is_refused(value: Any) -> None:
    with pytest.raises(MalformedAnswer):
        read_header(value)
