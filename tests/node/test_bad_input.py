"""What nobody should send: wrong parameters, floods, bytes that are no extrinsic."""

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
import structlog
import structlog.testing
import trio
import trio_websocket
from node_client import Client, Running, connected, http, raw_websocket, serving
from wsproto.events import Message

from datdot_node import transport
from datdot_node.node import Mode
from datdot_node.rpc import jsonrpc
from datdot_node.rpc.session import ALL_METHODS

HASH = "0x" + "11" * 32
BAD_VALUES: list[Any] = [
    None,
    True,
    -1,
    1.5,
    1 << 64,
    "",
    "x",
    "0x",
    "0x0",
    "0xgg",
    "0x 00",
    "0x" + "00" * 33,
    "9" * 5_000,
    "\N{ARABIC-INDIC DIGIT FIVE}",
    HASH,
    {},
    {"count": [], "timestamp": "x"},
    [],
    [[]],
    [None],
    [{}],
    [{"type": "value", "key": 7}],
    [{"type": [], "key": "0x"}],
    [HASH, HASH],
]
LONGEST = "0x" + "ab" * 100_000
PARAMS: list[list[Any]] = [
    [],
    *([value] for value in BAD_VALUES),
    *(["0x", value] for value in BAD_VALUES),
    *(["0x", HASH, value] for value in BAD_VALUES),
    *(["x", HASH, "x", value] for value in BAD_VALUES),
    [LONGEST],
    ["Core_version", LONGEST, HASH],
    ["0x"] * 1_000,
]


@pytest.mark.parametrize("method", ALL_METHODS)
async def test_a_method_with_wrong_parameters(method: str) -> None:
    """Each is answered, by a result or by an error that says what is wrong with the request."""
    async with serving() as running, connected(running) as client:
        for number, params in enumerate(PARAMS):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            await client.socket.send_message(json.dumps(request))
            answer = await client.message()
            while "id" not in answer:
                answer = await client.message()
            assert answer["id"] == number
            if "error" in answer:
                assert isinstance(answer["error"]["code"], int)
                assert not answer["error"]["message"].startswith("Internal error"), (params, answer)
        await running.new_block()


async def test_methods_of_another_connection_are_unknown_over_http() -> None:
    async with serving() as running:
        for method in ("chainHead_v1_follow", "chainHead_v1_header", "transaction_v1_broadcast"):
            request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": ["0x", HASH]}
            _, answer = await http(running, json.dumps(request).encode())
            assert answer["error"]["code"] == -32601


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("[" + "0," * jsonrpc.MAX_VALUES + "0]", -32600),
        ("[" + "[]," * (jsonrpc.MAX_VALUES // 2) + "[]]", -32600),
        ("[" * (jsonrpc.MAX_VALUES + 1), -32600),
        ("[" * jsonrpc.MAX_VALUES, -32700),
        ('{"a":' * 100_000, -32700),
        (
            '{"jsonrpc":"2.0","id":1,"method":"x","params":' + "[" * 5_000 + "]" * 5_000 + "}",
            -32700,
        ),
        ('{"jsonrpc":"2.0","id":1,"method":"' + "x" * 1_000_000 + '"}', -32601),
        (b"\xff\xfe", -32700),
        (b"\0" * 1_000, -32700),
    ],
    ids=range(9),
)
async def test_messages_that_are_none(message: str | bytes, code: int) -> None:
    raw = message.encode() if isinstance(message, str) else message
    async with serving() as running:
        status, answer = await http(running, raw)
        assert (status, answer["error"]["code"]) == (200, code)
        assert len(json.dumps(answer)) < 1_000, "and it is not sent back"
        async with connected(running) as client:
            assert (await client.raw(message))["code"] == code


async def test_answers_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    code = {"jsonrpc": "2.0", "id": 1, "method": "state_getStorage", "params": ["0x3a636f6465"]}
    async with serving() as running:
        _, answer = await http(running, json.dumps(code).encode())
        size = len(answer["result"])
        monkeypatch.setattr(jsonrpc, "MAX_ANSWER", size)
        _, answer = await http(running, json.dumps(code).encode())
        assert answer["error"]["code"] == -32008
        assert answer["id"] == 1
        monkeypatch.setattr(jsonrpc, "MAX_ANSWER", 2 * size)
        assert "result" in (await http(running, json.dumps(code).encode()))[1]
        _, answer = await http(running, json.dumps([code] * 2).encode())
        assert answer["error"]["code"] == -32011
        assert answer["error"]["data"] == f"Exceeded max limit of {2 * size}"


