"""`datdot node`: the embedded development chain."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from offchain_worker.cli.common import LogOption, StdinOption, run_service
from offchain_worker.errors import UsageError
from offchain_worker.service.logs import LogFormat

MAX_PATCH_BYTES = 4 * 1024 * 1024


class BlockMode(StrEnum):
    """When blocks are made."""

    INTERVAL = "interval"
    INSTANT = "instant"
    MANUAL = "manual"


def run(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where the chain is kept; left out, in memory.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = (
        9944
    ),
    mode: Annotated[
        BlockMode,
        typer.Option(
            help="Blocks at the slot's interval, at each transaction, or by dev_newBlock."
        ),
    ] = BlockMode.INTERVAL,
    preset: Annotated[
        str | None, typer.Option(help="The genesis preset of a new chain (development).")
    ] = None,
    genesis_patch: Annotated[
        Path | None, typer.Option(help="A JSON file that is merged into the genesis.")
    ] = None,
    log: LogOption = LogFormat.TEXT,
    until_stdin_closes: StdinOption = False,
) -> None:
    """Run the chain's runtime on this machine and answer JSON-RPC over WebSocket and HTTP.

    Example: `datdot node --dir chain --port 9944`
    """
    from datdot_node.errors import NodeError
    from datdot_node.main import run as run_node
    from datdot_node.node import Mode

    patch = None if genesis_patch is None else _read_patch(genesis_patch)

    async def main() -> int:
        try:
            await run_node(
                directory,
                host=host,
                port=port,
                mode=Mode(mode.value),
                preset=preset,
                genesis_patch=patch,
            )
        except* NodeError as group:
            raise UsageError(f"The chain cannot run: {group.exceptions[0]}.") from group
        return 0

    run_service(main, log=log, until_stdin_closes=until_stdin_closes)


def _read_patch(path: Path) -> dict[str, Any]:
    import msgspec

    try:
        data = path.read_bytes()
        if len(data) > MAX_PATCH_BYTES:
            raise UsageError(f"The genesis patch {path} is larger than {MAX_PATCH_BYTES} bytes.")
        return msgspec.json.decode(data, type=dict[str, Any])
    except OSError as error:
        raise UsageError(f"The genesis patch {path} cannot be read: {error.strerror}.") from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"The genesis patch {path} is no JSON object: {error}.") from error
