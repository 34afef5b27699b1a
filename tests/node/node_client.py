"""A served chain and clients of it, over real sockets."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio
import trio_websocket
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

from datdot_node import Chain
from datdot_node.node import Mode, Node
from datdot_node.rpc.jsonrpc import MAX_ANSWER
from datdot_node.server import Server, listen, port_of


class Running:
    """A served chain in memory."""

    def __init__(self, node: Node, port: int) -> None:
        self.node = node
        self.port = port
        self.url = f"ws://127.0.0.1:{port}"

    async def new_block(self) -> None:
        await self.node.run(lambda chain: chain.new_block())


@asynccontextmanager
async def serving(
    mode: Mode = Mode.MANUAL,
    *,
    finality_lag: int = 0,
    kept_states: int | None = None,
    **options: Any,
) -> AsyncIterator[Running]:
    chain = await trio.to_thread.run_sync(
        lambda: Chain.open(finality_lag=finality_lag, kept_states=kept_states)
    )
    try:
        async with trio.open_nursery() as nursery:
            node = Node(chain, mode)
            listeners = await listen("127.0.0.1", 0)
            nursery.start_soon(Server(node, **options).serve, listeners)
            nursery.start_soon(node.produce)
            yield Running(node, port_of(listeners))
            nursery.cancel_scope.cancel()
    finally:
        chain.close()


class Client:
    """A WebSocket client that sorts answers from notifications."""

    def __init__(self, socket: trio_websocket.WebSocketConnection) -> None:
        self.socket = socket
        self.notifications: list[dict[str, Any]] = []
        self._next = 0

    async def message(self) -> Any:
        return json.loads(await self.socket.get_message())

    async def call(self, method: str, *params: Any) -> Any:
        self._next += 1
        request = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params}
        await self.socket.send_message(json.dumps(request))
        while True:
            message = await self.message()
            if message.get("id") == self._next:
                assert "error" not in message, message
                return message["result"]
            self.notifications.append(message)

    async def refused(self, method: str, *params: Any) -> dict[str, Any]:
        self._next += 1
        request = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params}
        return await self.raw(json.dumps(request))

    async def raw(self, text: str | bytes) -> dict[str, Any]:
        await self.socket.send_message(text)
        error: dict[str, Any] = (await self.message())["error"]
        return error

    async def notified(self) -> dict[str, Any]:
        if self.notifications:
            return self.notifications.pop(0)
        message: dict[str, Any] = await self.message()
        assert "id" not in message
        return message


@asynccontextmanager
async def connected(running: Running) -> AsyncIterator[Client]:
    async with trio_websocket.open_websocket_url(
        running.url, max_message_size=MAX_ANSWER
    ) as socket:
        yield Client(socket)


@asynccontextmanager
async def raw_websocket(
    running: Running,
) -> AsyncIterator[tuple[trio.SocketStream, WSConnection]]:
    """A WebSocket whose bytes the test itself reads and writes."""
    async with await trio.open_tcp_stream("127.0.0.1", running.port) as stream:
        client = WSConnection(ConnectionType.CLIENT)
        await stream.send_all(client.send(Request(host="localhost", target="/")))
        client.receive_data(await stream.receive_some(4096))
        assert isinstance(next(client.events()), AcceptConnection)
        yield stream, client


async def http(running: Running, body: bytes, method: str = "POST") -> tuple[int, Any]:
    stream = await trio.open_tcp_stream("127.0.0.1", running.port)
    async with stream:
        connection = h11.Connection(h11.CLIENT)
        headers = [("host", "localhost"), ("content-length", str(len(body)))]
        for event in (
            h11.Request(method=method, target="/", headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            await stream.send_all(connection.send(event) or b"")
        status, content = 0, b""
        while True:
            received = connection.next_event()
            if received is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(65536))
            elif isinstance(received, h11.Response):
                status = received.status_code
            elif isinstance(received, h11.Data):
                content += received.data
            else:
                return status, json.loads(content) if content and status == 200 else None
