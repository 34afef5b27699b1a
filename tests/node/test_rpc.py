"""JSON-RPC over real sockets: by substrate-interface, and by hand where it is about bad input."""

import json
from typing import Any

import pytest
import trio
import trio_websocket
from node_client import Client, connected, http, raw_websocket, serving
from substrateinterface import Keypair, SubstrateInterface
from substrateinterface.exceptions import SubstrateRequestException
from wsproto.events import CloseConnection, Message

from datdot_node import Chain, transport
from datdot_node.errors import PortInUse, StateDiscarded
from datdot_node.main import run
from datdot_node.node import Mode
from datdot_node.rpc import session
from datdot_node.rpc.methods import translated


async def test_substrate_interface_sends_a_transfer() -> None:
    """Connects, reads, signs, submits and waits for finality, all by its own means."""

    def use(url: str) -> None:
        with SubstrateInterface(url=url) as substrate:
            alice, bob = Keypair.create_from_uri("//Alice"), Keypair.create_from_uri("//Bob")
            before = substrate.query("System", "Account", [bob.ss58_address]).value
            call = substrate.compose_call(
                "Balances",
                "transfer_keep_alive",
                {"dest": bob.ss58_address, "value": 3 * 10**12},
            )
            info = substrate.get_payment_info(call, alice)
            assert info["partialFee"] > 0
            extrinsic = substrate.create_signed_extrinsic(call, alice, era={"period": 16})
            receipt = substrate.submit_extrinsic(extrinsic, wait_for_finalization=True)
            assert receipt.is_success, receipt.error_message
            fees = [
                event.value["attributes"]["actual_fee"]
                for event in receipt.triggered_events
                if event.value["event_id"] == "TransactionFeePaid"
            ]
            assert fees
            after = substrate.query("System", "Account", [bob.ss58_address]).value
            assert after["data"]["free"] == before["data"]["free"] + 3 * 10**12
            assert substrate.get_account_nonce(alice.ss58_address) == 1
            block = substrate.get_block(receipt.block_hash)
            assert len(block["extrinsics"]) == 2
            assert substrate.get_chain_finalised_head() == receipt.block_hash
            accounts = list(substrate.query_map("System", "Account", page_size=3))
            assert len(accounts) >= 12
            assert substrate.get_constant("System", "SS58Prefix").value == 42
            with pytest.raises(SubstrateRequestException, match=r"1010.*outdated"):
                substrate.submit_extrinsic(extrinsic)

    async with serving(Mode.INSTANT) as running:
        await trio.to_thread.run_sync(use, running.url)


async def test_what_clients_ask_at_the_start() -> None:
    async with serving() as running, connected(running) as client:
        methods = (await client.call("rpc_methods"))["methods"]
        for name in methods:
            assert name == "rpc_methods" or "_" in name
        assert await client.call("system_chainType") == "Development"
        assert (await client.call("system_health"))["isSyncing"] is False
        assert (await client.call("system_properties"))["ss58Format"] == 42
        assert (await client.call("system_syncState"))["currentBlock"] == 0
        assert await client.call("system_nodeRoles") == ["Authority"]
        assert await client.call("system_peers") == []
        for name in ("system_chain", "system_name", "system_version", "system_localPeerId"):
            assert isinstance(await client.call(name), str)
        version = await client.call("state_getRuntimeVersion")
        assert version["specName"] == "datdot"
        assert version["stateVersion"] == 1
        metadata = await client.call("state_getMetadata")
        assert metadata.startswith("0x6d657461")
        genesis = await client.call("chain_getBlockHash", 0)
        assert genesis == await client.call("chain_getBlockHash", "0x0")
        assert await client.call("chain_getBlockHash", [0, 7]) == [genesis, None]
        assert await client.call("chain_getFinalizedHead") == genesis
        assert (await client.call("chain_getBlock", genesis))["block"]["extrinsics"] == []
        assert await client.call("chain_getHeader", "0x" + "11" * 32) is None
        assert await client.call("chain_getBlock", "0x" + "11" * 32) is None


