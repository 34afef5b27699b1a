"""Connections through a SOCKS5 proxy (RFC 1928), with user name and password (RFC 1929) or without.

What the proxy does wrong is told apart from what it says about the destination: an attestor must
not claim that a hoster is out of reach when only its own proxy is. Everything that the proxy sends
is bounded (at most 262 bytes) and has its time.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from offchain_worker.hypercore.errors import Unreachable, WayOutFailed
from offchain_worker.swarm.dial import dial

MAX_CREDENTIAL_BYTES = 255

_VERSION = 5
_NO_AUTHENTICATION = 0
_PASSWORD = 2
_PASSWORD_VERSION = 1
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_DESTINATION_FAULTS = {
    4: "cannot be reached",
    5: "refused the connection",
    6: "did not answer",
}
"""Replies about the destination; all others are about the proxy, or may be."""
_PROXY_FAULTS = {
    1: "it failed",
    2: "its rules do not allow that",
    3: "it has no route there",
    7: "it cannot make connections",
    8: "it does not know this kind of address",
}


@dataclass(frozen=True)
class Proxy:
    """A SOCKS5 proxy.

    Attributes:
        host: its IP address; names are not looked up.
        port: 1 … 65535.
        username, password: both or none, each of 1 to 255 bytes in UTF-8.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def dial_through(proxy: Proxy, ip: str, port: int, *, timeout: float) -> trio.SocketStream:
    """Connect to an address through a proxy; the caller owns, and closes, the stream.

    No name is looked up, here or by the proxy. Cancelled, nothing is left open.

    Args:
        proxy: the proxy.
        ip, port: of the destination, as `dial` takes them.
        timeout: seconds; the proxy itself must be ready in half of them.

    Raises:
        WayOutFailed: the proxy cannot be reached, refuses us, or does not do what it should.
        Unreachable: it says that the destination cannot be reached, or does not get there in time.
        ValueError: `ip` is no address, or the port is out of range.
    """
    packed = ipaddress.ip_address(ip).packed
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port")
    kind = _IPV4 if len(packed) == 4 else _IPV6
    with trio.move_on_after(timeout):
        async with _ready(proxy, timeout / 2) as stream:
            await stream.send_all(
                bytes([_VERSION, _CONNECT, 0, kind]) + packed + port.to_bytes(2, "big")
            )
            await _read_reply(proxy, stream, f"{ip} port {port}")
            return stream
    raise Unreachable(f"{ip} port {port} did not answer proxy {proxy} in {timeout:g} s")


async def check_proxy(proxy: Proxy, *, timeout: float) -> None:
    """Return when the proxy can be reached and takes us.

    Raises:
        WayOutFailed: it does not, or not within `timeout` seconds.
    """
    async with _ready(proxy, timeout) as stream:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def _ready(proxy: Proxy, timeout: float) -> AsyncIterator[trio.SocketStream]:
    """A stream to the proxy, which has taken us; closed when the body fails.

    Raises:
        WayOutFailed: it was not ready in `timeout` seconds, or broke off later.
    """
    stream: trio.SocketStream | None = None
    try:
        try:
            with trio.fail_after(timeout):
                stream = await dial(proxy.host, proxy.port, timeout=timeout)
                await _log_in(proxy, stream)
        except Unreachable as error:
            raise WayOutFailed(f"the proxy cannot be reached: {error}") from error
        except trio.TooSlowError:
            raise WayOutFailed(f"the proxy {proxy} was not ready in {timeout:g} s") from None
        yield stream
    except trio.BrokenResourceError as error:
        await _close(stream)
        raise WayOutFailed(f"the proxy {proxy} ended the connection") from error
    except BaseException:
        await _close(stream)
        raise


async def _close(stream: trio.SocketStream | None) -> None:
    if stream is not None:
        await trio.aclose_forcefully(stream)


async def _log_in(proxy: Proxy, stream: trio.SocketStream) -> None:
    secret = _credentials(proxy)
    method = _NO_AUTHENTICATION if secret is None else _PASSWORD
    await stream.send_all(bytes([_VERSION, 1, method]))
    version, chosen = await _read(proxy, stream, 2)
    if version != _VERSION:
        raise WayOutFailed(f"the proxy {proxy} does not speak SOCKS5")
    if chosen != method:
        wish = "a password" if secret is None else "another way to log in"
        raise WayOutFailed(f"the proxy {proxy} wants {wish}")
    if secret is not None:
        await stream.send_all(secret)
        _, status = await _read(proxy, stream, 2)
        if status != 0:
            raise WayOutFailed(f"the proxy {proxy} refused the user name or the password")


def _credentials(proxy: Proxy) -> bytes | None:
    if proxy.username is None or proxy.password is None:
        return None
    name, password = proxy.username.encode(), proxy.password.encode()
    return bytes([_PASSWORD_VERSION, len(name)]) + name + bytes([len(password)]) + password


async def _read_reply(proxy: Proxy, stream: trio.SocketStream, destination: str) -> None:
    version, code, _, kind = await _read(proxy, stream, 4)
    if version != _VERSION:
        raise WayOutFailed(f"the proxy {proxy} does not speak SOCKS5")
    if code in _DESTINATION_FAULTS:
        raise Unreachable(f"{destination} {_DESTINATION_FAULTS[code]}, says proxy {proxy}")
    if code != 0:
        why = _PROXY_FAULTS.get(code, f"reply {code}")
        raise WayOutFailed(f"the proxy {proxy} did not connect to {destination}: {why}")
    # The address from which it connected follows. Many proxies fill in zeros, or one of a network
    # behind them, so nothing is concluded from it.
    if kind == _NAME:
        (length,) = await _read(proxy, stream, 1)
    elif kind in (_IPV4, _IPV6):
        length = 4 if kind == _IPV4 else 16
    else:
        raise WayOutFailed(f"the proxy {proxy} answered with an address of no known kind")
    await _read(proxy, stream, length + 2)


async def _read(proxy: Proxy, stream: trio.SocketStream, count: int) -> bytes:
    """Exactly `count` bytes: what follows is the destination's."""
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        if not more:
            raise WayOutFailed(f"the proxy {proxy} ended the connection")
        data += more
    return data
