"""`datdot testnet`: the whole network on this machine."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from offchain_worker.cli.common import run_service_status
from offchain_worker.service.logs import LogFormat, configure


def run(
    once: Annotated[
        bool, typer.Option("--once", help="Stop after one settled challenge of each hosting.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="With --once: print one JSON object at the end.")
    ] = False,
    feed: Annotated[
        Path | None, typer.Option(help="The file or folder to host; left out, 64 MiB of noise.")
    ] = None,
    attestors: Annotated[int | None, typer.Option(help="How many attestors (5).")] = None,
    hosters: Annotated[int | None, typer.Option(help="How many hosters (2).")] = None,
    readers: Annotated[int | None, typer.Option(help="How many readers make traffic (2).")] = None,
    ipv6: Annotated[
        bool, typer.Option("--ipv6", help="Everybody but the chain listens on ::1.")
    ] = False,
    native: Annotated[
        Path | None,
        typer.Option(
            help="The program datdot-node: the chain is three validators, with blocks each second."
        ),
    ] = None,
    block_ms: Annotated[int | None, typer.Option(help="Time between blocks (500).")] = None,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="The chain's port; others follow it. 0 takes free ones."
        ),
    ] = 9944,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Keep everything here; a second start goes on from it."),
    ] = None,
    adversary: Annotated[
        list[str] | None,
        typer.Option(
            help="A process that cheats: FAULT, such as equivocate, for the last attestor or "
            "hoster, or NAME=FAULT, such as attestor-2=withhold or hoster-1=flip-bit."
        ),
    ] = None,
) -> None:
    """Run a chain, hosters, attestors and readers as processes; challenge after challenge.

    Example: `datdot testnet --once --feed photos/`
    """
    from offchain_worker.testnet.run import Options, run_testnet

    started = time.monotonic()
    configure(LogFormat.TEXT, level=logging.ERROR, stream=sys.stderr)
    options = Options(
        once=once or json,
        json=json,
        feed=feed,
        attestors=attestors,
        hosters=hosters,
        readers=readers,
        ipv6=ipv6,
        native=native,
        block_ms=block_ms,
        port=port,
        directory=directory,
        adversaries=adversary or [],
        started=started,
    )
    raise typer.Exit(run_service_status(lambda: run_testnet(options)))
