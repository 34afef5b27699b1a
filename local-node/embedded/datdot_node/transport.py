"""One TCP connection: HTTP/1.1 requests, or WebSocket after an upgrade.

Built on the sans-IO h11 and wsproto, so that this module alone decides how long it waits for a
peer and when it lets it go.
"""

from collections.abc import Callable

import h11
import structlog
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    Pong,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from datdot_node.node import Node
from datdot_node.rpc.session import Session

MAX_MESSAGE = 16 * 1024 * 1024
"""Largest request, in bytes."""
SMALL_MESSAGE = 64 * 1024
"""What a request may have in bytes in any case."""
MAX_LARGE = 128 * 1024 * 1024
"""Most bytes beyond that of the requests of all clients together; with more, one is let go."""
MAX_WAITING, MAX_WAITING_BYTES = 8192, 16 * 1024 * 1024
"""Most notifications that wait for a client to read; one more, and it is let go."""
READ_TIMEOUT_S = 60.0
"""How long a request may take to arrive, and how long HTTP is kept alive."""
WRITE_TIMEOUT_S = 20.0
PING_S = 30.0
"""A WebSocket that is silent so long is pinged, and let go when it stays silent as long again."""
CLOSE_S = 2.0
"""How long a client gets to answer when it is sent away."""
_CHUNK = 65536

logger = structlog.get_logger(__name__)


class _PeerGone(Exception):
    """The peer closed, broke the protocol or was too slow; the reason is in the message."""


class Incoming:
    """What the requests of all clients take, from their arrival until they are answered."""

    def __init__(self) -> None:
        self._large = 0

    def grow(self, size: int, more: int) -> int:
        """A request of `size` bytes gets `more`; its size then. Raises `_PeerGone`."""
        grown = _beyond_small(size + more) - _beyond_small(size)
        if self._large + grown > MAX_LARGE:
            raise _PeerGone("too many large requests at a time")
        self._large += grown
        return size + more

    def end(self, size: int) -> None:
        """A request of `size` bytes is answered or given up."""
        self._large -= _beyond_small(size)


def _beyond_small(size: int) -> int:
    return max(0, size - SMALL_MESSAGE)


async def serve_connection(stream: trio.SocketStream, node: Node, incoming: Incoming) -> None:
    """Serves one client until it is gone, breaks the rules or is too slow, and closes the stream.

    `incoming` is the same for all clients. Cancelled, it closes the stream at once.
    """
    try:
        await _Http(stream, node, incoming).serve()
    except* (_PeerGone, trio.BrokenResourceError, trio.ClosedResourceError) as gone:
        logger.debug("client_gone", reason=str(gone.exceptions[0]))
    except* Exception:
        # A client's bytes must not end the node; what is wrong here is ours, so it is said.
        logger.exception("client_failed")
    finally:
        await trio.aclose_forcefully(stream)


async def _receive(stream: trio.SocketStream, timeout: float) -> bytes:
    with trio.move_on_after(timeout):
        return bytes(await stream.receive_some(_CHUNK))
    raise _PeerGone("nothing came in time")


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    with trio.move_on_after(WRITE_TIMEOUT_S):
        await stream.send_all(data)
        return
    raise _PeerGone("it does not read")


