"""JSON-RPC 2.0 over one WebSocket that is made again when it is lost.

Requests are matched to answers by their ids; what they return is not trusted beyond being JSON of
bounded size. Nothing is sent by the task that asks: one writer sends, so a cancelled request never
leaves half a message behind.
"""

from __future__ import annotations

import itertools
import math
import random
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from offchain_worker.chain.background import running
from offchain_worker.chain.errors import (
    ConnectionLost,
    MalformedAnswer,
    RpcError,
    RpcTimeout,
    SubscriptionLagged,
)
from offchain_worker.errors import UsageError

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Limits:
    """Bounds of a connection.

    Attributes:
        timeout: seconds that an answer may take, making the connection again included.
        connect_timeout: seconds until the WebSocket must stand.
        idle: seconds between pings; a pong must come within `timeout`.
        retry_first, retry_most: seconds to wait before connecting again, doubled each time.
        message_bytes: the largest message that is accepted.
        requests: how many may wait for an answer at once.
        notifications: how many of one subscription may wait to be taken.
    """

    timeout: float = 15.0
    connect_timeout: float = 5.0
    idle: float = 10.0
    retry_first: float = 0.1
    retry_most: float = 5.0
    message_bytes: int = 32 * 2**20
    requests: int = 64
    notifications: int = 64


DEFAULT_LIMITS = Limits()
OpenStream = Callable[[], Awaitable[trio.abc.Stream]]
"""Makes the transport under a WebSocket; raises `OSError`."""
_RECEIVE_BYTES = 2**16


class _Error(msgspec.Struct):
    code: int
    message: str
    data: Any = None


class _Notification(msgspec.Struct):
    subscription: str | int
    result: Any = None


class _Message(msgspec.Struct):
    id: int | None = None
    result: Any = None
    error: _Error | None = None
    params: _Notification | None = None


_DECODER = msgspec.json.Decoder(_Message)


@dataclass
class _Slot:
    """A request that waits for its answer."""

    method: str
    done: trio.Event = field(default_factory=trio.Event)
    result: Any = None
    error: Exception | None = None
    notifications: trio.MemorySendChannel[Any] | None = None

    def finish(self, result: Any = None, error: Exception | None = None) -> None:
        self.result, self.error = result, error
        self.done.set()


class Subscription:
    """Notifications of one subscription, in the order of their arrival.

    Iterating raises ConnectionLost when the connection ends: what happens afterwards is not
    known, so the consumer subscribes again and asks for what it missed. SubscriptionLagged is
    raised when more than `Limits.notifications` waited.
    """

    def __init__(
        self, link: _Link, identifier: str | int, channel: trio.MemoryReceiveChannel[Any]
    ) -> None:
        self._link = link
        self._identifier = identifier
        self._channel = channel

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Any:
        """Wait for the next notification. Cancelling loses none."""
        try:
            return await self._channel.receive()
        except trio.EndOfChannel:
            if self._link.lost is not None:
                raise ConnectionLost(self._link.lost) from None
            raise SubscriptionLagged("more notifications came than were taken") from None

    def close(self, unsubscribe: str) -> None:
        """Take no more notifications, and ask the node to send none."""
        self._link.drop(self._identifier, unsubscribe)
        self._channel.close()


