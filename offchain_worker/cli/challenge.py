"""`datdot challenge`: look at challenges, and check them."""

from __future__ import annotations

from typing import Annotated

import typer

from offchain_worker.cli.common import DEFAULT_URL, AccountOption, UrlOption, run_command
from offchain_worker.cli.provider import submit_as_provider
from offchain_worker.errors import OperationError
from offchain_worker.service.keyfiles import read_account

app = typer.Typer(no_args_is_help=True, help="Look at challenges, and recompute them.")

IdArgument = Annotated[int, typer.Argument(help="The challenge's number.", min=0)]


@app.command("list", epilog="Example: `datdot challenge list`")
def list_(url: UrlOption = DEFAULT_URL) -> None:
    """List the challenges that the chain keeps: hosting, stage or outcome, reports."""
    from chain_types import storage
    from offchain_worker.chain.client import open_chain
    from offchain_worker.explorer.show import stage_name

    async def main() -> None:
        async with open_chain(url) as client:
            found = await client.entries(storage.CHALLENGES)
            for (identifier,), challenge in sorted(found, key=lambda item: item[0]):
                if challenge is None:
                    continue
                tally = await client.read(storage.TALLIES, identifier)
                flip = await client.read(storage.FLIPS, identifier)
                members = len(challenge.roster if flip is None else flip.places)
                typer.echo(
                    f"{identifier}: hosting {challenge.hosting}, {stage_name(challenge.stage)}, "
                    f"{tally.served} served, {tally.failed} failed, of {members}"
                )

    run_command(main)


@app.command(epilog="Example: `datdot challenge show 0 --json`")
def show(
    challenge: IdArgument,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Show one challenge: its randomness, frauds, reports, demands, payments, absences."""
    import msgspec

    from offchain_worker.chain.client import open_chain
    from offchain_worker.explorer.show import challenge_lines, challenge_summary

    async def main() -> None:
        async with open_chain(url) as client:
            snapshot = await client.challenge(challenge)
            if snapshot is None:
                raise OperationError(f"The chain has no challenge {challenge}, or none any more.")
            summary = challenge_summary(snapshot, await client.reports(challenge))
        if json:
            typer.echo(msgspec.json.encode(summary).decode())
        else:
            typer.echo("\n".join(challenge_lines(summary)))

    run_command(main)


@app.command(epilog="Example: `datdot challenge verify 0`")
def verify(challenge: IdArgument, url: UrlOption = DEFAULT_URL) -> None:
    """Recompute a settled challenge from chain data alone; says what was checked.

    Draw, proofs of fraud and what they cost, attempts and topic, openings or the fallback's
    commitments, R, every moment and drawn chunk, receipts, multiproofs, head signatures, demands
    and their answers, medians, payments and absences. The first thing that does not hold ends it
    with exit status 1.
    """
    from offchain_worker.chain.client import open_chain
    from offchain_worker.explorer.claims import DoesNotHold
    from offchain_worker.explorer.history import read_history
    from offchain_worker.explorer.verify import verify_history

    async def main() -> None:
        async with open_chain(url) as client:
            history = await read_history(client, challenge)
        try:
            for sentence in verify_history(history):
                typer.echo(f"ok: {sentence}")
        except DoesNotHold as error:
            raise OperationError(f"Challenge {challenge} does not hold: {error}.") from error
        typer.echo(f"challenge {challenge} holds")

    run_command(main)


@app.command(epilog="Example: `datdot challenge close 0 --account me.json`")
def close(challenge: IdArgument, account: AccountOption, url: UrlOption = DEFAULT_URL) -> None:
    """Settle a challenge whose reports are overdue; you get a share of the absence fees."""
    from chain_types.calls import CloseChallenge

    call = CloseChallenge(id=challenge)
    submit_as_provider(
        url, read_account(account), lambda _genesis: call, f"challenge {challenge} closed"
    )
