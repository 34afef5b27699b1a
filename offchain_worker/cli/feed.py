"""`datdot feed`: make, look at, copy, publish and serve feeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from offchain_worker.cli.common import (
    DEFAULT_URL,
    AccountOption,
    LogOption,
    StdinOption,
    UrlOption,
    parse_key,
    run_command,
    run_service,
)
from offchain_worker.cli.provider import submit_as_provider
from offchain_worker.errors import OperationError, UsageError
from offchain_worker.hoster.store import Library, StoreError
from offchain_worker.service.keyfiles import KeyKind, read_account, read_key_pair
from offchain_worker.service.logs import LogFormat

app = typer.Typer(no_args_is_help=True, help="Make, show, copy, publish and serve feeds.")

StoreOption = Annotated[Path, typer.Option("--store", help="The folder of feeds.")]
KeyArgument = Annotated[str, typer.Argument(help="The feed's key, in hex.")]


@app.command(
    "import", epilog="Example: `datdot feed import photos/ --store feeds --key author.json`"
)
def import_(
    source: Annotated[Path, typer.Argument(help="A file, or a folder (becomes a tar stream).")],
    store: StoreOption,
    key: Annotated[Path, typer.Option("--key", help="The author's feed key file.")],
    chunk_size: Annotated[int, typer.Option(help="Bytes of a chunk.")] = 64 * 1024,
    compat: Annotated[
        bool, typer.Option("--compat", help="The author's key is the feed's key (no manifest).")
    ] = False,
) -> None:
    """Make a signed feed from a file or folder; prints its key and length."""
    from offchain_worker.hoster.feeds import import_path

    author = read_key_pair(key, KeyKind.FEED)
    with _library(store, create=True) as library:
        made = import_path(library, source, author, compat=compat, chunk_size=chunk_size)
        head = made.head()
        if head is None:
            raise OperationError("The imported feed has no head.")
        typer.echo(f"{made.key.hex()} {head.length} chunks")


@app.command(epilog="Example: `datdot feed show --store feeds`")
def show(store: StoreOption) -> None:
    """Show the feeds in a folder: key, fork, length, bytes, how much is there."""
    with _library(store) as library:
        for feed in library:
            head = feed.head()
            if head is None:
                typer.echo(f"{feed.key.hex()} empty")
                continue
            size = sum(root.size for root in head.roots)
            kind = "compat" if feed.manifest is None else f"manifest v{feed.manifest.version}"
            state = "complete" if feed.is_complete() else f"{feed.contiguous_length()} first chunks"
            typer.echo(
                f"{feed.key.hex()} {kind}, fork {head.fork}, {head.length} chunks, "
                f"{size} bytes, {state}"
            )


@app.command(epilog="Example: `datdot feed clone KEY --from 127.0.0.1:4001 --store feeds`")
def clone(
    key: KeyArgument,
    peer: Annotated[str, typer.Option("--from", help="IP:PORT of a peer that has it.")],
    store: StoreOption,
) -> None:
    """Copy a feed from a peer, verified against its author's signature."""
    from offchain_worker.hoster.replicate import Replication
    from offchain_worker.hypercore.errors import HypercoreError
    from offchain_worker.service.config import parse_address
    from offchain_worker.swarm.dial import dial

    feed_key = parse_key(key, "a feed's key")
    address = parse_address(peer)

    async def main() -> None:
        with _library(store, create=True) as library:
            replication = Replication(
                library, feed_key, [lambda: dial(address.host, address.port, timeout=10.0)]
            )
            try:
                made = await replication.clone()
            except HypercoreError as error:
                raise OperationError(f"{peer} did not give the feed: {error}.") from error
            head = made.head()
            typer.echo(f"{key} {0 if head is None else head.length} chunks")

    run_command(main)


@app.command(epilog="Example: `datdot feed publish KEY --store feeds --account author.json`")
def publish(
    key: KeyArgument,
    store: StoreOption,
    account: AccountOption,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Make a feed known to the chain, with its manifest."""
    from chain_types.calls import PublishFeed
    from offchain_worker.hypercore.manifest import encode_manifest

    feed_key = parse_key(key, "a feed's key")
    with _library(store) as library:
        feed = library.get(feed_key)
        if feed is None:
            raise UsageError(f"The feed {key} is not in {store}.")
        manifest = None if feed.manifest is None else encode_manifest(feed.manifest)
    call = PublishFeed(key=feed_key, manifest=manifest)
    submit_as_provider(url, read_account(account), lambda _genesis: call, f"published {key}")


@app.command(
    epilog="Example: `datdot feed serve --store feeds --listen 127.0.0.1:4001 --key noise.json`"
)
def serve(
    store: StoreOption,
    listen: Annotated[str, typer.Option(help="IP:PORT to listen on.")],
    key: Annotated[Path, typer.Option("--key", help="The Noise key file.")],
    log: LogOption = LogFormat.TEXT,
    until_stdin_closes: StdinOption = False,
) -> None:
    """Serve a folder of feeds without a chain, as an author does, until Ctrl-C."""
    from offchain_worker.service.config import parse_address
    from offchain_worker.service.hoster import serve_feeds

    address = parse_address(listen)
    noise_key = read_key_pair(key, KeyKind.NOISE)
    run_service(
        lambda: serve_feeds(store, address, noise_key),
        log=log,
        until_stdin_closes=until_stdin_closes,
    )


def _library(folder: Path, *, create: bool = False) -> Library:
    if not create and not folder.is_dir():
        raise UsageError(f"The folder {folder} does not exist.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Library(folder)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be used: {error.strerror}.") from error
    except StoreError as error:
        raise OperationError(str(error)) from error