class _Link:
    """One WebSocket, from its opening to its loss."""

    def __init__(self, ids: Iterator[int], limits: Limits) -> None:
        self.lost: str | None = None
        self._ids = ids
        self._limits = limits
        self._slots: dict[int, _Slot] = {}
        self._subscriptions: dict[str | int, trio.MemorySendChannel[Any]] = {}
        self._outbox, self._outgoing = trio.open_memory_channel[str](limits.requests)

    async def serve(self, websocket: WebSocketConnection) -> None:
        """Carry messages until the connection is lost; `lost` then says why."""
        async with trio.open_nursery() as nursery:

            async def until_lost(work: Callable[[WebSocketConnection], Awaitable[None]]) -> None:
                try:
                    await work(websocket)
                except ConnectionClosed as error:
                    self.lose(f"closed by the node: {error.reason}")
                except trio.TooSlowError:
                    self.lose("no pong came")
                except msgspec.DecodeError as error:
                    self.lose(f"malformed message: {error}")
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_lost, self._read)
            nursery.start_soon(until_lost, self._write)
            nursery.start_soon(until_lost, self._keep_alive)

    async def _read(self, websocket: WebSocketConnection) -> None:
        while True:
            self._take(_DECODER.decode(await websocket.get_message()))

    async def _write(self, websocket: WebSocketConnection) -> None:
        async for message in self._outgoing:
            await websocket.send_message(message)

    async def _keep_alive(self, websocket: WebSocketConnection) -> None:
        while True:
            await trio.sleep(self._limits.idle)
            with trio.fail_after(self._limits.timeout):
                await websocket.ping()

    def _take(self, message: _Message) -> None:
        if message.params is not None:
            self._notify(message.params)
            return
        slot = self._slots.pop(message.id, None) if message.id is not None else None
        if slot is None:
            return  # the answer to a request that was given up
        if message.error is not None:
            error = message.error
            slot.finish(error=RpcError(slot.method, error.code, error.message, error.data))
        elif slot.notifications is None:
            slot.finish(message.result)
        elif isinstance(message.result, str | int):
            # Registered here and not by the task that waits: the next message may already be one.
            self._subscriptions[message.result] = slot.notifications
            slot.finish(message.result)
        else:
            slot.finish(error=MalformedAnswer(f"{slot.method} returned no subscription"))

    def _notify(self, notification: _Notification) -> None:
        channel = self._subscriptions.get(notification.subscription)
        if channel is None:
            return  # of a subscription that was given up
        try:
            channel.send_nowait(notification.result)
        except trio.WouldBlock:
            del self._subscriptions[notification.subscription]
            channel.close()

    def lose(self, reason: str) -> None:
        """End all requests and subscriptions of this connection."""
        if self.lost is not None:
            return
        self.lost = reason
        self._outbox.close()
        for slot in self._slots.values():
            slot.finish(error=ConnectionLost(reason))
        for channel in self._subscriptions.values():
            channel.close()
        self._slots.clear()
        self._subscriptions.clear()

    async def request(
        self,
        method: str,
        params: Sequence[Any],
        notifications: trio.MemorySendChannel[Any] | None = None,
    ) -> Any:
        """Send a request and wait for its answer. Cancelling forgets the request."""
        identifier, slot = next(self._ids), _Slot(method, notifications=notifications)
        self._slots[identifier] = slot
        try:
            await self._outbox.send(self._encode(identifier, method, params))
            await slot.done.wait()
        except trio.ClosedResourceError:
            raise ConnectionLost(self.lost) from None
        finally:
            self._slots.pop(identifier, None)
        if slot.error is not None:
            raise slot.error
        return slot.result

    def drop(self, identifier: str | int, unsubscribe: str) -> None:
        """Forget a subscription; the node hears of it if there is room to tell it."""
        channel = self._subscriptions.pop(identifier, None)
        if channel is None or self.lost is not None:
            return
        channel.close()
        try:
            self._outbox.send_nowait(self._encode(next(self._ids), unsubscribe, [identifier]))
        except trio.WouldBlock:
            _log.warning("chain.not_unsubscribed", method=unsubscribe)

    @staticmethod
    def _encode(identifier: int, method: str, params: Sequence[Any]) -> str:
        message = {"jsonrpc": "2.0", "id": identifier, "method": method, "params": list(params)}
        return msgspec.json.encode(message).decode()


@dataclass(frozen=True)
class _Address:
    """Where a WebSocket URL leads."""

    host: str
    port: int
    resource: str
    secure: bool

    @classmethod
    def of(cls, url: str) -> _Address:
        wrong = UsageError(f"{url!r} is not a node's address; write ws://HOST:PORT or wss://….")
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise wrong from error
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise wrong
        secure = parts.scheme == "wss"
        resource = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        return cls(parts.hostname, port or (443 if secure else 80), resource, secure)

    @property
    def authority(self) -> str:
        """What the HTTP request names as its host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    async def open_stream(self) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
        if not self.secure:
            return await trio.open_tcp_stream(self.host, self.port)
        return await trio.open_ssl_over_tcp_stream(self.host, self.port, https_compatible=True)


def _reason(error: BaseException) -> str:
    """Return the innermost words of an error."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


