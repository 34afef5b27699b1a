"""A worker refuses to work on a chain with another runtime, and names the difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio
from e2e_commands import datdot
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from datdot_node import Chain
from datdot_node.rpc.methods import METHODS
from datdot_node.rpc.params import Params
from offchain_worker.testnet.layout import HOST, Layout, open_layout, write_hoster_config

Change = Callable[[Any], Any]


def other_name(version: dict[str, Any]) -> dict[str, Any]:
    return {**version, "specName": "other-chain"}


def renamed(old: str, new: str, metadata: str) -> str:
    assert len(old) == len(new)
    assert old.encode().hex() in metadata
    return metadata.replace(old.encode().hex(), new.encode().hex())


VERSION, METADATA = "state_getRuntimeVersion", "state_getMetadata"
DIFFERENCES: list[tuple[str, Change, str]] = [
    (VERSION, other_name, "the chain runs 'other-chain', not 'datdot'"),
    (
        METADATA,
        partial(renamed, "submit_report", "submit_rumour"),
        "does not fit: it has no call Performance.submit_report",
    ),
    (
        METADATA,
        partial(renamed, "ChargeTransactionPayment", "ChargeTransactionByWorth"),
        "transaction extension ChargeTransactionByWorth carries data and is not known",
    ),
]


class OtherNode:
    """A node whose answers to one method are changed."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.method = ""
        self.change: Change | None = None

    async def serve(self, request: WebSocketRequest) -> None:
        socket = await request.accept()
        try:
            while True:
                asked = json.loads(await socket.get_message())
                result = METHODS[asked["method"]](self._chain, Params(asked["params"]))
                if asked["method"] == self.method and self.change is not None:
                    result = self.change(result)
                answer = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
                await socket.send_message(json.dumps(answer))
        except ConnectionClosed:
            return  # the worker is gone


async def test_the_worker_names_the_difference(tmp_path: Path) -> None:
    layout = open_layout(tmp_path, attestors=None, hosters=None, block_ms=None, port=0)
    write_hoster_config(layout, layout.hosters[0], [])
    with Chain.open() as chain:
        node = OtherNode(chain)
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_websocket, node.serve, HOST, layout.rpc_port, None)
            for node.method, node.change, difference in DIFFERENCES:
                await refuses(layout, difference)
            nursery.cancel_scope.cancel()


async def refuses(layout: Layout, difference: str) -> None:
    attestor, hoster = layout.attestors[0], layout.hosters[0]
    for command in (
        ("attestor", "run", "--config", attestor / "attestor.toml"),
        ("hoster", "run", "--config", hoster / "hoster.toml"),
    ):
        status, _output, errors = await trio.to_thread.run_sync(datdot, *command)
        assert status == 1
        told = errors.splitlines()[-1]
        assert told.startswith("datdot: The chain does not do what is needed: ")
        assert difference in told
        assert "Traceback" not in errors
