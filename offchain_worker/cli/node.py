"""`datdot node`: the embedded development chain."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from offchain_worker.cli.common import LogOption, StdinOption, run_service
from offchain_worker.errors import OperationError, UsageError
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
    finality_lag: Annotated[
        int,
        typer.Option(min=0, max=1000, help="How many blocks the final one is behind the newest."),
    ] = 0,
    kept_states: Annotated[
        int | None,
        typer.Option(min=1, help="Of how many past blocks the states are kept; left out, of all."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Execute every block of --dir again, and end.")
    ] = False,
    log: LogOption = LogFormat.TEXT,
    until_stdin_closes: StdinOption = False,
) -> None:
    """Run the chain's runtime on this machine and answer JSON-RPC over WebSocket and HTTP.

    Example: `datdot node --dir chain --port 9944`
    """
    from datdot_node.errors import NodeError
    from datdot_node.main import run as run_node
    from datdot_node.node import Mode

    if verify:
        _verify(directory)
        return
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
                finality_lag=finality_lag,
                kept_states=kept_states,
            )
        except* NodeError as group:
            raise UsageError(f"The chain cannot run: {group.exceptions[0]}.") from group
        return 0

    run_service(main, log=log, until_stdin_closes=until_stdin_closes)


def _verify(directory: Path | None) -> None:
    from datdot_node.chain import Chain
    from datdot_node.errors import BadBlock, NodeError

    if directory is None or not (directory / "chain.sqlite").exists():
        raise UsageError("--verify needs --dir with a chain in it.")
    try:
        with Chain.open(directory) as chain:
            count = chain.verify()
            head = chain.head
    except BadBlock as error:
        raise OperationError(f"The chain in {directory} does not hold: {error}.") from error
    except NodeError as error:
        raise UsageError(f"The chain cannot be opened: {error}.") from error
    typer.echo(
        f"{count} blocks up to {head.number} hold: executed again, each gave its state root."
    )


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
