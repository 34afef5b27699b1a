"""The chain client against the real runtime: typed reads, entries, events, refusals, the clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

from chain_types import storage
from chain_types.calls import Id, TransferKeepAlive
from chain_types.errors import WrongRuntimeError
from chain_types.runtime import OtherEvent
from offchain_worker.chain import client as client_module
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient, open_chain
from offchain_worker.chain.errors import MalformedAnswer, RpcTimeout, TooMuch
from offchain_worker.chain.rpc import Limits

ALICE, BOB = Account.from_uri("//Alice"), Account.from_uri("//Bob")

Connect = Callable[[], AbstractAsyncContextManager[ChainClient]]


@pytest.fixture
def connect(node: Any, clock: Any, limits: Limits) -> Connect:
    @asynccontextmanager
    async def connected() -> AsyncIterator[ChainClient]:
        async with open_chain(node.url, limits=limits, clock=lambda: clock() / 1_000) as chain:
            yield chain

    return connected


async def test_the_start_tells_genesis_and_constants(node: Any, connect: Connect) -> None:
    async with connect() as chain:
        assert chain.genesis == node.chain.genesis_hash
        assert chain.runtime.version.spec_name == "datdot"
        assert chain.constants.existential_deposit > 0
        assert chain.constants.attestor_bond > 0


async def test_values_are_read_at_a_block(node: Any, connect: Connect) -> None:
    async with connect() as chain:
        before = await chain.finalized()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chain.submit, TransferKeepAlive(Id(BOB.public), 5), ALICE)
            await node.wait_for(lambda: node.count("author_submitExtrinsic") == 1)
            await node.new_block()
        assert (await chain.account(ALICE.public, at=before.hash)).nonce == 0
        assert (await chain.account(ALICE.public)).nonce == 1
        newest = await chain.finalized()
        assert newest.number == 1
        assert await chain.block_hash(1) == newest.hash
        assert await chain.block_hash(99) is None
        assert await chain.timestamp(newest.hash) == node.chain.timestamp(1)
        extrinsic, call = await chain.signed_extrinsic(newest.hash, 1)
        assert (extrinsic.account, extrinsic.nonce) == (ALICE.public, 0)
        assert call == TransferKeepAlive(Id(BOB.public), 5)
        with pytest.raises(MalformedAnswer, match="is not signed"):
            await chain.signed_extrinsic(newest.hash, 0)
        with pytest.raises(MalformedAnswer, match="has no extrinsic 2"):
            await chain.signed_extrinsic(newest.hash, 2)


async def test_absent_values_have_the_runtimes_meaning(connect: Connect) -> None:
    async with connect() as chain:
        nobody = await chain.account(b"\x01" * 32)
        assert (nobody.nonce, nobody.data.free) == (0, 0)
        assert await chain.read(storage.CHALLENGES, 0) is None
        assert await chain.read(storage.HISTORY, 0) == ()
        assert await chain.challenge(0) is None
        assert await chain.open_challenges(ALICE.public) == ()
        assert not await chain.is_closable(0)
        assert await chain.reports(0) == {}


async def test_a_map_is_read_in_pages(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAGE", 5)
    async with connect() as chain:
        found = await chain.entries(storage.ACCOUNTS)
        accounts = {keys[0]: info for keys, info in found}
        assert accounts[ALICE.public].data.free > 0
        assert len(accounts) == len(found) >= 12
        with pytest.raises(TooMuch):
            await chain.entries(storage.ACCOUNTS, limit=11)
        pages = [page async for page in chain.pages(storage.ACCOUNTS)]
        assert [entry for page in pages for entry in page] == found
        assert [len(page) for page in pages[:-1]] == [5] * (len(pages) - 1)


async def test_events_are_those_of_the_block(node: Any, connect: Connect) -> None:
    await node.new_block()
    async with connect() as chain:
        records = await chain.events((await chain.finalized()).hash)
        assert await chain.events(chain.genesis) == ()
    assert [record.extrinsic for record in records] == [0]
    event = records[0].event
    assert isinstance(event, OtherEvent)
    assert (event.pallet, event.name) == ("System", "ExtrinsicSuccess")


async def test_the_clock_is_compared_with_the_next_block(
    node: Any, clock: Any, connect: Connect
) -> None:
    async with connect() as chain:
        offsets: list[float | None] = []

        async def measure() -> None:
            offsets.append(await chain.clock_offset())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(measure)
            await node.wait_for(lambda: node.count("chain_subscribeNewHeads") == 1)
            node.chain.new_block()
            clock.ms = node.chain.timestamp() + 7_000
            await node.notify()
        assert offsets == [pytest.approx(7.0)]
        assert await chain.clock_offset(timeout=0.01) is None


async def test_another_runtime_is_refused_by_name(node: Any, connect: Connect) -> None:
    node.fault(
        "state_getRuntimeVersion",
        {"result": {"specName": "polkadot", "specVersion": 1, "transactionVersion": 1}},
    )
    with pytest.raises(WrongRuntimeError, match="the chain runs 'polkadot', not 'datdot'"):
        async with connect():
            pass


@pytest.mark.parametrize("metadata", ["0x", "0x6d6574610f", "0x6d6574610e00", "no hex", None])
async def test_metadata_that_cannot_be_read_is_refused(
    node: Any, connect: Connect, metadata: Any
) -> None:
    node.fault("state_getMetadata", {"result": metadata})
    with pytest.raises(MalformedAnswer):
        async with connect():
            pass


async def test_a_node_that_cannot_be_reached_is_named(limits: Limits) -> None:
    with pytest.raises(RpcTimeout, match="state_getRuntimeVersion"):
        async with open_chain("ws://127.0.0.1:1", limits=Limits(timeout=0.3)):
            pass
