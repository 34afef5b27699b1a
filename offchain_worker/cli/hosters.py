"""`datdot hosters`: find a hoster by its performance."""

from __future__ import annotations

from typing import Annotated

import typer

from offchain_worker.cli.common import DEFAULT_URL, UrlOption, parse_account, run_command
from offchain_worker.cli.hosting import parse_bounds
from offchain_worker.errors import OperationError

app = typer.Typer(no_args_is_help=True, help="Find a hoster by how it did in its challenges.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(epilog="Example: `datdot hosters find --latency-p50 40ms --throughput 20MB/s`")
def find(
    latency_p50: Annotated[
        str | None, typer.Option(help="The largest median latency: `40ms`.")
    ] = None,
    throughput: Annotated[str | None, typer.Option(help="The least throughput: `20MB/s`.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """List hosters that take hostings and meet the bounds, the fastest first.

    Latency and throughput are medians over a hoster's last 32 challenges, of which the later ones
    count more; more than half of them, by that weight, must have passed. A hoster whose figure was
    never measured does not meet a bound for it.
    """
    import msgspec

    from offchain_worker.chain.client import open_chain
    from offchain_worker.explorer.hosters import find_hosters, hoster_line, hoster_summary

    sla = parse_bounds(latency_p50, throughput)

    async def main() -> None:
        async with open_chain(url) as client:
            found = await find_hosters(client, sla, limit)
        if json:
            rows = [hoster_summary(one.hoster, one.summary) for one in found]
            typer.echo(msgspec.json.encode(rows).decode())
        else:
            for one in found:
                typer.echo(hoster_line(one.hoster, one.summary))

    run_command(main)


@app.command(
    epilog="Example: `datdot hosters show 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY`"
)
def show(
    hoster: Annotated[str, typer.Argument(help="The hoster's account.")],
    json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Show how one hoster did in its challenges."""
    import msgspec

    from offchain_worker.chain.client import open_chain
    from offchain_worker.explorer.hosters import hoster_line, hoster_summary

    account = parse_account(hoster)

    async def main() -> None:
        async with open_chain(url) as client:
            summary = await client.hoster_summary(account)
        if summary is None:
            raise OperationError(f"No challenge of {hoster} was settled yet.")
        if json:
            typer.echo(msgspec.json.encode(hoster_summary(account, summary)).decode())
        else:
            typer.echo(hoster_line(account, summary))

    run_command(main)
