"""The testnet's folder: keys, configuration files, stores and ports, made once, used again.

testnet.json            what was chosen: numbers, ports, block time
chain/                  the embedded chain
chain-spec.json         the native chain's genesis
validator-1/ …          the native chain: node key and database of each validator
author/                 the feed's key and its store
hoster-1/ …             hoster.toml, keys, store, state
attestor-1/ …           attestor.toml, keys, state
sponsor/account.json
logs/                   one file a process, those of readers among them
"""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from offchain_worker.chain.accounts import Account
from offchain_worker.errors import UsageError
from offchain_worker.service.config import (
    Address,
    AttestorConfig,
    AttestorSection,
    ChainConfig,
    FeedSection,
    HosterConfig,
    HosterSection,
    write_config,
)
from offchain_worker.service.keyfiles import KeyKind, read_account, write_key

HOST = "127.0.0.1"
HOST_IPV6 = "::1"
MAX_PROVIDERS = 64
SESSION_MIB = 16
"""All attestors and hosters share one machine, and a window lasts 15 s."""
MAX_READERS = 16
BLOCK_MS = 500
NATIVE_BLOCK_MS = 1_000
VALIDATORS = 3


class ValidatorPorts(NamedTuple):
    """Where a validator of the native chain listens: for JSON-RPC, and for other validators."""

    rpc: int
    p2p: int


class Choices(msgspec.Struct, frozen=True):
    """What a testnet was made with (`testnet.json`).

    Attributes:
        attestors, hosters, readers: how many.
        block_ms: time between two blocks.
        ports: of the chain, the author, the hosters, the attestors, the readers, and of the
            validators: towards each other, and for the JSON-RPC of all but the first one.
        ipv6: whether everybody but the chain listens on `HOST_IPV6`.
        native: whether validators run the chain, and not this project's embedded node.
    """

    attestors: int
    hosters: int
    block_ms: int
    ports: list[int]
    readers: int = 0
    ipv6: bool = False
    native: bool = False

    @property
    def hosts(self) -> list[str]:
        """For each port, the address on which it is."""
        others = HOST_IPV6 if self.ipv6 else HOST
        chain = 2 * VALIDATORS - 1 if self.native else 0
        count = 1 + self.hosters + self.attestors + self.readers
        return [HOST, *[others] * count, *[HOST] * chain]


