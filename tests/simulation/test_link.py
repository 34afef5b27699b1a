"""The link in user space: exact on paper, and as exact as this machine allows on sockets."""

import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio

from offchain_worker.simulation.link import (
    READ_BYTES,
    Delivery,
    LinkShape,
    Passage,
    Schedule,
    Way,
    open_alarm,
    open_link,
)


def schedule(seed: int = 0, **fields: float) -> Schedule:
    return Schedule(LinkShape(**fields), random.Random(seed))  # type: ignore[arg-type]


@asynccontextmanager
async def target(handler: object) -> AsyncIterator[tuple[str, int]]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, handler, [listener]))
        yield host, port
        nursery.cancel_scope.cancel()


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data)
        await stream.send_eof()


class TestSchedule:
    def test_an_idle_link_takes_delay_and_the_bytes_own_time(self) -> None:
        dues = schedule(delay_s=0.05, bandwidth=1e6).enter(10_000, 7.0)
        assert dues[-1][0] == pytest.approx(7.0 + 0.01 + 0.05)
        assert dues[0] == (pytest.approx(7.0 + 0.001_46 + 0.05), 1_460)
        assert sum(size for _due, size in dues) == 10_000

    def test_a_busy_link_is_a_queue(self) -> None:
        link = schedule(delay_s=0.1, bandwidth=1e6)
        link.enter(50_000, 1.0)
        assert link.enter(1_000, 1.01)[-1][0] == pytest.approx(1.0 + 0.051 + 0.1)

    def test_no_drift(self) -> None:
        link = schedule(bandwidth=40e6)
        last = 0.0
        for i in range(40_000):
            last = link.enter(10_000, i * 0.000_2)[-1][0]
        assert last == pytest.approx(10.0, abs=1e-9)

    def test_a_link_without_bandwidth_only_delays(self) -> None:
        assert schedule(delay_s=0.01).enter(READ_BYTES, 5.0) == [(5.01, READ_BYTES)]

    def test_jitter_is_drawn_from_the_seed_and_nothing_overtakes(self) -> None:
        def dues(seed: int) -> list[float]:
            link = schedule(seed, delay_s=0.01, jitter_s=0.02)
            return [link.enter(100, i * 0.005)[0][0] for i in range(200)]

        assert dues(1) == dues(1) != dues(2)
        assert dues(1) == sorted(dues(1))
        late = [due - i * 0.005 for i, due in enumerate(dues(1))]
        assert 0.01 <= min(late) < 0.015
        assert 0.025 < max(late) <= 0.03

    def test_the_queue_has_room_when_its_bound_is_reached_from_above(self) -> None:
        link = schedule(bandwidth=1e6, queue_bytes=100_000)
        link.enter(150_000, 2.0)
        assert link.room_at() == pytest.approx(2.05)

    def test_the_end_follows_the_bytes(self) -> None:
        link = schedule(delay_s=0.1, bandwidth=1e6)
        link.enter(100_000, 0.0)
        assert link.end(0.01) == pytest.approx(0.2)
        assert link.end(5.0) == pytest.approx(5.1)

    @pytest.mark.parametrize("fields", [{"delay_s": -1.0}, {"jitter_s": -1.0}, {"bandwidth": 0.0}])
    def test_what_no_link_can_do_is_refused(self, fields: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="link"):
            schedule(**fields)


async def test_the_alarm_is_never_early_and_can_be_on_time() -> None:
    # By epoll each of these would be 0.9 ms late. On a busy machine some are later still.
    late = []
    with open_alarm() as alarm:
        for _ in range(200):
            deadline = trio.current_time() + 0.000_1
            await alarm.sleep_until(deadline)
            late.append(trio.current_time() - deadline)
    assert min(late) >= 0
    assert min(late) < 0.000_5


async def test_round_trips_take_what_the_link_says() -> None:
    shape = LinkShape(delay_s=0.01, bandwidth=10e6)
    times = []
    async with target(echo) as at, open_link(*at, up=shape) as link:
        stream = await trio.open_tcp_stream(link.host, link.port)
        async with stream:
            for _ in range(50):
                begun = trio.current_time()
                await stream.send_all(bytes(1_000))
                got = 0
                while got < 1_000:
                    got += len(await stream.receive_some(4_096))
                times.append(trio.current_time() - begun)
    expected = 2 * (0.01 + 0.000_1)
    assert min(times) >= expected
    assert min(times) < expected + 0.002


