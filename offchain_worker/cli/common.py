"""What commands share: options, and running a coroutine as a process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from chain_types.errors import WrongRuntimeError
from chain_types.scale import DecodeError, EncodeError
from offchain_worker.chain.errors import ChainError
from offchain_worker.errors import OperationError, UsageError
from offchain_worker.service.logs import LogFormat, configure
from offchain_worker.service.process import run_process

DEFAULT_URL = "ws://127.0.0.1:9944"

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file (TOML).")
]
UrlOption = Annotated[
    str, typer.Option("--url", help="The chain's JSON-RPC address.", envvar="DATDOT_NODE")
]
AccountOption = Annotated[
    Path, typer.Option("--account", help="The account's key file; it signs and pays.")
]
LogOption = Annotated[LogFormat, typer.Option("--log", help="How to write the log.")]
StdinOption = Annotated[
    bool,
    typer.Option(
        "--until-stdin-closes", help="End when standard input does, as with a parent process."
    ),
]


def run_service(
    main: Callable[[], Awaitable[int]],
    *,
    log: LogFormat = LogFormat.TEXT,
    until_stdin_closes: bool = False,
) -> None:
    """Run a long-lived command; ends the process with its status.

    Raises:
        UsageError, OperationError: as `main`; chain errors become OperationError.
    """
    configure(log)
    raise typer.Exit(run_service_status(main, until_stdin_closes=until_stdin_closes))


def run_command(main: Callable[[], Awaitable[None]]) -> None:
    """Run a command that ends by itself; it tells its own errors, so lower parts' logs stay out.

    Raises:
        UsageError, OperationError: as `main`; chain errors become OperationError.
    """
    import logging

    configure(LogFormat.TEXT, level=logging.CRITICAL)

    async def succeed() -> int:
        await main()
        return 0

    status = run_service_status(succeed)
    if status:
        raise typer.Exit(status)


def run_service_status(
    main: Callable[[], Awaitable[int]], *, until_stdin_closes: bool = False
) -> int:
    """Run `main` as a process does; returns its exit status.

    Raises:
        UsageError, OperationError: as `main`; chain errors become OperationError, values that
            have no place in a call or a key of storage UsageError.
    """
    try:
        return run_process(main, until_stdin_closes=until_stdin_closes)
    except* (ChainError, WrongRuntimeError, DecodeError) as group:
        # One seam where errors of the chain become one sentence for a person.
        failure: Exception = OperationError(
            f"The chain does not do what is needed: {_first(group)}."
        )
    except* EncodeError as group:
        failure = UsageError(f"What was given does not fit: {_first(group)}.")
    raise failure


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def parse_key(text: str, what: str) -> bytes:
    """Read 32 bytes in hex, with or without 0x.

    Raises:
        UsageError: it is not that.
    """
    try:
        key = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UsageError(f"{text!r} is not {what}; write 64 hexadecimal digits.")
    return key


def parse_account(text: str) -> bytes:
    """Read an account: an SS58 address, or 0x and 64 hexadecimal digits.

    Raises:
        UsageError: it is neither.
    """
    from offchain_worker.chain.accounts import ss58_decode

    if text.startswith("0x"):
        return parse_key(text, "an account")
    try:
        return ss58_decode(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not an account's address: {error}.") from error