class Layout:
    """Where everything of one testnet lies."""

    def __init__(self, root: Path, choices: Choices) -> None:
        self.root = root
        self.choices = choices

    @property
    def chain(self) -> Path:
        """The embedded chain's folder."""
        return self.root / "chain"

    @property
    def chain_spec(self) -> Path:
        """The native chain's specification."""
        return self.root / "chain-spec.json"

    @property
    def validators(self) -> dict[str, ValidatorPorts]:
        """The native chain's validators by name, each with a folder of that name."""
        if not self.choices.native:
            return {}
        count = 2 * VALIDATORS - 1
        ports = self.choices.ports[-count:]
        rpc, p2p = [self.rpc_port, *ports[VALIDATORS:]], ports[:VALIDATORS]
        pairs = zip(rpc, p2p, strict=True)
        return {f"validator-{n}": ValidatorPorts(*pair) for n, pair in enumerate(pairs, 1)}

    @property
    def logs(self) -> Path:
        """The processes' logs."""
        return self.root / "logs"

    @property
    def author_store(self) -> Path:
        """The author's feeds."""
        return self.root / "author" / "store"

    @property
    def author_key(self) -> Path:
        """The feed's signing key."""
        return self.root / "author" / "feed.json"

    @property
    def author_noise_key(self) -> Path:
        """The author's Noise key."""
        return self.root / "author" / "noise.json"

    @property
    def sponsor(self) -> Path:
        """The sponsor's account key."""
        return self.root / "sponsor" / "account.json"

    @property
    def rpc_port(self) -> int:
        """The chain's JSON-RPC port."""
        return self.choices.ports[0]

    @property
    def url(self) -> str:
        """The chain's JSON-RPC address."""
        return f"ws://{HOST}:{self.rpc_port}"

    def url_for(self, folder: Path) -> str:
        """The address of the node that a hoster or attestor asks: they share the validators."""
        rpc_ports = [ports.rpc for ports in self.validators.values()] or [self.rpc_port]
        number = (self.hosters + self.attestors).index(folder)
        return f"ws://{HOST}:{rpc_ports[number % len(rpc_ports)]}"

    @property
    def host(self) -> str:
        """The address of everybody but the chain's JSON-RPC, which is always on `HOST`."""
        return HOST_IPV6 if self.choices.ipv6 else HOST

    def address(self, port: int) -> str:
        """`IP:PORT` of everybody but the chain."""
        return str(Address(self.host, port))

    @property
    def author_port(self) -> int:
        """Where the author serves the feed."""
        return self.choices.ports[1]

    @property
    def hosters(self) -> list[Path]:
        """The hosters' folders."""
        return [self.root / f"hoster-{n}" for n in range(1, self.choices.hosters + 1)]

    @property
    def attestors(self) -> list[Path]:
        """The attestors' folders."""
        return [self.root / f"attestor-{n}" for n in range(1, self.choices.attestors + 1)]

    @property
    def readers(self) -> dict[str, int]:
        """The readers by name, each with the port on which it listens."""
        first = 2 + self.choices.hosters + self.choices.attestors
        ports = self.choices.ports[first : first + self.choices.readers]
        return {f"reader-{n}": port for n, port in enumerate(ports, 1)}

    def port_of(self, folder: Path) -> int:
        """The port on which a hoster or attestor listens."""
        return self.choices.ports[2 + (self.hosters + self.attestors).index(folder)]

    def accounts(self) -> dict[str, Account]:
        """Every account by the name of its owner: sponsor, hoster-1, …, attestor-1, …"""
        folders = [self.sponsor.parent, *self.hosters, *self.attestors]
        return {folder.name: read_account(folder / "account.json") for folder in folders}


def open_layout(
    root: Path,
    *,
    attestors: int | None,
    hosters: int | None,
    block_ms: int | None,
    port: int,
    readers: int | None = None,
    ipv6: bool = False,
    native: bool = False,
) -> Layout:
    """Read a testnet's folder, or make one: keys, ports and configuration files.

    Args:
        root: the folder; it may hold a testnet already.
        attestors: how many; 5 when left out.
        hosters: how many; 2 when left out.
        block_ms: the block time; 500 when left out, 1000 on validators.
        port: of the chain's JSON-RPC, the other processes take the ports after it; 0 lets the
            system choose all of them.
        readers: how many; 2 when left out.
        ipv6: whether everybody but the chain listens on `HOST_IPV6`.
        native: whether validators run the chain.

    Raises:
        UsageError: the numbers are out of range or differ from those the folder was made with,
            a port is in use, or the folder cannot be used. Nothing is written then.
    """
    file = root / "testnet.json"
    if file.exists():
        layout = _read(root, file)
        for name, asked, made in (
            ("--attestors", attestors, layout.choices.attestors),
            ("--hosters", hosters, layout.choices.hosters),
            ("--block-ms", block_ms, layout.choices.block_ms),
            ("--readers", readers, layout.choices.readers),
        ):
            if asked is not None and asked != made:
                raise UsageError(
                    f"{root} was made with {name} {made}; leave {name} out or choose another --dir."
                )
        if ipv6 and not layout.choices.ipv6:
            raise UsageError(
                f"{root} was made without --ipv6; leave it out or choose another --dir."
            )
        if native != layout.choices.native:
            how = "with" if layout.choices.native else "without"
            raise UsageError(f"{root} was made {how} --native; choose another --dir.")
        _check_ports(layout.choices.hosts, layout.choices.ports)
        return layout
    attestors = 5 if attestors is None else attestors
    hosters = 2 if hosters is None else hosters
    if block_ms is None:
        block_ms = NATIVE_BLOCK_MS if native else BLOCK_MS
    readers = 2 if readers is None else readers
    if not 4 <= attestors <= 32:
        raise UsageError(f"--attestors must be from 4 to 32, not {attestors}.")
    if not 1 <= hosters <= MAX_PROVIDERS:
        raise UsageError(f"--hosters must be from 1 to {MAX_PROVIDERS}, not {hosters}.")
    if not 200 <= block_ms <= 6000:
        raise UsageError(f"--block-ms must be from 200 to 6000, not {block_ms}.")
    if not 0 <= readers <= MAX_READERS:
        raise UsageError(f"--readers must be from 0 to {MAX_READERS}, not {readers}.")
    choices = Choices(attestors, hosters, block_ms, [], readers, ipv6, native)
    choices = msgspec.structs.replace(choices, ports=_choose_ports(choices.hosts, port))
    layout = Layout(root, choices)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _make(layout)
        file.write_bytes(msgspec.json.encode(layout.choices) + b"\n")
    except OSError as error:
        raise UsageError(f"The folder {root} cannot be used: {error.strerror}.") from error
    return layout


