"""Connections through SOCKS5: what is the proxy's fault, what the destination's."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from socks_server import socks_server

from offchain_worker.hypercore.errors import Unreachable, WayOutFailed
from offchain_worker.swarm.proxy import Proxy, check_proxy, dial_through

LONG_S = 30.0
SHORT_S = 0.4
HOSTS = ["127.0.0.1", "::1"]
PASSWORD = "p:a@s/s wörd"  # noqa: S105


@asynccontextmanager
async def echo(host: str = "127.0.0.1") -> AsyncIterator[int]:
    async def serve(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=host)
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def reaches(proxy: Proxy, ip: str, port: int) -> None:
    async with await dial_through(proxy, ip, port, timeout=LONG_S) as stream:
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("destination", HOSTS)
async def test_bytes_go_through_both_kinds_of_address(host: str, destination: str) -> None:
    async with socks_server(host) as server, echo(destination) as port:
        await reaches(server.proxy(), destination, port)
        assert server.seen[f"{destination} {port}"] == 1


async def test_the_password_opens_it() -> None:
    async with socks_server(credentials=("me", PASSWORD)) as server, echo() as port:
        await reaches(server.proxy("me", PASSWORD), "127.0.0.1", port)
        assert server.seen["logins"] == 1


async def test_nothing_is_looked_up() -> None:
    async with socks_server() as server, echo() as port:
        with pytest.MonkeyPatch.context() as patch:

            def refuse(host: str, *rest: object, **named: object) -> object:
                # Trio has addresses read by the same function, which looks nothing up then.
                ipaddress.ip_address(host)
                return original(host, *rest, **named)

            original = socket.getaddrinfo
            patch.setattr(socket, "getaddrinfo", refuse)
            stream = await dial_through(server.proxy(), "127.0.0.1", port, timeout=LONG_S)
            with pytest.raises(ValueError, match="localhost"):
                await dial_through(server.proxy(), "localhost", port, timeout=LONG_S)
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize(
    ("username", "password", "words"),
    [
        ("me", "wrong", "refused the user name or the password"),
        ("you", PASSWORD, "refused the user name or the password"),
        (None, None, "wants a password"),
    ],
)
async def test_a_wrong_login_is_the_ways_fault(
    username: str | None, password: str | None, words: str
) -> None:
    async with socks_server(credentials=("me", PASSWORD)) as server:
        proxy = server.proxy(username, password)
        with pytest.raises(WayOutFailed, match=words) as caught:
            await dial_through(proxy, "127.0.0.1", 1, timeout=LONG_S)
        with pytest.raises(WayOutFailed, match=words):
            await check_proxy(proxy, timeout=LONG_S)
        for secret in filter(None, (password, PASSWORD)):
            assert secret not in f"{caught.value} {caught.value!r} {proxy} {proxy!r}"
        assert server.seen["requests"] == 0


async def test_a_login_is_not_sent_to_who_does_not_want_it() -> None:
    async with socks_server() as server:
        with pytest.raises(WayOutFailed, match="wants another way to log in"):
            await dial_through(server.proxy("me", PASSWORD), "127.0.0.1", 1, timeout=LONG_S)


async def test_a_proxy_that_is_down_is_the_ways_fault() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy = Proxy("127.0.0.1", unused.getsockname()[1])
        with pytest.raises(WayOutFailed, match="the proxy cannot be reached"):
            await dial_through(proxy, "127.0.0.1", 1, timeout=LONG_S)
        with pytest.raises(WayOutFailed, match="the proxy cannot be reached"):
            await check_proxy(proxy, timeout=LONG_S)


@pytest.mark.parametrize("code", [1, 2, 3, 7, 8, 9, 255])
async def test_what_may_be_the_proxys_fault_is_not_the_destinations(code: int) -> None:
    async with socks_server() as server:
        server.reply = code
        with pytest.raises(WayOutFailed, match="did not connect"):
            await dial_through(server.proxy(), "127.0.0.1", 1, timeout=LONG_S)


@pytest.mark.parametrize("code", [4, 5, 6])
async def test_what_the_proxy_says_of_the_destination_is_believed(code: int) -> None:
    async with socks_server() as server:
        server.reply = code
        with pytest.raises(Unreachable, match="says proxy"):
            await dial_through(server.proxy(), "192.0.2.1", 99, timeout=LONG_S)
        assert server.seen["192.0.2.1 99"] == 1


@pytest.mark.parametrize("step", ["greeting", "login"])
async def test_a_proxy_that_does_not_answer_has_failed(step: str) -> None:
    async with socks_server(credentials=("me", "pw")) as server:
        server.silent = step
        with pytest.raises(WayOutFailed, match="was not ready in"):
            await dial_through(server.proxy("me", "pw"), "127.0.0.1", 1, timeout=SHORT_S)
        with pytest.raises(WayOutFailed, match="was not ready in"):
            await check_proxy(server.proxy("me", "pw"), timeout=SHORT_S)


async def test_a_proxy_that_was_ready_and_then_waits_waits_for_the_destination() -> None:
    async with socks_server() as server:
        server.silent = "request"
        with pytest.raises(Unreachable, match="did not answer proxy"):
            await dial_through(server.proxy(), "127.0.0.1", 1, timeout=SHORT_S)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("greeting", b"\4\0"),
        ("greeting", b"\5\1"),
        ("greeting", b"\5\xff"),
        ("greeting", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("login", b"\1\1"),
        ("login", b"\xff" * 4096),
        ("request", b"\4\0\0\1" + bytes(6)),
        ("request", b"\5\0\0\2" + bytes(6)),
        ("request", b"\5\0\0\xff" + b"\xff" * 65536),
    ],
)
async def test_other_answers_are_refused(step: str, says: bytes) -> None:
    async with socks_server(credentials=("me", "pw")) as server, echo() as port:
        server.says[step] = says
        with pytest.raises(WayOutFailed):
            await dial_through(server.proxy("me", "pw"), "127.0.0.1", port, timeout=LONG_S)


@pytest.mark.parametrize(
    "reply",
    [b"\5\0\0\1" + bytes(6), b"\5\0\0\3\0" + bytes(2), b"\5\0\0\3\xff" + b"n" * 257,
     b"\5\0\0\4" + bytes(18)],
)  # fmt: skip
async def test_the_answer_ends_where_the_destinations_bytes_begin(reply: bytes) -> None:
    async with socks_server() as server, echo() as port:
        server.says["request"] = reply + b"from the destination"
        async with await dial_through(server.proxy(), "127.0.0.1", port, timeout=LONG_S) as stream:
            assert await stream.receive_some() == b"from the destination"


@pytest.mark.parametrize("step", ["greeting", "login", "request"])
async def test_a_proxy_that_hangs_up_has_failed(step: str) -> None:
    complete = {"greeting": b"\5\2", "login": b"\1\0", "request": b"\5\0\0\1" + bytes(6)}[step]
    async with trio.open_nursery() as nursery:
        for length in range(len(complete)):

            async def serve(stream: trio.SocketStream, length: int = length) -> None:
                async with stream:
                    for asked, answer in ((3, b"\5\2"), (7, b"\1\0"), (10, b"\5\0\0\1" + bytes(6))):
                        await stream.receive_some(asked)
                        cut = answer == complete
                        await stream.send_all(answer[:length] if cut else answer)
                        if cut:
                            break

            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            proxy = Proxy("127.0.0.1", listener.socket.getsockname()[1], "me", "pw")
            with pytest.raises(WayOutFailed, match="ended the connection"):
                await dial_through(proxy, "127.0.0.1", 1, timeout=LONG_S)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("step", ["greeting", "login", "request"])
async def test_cancelled_it_leaves_no_connection(step: str) -> None:
    async with socks_server(credentials=("me", "pw")) as server:
        server.silent = step
        proxy = server.proxy("me", "pw")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(dial_through, proxy, "127.0.0.1", 1, timeout=LONG_S))
            await server.waits.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(LONG_S):
            await server.left.wait()
