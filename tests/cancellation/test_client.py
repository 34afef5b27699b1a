"""The client's side is cancelled inside every await: audits, downloads, copies.

Each time its stream is closed, no task of either side is left, and the hoster, which only sees
the connection end, is as good as new. The clock is a mock one: what would wait is seen at once.
"""

from pathlib import Path

import pytest
import trio
import trio.testing
from audit_world import World, context_for, open_world
from every_await import at_every_await, cancelled_after

from offchain_worker.audit.fetch import fetch
from offchain_worker.coinflip.draws import SessionHabit
from offchain_worker.hoster.replicate import Replication
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.reader import Timeouts

CHUNKS = 6


class Ends:
    """Dials a hoster on memory streams and knows both ends of each connection."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.hoster = world.hoster()
        self.near: list[Watched] = []
        self.served = 0

    async def dial(self, nursery: trio.Nursery) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        near, far = trio.testing.memory_stream_pair()
        self.near.append(Watched(near))
        nursery.start_soon(self._serve, far)
        return self.near[-1]

    async def _serve(self, stream: trio.abc.Stream) -> None:
        await self.hoster.serve_stream(stream)
        self.served += 1

    def check(self) -> None:
        """Nothing is open any more."""
        assert all(stream.closed for stream in self.near)
        assert self.served == len(self.near)
        assert not self.hoster.counters["crashes"]


class Watched(trio.abc.Stream):
    """A stream that knows whether it was closed."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


@pytest.fixture
def small_world(tmp_path: Path, nursery):
    with open_world(tmp_path, nursery, vouched=CHUNKS, unvouched=0) as world:
        yield world
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("windowed", [False, True])
async def test_an_audit(autojump_clock, small_world: World, windowed: bool) -> None:
    world = small_world
    world.context, world.w = context_for(CHUNKS, windowed=windowed)
    habit = SessionHabit(windowed=windowed, multiple=1)

    async def attempt(steps: int) -> bool:
        ends = Ends(world)
        async with trio.open_nursery() as hosters:
            world.dial = lambda _hoster: lambda: ends.dial(hosters)  # type: ignore[method-assign]
            moment = world.clock_ms() + 5

            async def scenario() -> None:
                await world.audit(ends.hoster, habit=habit, moment=moment, end_ms=moment + 60_000)

            cancelled = await cancelled_after(steps, scenario)
        ends.check()
        return cancelled

    assert await at_every_await(attempt) > 3 * CHUNKS


async def test_a_download(autojump_clock, small_world: World) -> None:
    async def attempt(steps: int) -> bool:
        ends = Ends(small_world)
        came: list[int] = []
        async with trio.open_nursery() as hosters:

            async def scenario() -> None:
                await fetch(
                    lambda: ends.dial(hosters),
                    small_world.context.feed.key,
                    lambda index, _data: came.append(index),
                )

            cancelled = await cancelled_after(steps, scenario)
        ends.check()
        assert came == list(range(len(came)))
        assert cancelled or len(came) == CHUNKS
        return cancelled

    assert await at_every_await(attempt) > 3 * CHUNKS


async def test_a_copy(small_world: World, tmp_path: Path) -> None:
    """Cancelled anywhere, what is on disk can be opened, and the copy goes on from there.

    On the real clock, as the disk is written in threads.
    """
    key = small_world.context.feed.key

    async def attempt(steps: int) -> bool:
        ends = Ends(small_world)
        folder = tmp_path / f"copy-{steps}"
        async with trio.open_nursery() as hosters:

            async def scenario() -> None:
                with Library(folder) as library:
                    peer = [lambda: ends.dial(hosters)]
                    await Replication(library, key, peer, timeouts=Timeouts(5, 5, 5)).clone()

            cancelled = await cancelled_after(steps, scenario)
            with Library(folder) as library:
                peer = [lambda: ends.dial(hosters)]
                store = await Replication(library, key, peer).clone()
                assert [store.block(index) for index in range(CHUNKS)] == [
                    small_world.store.block(index) for index in range(CHUNKS)
                ]
        ends.check()
        return cancelled

    assert await at_every_await(attempt) > 3 * CHUNKS
