"""The command's tree, and the one place where errors become exit statuses.

Commands import what they run only when they run: `datdot --help` and small commands start at once.
"""

from __future__ import annotations

import signal
import sys

import typer

from offchain_worker.cli import (
    attestor,
    challenge,
    feed,
    get,
    hoster,
    hosters,
    hosting,
    keys,
    measure,
    node,
    simulate,
    testnet,
)
from offchain_worker.errors import OperationError, UsageError

app = typer.Typer(
    name="datdot",
    help="Proof of performance for hosted Hypercore feeds.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.command("testnet")(testnet.run)
app.command("node")(node.run)
app.command("get")(get.run)
app.command("measure")(measure.run)
app.add_typer(attestor.app, name="attestor")
app.add_typer(hoster.app, name="hoster")
app.add_typer(keys.app, name="keys")
app.add_typer(feed.app, name="feed")
app.add_typer(hosters.app, name="hosters")
app.add_typer(hosting.app, name="hosting")
app.add_typer(challenge.app, name="challenge")
app.add_typer(simulate.app, name="simulate")


def main() -> None:
    """Run the command line; ends the process with the command's exit status."""
    status = 0
    try:
        app()
    except* UsageError as group:
        status = _tell(group, 2)
    except* OperationError as group:
        status = _tell(group, 1)
    except* KeyboardInterrupt:
        # Ctrl-C before the command's own handling of signals began, or after it ended.
        status = 128 + signal.SIGINT
    sys.exit(status)


def _tell(group: BaseExceptionGroup[Exception], status: int) -> int:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    sys.stderr.write(f"datdot: {first}\n")
    return status
