"""Making TCP connections to endpoints that the chain names (challenge.md §2.1)."""

from __future__ import annotations

import ipaddress
import socket

import trio

from offchain_worker.hypercore.errors import Unreachable


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
        ValueError: `ip` is no address, or the port is out of range.
    """
    address = ipaddress.ip_address(ip)
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port")
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        with trio.fail_after(timeout):
            await sock.connect((str(address), port))
    except trio.TooSlowError:
        sock.close()
        raise Unreachable(f"{ip} port {port} did not answer in {timeout:g} s") from None
    except OSError as error:
        sock.close()
        raise Unreachable(f"{ip} port {port}: {error.strerror or error}") from error
    except BaseException:
        sock.close()
        raise
    # SocketStream switches TCP_NODELAY on.
    return trio.SocketStream(sock)
