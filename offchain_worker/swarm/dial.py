"""Making TCP connections to endpoints that the chain names (challenge.md §2.1)."""

from __future__ import annotations

import errno
import ipaddress
import socket

import trio

from offchain_worker.hypercore.errors import Unreachable, WayOutFailed

_OUR_FAULTS = frozenset(
    {
        errno.EACCES,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EPERM,
    }
)
"""What keeps a connection from leaving this machine."""
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH})
"""Said by this machine's routing, or by a router anywhere on the way."""


async def dial(ip: str, port: int, *, timeout: float) -> trio.SocketStream:
    """Connect to an address; the caller owns, and closes, the stream.

    No name is ever looked up. Nagle's algorithm is off, since what is measured is small.
    Cancelled, nothing is left open.

    Args:
        ip: an IPv4 or IPv6 address in its usual text form.
        port: 1 … 65535.
        timeout: seconds.

    Raises:
        Unreachable: no connection in time, or none at all.
        WayOutFailed: none was tried, because this machine could not.
        ValueError: `ip` is no address, or the port is out of range.
    """
    address = ipaddress.ip_address(ip)
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port")
    try:
        sock = trio.socket.socket(_family(ip), socket.SOCK_STREAM)
    except OSError as error:
        raise WayOutFailed(f"no socket for {ip}: {error.strerror or error}") from error
    try:
        with trio.fail_after(timeout):
            await sock.connect((str(address), port))
    except trio.TooSlowError:
        sock.close()
        raise Unreachable(f"{ip} port {port} did not answer in {timeout:g} s") from None
    except OSError as error:
        sock.close()
        kind = WayOutFailed if _is_ours(error, ip) else Unreachable
        raise kind(f"{ip} port {port}: {error.strerror or error}") from error
    except BaseException:
        sock.close()
        raise
    # SocketStream switches TCP_NODELAY on.
    return trio.SocketStream(sock)


def local_address(ip: str) -> str:
    """The address of this machine from which connections to `ip` leave; nothing is sent.

    Raises:
        WayOutFailed: there is no route, or no socket.
        ValueError: `ip` is no address.
    """
    try:
        with socket.socket(_family(ip), socket.SOCK_DGRAM) as probe:
            probe.connect((ip, 9))
            return str(probe.getsockname()[0])
    except OSError as error:
        raise WayOutFailed(f"no way to {ip}: {error.strerror or error}") from error


def _family(ip: str) -> socket.AddressFamily:
    return socket.AF_INET if ipaddress.ip_address(ip).version == 4 else socket.AF_INET6


def _is_ours(error: OSError, ip: str) -> bool:
    """Whether the connection never left this machine.

    A router can say that there is no route, too, and a hoster may have it say so: that is not
    ours. This machine's own routing is asked.
    """
    if error.errno in _OUR_FAULTS:
        return True
    if error.errno not in _NO_ROUTE:
        return False
    try:
        local_address(ip)
    except WayOutFailed:
        return True
    return False
