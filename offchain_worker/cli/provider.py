"""Transactions of commands: submitted once, awaited, and told in one line."""

from __future__ import annotations

from collections.abc import Callable

import typer

from chain_types.words import Call
from offchain_worker.chain.accounts import Account
from offchain_worker.cli.common import run_command
from offchain_worker.errors import OperationError


def submit_as_provider(
    url: str, account: Account, make_call: Callable[[bytes], Call], done: str
) -> None:
    """Submit one call and print what happened.

    Args:
        url: the chain's JSON-RPC address.
        account: signs and pays.
        make_call: gets the genesis hash, which registrations sign.
        done: what has happened to the account, in the past tense.

    Raises:
        OperationError: the chain cannot be reached or refuses the call.
    """
    from offchain_worker.chain.client import open_chain

    async def main() -> None:
        async with open_chain(url) as client:
            finished = await client.submit(make_call(client.genesis), account)
        if finished.error is not None:
            raise OperationError(f"The chain refused it: {finished.error}.")
        typer.echo(f"{account.address}: {done} in block {finished.block_number}")

    run_command(main)