@pytest.mark.parametrize("bandwidth", [10e6, 40e6])
async def test_bandwidth_is_kept_and_bytes_arrive_whole(bandwidth: float) -> None:
    content = random.Random(1).randbytes(int(bandwidth / 4))

    async def send(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(content)

    passages: list[Passage] = []
    delivered: list[Delivery] = []

    def observe(event: Passage | Delivery) -> None:
        (passages if isinstance(event, Passage) else delivered).append(event)  # type: ignore[arg-type]

    shape = LinkShape(delay_s=0.02, bandwidth=bandwidth)
    async with target(send) as at, open_link(*at, down=shape, observe=observe) as link:
        stream = await trio.open_tcp_stream(link.host, link.port)
        received = bytearray()
        async with stream:
            async for data in stream:
                received += data
        ended = trio.current_time()
    assert received == content
    assert sum(len(passage.data) for passage in passages) == len(content)
    # What it says beforehand is what happens: the last byte leaves when planned.
    begun, planned = passages[0].entered, passages[-1].dues[-1][0]
    assert 0.27 - 1e-6 <= planned - begun < 0.27 * 2
    assert planned <= ended < planned + 0.25
    dues = [due for passage in passages for due in passage.dues]
    assert sum(delivery.size for delivery in delivered) == sum(size for _due, size in dues)
    # Bytes leave in the order in which they entered, and never before they are due.
    reached, last = 0, 0
    for delivery in delivered:
        reached += delivery.size
        while last < reached:
            due, size = dues.pop(0)
            assert delivery.left >= due
            last += size
    assert all(passage.way is Way.DOWN and passage.connection == 0 for passage in passages)


async def test_connections_share_the_link() -> None:
    async def send(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(bytes(500_000))

    ends = []

    async def take(port: int) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            async for _ in stream:
                pass
        ends.append(trio.current_time())

    shape = LinkShape(bandwidth=10e6)
    async with target(send) as at, open_link(*at, up=shape) as link:
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(take, link.port)
    assert max(ends) - begun >= 0.199


async def test_a_receiver_that_does_not_read_slows_the_sender_down() -> None:
    sent = 0
    stuck = trio.Event()

    async def send(stream: trio.SocketStream) -> None:
        nonlocal sent
        async with stream:
            while True:
                with trio.move_on_after(1.0) as scope:
                    await stream.send_all(bytes(READ_BYTES))
                if scope.cancelled_caught:
                    stuck.set()
                    return
                sent += READ_BYTES

    shape = LinkShape(delay_s=0.01, bandwidth=100e6, queue_bytes=100_000)
    async with target(send) as at, open_link(*at, up=shape) as link:
        stream = await trio.open_tcp_stream(link.host, link.port)
        async with stream:
            with trio.fail_after(30):
                await stuck.wait()
    # The kernel's own buffers, on two connections, and little more.
    assert sent < 32 * 1024 * 1024


async def test_the_end_passes_and_the_other_way_stays_open() -> None:
    shape = LinkShape(delay_s=0.005)
    async with target(echo) as at, open_link(*at, up=shape) as link:
        stream = await trio.open_tcp_stream(link.host, link.port)
        async with stream:
            await stream.send_all(b"last words")
            await stream.send_eof()
            received = b"".join([data async for data in stream])
    assert received == b"last words"


async def test_a_connection_that_breaks_is_broken_on_the_other_side() -> None:
    gone = trio.Event()

    async def wait(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""
        gone.set()

    async with target(wait) as at, open_link(*at, up=LinkShape(delay_s=0.005)) as link:
        stream = await trio.open_tcp_stream(link.host, link.port)
        await stream.aclose()
        with trio.fail_after(10):
            await gone.wait()


async def test_a_target_that_is_not_there_ends_the_connection() -> None:
    async with target(echo) as (host, port):
        pass
    async with open_link(host, port, up=LinkShape()) as link:
        stream = await trio.open_tcp_stream(link.host, link.port)
        async with stream:
            with trio.fail_after(10):
                with suppress(trio.BrokenResourceError):
                    assert await stream.receive_some() == b""


async def test_cancelled_it_closes_all() -> None:
    opened = trio.Event()

    async def hold(stream: trio.SocketStream) -> None:
        opened.set()
        await echo(stream)

    async with target(hold) as at:
        with trio.CancelScope() as scope:
            async with open_link(*at, up=LinkShape(delay_s=1.0)) as link:
                stream = await trio.open_tcp_stream(link.host, link.port)
                await opened.wait()
                await stream.send_all(b"never answered")
                scope.cancel()
        async with stream:
            with trio.fail_after(10):
                with suppress(trio.BrokenResourceError):
                    assert await stream.receive_some() == b""


async def test_it_runs_as_a_process() -> None:
    async with target(echo) as (host, port):
        command = [sys.executable, "-m", "offchain_worker.simulation.link", f"{host}:{port}"]
        async with trio.open_nursery() as nursery:
            process = await nursery.start(
                partial(
                    trio.run_process,
                    [*command, "--delay-ms", "5", "--bandwidth", "1e6"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    capture_stdout=False,
                )
            )
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some()
            where = json.loads(line)
            async with await trio.open_tcp_stream(where["host"], where["port"]) as stream:
                begun = trio.current_time()
                await stream.send_all(b"x")
                assert await stream.receive_some() == b"x"
                assert trio.current_time() - begun >= 0.01
            await process.stdin.aclose()


def test_a_process_without_a_target_says_so() -> None:
    command = [sys.executable, "-m", "offchain_worker.simulation.link", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is not an address" in done.stderr
