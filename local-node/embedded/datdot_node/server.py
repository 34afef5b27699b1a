"""JSON-RPC over WebSocket and HTTP on one port."""

import errno

import structlog
import trio

from datdot_node.errors import PortInUse
from datdot_node.node import Node
from datdot_node.transport import Incoming, serve_connection

MAX_CONNECTIONS = 256
"""Most clients at a time; further ones are let go at once."""

logger = structlog.get_logger(__name__)


async def listen(host: str, port: int) -> list[trio.SocketListener]:
    """Sockets that listen; port 0 takes a free one. Raises `PortInUse` and `OSError`."""
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"port {port} on {host} is in use") from error
        raise


def port_of(listeners: list[trio.SocketListener]) -> int:
    """The port that they listen on."""
    port: int = listeners[0].socket.getsockname()[1]
    return port


class Server:
    """Serves clients of one node."""

    def __init__(self, node: Node, *, max_connections: int = MAX_CONNECTIONS) -> None:
        self._node = node
        self._free = max_connections
        self._incoming = Incoming()

    async def serve(
        self,
        listeners: list[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves for ever. Cancelled, it closes the listeners and all connections."""
        await trio.serve_listeners(self._client, listeners, task_status=task_status)

    async def _client(self, stream: trio.SocketStream) -> None:
        if self._free == 0:
            logger.warning("client_refused", reason="too many connections")
            await trio.aclose_forcefully(stream)
            return
        self._free -= 1
        try:
            await serve_connection(stream, self._node, self._incoming)
        finally:
            self._free += 1
