"""A hoster and readers on memory streams."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing
from feeds import CLIENT, HOSTER, Shelf

from offchain_worker.hypercore.connection import open_connection
from offchain_worker.hypercore.errors import HypercoreError
from offchain_worker.hypercore.feed import Feed
from offchain_worker.hypercore.reader import Reader, Timeouts, open_reader
from offchain_worker.hypercore.server import ServerEvents, serve_connection

QUICK = Timeouts(handshake=5, head=5, block=5)


async def host(stream: trio.abc.Stream, *feeds: Feed, events: ServerEvents | None = None) -> None:
    """Serve one connection until it ends."""
    try:
        async with open_connection(stream, HOSTER, initiator=False, timeout=5) as connection:
            await serve_connection(connection, Shelf(*feeds), events)
    except HypercoreError:
        return


@asynccontextmanager
async def reading(
    *feeds: Feed, events: ServerEvents | None = None, timeouts: Timeouts = QUICK
) -> AsyncIterator[Reader]:
    """A reader of the first feed, from a hoster of all of them."""
    near, far = trio.testing.memory_stream_pair()
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await host(far, *feeds, events=events)

        nursery.start_soon(run)
        try:
            async with open_reader(
                near,
                feed_key=feeds[0].key,
                keypair=CLIENT,
                expected_remote=HOSTER.public,
                timeouts=timeouts,
            ) as reader:
                yield reader
        except BaseException as error:
            failure = error
    if failure is not None:
        raise failure
