"""The JSON-RPC client over real sockets: matching, errors, time-outs, lost connections, bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio

from offchain_worker.chain.errors import (
    ConnectionLost,
    RpcError,
    RpcTimeout,
    SubscriptionLagged,
)
from offchain_worker.chain.rpc import Limits, open_rpc
from offchain_worker.errors import UsageError

METHOD = "system_name"
SUBSCRIBE, UNSUBSCRIBE = "chain_subscribeNewHeads", "chain_unsubscribeNewHeads"


async def test_a_request_returns_its_result(node: Any, limits: Limits) -> None:
    async with open_rpc(node.url, limits) as rpc:
        assert await rpc.request("chain_getBlockHash", 0) == "0x" + node.chain.genesis_hash.hex()
    assert node.requests == [("chain_getBlockHash", [0])]


async def test_answers_are_matched_by_id_not_by_order(node: Any, limits: Limits) -> None:
    results: dict[str, Any] = {}
    node.fault("first", "silent")
    node.fault("second", {"result": "for the second"})

    async def ask(method: str) -> None:
        results[method] = await rpc.request(method)

    async with open_rpc(node.url, limits) as rpc, trio.open_nursery() as nursery:
        nursery.start_soon(ask, "first")
        await node.wait_for(lambda: node.count("first") == 1)
        await ask("second")
        assert results == {"second": "for the second"}
        await node.send_raw('{"jsonrpc": "2.0", "id": 99, "result": "for nobody"}')
        await node.send_raw('{"jsonrpc": "2.0", "id": 1, "result": "for the first"}')
    assert results["first"] == "for the first"


async def test_a_refusal_has_the_nodes_words(node: Any, limits: Limits) -> None:
    node.fault(METHOD, {"error": {"code": 1010, "message": "Invalid", "data": "outdated"}})
    async with open_rpc(node.url, limits) as rpc:
        with pytest.raises(RpcError) as caught:
            await rpc.request(METHOD)
    error = caught.value
    assert (error.method, error.code, error.message, error.data) == (
        METHOD,
        1010,
        "Invalid",
        "outdated",
    )


async def test_silence_ends_with_the_time_out(node: Any, limits: Limits) -> None:
    node.fault(METHOD, "silent")
    async with open_rpc(node.url, limits) as rpc:
        with pytest.raises(RpcTimeout, match=r"no answer to system_name within 0.05 s"):
            await rpc.request(METHOD, timeout=0.05)
        assert await rpc.request("chain_getBlockHash", 0)


async def test_a_node_that_is_not_there_is_named(limits: Limits) -> None:
    sockets = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = sockets[0].socket.getsockname()[1]
    await sockets[0].aclose()
    async with open_rpc(f"ws://127.0.0.1:{port}", replace(limits, timeout=0.5)) as rpc:
        with pytest.raises(RpcTimeout, match="all attempts to connect"):
            await rpc.request(METHOD)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_read_survives_a_lost_connection(node: Any, limits: Limits, moment: str) -> None:
    node.fault("chain_getBlockHash", moment)
    async with open_rpc(node.url, limits) as rpc:
        assert await rpc.request("chain_getBlockHash", 0)
        assert rpc.connections == 2
    assert node.count("chain_getBlockHash") == 2


async def test_what_must_not_be_repeated_is_not(node: Any, limits: Limits) -> None:
    node.fault(METHOD, "after")
    async with open_rpc(node.url, limits) as rpc:
        with pytest.raises(ConnectionLost):
            await rpc.request(METHOD, again=False)
    assert node.count(METHOD) == 1


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"id": "x"}', '{"error": 1}'])
async def test_a_malformed_message_ends_the_connection(
    node: Any, limits: Limits, text: str
) -> None:
    async with open_rpc(node.url, limits) as rpc:
        await rpc.request("chain_getBlockHash", 0)
        await node.send_raw(text)
        await node.wait_for(lambda: True)
        while rpc.connections < 2:
            await rpc.request("chain_getBlockHash", 0)


async def test_a_message_that_is_too_large_ends_the_connection(node: Any, limits: Limits) -> None:
    node.fault(METHOD, {"result": "x" * 5_000})
    async with open_rpc(node.url, replace(limits, message_bytes=1_000)) as rpc:
        with pytest.raises(ConnectionLost):
            await rpc.request(METHOD, again=False)


async def test_a_connection_without_pongs_is_given_up(limits: Limits) -> None:
    """A listener that accepts TCP and says nothing is not a node."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with open_rpc(
        f"ws://127.0.0.1:{port}", replace(limits, timeout=0.5, connect_timeout=0.1)
    ) as rpc:
        with pytest.raises(RpcTimeout, match=r"no connection within 0.1 s"):
            await rpc.request(METHOD)
        assert rpc.connections == 0
    for listener in listeners:
        await listener.aclose()


async def test_a_cancelled_request_leaves_the_connection_usable(node: Any, limits: Limits) -> None:
    node.fault(METHOD, "silent")
    async with open_rpc(node.url, limits) as rpc:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rpc.request, METHOD)
            await node.wait_for(lambda: node.count(METHOD) == 1)
            nursery.cancel_scope.cancel()
        assert await rpc.request("chain_getBlockHash", 0)
        assert rpc.connections == 1


async def test_no_more_requests_wait_than_allowed(node: Any, limits: Limits) -> None:
    node.fault(METHOD, *["silent"] * 4)
    async with open_rpc(node.url, replace(limits, requests=4)) as rpc, trio.open_nursery() as all_:
        for _ in range(5):
            all_.start_soon(rpc.request, METHOD)
        await node.wait_for(lambda: node.count(METHOD) == 4)
        with trio.move_on_after(0.05) as waited:
            await node.wait_for(lambda: node.count(METHOD) == 5)
        assert waited.cancelled_caught
        all_.cancel_scope.cancel()


async def test_notifications_come_in_order(node: Any, limits: Limits) -> None:
    async with open_rpc(node.url, limits) as rpc:
        subscription = await rpc.subscribe(SUBSCRIBE)
        for number in range(1, 4):
            await node.new_block()
            assert int((await anext(subscription))["number"], 16) == number
        subscription.close(UNSUBSCRIBE)
        await node.wait_for(lambda: node.count(UNSUBSCRIBE) == 1)


async def test_a_slow_consumer_is_told_that_it_lost_something(node: Any, limits: Limits) -> None:
    async with open_rpc(node.url, replace(limits, notifications=2)) as rpc:
        subscription = await rpc.subscribe(SUBSCRIBE)
        await node.new_block(notify=3)
        await rpc.request("chain_getBlockHash", 0)
        assert [int((await anext(subscription))["number"], 16) for _ in range(2)] == [1, 1]
        with pytest.raises(SubscriptionLagged):
            await anext(subscription)


async def test_a_subscription_ends_with_its_connection(node: Any, limits: Limits) -> None:
    async with open_rpc(node.url, limits) as rpc:
        subscription = await rpc.subscribe(SUBSCRIBE)
        await node.drop()
        with pytest.raises(ConnectionLost):
            await anext(subscription)


async def test_errors_of_the_body_are_raised_as_they_are(node: Any, limits: Limits) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_rpc(node.url, limits):
            raise KeyError("mine")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:1", "ws://", "", "ws://h:99999"])
async def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is not a node's address"):
        async with open_rpc(url):
            pass
