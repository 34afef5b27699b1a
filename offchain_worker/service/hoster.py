"""The hoster as an operator runs it: configuration file in, process out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
import trio

from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import open_chain
from offchain_worker.errors import UsageError
from offchain_worker.hoster.acceptance import accept_offers
from offchain_worker.hoster.adversary import Fault, faulty_hoster
from offchain_worker.hoster.answers import answer_demands
from offchain_worker.hoster.hoster import Hoster, Limits
from offchain_worker.hoster.store import Library
from offchain_worker.keys import KeyPair
from offchain_worker.service.config import Address, HosterConfig, load_config, parse_address
from offchain_worker.service.keyfiles import KeyKind, read_account, read_key_pair
from offchain_worker.swarm.dial import dial

_log = structlog.get_logger()

DIAL_SECONDS = 10.0


@dataclass(frozen=True)
class HosterSettings:
    """A configuration file with its keys read.

    Attributes:
        url: the chain's JSON-RPC address.
        account, noise_key: the keys.
        listen: where it serves.
        endpoint: what it registers; where it listens unless the file says otherwise.
        store, state: folders for feeds and for transactions.
        feeds: keys of the feeds to replicate, each with the peers to fetch it from.
        accept_minimum_reward: offers of at least this reward are accepted; None: no offers are.
        max_connections: open at once.
    """

    url: str
    account: Account
    noise_key: KeyPair
    listen: Address
    endpoint: Address
    store: Path
    state: Path
    feeds: tuple[tuple[bytes, tuple[Address, ...]], ...]
    accept_minimum_reward: int | None
    max_connections: int


def load_hoster(path: Path) -> HosterSettings:
    """Read `hoster.toml` and the keys that it names.

    Raises:
        UsageError: the file, a key or a value in it cannot be used.
    """
    config = load_config(path, HosterConfig)
    section = config.hoster
    folder = path.parent
    listen = parse_address(section.listen)
    return HosterSettings(
        url=config.chain.url,
        account=read_account(folder / section.account),
        noise_key=read_key_pair(folder / section.noise_key, KeyKind.NOISE),
        listen=listen,
        endpoint=listen if section.endpoint is None else parse_address(section.endpoint),
        store=folder / section.store,
        state=folder / section.state,
        feeds=tuple(
            (_feed_key(feed.key, path), tuple(parse_address(text) for text in feed.upstream))
            for feed in config.feeds
        ),
        accept_minimum_reward=_amount(section.accept_minimum_reward, path),
        max_connections=section.max_connections,
    )


def _feed_key(text: str, path: Path) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UsageError(f"{path}: {text!r} is not a feed's key; write 64 hexadecimal digits.")
    return key


def _amount(text: str | None, path: Path) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise UsageError(
            f"{path}: accept_minimum_reward is {text!r}; write a whole number of units."
        )
    return int(text)


async def serve_hoster(settings: HosterSettings, fault: Fault | None = None) -> int:
    """Run the hoster until cancelled: serve, replicate, answer demands, accept offers.

    Args:
        settings: what to do.
        fault: what to do wrong, for the testnet's and the tests' adversaries.

    Raises:
        UsageError: the port or a folder cannot be used.
        ChainError, WrongRuntimeError: the chain cannot be reached at the start, or is another one.
    """
    for folder in (settings.store, settings.state):
        _make_folder(folder)
    with Library(settings.store) as library:
        limits = Limits(connections=settings.max_connections)
        if fault is None:
            hoster = Hoster(library, settings.noise_key, limits=limits)
        else:
            upstream = [peer for _key, peers in settings.feeds for peer in _dialers(peers)]
            hoster = faulty_hoster(
                library, settings.noise_key, fault, limits=limits, upstream=upstream
            )
        async with (
            open_chain(settings.url, journal=settings.state / "transactions.sqlite") as client,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(hoster.serve, settings.listen.host, settings.listen.port)
            for key, peers in settings.feeds:
                nursery.start_soon(hoster.replicate, key, _dialers(peers))
            nursery.start_soon(answer_demands, client, settings.account, hoster)
            if settings.accept_minimum_reward is not None:
                await accept_offers(
                    client, settings.account, library, settings.accept_minimum_reward
                )
            else:
                await trio.sleep_forever()
    return 0


async def serve_feeds(store: Path, listen: Address, noise_key: KeyPair) -> int:
    """Serve a library's feeds without a chain, as an author does, until cancelled.

    Raises:
        UsageError: the port or the folder cannot be used.
    """
    _make_folder(store)
    with Library(store) as library:
        await Hoster(library, noise_key).serve(listen.host, listen.port)
    return 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made: {error.strerror}.") from error


def _dialers(peers: Sequence[Address]) -> list[_Dialer]:
    return [_Dialer(peer) for peer in peers]


@dataclass(frozen=True)
class _Dialer:
    """Connects to one peer."""

    address: Address

    async def __call__(self) -> trio.abc.Stream:
        return await dial(self.address.host, self.address.port, timeout=DIAL_SECONDS)
