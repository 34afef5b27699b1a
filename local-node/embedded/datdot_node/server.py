"""JSON-RPC over WebSocket and HTTP on one port."""

import errno
from functools import partial

import structlog
import trio

from datdot_node.errors import PortInUse
from datdot_node.node import Node
from datdot_node.transport import serve_connection

MAX_CONNECTIONS = 256
"""Most clients at a time; further ones are let go at once."""

logger = structlog.get_logger(__name__)


class Server:
    """Listens for clients of one node."""

    def __init__(self, node: Node, *, max_connections: int = MAX_CONNECTIONS) -> None:
        self._node = node
        self._free = max_connections

    async def serve(
        self,
        host: str,
        port: int,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves for ever; starts with the port that it listens on (useful when `port` is 0).

        Raises `PortInUse`. Cancelled, it closes all connections.
        """
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            raise _listen_error(host, port, error) from error
        address = listeners[0].socket.getsockname()
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, self._client, listeners))
            task_status.started(address[1])

    async def _client(self, stream: trio.SocketStream) -> None:
        if self._free == 0:
            logger.warning("client_refused", reason="too many connections")
            await trio.aclose_forcefully(stream)
            return
        self._free -= 1
        try:
            await serve_connection(stream, self._node)
        finally:
            self._free += 1


def _listen_error(host: str, port: int, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE or "in use" in str(error):
        return PortInUse(f"port {port} on {host} is in use")
    return error
