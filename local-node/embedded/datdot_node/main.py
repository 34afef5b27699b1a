"""The node as a process: what `datdot node` runs."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog
import trio

from datdot_node.chain import Chain
from datdot_node.node import Mode, Node
from datdot_node.server import Server, listen, port_of

logger = structlog.get_logger(__name__)


async def run(
    directory: Path | None,
    *,
    host: str = "127.0.0.1",
    port: int = 9944,
    mode: Mode = Mode.INTERVAL,
    preset: str | None = None,
    genesis_patch: Mapping[str, Any] | None = None,
    code: bytes | None = None,
    finality_lag: int = 0,
    kept_states: int | None = None,
    ready_line: bool = False,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs a chain and serves JSON-RPC until it is cancelled, which leaves a whole chain behind.

    `directory` None keeps the chain in memory. `preset`, `genesis_patch`, `code`, `finality_lag`
    and `kept_states` are those of `Chain.open`; the time between blocks is the slot of that
    genesis. Starts with the bound port; `ready_line` also prints
    `{"event":"ready","url":…,"port":…,"genesis":…,"head":…}` on standard output. Raises the errors
    of `Chain.open` and `PortInUse`.
    """
    listeners = await listen(host, port)
    try:
        chain = await trio.to_thread.run_sync(
            lambda: Chain.open(
                directory,
                code=code,
                preset=preset,
                genesis_patch=genesis_patch,
                finality_lag=finality_lag,
                kept_states=kept_states,
            )
        )
    except BaseException:
        for listener in listeners:
            await trio.aclose_forcefully(listener)
        raise
    try:
        node = Node(chain, mode)
        async with trio.open_nursery() as nursery:
            await nursery.start(Server(node).serve, listeners)
            bound = port_of(listeners)
            url = f"ws://{f'[{host}]' if ':' in host else host}:{bound}"
            genesis = "0x" + chain.genesis_hash.hex()
            logger.info("node_ready", url=url, genesis=genesis, head=chain.head.number)
            if ready_line:
                line = {
                    "event": "ready",
                    "url": url,
                    "port": bound,
                    "genesis": genesis,
                    "head": chain.head.number,
                }
                sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
                sys.stdout.flush()
            nursery.start_soon(node.produce)
            task_status.started(bound)
    finally:
        chain.close()
