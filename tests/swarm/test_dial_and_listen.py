"""TCP on loopback."""

import errno
import socket
from contextlib import AsyncExitStack

import pytest
import trio

from offchain_worker.hypercore.errors import Unreachable, WayOutFailed
from offchain_worker.swarm.dial import dial, local_address
from offchain_worker.swarm.listen import listen


def socket_class() -> type:
    with trio.socket.socket() as one:
        return type(one)


async def echo(stream: trio.SocketStream) -> None:
    async for chunk in stream:
        await stream.send_all(chunk)


async def start(
    nursery: trio.Nursery, host: str = "127.0.0.1", max_connections: int = 4
) -> tuple[str, int]:
    async def run(*, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        await listen(host, 0, echo, max_connections=max_connections, task_status=task_status)

    address = await nursery.start(run)
    assert isinstance(address, tuple)
    return address


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", *(["::1"] if has_ipv6() else [])])
async def test_bytes_go_there_and_back(host: str) -> None:
    async with trio.open_nursery() as nursery:
        ip, port = await start(nursery, host)
        assert ip == host
        stream = await dial(ip, port, timeout=5)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        async with stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
        nursery.cancel_scope.cancel()


async def test_no_more_connections_than_allowed() -> None:
    async with trio.open_nursery() as nursery:
        ip, port = await start(nursery, max_connections=1)
        first = await dial(ip, port, timeout=5)
        await first.send_all(b"1")
        assert await first.receive_some() == b"1"
        second = await dial(ip, port, timeout=5)
        await second.send_all(b"2")
        with trio.move_on_after(0.1) as scope:
            await second.receive_some()
        assert scope.cancelled_caught
        await first.aclose()
        assert await second.receive_some() == b"2"
        await second.aclose()
        nursery.cancel_scope.cancel()


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(Unreachable, match=str(port)):
            await dial("127.0.0.1", port, timeout=5)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EADDRNOTAVAIL, errno.ENETDOWN])
async def test_what_never_left_this_machine_is_not_the_peers_fault(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(_socket: object, _address: object) -> None:
        raise OSError(code, "injected")

    monkeypatch.setattr(socket_class(), "connect", connect)
    with pytest.raises(WayOutFailed, match="injected"):
        await dial("127.0.0.1", 1, timeout=5)


async def test_no_socket_is_not_the_peers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*_: object) -> None:
        raise OSError(errno.EMFILE, "injected")

    monkeypatch.setattr(trio.socket, "socket", make)
    with pytest.raises(WayOutFailed, match="injected"):
        await dial("127.0.0.1", 1, timeout=5)


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EHOSTUNREACH])
@pytest.mark.parametrize("routed", [True, False])
async def test_no_route_is_ours_only_if_this_machine_has_none(
    code: int, routed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(_socket: object, _address: object) -> None:
        raise OSError(code, "injected")

    def route(_socket: object, _address: object) -> None:
        if not routed:
            raise OSError(errno.ENETUNREACH, "no route")

    monkeypatch.setattr(socket_class(), "connect", connect)
    monkeypatch.setattr(socket.socket, "connect", route)
    with pytest.raises(Unreachable if routed else WayOutFailed, match="injected"):
        await dial("192.0.2.1", 1, timeout=5)


@pytest.mark.parametrize("host", ["127.0.0.1", *(["::1"] if has_ipv6() else [])])
def test_the_local_address_of_a_way(host: str) -> None:
    assert local_address(host) == host


async def test_nobody_answers() -> None:
    """A full backlog drops further connections, so that connecting waits."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        async with AsyncExitStack() as held:

            async def fill() -> None:
                for _ in range(10):
                    await held.enter_async_context(await dial("127.0.0.1", port, timeout=0.2))

            with pytest.raises(Unreachable, match="did not answer"):
                await fill()


@pytest.mark.parametrize(("ip", "port"), [("localhost", 1), ("127.0.0.1", 0), ("::1", 65536)])
async def test_what_is_no_endpoint(ip: str, port: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        await dial(ip, port, timeout=1)


async def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            await listen("127.0.0.1", taken.getsockname()[1], echo, max_connections=1)


async def test_cancellation_closes_everything() -> None:
    async with trio.open_nursery() as nursery:
        ip, port = await start(nursery)
        stream = await dial(ip, port, timeout=5)
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"x"
        nursery.cancel_scope.cancel()
    assert await stream.receive_some() == b""
    await stream.aclose()
    with pytest.raises(Unreachable):
        await dial(ip, port, timeout=5)