class Rpc:
    """A JSON-RPC client; made by `open_rpc`.

    Attributes:
        url: of the node.
        connections: how many times the connection was made.
    """

    def __init__(self, url: str, limits: Limits, open_stream: OpenStream | None = None) -> None:
        self.url = url
        self._address = _Address.of(url)
        self._open_stream = open_stream or self._address.open_stream
        self.connections = 0
        self._limits = limits
        self._ids = itertools.count(1)
        self._link: _Link | None = None
        self._connected = trio.Event()
        self._failure = ""
        self._requests = trio.Semaphore(limits.requests)

    async def stay_connected(self) -> None:
        """Make the connection, again and again, until cancelled."""
        delay = self._limits.retry_first
        while True:
            connections = self.connections
            try:
                await self._connect()
            except* (HandshakeError, ConnectionClosed, OSError, trio.BrokenResourceError) as group:
                self._failure = _reason(group)
            except* trio.TooSlowError:
                self._failure = f"no connection within {self._limits.connect_timeout:g} s"
            if self.connections:
                _log.warning("chain.connection_lost", url=self.url, reason=self._failure)
            else:
                # A node that is only being started is no trouble yet; requests say so in time.
                _log.info("chain.not_connected_yet", url=self.url, reason=self._failure)
            if self.connections > connections:
                delay = self._limits.retry_first
            # Jitter keeps the clients of a node that comes back from arriving all at once.
            await trio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
            delay = min(2 * delay, self._limits.retry_most)

    async def _connect(self) -> None:
        """Make one connection and serve it until it is lost."""
        with trio.fail_after(self._limits.connect_timeout) as opening:
            stream = await self._open_stream()
            try:
                async with trio.open_nursery() as nursery:
                    websocket = await wrap_client_stream(
                        nursery,
                        stream,  # type: ignore[arg-type]  # it takes any stream
                        self._address.authority,
                        self._address.resource,
                        max_message_size=self._limits.message_bytes,
                        receive_buffer_size=_RECEIVE_BYTES,
                    )
                    opening.deadline = math.inf
                    await self._serve(websocket)
                    nursery.cancel_scope.cancel()
            finally:
                # The library leaves a stream open that the other side closed.
                await trio.aclose_forcefully(stream)

    async def _serve(self, websocket: WebSocketConnection) -> None:
        link = _Link(self._ids, self._limits)
        self._link = link
        self.connections += 1
        self._connected.set()
        try:
            await link.serve(websocket)
        finally:
            link.lose("closed")
            self._failure = link.lost or ""
            self._forget(link)

    def _forget(self, link: _Link) -> None:
        """Let requests wait for the next connection, as soon as one of them sees the loss."""
        if self._link is link:
            self._link = None
            self._connected = trio.Event()

    async def request(
        self,
        method: str,
        *params: Any,
        timeout: float | None = None,
        again: bool = True,
    ) -> Any:
        """Ask the node, and return the result as JSON.

        Args:
            method, params: what to ask.
            timeout: seconds, `Limits.timeout` if None.
            again: whether to ask again when the connection is lost before the answer.

        Raises:
            RpcError: the node refused.
            RpcTimeout: no answer in time.
            ConnectionLost: the connection ended, and `again` is False.

        Cancelling leaves open whether the node did what was asked.
        """
        seconds = self._limits.timeout if timeout is None else timeout
        with trio.move_on_after(seconds):
            async with self._requests:
                while True:
                    link = await self._linked()
                    try:
                        return await link.request(method, params)
                    except ConnectionLost:
                        self._forget(link)
                        if not again:
                            raise
        raise RpcTimeout(method, seconds, "" if self._link else self._failure)

    async def _linked(self) -> _Link:
        while self._link is None:
            await self._connected.wait()
        return self._link

    async def subscribe(self, method: str, *params: Any) -> Subscription:
        """Subscribe; the caller closes the subscription.

        Raises:
            RpcError, RpcTimeout, ConnectionLost: as `request` without `again`.

        Cancelling may leave a subscription at the node whose notifications are dropped.
        """
        send, receive = trio.open_memory_channel[Any](self._limits.notifications)
        with trio.move_on_after(self._limits.timeout):
            async with self._requests:
                link = await self._linked()
                try:
                    identifier = await link.request(method, params, send)
                except ConnectionLost:
                    self._forget(link)
                    raise
                return Subscription(link, identifier, receive)
        raise RpcTimeout(method, self._limits.timeout, "" if self._link else self._failure)


@asynccontextmanager
async def open_rpc(
    url: str, limits: Limits = DEFAULT_LIMITS, open_stream: OpenStream | None = None
) -> AsyncIterator[Rpc]:
    """Connect to a node's WebSocket URL and stay connected for the time of the context.

    The first connection is made in the background: a request waits for it, within its time-out.

    Args:
        url: of the node.
        limits: of the connection.
        open_stream: makes the transport instead of TCP to the URL's host; a node in the same
            process is reached so.

    Raises:
        UsageError: the URL is no WebSocket URL.
    """
    rpc = Rpc(url, limits, open_stream)
    async with running(rpc.stay_connected):
        yield rpc
