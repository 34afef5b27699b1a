"""The kernel's stamps: right however late they are looked at, and never out of order."""

import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from offchain_worker.hypercore import arrival
from offchain_worker.hypercore.arrival import StampedReader

LATE_S = 0.05
stamps = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux's kernel stamps by SO_TIMESTAMPNS"
)


@asynccontextmanager
async def tcp_pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.open_tcp_stream(*listener.socket.getsockname())
        far = await listener.accept()
    async with near, far:
        yield near, far


@stamps
async def test_bytes_that_waited_have_the_time_at_which_they_came() -> None:
    async with tcp_pair() as (near, far):
        reader = StampedReader(near)
        for i in range(3):
            before = trio.current_time()
            await far.send_all(b"x")
            after = trio.current_time()
            # Nothing else runs meanwhile, as when the worker is busy elsewhere.
            time.sleep(LATE_S)  # noqa: ASYNC251
            assert await reader.read(100) == b"x"
            assert trio.current_time() >= before + LATE_S
            # The kernel begins to stamp when the first socket wants it, a moment after that.
            if i > 0:
                assert before - 0.001 <= reader.arrived <= after + LATE_S / 2


@stamps
async def test_a_wall_clock_that_was_set_does_not_count(monkeypatch) -> None:
    async with tcp_pair() as (near, far):
        reader = StampedReader(near)
        await far.send_all(b"x")
        real = time.time
        monkeypatch.setattr(arrival.time, "time", lambda: real() + 60.0)
        before = trio.current_time()
        await reader.read(100)
        assert before <= reader.arrived <= trio.current_time()
        # From then on the new clock is the one that is believed; the kernel's has stayed behind.
        monkeypatch.undo()
        await far.send_all(b"x")
        await reader.read(100)
        assert before <= reader.arrived <= trio.current_time()


@stamps
async def test_a_stamp_is_never_before_the_last_one_nor_after_the_read(monkeypatch) -> None:
    async with tcp_pair() as (near, _far):
        reader = StampedReader(near)
        last = reader.arrived
        for wrong in (-3_600.0, 3_600.0):
            stamp = arrival._TIMESPEC.pack(int(time.time() + wrong), 0)
            reader._take([(socket.SOL_SOCKET, arrival._SO_TIMESTAMPNS, stamp)])
            assert last <= reader.arrived <= trio.current_time()


async def test_other_streams_have_the_time_of_reading() -> None:
    near, far = trio.testing.memory_stream_pair()
    reader = StampedReader(near)
    await far.send_all(b"x")
    before = trio.current_time()
    assert await reader.read(100) == b"x"
    assert before <= reader.arrived <= trio.current_time()


async def test_the_end_and_a_break_are_those_of_the_stream() -> None:
    async with tcp_pair() as (near, far):
        reader = StampedReader(near)
        await far.send_eof()
        assert await reader.read(100) == b""
    async with tcp_pair() as (near, far):
        reader = StampedReader(near)
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await far.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await reader.read(100)
    async with tcp_pair() as (near, _far):
        reader = StampedReader(near)
        async with trio.open_nursery() as nursery:

            async def close() -> None:
                await trio.testing.wait_all_tasks_blocked()
                await near.aclose()

            nursery.start_soon(close)
            with pytest.raises(trio.ClosedResourceError):
                await reader.read(100)
        with pytest.raises(trio.BrokenResourceError):
            await reader.read(100)
