"""`transactionWatch_v1_*` and `transaction_v1_*` over a real socket."""

from typing import Any

import pytest
from node_client import Client, connected, serving
from substrateinterface import Keypair

from datdot_node import pool
from datdot_node.rpc import transactions


async def watch(client: Client, extrinsic: bytes) -> str:
    subscription: str = await client.call(
        "transactionWatch_v1_submitAndWatch", "0x" + extrinsic.hex()
    )
    return subscription


async def event(client: Client, subscription: str) -> dict[str, Any]:
    notification = await client.notified()
    assert notification["method"] == "transactionWatch_v1_watchEvent"
    assert notification["params"]["subscription"] == subscription
    told: dict[str, Any] = notification["params"]["result"]
    return told


async def pending(client: Client) -> list[str]:
    extrinsics: list[str] = await client.call("author_pendingExtrinsics")
    return extrinsics


async def test_a_transaction_until_it_is_final(wallet: Any) -> None:
    async with serving(finality_lag=2) as running, connected(running) as client:
        await client.call("dev_newBlock")
        watched = await watch(client, wallet.transfer(0))
        assert await event(client, watched) == {"event": "validated"}
        first = await client.call("dev_newBlock")
        assert await event(client, watched) == {
            "event": "bestChainBlockIncluded",
            "block": {"hash": first, "index": 1},
        }
        await client.call("dev_reorg", 1)
        second = await client.call("chain_getBlockHash", 2)
        assert await event(client, watched) == {"event": "bestChainBlockIncluded", "block": None}
        assert await event(client, watched) == {
            "event": "bestChainBlockIncluded",
            "block": {"hash": second, "index": 1},
        }
        await client.call("dev_newBlock")
        assert await event(client, watched) == {
            "event": "finalized",
            "block": {"hash": second, "index": 1},
        }
        assert await client.call("transactionWatch_v1_unwatch", watched) is None
        assert await client.call("author_unwatchExtrinsic", watched) is False


async def test_a_refusal_is_an_event(wallet: Any) -> None:
    async with serving() as running, connected(running) as client:
        for extrinsic, reason in (
            (b"\x0c\xff\xff\xff", "Verification Error"),
            (b"\1", "invalid format"),
            (wallet.transfer(0, signer=Keypair.create_from_uri("//Nobody")), "Inability to pay"),
        ):
            watched = await watch(client, extrinsic)
            told = await event(client, watched)
            assert told["event"] == "invalid"
            assert reason in told["error"]
        assert (await client.refused("transactionWatch_v1_submitAndWatch", "0x1"))["code"] == -32602


async def test_a_transaction_that_another_replaces(wallet: Any) -> None:
    async with serving() as running, connected(running) as client:
        future = await watch(client, wallet.transfer(1))
        assert await event(client, future) == {"event": "validated"}
        first = await watch(client, wallet.transfer(0))
        told = [(await client.notified())["params"] for _ in "a"]
        assert told == [{"subscription": first, "result": {"event": "validated"}}], (
            "once each, however often the pool changes its mind"
        )
        better = await watch(client, wallet.transfer(0, tip=10**12))
        told = [(await client.notified())["params"] for _ in "ab"]
        events = {each["subscription"]: each["result"]["event"] for each in told}
        assert events == {first: "invalid", better: "validated"}


async def test_broadcasting_until_stopped(wallet: Any) -> None:
    async with serving() as running, connected(running) as client:
        extrinsic = "0x" + wallet.transfer(0).hex()
        operation = await client.call("transaction_v1_broadcast", extrinsic)
        assert await pending(client) == [extrinsic]
        assert await client.call("transaction_v1_stop", operation) is None
        assert await pending(client) == []
        for unknown in (operation, "x"):
            assert (await client.refused("transaction_v1_stop", unknown))["code"] == -32602
        await client.call("transaction_v1_broadcast", extrinsic)
        head = await client.call("dev_newBlock")
        assert extrinsic in (await client.call("chain_getBlock", head))["block"]["extrinsics"]


async def test_what_is_refused_is_broadcast_again_only_if_that_may_help(
    wallet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "BAN_MS", 1_000_000)
    async with serving() as running, connected(running) as client:
        assert await client.call("transaction_v1_broadcast", "0x00")
        assert await running.node.run(lambda chain: chain._broadcasts) == []
        extrinsic = wallet.transfer(0)

        def ban(chain: Any) -> None:
            chain.pool.remove_invalid(chain.submit(extrinsic), chain.now_ms())

        await running.node.run(ban)
        await client.call("transaction_v1_broadcast", "0x" + extrinsic.hex())
        await client.call("dev_newBlock")
        assert await pending(client) == [], "it is banned"
        await client.call("dev_timeTravel", 2_000_000)
        await client.call("dev_newBlock")
        assert await pending(client) == ["0x" + extrinsic.hex()]
        await client.call("dev_newBlock")
        assert await running.node.run(lambda chain: chain._broadcasts) == []


async def test_limits(wallet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "MAX_BROADCASTS", 2)
    async with serving() as running, connected(running) as client:
        for nonce in range(2):
            extrinsic = "0x" + wallet.transfer(nonce).hex()
            assert await client.call("transaction_v1_broadcast", extrinsic)
        extrinsic = "0x" + wallet.transfer(2).hex()
        assert await client.call("transaction_v1_broadcast", extrinsic) is None
        await client.call("dev_newBlock", 2)
        assert await client.call("transaction_v1_broadcast", extrinsic), "the others are final"