async def test_state() -> None:
    async with serving() as running, connected(running) as client:
        number = "0x26aa394eea5630e07c48ae0c9558cef702a5c1b19ab7a04f536c519aca4983ac"
        genesis = await client.call("chain_getBlockHash")
        assert await client.call("state_getStorage", number) is None
        await running.new_block()
        await running.new_block()
        head = await client.call("chain_getBlockHash")
        assert await client.call("state_getStorage", number) == "0x02000000"
        assert await client.call("state_getStorageSize", number) == 4
        assert await client.call("state_getStorageHash", number, genesis) is None
        assert await client.call("state_queryStorageAt", [number], head) == [
            {"block": head, "changes": [[number, "0x02000000"]]}
        ]
        history = await client.call("state_queryStorage", [number], genesis, head)
        assert [each["changes"][0][1] for each in history] == [None, "0x01000000", "0x02000000"]
        system = number[:34]
        pairs = await client.call("state_getPairs", system)
        keys = [key for key, _ in pairs]
        assert keys == await client.call("state_getKeys", system)
        paged, start = [], None
        while page := await client.call("state_getKeysPaged", system, 5, start):
            paged += page
            start = page[-1]
        assert paged == keys
        assert all(key.startswith(system) for key in keys)
        assert await client.call("state_getKeysPaged", number, 5) == [number]
        nonce = await client.call("state_call", "AccountNonceApi_account_nonce", "0x" + "01" * 32)
        assert nonce == "0x00000000"


async def test_dev() -> None:
    async with serving() as running, connected(running) as client:
        assert await client.call("dev_newBlock") == await client.call("chain_getBlockHash", 1)
        await client.call("dev_newBlock", 3)
        assert (await client.call("chain_getHeader"))["number"] == "0x4"
        now = await client.call("dev_timeTravel", 3_600_000)
        await client.call("dev_newBlock", {"count": 1, "timestamp": now + 7_200_000})
        assert await client.call("dev_replay") is True
        assert (await client.refused("dev_newBlock", {"timestamp": 5}))["code"] == -32603
        assert (await client.refused("dev_newBlock", 10_000))["code"] == -32602


async def test_forks_and_forward(wallet: Any) -> None:
    number = "0x26aa394eea5630e07c48ae0c9558cef702a5c1b19ab7a04f536c519aca4983ac"
    async with serving(finality_lag=4) as running, connected(running) as client:
        await client.call("dev_newBlock", 2)
        watched = await client.call(
            "author_submitAndWatchExtrinsic", "0x" + wallet.transfer(0).hex()
        )
        assert (await client.notified())["params"]["result"] == "ready"
        replaced = await client.call("dev_newBlock")
        assert (await client.notified())["params"]["result"] == {"inBlock": replaced}
        storage = await client.call("state_subscribeStorage", [number])
        assert (await client.notified())["params"]["result"]["changes"] == [[number, "0x03000000"]]
        heads = await client.call("chain_subscribeNewHeads")
        assert (await client.notified())["params"]["result"]["number"] == "0x3"

        newest = await client.call("dev_reorg", 1)
        third = await client.call("chain_getBlockHash", 3)
        assert third != replaced
        told = {watched: [], storage: [], heads: []}
        for _ in range(3 + 3 + 2):
            notification = (await client.notified())["params"]
            told[notification["subscription"]].append(notification["result"])
        assert told[watched] == [{"retracted": replaced}, "ready", {"inBlock": third}]
        values = [[value for _, value in each["changes"]] for each in told[storage]]
        assert values == [["0x02000000"], ["0x03000000"], ["0x04000000"]]
        assert [each["number"] for each in told[heads]] == ["0x3", "0x4"]
        assert await client.call("chain_getBlockHash") == newest

        assert await client.call("dev_setHead", third) == third
        assert (await client.notified())["params"]["result"]["changes"] == [[number, "0x03000000"]]
        assert (await client.notified())["params"]["result"]["number"] == "0x3"
        assert await client.call("dev_fastForward", 60_000) == 120
        error = await client.refused("dev_setHead", third)
    assert error["code"] == -32603
    assert "is final" in error["message"]


