"""`datdot get`: an ordinary reader."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from offchain_worker.cli.common import (
    LogOption,
    StdinOption,
    parse_key,
    run_command,
    run_service,
)
from offchain_worker.errors import OperationError, UsageError
from offchain_worker.service.logs import LogFormat


def run(
    key: Annotated[str, typer.Argument(help="The feed's key, in hex.")],
    peer: Annotated[str, typer.Option("--from", help="IP:PORT of a peer that serves it.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The file to write; - prints. --watch can do without one."
        ),
    ] = None,
    chunks: Annotated[
        str | None, typer.Option(help="Which chunks, as FIRST-LAST; left out, all.")
    ] = None,
    peer_key: Annotated[
        str | None, typer.Option(help="The peer's Noise key, in hex; another one is refused.")
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Stay: follow the feed as it grows, and serve others what is here."
        ),
    ] = False,
    listen: Annotated[
        str | None, typer.Option(help="With --watch: IP:PORT where other peers may call.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="With --watch: chunks a second at most.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="With --watch: at the end, read all of it again.")
    ] = False,
    log: LogOption = LogFormat.TEXT,
    until_stdin_closes: StdinOption = False,
) -> None:
    """Fetch a feed, or a range of its chunks, and verify every chunk against its author's key.

    With --watch it goes on until Ctrl-C, and finds further peers of the feed by itself.

    Example: `datdot get KEY --from 127.0.0.1:4001 --output film.mp4`
    """
    from offchain_worker.service.config import parse_address

    if watch:
        from offchain_worker.service.reader import ReaderSettings, serve_reader

        if chunks is not None or (again and output is not None):
            raise UsageError("--watch reads whole feeds, and --again goes without --output.")
        settings = ReaderSettings(
            feed_key=parse_key(key, "a feed's key"),
            peer=parse_address(peer),
            peer_key=None if peer_key is None else parse_key(peer_key, "a Noise key"),
            listen=None if listen is None else parse_address(listen),
            output=output,
            rate=rate,
            again=again,
        )
        run_service(lambda: serve_reader(settings), log=log, until_stdin_closes=until_stdin_closes)
    if listen is not None or rate is not None or again:
        raise UsageError("--listen, --rate and --again need --watch.")
    if output is None:
        raise UsageError("Say with --output which file to write; - prints.")
    _fetch(key, peer, output, chunks, peer_key)


def _fetch(key: str, peer: str, output: Path, chunks: str | None, peer_key: str | None) -> None:
    from offchain_worker.audit.fetch import fetch
    from offchain_worker.hypercore.errors import HypercoreError
    from offchain_worker.service.config import parse_address
    from offchain_worker.swarm.dial import dial

    feed_key = parse_key(key, "a feed's key")
    remote = None if peer_key is None else parse_key(peer_key, "a Noise key")
    address = parse_address(peer)
    wanted = None if chunks is None else _parse_range(chunks)
    partial = output.with_name(output.name + ".partial")

    async def read_into(file: BinaryIO) -> None:
        await fetch(
            lambda: dial(address.host, address.port, timeout=10.0),
            feed_key,
            lambda _index, data: _write(file, data),
            chunks=wanted,
            expected_remote=remote,
        )

    try:
        if str(output) == "-":
            run_command(lambda: read_into(sys.stdout.buffer))
            return
        with partial.open("wb") as file:
            run_command(lambda: read_into(file))
        partial.replace(output)
    except* HypercoreError as group:
        failure = OperationError(f"{peer} did not give the feed: {group.exceptions[0]}.")
        raise failure from group
    except* OSError as group:
        error = group.exceptions[0]
        raise OperationError(f"{output} cannot be written: {error}.") from group
    finally:
        partial.unlink(missing_ok=True)


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _parse_range(text: str) -> range:
    match = re.fullmatch(r"(\d{1,15})-(\d{1,15})", text)
    if match is None or int(match[1]) > int(match[2]):
        raise UsageError(f"{text!r} is not a range of chunks; write FIRST-LAST, such as 0-99.")
    return range(int(match[1]), int(match[2]) + 1)
