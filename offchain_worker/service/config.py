"""Configuration files of the services, TOML read into frozen structs.

Paths in a file are relative to the folder that holds it. An unknown field is refused: a misspelt
option must not silently become a default.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import unquote

import msgspec

from offchain_worker.errors import UsageError
from offchain_worker.swarm.proxy import MAX_CREDENTIAL_BYTES, Proxy

MAX_FILE_BYTES = 256 * 1024


class Address(msgspec.Struct, frozen=True):
    """An IP address and a TCP port, written `127.0.0.1:4001` or `[::1]:4001`."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `IP:PORT`; host names are refused (they leak look-ups: challenge.md §2.1).

    Raises:
        UsageError: not an IP address with a port from 0 to 65535.
    """
    host, separator, port_text = text.rpartition(":")
    try:
        if not separator or not port_text.isascii() or not port_text.isdigit():
            raise ValueError("no port")
        port = int(port_text)
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        if port > 0xFFFF or (address.version == 6) != host.startswith("["):
            raise ValueError("not in the form")
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not an address; write IP:PORT, such as 127.0.0.1:4001 or [::1]:4001."
        ) from error
    return Address(str(address), port)


def parse_proxy(text: str) -> Proxy:
    """Read `socks5://IP:PORT` or `socks5://USER:PASSWORD@IP:PORT`.

    Any character of user name and password may be written as %XX; `:`, `@`, `/` and `%` must be.

    Raises:
        UsageError: it is none; the message does not quote it, since it may hold a password.
    """
    refused = UsageError(
        "A proxy of the configuration is not in the form socks5://IP:PORT or "
        "socks5://USER:PASSWORD@IP:PORT, with an IP address and not a name."
    )
    scheme, separator, rest = text.partition("://")
    credentials, at, place = rest.rpartition("@")
    if scheme != "socks5" or not separator:
        raise refused
    try:
        address = parse_address(place)
        name, colon, password = (
            unquote(part, errors="strict") for part in credentials.partition(":")
        )
    except (UsageError, UnicodeDecodeError):
        # Without the cause, which could quote the password.
        raise refused from None
    if address.port == 0 or bool(at) != bool(name and colon and password):
        raise refused
    if max(len(name.encode()), len(password.encode())) > MAX_CREDENTIAL_BYTES:
        raise refused
    if not at:
        return Proxy(address.host, address.port)
    return Proxy(address.host, address.port, name, password)


class ChainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the chain is: the JSON-RPC address of a node that the operator trusts."""

    url: str


class AttestorSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An attestor's keys, its listening address for fellow attestors, and its state folder.

    `session_mib`: what an audited session may read, in MiB, beyond what the draw demands.
    `max_sockets`: connections to hosters, and to peers of their feeds, at a time.
    `max_download`: bytes per second that it reads from them in all; left out, no limit.
    `proxy`: one or several SOCKS5 proxies through which it goes to hosters (`parse_proxy`).
    """

    account: str
    session_key: str
    listen: str
    state: str
    endpoint: str | None = None
    capacity: int = 4
    session_mib: Annotated[int, msgspec.Meta(ge=0, le=1_048_576)] = 64
    max_sockets: Annotated[int, msgspec.Meta(ge=2, le=65_536)] = 64
    max_download: Annotated[int, msgspec.Meta(ge=10_000)] | None = None
    proxy: str | list[str] | None = None


class AttestorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`attestor.toml`."""

    chain: ChainConfig
    attestor: AttestorSection


class FeedSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feed to hold: its key in hex and the peers to replicate it from."""

    key: str
    upstream: list[str] = []


class HosterSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hoster's keys, its listening address, its store, and what it accepts by itself.

    `accept_minimum_reward`: hostings offered to this hoster whose `hoster_reward` is at least
    this amount (smallest unit, as text) are accepted when the feed is complete; left out, none.
    """

    account: str
    noise_key: str
    listen: str
    store: str
    state: str
    endpoint: str | None = None
    accept_minimum_reward: str | None = None
    max_connections: int = 256


class HosterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`hoster.toml`."""

    chain: ChainConfig
    hoster: HosterSection
    feeds: list[FeedSection] = []


Config = TypeVar("Config", AttestorConfig, HosterConfig)


def load_config(path: Path, kind: type[Config]) -> Config:
    """Read a configuration file.

    Raises:
        UsageError: unreadable, not TOML, a field missing, unknown or of another type.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"The configuration {path} is larger than {MAX_FILE_BYTES} bytes.")
    try:
        return msgspec.toml.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise UsageError(f"The configuration {path} cannot be used: {error}.") from error


def write_config(path: Path, config: AttestorConfig | HosterConfig) -> None:
    """Write a configuration file that `load_config` reads back.

    Raises:
        OSError: the file cannot be written.
    """
    lines: list[str] = []
    content = msgspec.to_builtins(config)
    for section, fields in content.items():
        tables = fields if isinstance(fields, list) else [fields]
        for table in tables:
            lines.append(f"[[{section}]]" if isinstance(fields, list) else f"[{section}]")
            lines.extend(
                f"{name} = {msgspec.json.encode(value).decode()}"
                for name, value in table.items()
                if value is not None
            )
            lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")