async def test_a_discarded_state_is_said_as_a_native_node_says_it() -> None:
    chain = await trio.to_thread.run_sync(lambda: Chain.open(kept_states=1))
    try:
        for _ in range(3):
            chain.new_block()
        with pytest.raises(StateDiscarded) as caught:
            chain.storage(b":code", 1)
    finally:
        chain.close()
    error = translated(caught.value)
    assert error.code == 4003
    assert error.message.startswith("Client error: UnknownBlock: State already discarded")


async def test_heads() -> None:
    async with serving() as running, connected(running) as client:
        news = await client.call("chain_subscribeNewHeads")
        finalized = await client.call("chain_subscribeFinalizedHeads")
        for expected in ("0x0", "0x0"):
            assert (await client.notified())["params"]["result"]["number"] == expected
        await running.new_block()
        first, second = await client.notified(), await client.notified()
        assert first["method"] == "chain_newHead"
        assert first["params"]["subscription"] == news
        assert second["method"] == "chain_finalizedHead"
        assert second["params"]["subscription"] == finalized
        assert first["params"]["result"] == second["params"]["result"]
        assert await client.call("chain_unsubscribeNewHeads", finalized) is False
        assert await client.call("chain_unsubscribeNewHeads", news) is True
        await running.new_block()
        assert (await client.notified())["method"] == "chain_finalizedHead"


async def test_storage_and_runtime_subscriptions() -> None:
    async with serving() as running, connected(running) as client:
        number = "0x26aa394eea5630e07c48ae0c9558cef702a5c1b19ab7a04f536c519aca4983ac"
        await client.call("state_subscribeStorage", [number, "0x3a636f6465"])
        changes = (await client.notified())["params"]["result"]["changes"]
        assert changes[0] == [number, None]
        await running.new_block()
        assert (await client.notified())["params"]["result"]["changes"] == [[number, "0x01000000"]]
        await client.call("state_subscribeRuntimeVersion")
        assert (await client.notified())["params"]["result"]["specName"] == "datdot"


async def test_a_watched_transaction(wallet: Any) -> None:
    async with serving() as running, connected(running) as client:
        extrinsics = ["0x" + wallet.transfer(nonce).hex() for nonce in (0, 1)]
        later = await client.call("author_submitAndWatchExtrinsic", extrinsics[1])
        assert (await client.notified())["params"] == {"subscription": later, "result": "future"}
        assert await client.call("author_pendingExtrinsics") == []
        first = await client.call("author_submitAndWatchExtrinsic", extrinsics[0])
        told = [(await client.notified())["params"] for _ in range(2)]
        assert {each["subscription"] for each in told} == {first, later}
        assert [each["result"] for each in told] == ["ready", "ready"]
        assert await client.call("author_pendingExtrinsics") == extrinsics
        assert await client.call("system_accountNextIndex", wallet.alice.ss58_address) == 2
        await running.new_block()
        head = await client.call("chain_getBlockHash")
        told = [(await client.notified())["params"] for _ in range(4)]
        for subscription in (first, later):
            mine = [each["result"] for each in told if each["subscription"] == subscription]
            assert mine == [{"inBlock": head}, {"finalized": head}]
        assert await client.call("author_unwatchExtrinsic", first) is False


async def test_instant_blocks(wallet: Any) -> None:
    async with serving(Mode.INSTANT) as running, connected(running) as client:
        await client.call("chain_subscribeFinalizedHeads")
        assert (await client.notified())["params"]["result"]["number"] == "0x0"
        for nonce in range(3):
            await client.call("author_submitExtrinsic", "0x" + wallet.transfer(nonce).hex())
        seen = 0
        while seen < 3:
            head = (await client.notified())["params"]["result"]
            block_hash = await client.call("chain_getBlockHash", head["number"])
            seen += (
                len((await client.call("chain_getBlock", block_hash))["block"]["extrinsics"]) - 1
            )


