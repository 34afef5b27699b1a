"""A node to test against: a real chain in this process behind a WebSocket that can misbehave.

The methods are the embedded node's own; what is scripted is the connection: lost before or after
a request is carried out, silent, or answering something else.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from chain_types.metadata import decode_metadata
from chain_types.runtime import Runtime, RuntimeVersion
from chain_types.scale import Bytes
from datdot_node import Chain, PoolError
from datdot_node.rpc import views
from datdot_node.rpc.methods import METHODS
from datdot_node.rpc.params import Params
from offchain_worker.chain.rpc import Limits

START_MS = 1_800_000_000_000

FINALIZED = ("chain_subscribeFinalizedHeads", "chain_finalizedHead")
NEW = ("chain_subscribeNewHeads", "chain_newHead")


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms


class Refuse(Exception):
    """A fault that answers a request with an error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.error = {"code": code, "message": message, "data": data}


class ScriptedNode:
    """A node whose blocks are made by hand and whose connections break when told so."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.url = ""
        self.requests: list[tuple[str, list[Any]]] = []
        self.faults: dict[str, deque[str | Exception | dict[str, Any]]] = {}
        self.connected = 0
        self._sockets: dict[WebSocketConnection, list[tuple[str, str]]] = {}
        self._arrived = trio.Condition()

    def fault(self, method: str, *faults: str | Exception | dict[str, Any]) -> None:
        """Meet the next requests: "before", "after" (lose the connection), "silent", an error
        (Refuse), or a dict that is answered."""
        self.faults.setdefault(method, deque()).extend(faults)

    def count(self, method: str) -> int:
        return sum(1 for name, _ in self.requests if name == method)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds that requests bring about."""
        with trio.fail_after(10):
            async with self._arrived:
                while not condition():
                    await self._arrived.wait()

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, self._handle, "127.0.0.1", 0, None)
            self.url = f"ws://127.0.0.1:{server.port}"
            task_status.started()

    async def drop(self) -> None:
        """Lose all connections."""
        for socket in list(self._sockets):
            await socket.aclose(1011, "dropped by the test")

    async def new_block(self, *, notify: int = 1) -> None:
        """Make a block, and tell all subscribers so many times."""
        self.chain.new_block()
        for _ in range(notify):
            await self.notify()

    async def notify(self) -> None:
        for socket, subscriptions in list(self._sockets.items()):
            for identifier, method in subscriptions:
                finalized = method == FINALIZED[1]
                header = self.chain.finalized if finalized else self.chain.head
                await self._send(
                    socket,
                    {
                        "jsonrpc": "2.0",
                        "method": method,
                        "params": {"subscription": identifier, "result": views.header(header)},
                    },
                )

    async def send_raw(self, text: str) -> None:
        for socket in list(self._sockets):
            await socket.send_message(text)

    async def _handle(self, request: WebSocketRequest) -> None:
        socket = await request.accept()
        self.connected += 1
        self._sockets[socket] = []
        try:
            while True:
                await self._answer(socket, json.loads(await socket.get_message()))
        except ConnectionClosed:
            del self._sockets[socket]

    async def _answer(self, socket: WebSocketConnection, request: dict[str, Any]) -> None:
        method, params = request["method"], request["params"]
        self.requests.append((method, params))
        faults = self.faults.get(method)
        fault = faults.popleft() if faults else None
        if fault == "before":
            await socket.aclose(1011, "dropped by the test")
        elif fault == "silent":
            pass
        else:
            answer = fault if isinstance(fault, dict) else self._result(socket, request, fault)
            if fault == "after":
                await socket.aclose(1011, "dropped by the test")
            else:
                await self._send(socket, {"jsonrpc": "2.0", "id": request["id"], **answer})
        async with self._arrived:
            self._arrived.notify_all()

    def _result(
        self, socket: WebSocketConnection, request: dict[str, Any], fault: Any
    ) -> dict[str, Any]:
        method, params = request["method"], request["params"]
        try:
            if isinstance(fault, Exception):
                raise fault
            for subscribe, notification in (FINALIZED, NEW):
                if method == subscribe:
                    identifier = f"subscription {len(self._sockets[socket])}"
                    self._sockets[socket].append((identifier, notification))
                    return {"result": identifier}
            if "unsubscribe" in method:
                self._sockets[socket] = [
                    item for item in self._sockets[socket] if item[0] != params[0]
                ]
                return {"result": True}
            return {"result": METHODS[method](self.chain, Params(params))}
        except Refuse as error:
            return {"error": error.error}
        except PoolError as error:
            return {"error": {"code": error.code, "message": error.message, "data": error.data}}

    @staticmethod
    async def _send(socket: WebSocketConnection, message: dict[str, Any]) -> None:
        try:
            await socket.send_message(json.dumps(message))
        except ConnectionClosed:
            return  # the client is gone


@pytest.fixture(scope="session")
def genesis_chain() -> Iterator[Chain]:
    """A chain that nobody changes."""
    with Chain.open(clock=Clock()) as opened:
        yield opened


@pytest.fixture(scope="session")
def runtime(genesis_chain: Chain) -> Runtime:
    """The packaged runtime."""
    metadata = Bytes(2**24).decode(genesis_chain.call("Metadata_metadata"))
    version = views.runtime_version(genesis_chain.call("Core_version"))
    return Runtime(
        decode_metadata(metadata),
        RuntimeVersion(version["specName"], version["specVersion"], version["transactionVersion"]),
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def finality_lag() -> int:
    """How many blocks the finalized one is behind; tests parametrize it."""
    return 0


@pytest.fixture
def chain(clock: Clock, finality_lag: int) -> Iterator[Chain]:
    with Chain.open(clock=clock, finality_lag=finality_lag) as opened:
        yield opened


@pytest.fixture
async def node(chain: Chain) -> AsyncIterator[ScriptedNode]:
    scripted = ScriptedNode(chain)
    async with trio.open_nursery() as nursery:
        await nursery.start(scripted.serve)
        yield scripted
        nursery.cancel_scope.cancel()


@pytest.fixture
def timeout() -> float:
    """How long answers may take, long enough for a busy machine; tests parametrize it."""
    return 5.0


@pytest.fixture
def limits(timeout: float) -> Limits:
    return Limits(timeout=timeout, connect_timeout=5.0, retry_first=0.01)
