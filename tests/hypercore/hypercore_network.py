"""A hoster and readers on memory streams, and hosters that misbehave on purpose."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing
from hypercore_feeds import CLIENT, HOSTER, Shelf

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.answers import answer, sync_of
from offchain_worker.hypercore.connection import Channel, Connection, Offer, open_connection
from offchain_worker.hypercore.errors import HypercoreError
from offchain_worker.hypercore.feed import Feed
from offchain_worker.hypercore.reader import Reader, Timeouts, open_reader
from offchain_worker.hypercore.server import ServerEvents, serve_connection

QUICK = Timeouts(handshake=5, head=5, block=5)

Reply = m.Data | m.NoData | None


async def host(stream: trio.abc.Stream, *feeds: Feed, events: ServerEvents | None = None) -> None:
    """Serve one connection until it ends."""
    try:
        async with open_connection(stream, HOSTER, initiator=False, timeout=5) as connection:
            await serve_connection(connection, Shelf(*feeds), events)
    except HypercoreError:
        return


class Liar:
    """A hoster that answers with what `reply` makes of the right answer; None: no answer."""

    def __init__(
        self,
        feed: Feed,
        reply: Callable[[m.Request, m.Data | m.NoData], Reply],
        *,
        sync: m.Sync | None = None,
        after: Callable[[m.Request, Connection, Channel], None] | None = None,
    ) -> None:
        self.feed = feed
        self.reply = reply
        self.sync = sync
        self.after = after
        self.requests: list[m.Request] = []
        self.cancels: list[int] = []

    async def host(self, stream: trio.abc.Stream) -> None:
        try:
            async with open_connection(stream, HOSTER, initiator=False, timeout=5) as connection:
                offers: list[Channel] = []
                opened = trio.Event()

                def on_offer(offer: Offer) -> None:
                    own = m.capability(connection.handshake_hash, self.feed.key, initiator=False)
                    offers.append(offer.accept(m.Handshake(True, own).encode()))
                    opened.set()

                connection.pair(m.PROTOCOL, None, on_offer)
                await opened.wait()
                await self._serve(connection, offers[0])
                await connection.wait_closed()
        except HypercoreError:
            return

    async def _serve(self, connection: Connection, channel: Channel) -> None:
        sync = self.sync or sync_of(self.feed, self.feed.head(), None)
        news = [(0, sync.encode())]
        if sync.length:
            news.append((8, m.Range(0, sync.length).encode()))
        await channel.send_batch(news)
        async for incoming in channel:
            if incoming.type == m.Type.CANCEL:
                self.cancels.append(m.Cancel.decode(incoming.body).request)
            if incoming.type != m.Type.REQUEST:
                continue
            request = m.Request.decode(incoming.body)
            self.requests.append(request)
            reply = self.reply(request, answer(self.feed, request))
            if reply is not None:
                kind = m.Type.DATA if isinstance(reply, m.Data) else m.Type.NO_DATA
                await channel.send(kind, reply.encode())
            if self.after is not None:
                self.after(request, connection, channel)


@asynccontextmanager
async def reading(
    *feeds: Feed,
    events: ServerEvents | None = None,
    liar: Liar | None = None,
    timeouts: Timeouts = QUICK,
    expected: bytes | None = HOSTER.public,
    paced: bool = True,
) -> AsyncIterator[Reader]:
    """A reader of the first feed, from a hoster of all of them, or from a liar."""
    near, far = trio.testing.memory_stream_pair()
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            if liar is not None:
                await liar.host(far)
            else:
                await host(far, *feeds, events=events)

        nursery.start_soon(run)
        try:
            async with open_reader(
                near,
                feed_key=feeds[0].key,
                keypair=CLIENT,
                expected_remote=expected,
                timeouts=timeouts,
                paced=paced,
            ) as reader:
                yield reader
        except BaseException as error:
            failure = error
    if failure is not None:
        raise failure