async def test_interval_blocks() -> None:
    async with serving(Mode.INTERVAL) as running, connected(running) as client:
        await client.call("chain_subscribeNewHeads")
        numbers = [int((await client.notified())["params"]["result"]["number"], 16) for _ in "abc"]
        assert numbers == list(range(numbers[0], numbers[0] + 3))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", -32700),
        ("[" * 100_000, -32700),
        ("[]", -32600),
        ("7", -32600),
        ('{"jsonrpc":"1.0","id":1,"method":"system_name"}', -32600),
        ('{"jsonrpc":"2.0","id":{},"method":"system_name"}', -32600),
        ('{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        ('{"jsonrpc":"2.0","id":1,"method":"system_name","params":{"a":1}}', -32600),
        ('{"jsonrpc":"2.0","id":1,"method":"system_unheardOf"}', -32601),
        ('{"jsonrpc":"2.0","id":1,"method":"state_getStorage"}', -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"state_getStorage","params":["0x0"]}', -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"state_getStorage","params":["0x 00"]}', -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"state_getStorage","params":["0x","0x11"]}', -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"chain_getBlockHash","params":[-1]}', -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"chain_getBlockHash","params":[true]}', -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"system_accountNextIndex","params":["x"]}', -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"state_call","params":["Nothing","0x"]}', 4003),
        ('{"jsonrpc":"2.0","id":1,"method":"author_submitExtrinsic","params":["0x00"]}', 1002),
        ('{"jsonrpc":"2.0","id":1,"method":"author_submitExtrinsic","params":["0x01"]}', 1040),
        ("[" + ",".join(["7"] * 200) + "]", -32010),
    ],
)
async def test_bad_requests(text: str, code: int) -> None:
    async with serving() as running:
        async with connected(running) as client:
            assert (await client.raw(text))["code"] == code
            assert await client.call("system_chainType") == "Development"
        status, answer = await http(running, text.encode())
        assert (status, answer["error"]["code"]) == (200, code)


async def test_an_unknown_block_of_a_state() -> None:
    async with serving() as running, connected(running) as client:
        error = await client.refused("state_getStorage", "0x", "0x" + "11" * 32)
        assert error["code"] == 4003
        assert "UnknownBlock" in error["message"]


async def test_batches_and_notifications() -> None:
    async with serving() as running:
        batch = [
            {"jsonrpc": "2.0", "id": 1, "method": "system_chainType"},
            {"jsonrpc": "2.0", "method": "system_chainType"},
            {"jsonrpc": "2.0", "id": "x", "method": "nothing_here"},
            5,
        ]
        status, answers = await http(running, json.dumps(batch).encode())
        assert status == 200
        assert [each["id"] for each in answers] == [1, "x", None]
        assert answers[0]["result"] == "Development"
        assert (await http(running, json.dumps(batch[1]).encode())) == (200, None)


async def test_http_has_no_subscriptions_and_wants_post() -> None:
    async with serving() as running:
        request = {"jsonrpc": "2.0", "id": 1, "method": "chain_subscribeNewHeads"}
        _, answer = await http(running, json.dumps(request).encode())
        assert answer["error"]["code"] == -32601
        assert (await http(running, b"", "GET"))[0] == 405


