"""Accepting TCP connections."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Awaitable, Callable

import trio

BACKLOG = 64
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


async def listen(
    host: str,
    port: int,
    handler: Callable[[trio.SocketStream], Awaitable[None]],
    *,
    max_connections: int,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept connections until cancelled; each gets a task that runs `handler`.

    Above `max_connections` at a time, new ones wait in the system's backlog. A handler's stream
    is closed when it returns. Cancellation closes the listener and all connections. An exception
    of a handler ends all: handlers deal with their peers' faults themselves.

    Args:
        host: the address to listen on.
        port: 0 lets the system choose.
        handler: called with the stream of each connection.
        max_connections: how many at a time.
        task_status: started with (address, port) as soon as connections are accepted.

    Raises:
        OSError: the address or the port cannot be used.
    """
    limit = trio.Semaphore(max_connections)
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)

    async def run(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await handler(stream)
        finally:
            limit.release()

    async with trio.open_nursery() as nursery:
        for extra in listeners[1:]:
            await extra.aclose()
        listener = listeners[0]
        async with listener:
            address = listener.socket.getsockname()
            task_status.started((address[0], address[1]))
            while True:
                await limit.acquire()
                nursery.start_soon(run, await _accept(listener))


async def _accept(listener: trio.SocketListener) -> trio.SocketStream:
    """The next connection; one that was gone before it could be accepted does not count.

    Out of file descriptors, it waits a moment instead of spinning.
    """
    while True:
        try:
            return await listener.accept()
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            await trio.sleep(0.1)


def remote_host(stream: trio.abc.Stream) -> str | None:
    """The IP address at the other end of a connection; None: it is no socket, or gone already.

    An IPv4 address that the system writes as an IPv6 one comes back as IPv4.
    """
    if not isinstance(stream, trio.SocketStream):
        return None
    try:
        host = ipaddress.ip_address(str(stream.socket.getpeername()[0]).partition("%")[0])
    except (OSError, ValueError):
        return None
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    return str(mapped or host)
