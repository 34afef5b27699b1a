"""A small SOCKS5 server of our own (RFC 1928, RFC 1929), well-behaved or not."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from offchain_worker.swarm.proxy import Proxy


@dataclass
class SocksServer:
    """Serves on a loopback address; what it does can be changed at any time.

    Attributes:
        credentials: user name and password that it wants; None: no login.
        reply: the code that it answers a request with, instead of connecting, if it is not None.
        says: raw bytes in place of its answer to the greeting, the login or the request.
        silent: the answer that never comes.
        seen: `connections`, `logins`, `requests`, and each destination `IP port`.
        host, port: where it listens.
        links: all its connections.
        copied: bytes that went through it.
        cut_after: so many bytes after which it cuts everything, once; None: never.
        then_silent: the answer that does not come from then on.
        waits, left: set when it was asked for the silent answer, and when the client has gone.
    """

    credentials: tuple[str, str] | None = None
    reply: int | None = None
    says: dict[str, bytes] = field(default_factory=dict)
    silent: str | None = None
    seen: Counter[str] = field(default_factory=Counter)
    host: str = "127.0.0.1"
    port: int = 0
    links: list[trio.abc.Stream] = field(default_factory=list)
    copied: int = 0
    cut_after: int | None = None
    then_silent: str | None = None
    waits: trio.Event = field(default_factory=trio.Event)
    left: trio.Event = field(default_factory=trio.Event)

    def proxy(self, username: str | None = None, password: str | None = None) -> Proxy:
        return Proxy(self.host, self.port, username, password)

    async def cut(self) -> None:
        """Break all connections that go through it."""
        for stream in self.links:
            await trio.aclose_forcefully(stream)
        self.links.clear()

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                self.links.append(stream)
                self.seen["connections"] += 1
                await self._serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
            self.seen["broken"] += 1

    async def _serve(self, stream: trio.SocketStream) -> None:
        version, count = await exactly(stream, 2)
        methods = await exactly(stream, count)
        assert version == 5
        wanted = 0 if self.credentials is None else 2
        chosen = wanted if wanted in methods else 0xFF
        await self._answer(stream, "greeting", bytes([5, chosen]))
        if chosen == 0xFF:
            return
        if chosen == 2:
            assert await exactly(stream, 1) == b"\1"
            name = await exactly(stream, (await exactly(stream, 1))[0])
            password = await exactly(stream, (await exactly(stream, 1))[0])
            right = (name.decode(), password.decode()) == self.credentials
            await self._answer(stream, "login", bytes([1, 0 if right else 1]))
            if not right:
                return
            self.seen["logins"] += 1
        _, command, _, kind = await exactly(stream, 4)
        assert command == 1
        # A name is never asked for.
        assert kind in (1, 4)
        ip = str(ipaddress.ip_address(await exactly(stream, 4 if kind == 1 else 16)))
        port = int.from_bytes(await exactly(stream, 2), "big")
        self.seen["requests"] += 1
        self.seen[f"{ip} {port}"] += 1
        if self.reply is not None:
            await self._answer(stream, "request", bytes([5, self.reply, 0, 1]) + bytes(6))
            return
        try:
            onward = await trio.open_tcp_stream(ip, port)
        except OSError:
            await self._answer(stream, "request", bytes([5, 5, 0, 1]) + bytes(6))
            return
        async with onward:
            self.links.append(onward)
            await self._answer(stream, "request", bytes([5, 0, 0, 1]) + bytes(6))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._copy, stream, onward, nursery.cancel_scope)
                nursery.start_soon(self._copy, onward, stream, nursery.cancel_scope)

    async def _answer(self, stream: trio.SocketStream, step: str, answer: bytes) -> None:
        if self.silent == step:
            self.waits.set()
            if not await stream.receive_some(1):
                self.left.set()
            return
        await stream.send_all(self.says.get(step, answer))

    async def _copy(
        self, source: trio.abc.Stream, target: trio.abc.Stream, scope: trio.CancelScope
    ) -> None:
        try:
            async for data in source:
                await target.send_all(data)
                self.copied += len(data)
                if self.cut_after is not None and self.copied > self.cut_after:
                    self.cut_after, self.silent = None, self.then_silent
                    await self.cut()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


async def exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


@asynccontextmanager
async def socks_server(
    host: str = "127.0.0.1", credentials: tuple[str, str] | None = None
) -> AsyncIterator[SocksServer]:
    server = SocksServer(credentials=credentials, host=host)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=host)
        server.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server.serve, listeners)
        yield server
        nursery.cancel_scope.cancel()
