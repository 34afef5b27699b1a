"""The attestor as an operator runs it: configuration file in, process out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog
import trio

from offchain_worker.attestor.adversary import Fault, faulty_machine
from offchain_worker.attestor.attestor import run_attestor
from offchain_worker.attestor.machines import honest_machine
from offchain_worker.audit.capacity import Capacity
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import open_chain
from offchain_worker.errors import UsageError
from offchain_worker.keys import KeyPair
from offchain_worker.service.clock import warn_about_clock
from offchain_worker.service.config import (
    Address,
    AttestorConfig,
    load_config,
    parse_address,
    parse_proxy,
)
from offchain_worker.service.keyfiles import (
    KeyKind,
    is_open_to_others,
    read_account,
    read_key_pair,
)
from offchain_worker.swarm.dial import dial, local_address
from offchain_worker.swarm.proxy import Proxy

_log = structlog.get_logger()

DIAL_SECONDS = 10.0
BACKLOG = 64


@dataclass(frozen=True)
class AttestorSettings:
    """A configuration file with its keys read.

    Attributes:
        url: the chain's JSON-RPC address.
        account, session_key: the keys.
        listen: where it listens.
        endpoint: what it registers; where it listens unless the file says otherwise.
        capacity: challenges at a time.
        session_bytes: what an audited session may read.
        max_sockets, max_download: of all sessions with hosters together (`audit.capacity`).
        state: its folder.
        proxies: through which it goes to hosters; none: directly.
    """

    url: str
    account: Account
    session_key: KeyPair
    listen: Address
    endpoint: Address
    capacity: int
    session_bytes: int
    max_sockets: int
    max_download: int | None
    state: Path
    proxies: tuple[Proxy, ...] = ()


def load_attestor(path: Path) -> AttestorSettings:
    """Read `attestor.toml` and the keys that it names.

    Raises:
        UsageError: the file or a key cannot be used, or others can read a proxy's password in it.
    """
    config = load_config(path, AttestorConfig)
    section = config.attestor
    folder = path.parent
    listen = parse_address(section.listen)
    return AttestorSettings(
        url=config.chain.url,
        account=read_account(folder / section.account),
        session_key=read_key_pair(folder / section.session_key, KeyKind.SESSION),
        listen=listen,
        endpoint=listen if section.endpoint is None else parse_address(section.endpoint),
        capacity=section.capacity,
        session_bytes=section.session_mib * 1024 * 1024,
        max_sockets=section.max_sockets,
        max_download=section.max_download,
        state=folder / section.state,
        proxies=_proxies(path, section.proxy),
    )


def _proxies(path: Path, texts: str | list[str] | None) -> tuple[Proxy, ...]:
    listed = [texts] if isinstance(texts, str) else texts or []
    proxies = tuple(parse_proxy(text) for text in listed)
    if any(proxy.password is not None for proxy in proxies) and is_open_to_others(path):
        raise UsageError(
            f"The configuration {path} holds the password of a proxy and is open to others; "
            f"run `chmod 600 {path}`."
        )
    return proxies


async def serve_attestor(settings: AttestorSettings, fault: Fault | None = None) -> int:
    """Run the attestor until cancelled.

    Args:
        settings: what to do.
        fault: what to do wrong, for the testnet's and the tests' adversaries.

    Raises:
        UsageError: the port or the state folder cannot be used.
        ChainError, WrongRuntimeError: the chain cannot be reached at the start, or is another one.
    """
    try:
        settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError(
            f"The state folder {settings.state} cannot be made: {error.strerror}."
        ) from error
    listen = settings.listen
    try:
        listeners = await trio.open_tcp_listeners(listen.port, host=listen.host, backlog=BACKLOG)
    except OSError as error:
        raise UsageError(f"The attestor cannot listen on {listen}: {error.strerror}.") from error
    async with (
        open_chain(settings.url, journal=settings.state / "transactions.sqlite") as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(warn_about_clock, client)
        _log.info("attestor.listening", address=str(listen), account=settings.account.address)
        await run_attestor(
            client,
            settings.account,
            settings.session_key,
            listeners,
            settings.state,
            dial=_dial,
            proxies=settings.proxies,
            local_address=local_address,
            make_machine=honest_machine if fault is None else faulty_machine(fault),
            session_bytes=settings.session_bytes,
            capacity=Capacity(settings.max_sockets, settings.max_download),
        )
    return 0


async def _dial(host: str, port: int) -> trio.abc.Stream:
    return await dial(host, port, timeout=DIAL_SECONDS)