class _Http:
    """Requests by POST, answered in turn; a GET with an upgrade becomes a WebSocket."""

    def __init__(self, stream: trio.SocketStream, node: Node, incoming: Incoming) -> None:
        self._stream = stream
        self._node = node
        self._incoming = incoming
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024)

    async def serve(self) -> None:
        try:
            while True:
                deadline = trio.current_time() + READ_TIMEOUT_S
                request = await self._event(deadline)
                if not isinstance(request, h11.Request):
                    return
                headers = dict(request.headers)
                if b"websocket" in headers.get(b"upgrade", b"").lower():
                    await _WebSocket(self._stream, self._node, self._incoming).serve(
                        request, self._http.trailing_data[0]
                    )
                    return
                await self._serve_request(request, deadline)
                if self._http.our_state is not h11.DONE:
                    return
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self._respond(error.error_status_hint, b"")
            raise _PeerGone(str(error)) from error

    async def _event(self, deadline: float) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._send_event(h11.InformationalResponse(status_code=100, headers=[]))
            left = max(0.0, deadline - trio.current_time())
            self._http.receive_data(await _receive(self._stream, left))

    async def _serve_request(self, request: h11.Request, deadline: float) -> None:
        if request.method != b"POST":
            await self._respond(405, b"")
            return
        # h11 has seen to it that this is a number.
        announced = int(dict(request.headers).get(b"content-length", b"0"))
        body = bytearray()
        try:
            while True:
                if max(announced, len(body)) > MAX_MESSAGE:
                    await self._respond(413, b"")
                    raise _PeerGone("its request is too large")
                event = await self._event(deadline)
                if isinstance(event, h11.EndOfMessage):
                    break
                if not isinstance(event, h11.Data):
                    raise _PeerGone("it closed within a request")
                self._incoming.grow(len(body), len(event.data))
                body += event.data
            answer = await Session(self._node).answer(bytes(body))
        finally:
            self._incoming.end(len(body))
        await self._respond(200, answer or b"")

    async def _respond(self, status: int, body: bytes) -> None:
        headers = [
            ("content-type", "application/json" if status == 200 else "text/plain"),
            ("content-length", str(len(body))),
        ]
        if status != 200:
            # The rest of such a request is not read, so no other can follow it.
            headers.append(("connection", "close"))
        await self._send_event(h11.Response(status_code=status, headers=headers))
        await self._send_event(h11.Data(data=body))
        await self._send_event(h11.EndOfMessage())

    async def _send_event(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await _send(self._stream, data)


class _WebSocket:
    """A reader that answers requests in turn, and the one writer of the connection."""

    def __init__(self, stream: trio.SocketStream, node: Node, incoming: Incoming) -> None:
        self._stream = stream
        self._node = node
        self._incoming = incoming
        self._websocket = WSConnection(ConnectionType.SERVER)
        self._outgoing, self._to_write = trio.open_memory_channel[tuple[bytes, trio.Event | None]](
            MAX_WAITING
        )
        self._waiting_bytes = 0
        self._too_slow: Callable[[], None] | None = None

    async def serve(self, request: h11.Request, first: bytes) -> None:
        headers = [(name, value) for name, value in request.headers]
        try:
            self._websocket.initiate_upgrade_connection(headers, request.target)
            # wsproto announces the request that it was just given.
            next(self._websocket.events())
            await _send(self._stream, self._websocket.send(AcceptConnection()))
        except (
            RemoteProtocolError,
            LocalProtocolError,
            # wsproto takes headers for ASCII, and gives them to an h11 of its own.
            UnicodeDecodeError,
            h11.LocalProtocolError,
        ) as error:
            await _send(self._stream, b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            raise _PeerGone(str(error)) from error
        async with trio.open_nursery() as nursery:
            self._too_slow = nursery.cancel_scope.cancel
            session = Session(self._node, self._notify, nursery.cancel_scope.cancel)
            nursery.start_soon(self._write)
            try:
                with self._node.listening(session.update):
                    await self._read(session, first)
            finally:
                session.close()
            # The writer ends when it has written what waits.
            self._outgoing.close()

    def _notify(self, message: bytes) -> None:
        """Puts a notification in the queue; a client that lets it fill up is let go.

        Called within the node's work, which must not fail for a client's sake: one that is being
        closed is told nothing more.
        """
        if self._websocket.state is not ConnectionState.OPEN:
            return
        frame = self._frame(message)
        try:
            if self._waiting_bytes > MAX_WAITING_BYTES:
                raise trio.WouldBlock
            self._outgoing.send_nowait((frame, None))
            self._waiting_bytes += len(frame)
        except trio.WouldBlock:
            logger.warning("slow_client_dropped", waiting_bytes=self._waiting_bytes)
            if self._too_slow is not None:
                self._too_slow()

    async def _say(self, frame: bytes) -> None:
        """Sends a frame after those that wait, and waits until it is written.

        So a client that asks without reading has one answer waiting, not all of them.
        """
        written = await self._queue(frame)
        await written.wait()

    async def _queue(self, frame: bytes) -> trio.Event:
        """Puts a frame behind those that wait; the event says when it is written."""
        written = trio.Event()
        self._waiting_bytes += len(frame)
        await self._outgoing.send((frame, written))
        return written

    def _frame(self, message: bytes) -> bytes:
        return self._websocket.send(Message(data=message.decode()))

    async def _write(self) -> None:
        async for frame, written in self._to_write:
            await _send(self._stream, frame)
            self._waiting_bytes -= len(frame)
            if written is not None:
                written.set()

    async def _read(self, session: Session, first: bytes) -> None:
        parts: list[str | bytes] = []
        size = 0
        try:
            if first:
                self._websocket.receive_data(first)
            while True:
                for event in self._websocket.events():
                    if isinstance(event, TextMessage | BytesMessage):
                        part = event.data
                        parts.append(part if isinstance(part, str) else bytes(part))
                        size = self._incoming.grow(size, len(event.data))
                        if size > MAX_MESSAGE:
                            await self._say(self._websocket.send(CloseConnection(code=1009)))
                            await self._until_closed()
                            return
                        if event.message_finished:
                            await self._answer(session, parts)
                            self._incoming.end(size)
                            parts, size = [], 0
                    elif isinstance(event, Ping):
                        await self._say(self._websocket.send(event.response()))
                    elif isinstance(event, CloseConnection):
                        # Without a closing frame from the peer there is nobody to answer.
                        if self._websocket.state is ConnectionState.REMOTE_CLOSING:
                            await self._say(self._websocket.send(event.response()))
                        return
                    elif not isinstance(event, Pong):
                        raise _PeerGone(f"it sent {type(event).__name__}")
                self._websocket.receive_data(await self._more())
        except RemoteProtocolError as error:
            raise _PeerGone(str(error)) from error
        finally:
            self._incoming.end(size)

    async def _more(self) -> bytes | None:
        """The next bytes; None at their end. A silent peer is pinged once."""
        data: bytes | None = None
        with trio.move_on_after(PING_S):
            data = bytes(await self._stream.receive_some(_CHUNK))
        if data is None:
            await self._say(self._websocket.send(Ping()))
            data = await _receive(self._stream, PING_S)
        return data or None

    async def _until_closed(self) -> None:
        """Waits a while for the peer's answer to our close, so that it reads it before a reset."""
        with trio.move_on_after(CLOSE_S):
            while self._websocket.state is not ConnectionState.CLOSED:
                self._websocket.receive_data(await self._stream.receive_some(_CHUNK) or None)
                for _ in self._websocket.events():
                    pass

    async def _answer(self, session: Session, parts: list[str | bytes]) -> None:
        if all(isinstance(part, str) for part in parts):
            message: str | bytes = "".join(part for part in parts if isinstance(part, str))
        else:
            message = b"".join(part for part in parts if isinstance(part, bytes))
        answer = await session.answer(message)
        written = None if answer is None else await self._queue(self._frame(answer))
        # What was kept back queues behind the answer, where the limits hold for it.
        session.answered()
        if written is not None:
            await written.wait()
