"""`datdot hosting`: agreements between sponsors and hosters."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chain_types.words import Call
from offchain_worker.cli.common import (
    DEFAULT_URL,
    AccountOption,
    UrlOption,
    parse_account,
    parse_key,
    run_command,
)
from offchain_worker.cli.provider import submit_as_provider
from offchain_worker.errors import UsageError
from offchain_worker.service.keyfiles import read_account

if TYPE_CHECKING:
    from chain_types.records import Sla

app = typer.Typer(no_args_is_help=True, help="Pay a hoster for a feed, and look at agreements.")

IdArgument = Annotated[int, typer.Argument(help="The hosting's number.", min=0)]
FeedArgument = Annotated[str, typer.Argument(help="The feed's key, in hex.")]


@app.command(
    "open",
    epilog="Example: `datdot hosting open KEY HOSTER --account sponsor.json "
    "--escrow 1000000000000000 --hoster-reward 10000000000000 --attestor-reward 1000000000000 "
    "--length 1024`",
)
def open_(
    feed: FeedArgument,
    hoster: Annotated[str, typer.Argument(help="The hoster's account.")],
    account: AccountOption,
    escrow: Annotated[str, typer.Option(help="What is held for challenges, smallest unit.")],
    hoster_reward: Annotated[str, typer.Option(help="To the hoster for a passed challenge.")],
    attestor_reward: Annotated[str, typer.Option(help="To each attestor for a report.")],
    length: Annotated[int, typer.Option(min=1, help="Chunks that the hoster must vouch for.")],
    latency_p50: Annotated[
        str | None, typer.Option(help="The largest median latency that is paid for: `40ms`.")
    ] = None,
    throughput: Annotated[
        str | None, typer.Option(help="The least throughput that is paid for: `20MB/s`.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Offer a hoster to pay for a feed; the escrow is held until the hosting ends.

    A challenge whose medians break the bounds for latency or throughput pays the hoster nothing.
    """
    from chain_types.calls import OpenHosting
    from chain_types.records import Sla, Terms

    bounds = parse_bounds(latency_p50, throughput)
    call = OpenHosting(
        feed=parse_key(feed, "a feed's key"),
        hoster=parse_account(hoster),
        escrow=parse_amount(escrow),
        terms=Terms(
            hoster_reward=parse_amount(hoster_reward),
            attestor_reward=parse_amount(attestor_reward),
            length=length,
            sla=None if bounds == Sla(None, None) else bounds,
        ),
    )
    _submit(url, account, call, "hosting opened")


