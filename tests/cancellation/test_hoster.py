"""The hoster's side is cancelled inside every await: serving a session, and listening.

Each time the stream is closed, no task is left, and the client gets an error of its own kind at
once instead of waiting for a time-out. The clock is a mock one where no socket is in use.
"""

from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from audit_world import HOSTER, World, open_world
from every_await import at_every_await, cancelled_after

from offchain_worker.audit.fetch import fetch
from offchain_worker.hypercore.errors import HypercoreError

CHUNKS = 6


@pytest.fixture
def small_world(tmp_path: Path, nursery):
    with open_world(tmp_path, nursery, vouched=CHUNKS, unvouched=0) as world:
        yield world
        nursery.cancel_scope.cancel()


class Client:
    """Reads the whole feed; `finished` or the `error` that ended it."""

    def __init__(self, world: World, dial) -> None:
        self.finished = False
        self.error: HypercoreError | None = None
        self._fetch = partial(
            fetch,
            dial,
            world.context.feed.key,
            lambda _index, _data: None,
            expected_remote=HOSTER.public,
        )

    async def read(self) -> None:
        try:
            await self._fetch()
            self.finished = True
        except HypercoreError as error:
            self.error = error


async def test_serving_a_session(autojump_clock, small_world: World) -> None:
    async def attempt(steps: int) -> bool:
        hoster = small_world.hoster()
        near, far = trio.testing.memory_stream_pair()
        begun = trio.current_time()

        async def dial() -> trio.abc.Stream:
            return near

        client = Client(small_world, dial)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.read)
            cancelled = await cancelled_after(steps, partial(hoster.serve_stream, far))
        assert client.finished != (client.error is not None)
        assert client.finished or cancelled
        assert trio.current_time() < begun + 0.1, "the client did not run into a time-out"
        assert not hoster.counters["crashes"]
        with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
            await far.send_all(b"?")
        return cancelled

    assert await at_every_await(attempt) > 3 * CHUNKS


async def test_listening(small_world: World) -> None:
    """On loopback: the port is free again, and no descriptor is left."""
    descriptors = Path("/proc/self/fd")
    open_before = len(list(descriptors.iterdir()))

    async def attempt(steps: int) -> bool:
        hoster = small_world.hoster()
        clients: list[Client] = []

        async def scenario() -> None:
            async with trio.open_nursery() as nursery:
                host, port = await nursery.start(hoster.serve, "127.0.0.1", 0)
                client = Client(small_world, partial(trio.open_tcp_stream, host, port))
                clients.append(client)
                await client.read()
                nursery.cancel_scope.cancel()

        with trio.fail_after(20):
            cancelled = await cancelled_after(steps, scenario)
        assert cancelled or clients[0].finished
        assert not hoster.counters["crashes"]
        assert len(list(descriptors.iterdir())) == open_before
        return cancelled

    await at_every_await(attempt)