async def test_two_http_requests_on_one_connection() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"system_chainType"}'
    request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    async with serving() as running:
        stream = await trio.open_tcp_stream("127.0.0.1", running.port)
        async with stream:
            await stream.send_all(request * 2)
            received = b""
            while received.count(b"Development") < 2:
                received += await stream.receive_some(4096)


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.1", b"HEAD / HTTP/1.1", b"PUT / HTTP/1.0", b"CONNECT x:1 HTTP/1.1"]
)
async def test_another_method_of_http_ends_the_connection(request_: bytes) -> None:
    async with serving() as running:
        stream = await trio.open_tcp_stream("127.0.0.1", running.port)
        async with stream:
            await stream.send_all(request_ + b"\r\nhost: x\r\ncontent-length: 5\r\n\r\n")
            with trio.fail_after(5):
                assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 405")
                assert await _end(stream, 1)
        async with connected(running) as client:
            assert await client.call("system_chainType") == "Development"


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01 not http\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a" * 20_000]
)
async def test_what_is_no_http_ends_the_connection(sent: bytes) -> None:
    async with serving() as running:
        stream = await trio.open_tcp_stream("127.0.0.1", running.port)
        async with stream:
            await stream.send_all(sent)
            with trio.fail_after(5):
                answer = await stream.receive_some(4096)
            assert answer.startswith(b"HTTP/1.1 4")


async def test_too_large_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_MESSAGE", 10_000)
    async with serving() as running:
        assert (await http(running, b" " * 10_001))[0] == 413
        async with raw_websocket(running) as (stream, client):
            await stream.send_all(client.send(Message(data="x" * 10_001)))
            client.receive_data(await stream.receive_some(4096))
            closed = next(client.events())
            assert isinstance(closed, CloseConnection)
            assert closed.code == 1009
            await stream.send_all(client.send(closed.response()))
            assert await stream.receive_some(1) == b""


async def test_too_many_subscriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_SUBSCRIPTIONS", 2)
    async with serving() as running, connected(running) as client:
        for _ in range(2):
            await client.call("chain_subscribeNewHeads")
        for _ in range(2):
            await client.notified()
        assert (await client.refused("chain_subscribeNewHeads"))["code"] == -32006


@pytest.mark.parametrize(("limit", "value"), [("MAX_WAITING", 4), ("MAX_WAITING_BYTES", 10_000)])
async def test_a_client_that_does_not_read_is_let_go(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(transport, limit, value)
    async with serving() as running, raw_websocket(running) as (stream, client):
        for number, (method, params) in enumerate(
            [("chain_subscribeNewHeads", [])] + [("state_getStorage", ["0x3a636f6465"])] * 40
        ):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            await stream.send_all(client.send(Message(data=json.dumps(request))))
        async with connected(running) as other:
            await other.call("dev_newBlock", 50)
            assert (await other.call("chain_getHeader"))["number"] == "0x32"
        with trio.fail_after(10):
            while not await _end(stream, 1 << 20):
                pass


async def test_a_client_that_goes_without_a_word() -> None:
    async with serving(max_connections=1) as running:
        async with raw_websocket(running) as (stream, _client):
            await stream.send_eof()
            with trio.fail_after(10):
                assert await _end(stream, 1)
        async with connected(running) as other:
            assert await other.call("system_chainType") == "Development"


async def test_too_many_connections() -> None:
    async with serving(max_connections=1) as running, connected(running) as client:
        second = await trio.open_tcp_stream("127.0.0.1", running.port)
        async with second:
            with trio.fail_after(5):
                assert await _end(second, 1)
        assert await client.call("system_chainType") == "Development"


async def _end(stream: trio.SocketStream, most: int) -> bool:
    """Reads; whether the peer has closed."""
    try:
        return await stream.receive_some(most) == b""
    except trio.BrokenResourceError:
        return True


async def test_a_port_in_use() -> None:
    async with serving() as running:
        with pytest.raises(PortInUse, match=f"port {running.port} on 127.0.0.1 is in use"):
            await run(None, port=running.port)


async def test_run_says_where_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    async with trio.open_nursery() as nursery:

        async def start(task_status: trio.TaskStatus[int]) -> None:
            await run(None, port=0, mode=Mode.MANUAL, ready_line=True, task_status=task_status)

        port = await nursery.start(start)
        async with trio_websocket.open_websocket_url(f"ws://127.0.0.1:{port}") as socket:
            assert await Client(socket).call("system_chainType") == "Development"
        nursery.cancel_scope.cancel()
    line = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert line["event"] == "ready"
    assert line["port"] == port