class Watcher:
    """A client that came before all the others, and the chain as it sees it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seen = 0

    async def two_blocks(self) -> None:
        with trio.fail_after(20):
            for _ in range(2):
                header = (await self._client.notified())["params"]["result"]
                number = int(header["number"], 16)
                assert number == self.seen + 1 or not self.seen
                self.seen = number


async def watching(client: Client) -> Watcher:
    await client.call("chain_subscribeNewHeads")
    return Watcher(client)


async def test_a_thousand_idle_connections() -> None:
    """At most 256 are kept; who was there before is served, the chain goes on, memory stays."""
    async with serving(Mode.INTERVAL) as running, connected(running) as client:
        watcher = await watching(client)
        await watcher.two_blocks()
        before = _resident_mb()
        kept: list[trio.SocketStream] = []
        try:
            for _ in range(1_000):
                stream = await trio.open_tcp_stream("127.0.0.1", running.port)
                kept.append(stream)
                if len(kept) > 255:
                    with trio.fail_after(10):
                        assert await _ended(kept.pop()), "one too many is let go at once"
            assert len(kept) == 255
            await watcher.two_blocks()
            assert await client.call("system_chainType") == "Development"
            assert _resident_mb() - before < 32
        finally:
            for stream in kept:
                await stream.aclose()
        # The server notices in its own time that they have gone.
        with trio.fail_after(20):
            while not await _served(running):
                await watcher.two_blocks()


async def _served(running: Running) -> bool:
    """Whether a new client is answered; one too many is let go at once."""
    async with await trio.open_tcp_stream("127.0.0.1", running.port) as stream:
        try:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            return (await stream.receive_some(4096)).startswith(b"HTTP/1.1 405")
        except trio.BrokenResourceError:
            return False


async def test_clients_that_do_not_read_and_ask_for_much() -> None:
    async with serving(Mode.INTERVAL) as running, connected(running) as client:
        watcher = await watching(client)
        await watcher.two_blocks()
        before = _resident_mb()
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(_ask_without_reading, running)
            for _ in range(3):
                await watcher.two_blocks()
            nursery.cancel_scope.cancel()
        assert _resident_mb() - before < 256
        await watcher.two_blocks()


async def _ask_without_reading(running: Running) -> None:
    """Follows, and asks again and again for batches of answers of megabytes."""
    calls: list[tuple[str, list[Any]]] = [("chainHead_v1_follow", [True])] * 4
    calls += [("chain_subscribeNewHeads", [])] * 20
    calls += [("state_getStorage", ["0x3a636f6465"])] * 20
    batch = [
        {"jsonrpc": "2.0", "id": number, "method": name, "params": params}
        for number, (name, params) in enumerate(calls)
    ]
    async with raw_websocket(running) as (stream, socket):
        message = socket.send(Message(data=json.dumps(batch)))
        try:
            while True:
                await stream.send_all(message)
        except trio.BrokenResourceError:
            return  # It was let go.


async def _ended(stream: trio.SocketStream) -> bool:
    try:
        return await stream.receive_some(1) == b""
    except trio.BrokenResourceError:
        return True
    finally:
        await stream.aclose()


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1_024


HANDSHAKE = [
    (b"Host", b"x"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
]
MORE_NAMES = [
    *(name for name, _ in HANDSHAKE),
    b"Sec-WebSocket-Protocol",
    b"Sec-WebSocket-Extensions",
    b"Transfer-Encoding",
    b"Content-Length",
    b"Expect",
]
MORE_VALUES = [
    b"",
    b"\xff\xfe",
    b"\xc3\x28" * 10,
    b"permessage-deflate; client_max_window_bits=999",
    b"a,b,,",
    b"=;",
    b"-1",
    b"99999999999999999999999",
    b"chunked",
    b"100-continue",
    b"keep-alive, Upgrade",
]


def odd_request(random: Random) -> bytes:
    """A request of HTTP that may ask for a WebSocket, with something odd about it."""
    headers = [each for each in HANDSHAKE if random.random() < 0.9]
    for _ in range(random.randrange(4)):
        odd = random.choice(MORE_NAMES), random.choice(MORE_VALUES)
        headers.insert(random.randrange(len(headers) + 1), odd)
    method = random.choice([b"GET", b"GET", b"POST", b"HEAD", b"CONNECT"])
    target = random.choice([b"/", b"*", b"/\xff", b"x:1"])
    version = random.choice([b"1.1", b"1.1", b"1.0", b"2"])
    lines = [b"%s %s HTTP/%s" % (method, target, version)]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + random.randbytes(random.randrange(60))


def odd_frames(random: Random) -> bytes:
    """Frames of WebSocket with any opcode, length, flags and mask."""
    frames = b""
    for _ in range(random.randrange(1, 5)):
        flags = random.choice([0, 0x80, 0x80, 0xC0, 0xF0])
        length = random.choice([0, 1, 2, 125, 126, 127])
        masked = random.choice([0x80, 0x80, 0])
        frames += bytes((flags | random.choice([0, 1, 2, 3, 8, 9, 10, 15]), masked | length))
        if length == 126:
            frames += random.randbytes(2)
        elif length == 127:
            frames += random.choice([0, 1 << 16, 1 << 62, (1 << 64) - 1]).to_bytes(8, "big")
        frames += random.randbytes(random.randrange(130))
    return frames


@pytest.mark.parametrize("seed", range(4))
async def test_odd_handshakes_and_frames(seed: int) -> None:
    """None of them ends the node, nor surprises it."""
    random = Random(seed)
    async with serving() as running:
        with structlog.testing.capture_logs() as logs:
            for _ in range(100):
                stream = await trio.open_tcp_stream("127.0.0.1", running.port)
                await _send_and_leave(stream, odd_request(random))
                async with raw_websocket(running) as (stream, _):
                    await _send_and_leave(stream, odd_frames(random))
            async with connected(running) as client:
                assert await client.call("system_chainType") == "Development"
        assert not [each for each in logs if each["event"] == "client_failed"]


async def _send_and_leave(stream: trio.SocketStream, data: bytes) -> None:
    """Sends, and reads until the other side ends it."""
    async with stream:
        try:
            await stream.send_all(data)
            await stream.send_eof()
            while await stream.receive_some(65_536):
                pass
        except trio.BrokenResourceError:
            return


async def test_extrinsics_that_are_too_large(wallet: Any) -> None:
    """More than a block may have of them: invalid. More than a message: not even read."""
    call = ("System", "remark", {"remark": "0x" + "00" * 4_000_000})
    extrinsic = wallet.sign(call, wallet.alice, 0)
    async with serving() as running:
        request = {"jsonrpc": "2.0", "id": 1, "method": "author_submitExtrinsic"}
        body = json.dumps({**request, "params": ["0x" + extrinsic.hex()]}).encode()
        _, answer = await http(running, body)
        assert answer["error"] == {
            "code": 1010,
            "message": "Invalid Transaction",
            "data": "Transaction would exhaust the block limits",
        }
        async with await trio.open_tcp_stream("127.0.0.1", running.port) as stream:
            size = b"%d" % (transport.MAX_MESSAGE + 1)
            await stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: " + size)
            await stream.send_all(b"\r\n\r\n")
            with trio.fail_after(5):
                assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 413")
        await running.new_block()


async def test_large_requests_of_many_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they have a limit too; small ones are answered in any case."""
    monkeypatch.setattr(transport, "MAX_LARGE", 1_000_000)
    large = b'{"jsonrpc":"2.0","id":1,"method":"system_chainType"}' + b" " * 900_000
    async with serving() as running:
        for _ in range(3):
            # One after the other they are no trouble: what they took is given back.
            assert (await http(running, large))[1]["result"] == "Development"
            async with connected(running) as client:
                await client.socket.send_message(large)
                assert (await client.message())["result"] == "Development"
        async with await trio.open_tcp_stream("127.0.0.1", running.port) as first:
            head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 950000\r\n\r\n"
            await first.send_all(head + large[:900_000])
            async with raw_websocket(running) as (second, socket):
                with trio.fail_after(20):
                    await _send_and_leave(second, socket.send(Message(data=large.decode())))
            async with connected(running) as client:
                assert await client.call("system_chainType") == "Development"
        with trio.fail_after(20):
            while not await _taken(running, large):
                await running.new_block()


async def _taken(running: Running, large: bytes) -> bool:
    async with connected(running) as client:
        try:
            await client.socket.send_message(large)
            return bool((await client.message())["result"])
        except trio_websocket.ConnectionClosed:
            return False


async def test_a_time_that_no_clock_shows() -> None:
    async with serving() as running, connected(running) as client:
        assert (await client.refused("dev_timeTravel", (1 << 64) - 1))["code"] == -32602
        error = await client.refused("dev_newBlock", {"timestamp": (1 << 64) - 1})
        assert (error["code"], "too late" in error["message"]) == (-32603, True)
        assert (await client.refused("dev_fastForward", (1 << 64) - 1))["code"] == -32602
        await client.call("dev_timeTravel", 1 << 47)
        await client.call("dev_newBlock")