def write_hoster_config(layout: Layout, folder: Path, feeds: list[bytes]) -> None:
    """Write `hoster.toml`: it replicates `feeds` (32-byte keys) from the author."""
    upstream = [layout.address(layout.author_port)]
    write_config(
        folder / "hoster.toml",
        HosterConfig(
            chain=ChainConfig(url=layout.url_for(folder)),
            hoster=HosterSection(
                account="account.json",
                noise_key="noise.json",
                listen=layout.address(layout.port_of(folder)),
                store="store",
                state="state",
                accept_minimum_reward="1",
            ),
            feeds=[FeedSection(key=key.hex(), upstream=upstream) for key in feeds],
        ),
    )


def _read(root: Path, file: Path) -> Layout:
    try:
        return Layout(root, msgspec.json.decode(file.read_bytes(), type=Choices))
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"{file} is not a testnet's file ({error}); choose another --dir."
        ) from error


def _make(layout: Layout) -> None:
    """Write what is missing: an interrupted start left some of it."""
    _ensure_key(layout.sponsor, KeyKind.ACCOUNT)
    _ensure_key(layout.author_key, KeyKind.FEED)
    _ensure_key(layout.author_noise_key, KeyKind.NOISE)
    for folder in layout.hosters:
        _ensure_key(folder / "account.json", KeyKind.ACCOUNT)
        _ensure_key(folder / "noise.json", KeyKind.NOISE)
    for folder in layout.attestors:
        _ensure_key(folder / "account.json", KeyKind.ACCOUNT)
        _ensure_key(folder / "session.json", KeyKind.SESSION)
        write_config(
            folder / "attestor.toml",
            AttestorConfig(
                chain=ChainConfig(url=layout.url_for(folder)),
                attestor=AttestorSection(
                    account="account.json",
                    session_key="session.json",
                    listen=layout.address(layout.port_of(folder)),
                    state="state",
                    capacity=max(4, layout.choices.hosters),
                    session_mib=SESSION_MIB,
                ),
            ),
        )


def _ensure_key(path: Path, kind: KeyKind) -> None:
    if not path.exists():
        write_key(path, kind)


def _choose_ports(hosts: list[str], first: int) -> list[int]:
    """A free port on each of these addresses, from `first` on, or as the system chooses."""
    if first:
        if first + len(hosts) > 0x10000:
            raise UsageError(f"--port {first} leaves no room for {len(hosts)} ports up to 65535.")
        ports = list(range(first, first + len(hosts)))
        _check_ports(hosts, ports)
        return ports
    with ExitStack() as stack:
        sockets = []
        for host in hosts:
            try:
                sockets.append(stack.enter_context(_bind(host, 0)))
            except OSError as error:
                raise UsageError(f"{host} cannot be used: {error.strerror}.") from error
        return [sock.getsockname()[1] for sock in sockets]


def _check_ports(hosts: list[str], ports: list[int]) -> None:
    for port, host in zip(ports, hosts, strict=True):
        try:
            with _bind(host, port):
                pass
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise UsageError(f"{host} cannot be used: {error.strerror}.") from error
            raise UsageError(
                f"Port {port} on {host} is in use; choose others with --port."
            ) from error


def _bind(host: str, port: int) -> socket.socket:
    sock = socket.socket(
        socket.AF_INET6 if host == HOST_IPV6 else socket.AF_INET, socket.SOCK_STREAM
    )
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