@app.command(epilog="Example: `datdot hosting accept 0 --account hoster.json --length 1024`")
def accept(
    hosting: IdArgument,
    account: AccountOption,
    length: Annotated[int, typer.Option(min=1, help="Chunks that you have and will keep.")],
    fork: Annotated[int, typer.Option(min=0, help="The feed's fork.")] = 0,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Accept an offer: you have and will keep all chunks below the length, none above 128 KiB."""
    from chain_types.calls import AcceptHosting

    call = AcceptHosting(id=hosting, fork=fork, length=length)
    _submit(url, account, call, f"hosting {hosting} accepted")


@app.command(epilog="Example: `datdot hosting vouch 0 --account hoster.json --length 2048`")
def vouch(
    hosting: IdArgument,
    account: AccountOption,
    length: Annotated[int, typer.Option(min=1, help="Chunks that you have and will keep.")],
    fork: Annotated[int, typer.Option(min=0, help="The feed's fork.")] = 0,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Vouch for more chunks, or for a new fork, from the next challenge on."""
    from chain_types.calls import Vouch

    call = Vouch(id=hosting, fork=fork, length=length)
    _submit(url, account, call, f"hosting {hosting} vouched for")


@app.command("top-up", epilog="Example: `datdot hosting top-up 0 1000000 --account sponsor.json`")
def top_up(
    hosting: IdArgument,
    amount: Annotated[str, typer.Argument(help="What is added, smallest unit.")],
    account: AccountOption,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Add to a hosting's escrow."""
    from chain_types.calls import TopUp

    call = TopUp(id=hosting, amount=parse_amount(amount))
    _submit(url, account, call, f"hosting {hosting} topped up")


@app.command(epilog="Example: `datdot hosting close 0 --account sponsor.json`")
def close(hosting: IdArgument, account: AccountOption, url: UrlOption = DEFAULT_URL) -> None:
    """End a hosting, with its running challenge if there is one; frees the rest of the escrow."""
    from chain_types.calls import CloseHosting

    _submit(url, account, CloseHosting(id=hosting), f"hosting {hosting} closed")


@app.command("list", epilog="Example: `datdot hosting list`")
def list_(url: UrlOption = DEFAULT_URL) -> None:
    """List all hostings: feed, hoster, length, escrow, state."""
    from chain_types import storage
    from chain_types.ss58 import ss58_encode
    from offchain_worker.chain.client import open_chain

    async def main() -> None:
        async with open_chain(url) as client:
            found = await client.entries(storage.HOSTINGS)
        for (identifier,), hosting in sorted(found, key=lambda item: item[0]):
            if hosting is None:
                continue
            state = (
                "offered"
                if hosting.vouched is None
                else "closing"
                if hosting.closing
                else f"{hosting.vouched.length} chunks"
            )
            typer.echo(
                f"{identifier}: feed {hosting.feed.hex()}, hoster {ss58_encode(hosting.hoster)}, "
                f"{state}, escrow {hosting.escrow}"
            )

    run_command(main)


def parse_amount(text: str) -> int:
    """Read an amount of money in the smallest unit.

    Raises:
        UsageError: it is not a whole number below 2^128.
    """
    digits = len(str(1 << 128))
    if not text.isascii() or not text.isdigit() or len(text) > digits or int(text) >= 1 << 128:
        raise UsageError(f"{text!r} is not an amount; write a whole number of the smallest unit.")
    return int(text)


def parse_duration_us(text: str) -> int:
    """Read a time such as `40ms`, `250us` or `1.5s`, in microseconds.

    Raises:
        UsageError: it is none, or not from 1 µs to 2^32 µs.
    """
    return _quantity(text, {"us": 1, "ms": 10**3, "s": 10**6}, (1 << 32) - 1, "a time such as 40ms")


def parse_throughput(text: str) -> int:
    """Read a throughput such as `20MB/s`, in bytes per second.

    Raises:
        UsageError: it is none, or not from 1 to 2^64 bytes per second.
    """
    units = {"B/s": 1, "kB/s": 10**3, "MB/s": 10**6, "GB/s": 10**9}
    return _quantity(text, units, (1 << 64) - 1, "a throughput such as 20MB/s")


def parse_bounds(latency_p50: str | None, throughput: str | None) -> Sla:
    """Read the bounds of an SLA; each may be left out.

    Raises:
        UsageError: one is not a time, or not a throughput.
    """
    from chain_types.records import Sla

    return Sla(
        latency_p50_us=None if latency_p50 is None else parse_duration_us(latency_p50),
        throughput=None if throughput is None else parse_throughput(throughput),
    )


def _quantity(text: str, units: dict[str, int], most: int, what: str) -> int:
    found = re.fullmatch(r"([0-9]{1,20}(?:\.[0-9]{1,9})?) ?([A-Za-z/]+)", text, re.ASCII)
    factor = None if found is None else units.get(found[2])
    value = 0 if found is None or factor is None else round(Decimal(found[1]) * factor)
    if not 1 <= value <= most:
        raise UsageError(f"{text!r} is not {what}.")
    return value


def _submit(url: str, account: Path, call: Call, done: str) -> None:
    submit_as_provider(url, read_account(account), lambda _genesis: call, done)
