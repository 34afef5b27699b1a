"""A network in memory: hosters, readers and others at addresses of their own."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import trio
import trio.testing
from hypercore_feeds import HOSTER, MemoryFeed, Shelf

from chain_types.records import Endpoint
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hypercore.peer import PeerEvents
from offchain_worker.hypercore.reader import Timeouts
from offchain_worker.hypercore.sparse import SparseFeed
from offchain_worker.swarm.feed_swarm import Dial, FeedSwarm
from offchain_worker.swarm.watching import WatchPlan, _Watcher

QUICK = Timeouts(handshake=5, head=5, block=5)
Welcome = Callable[[trio.abc.Stream, str], Awaitable[None]]


class Street:
    """Who listens where; whoever dials has an address too.

    Attributes:
        dialled: how often each address was dialled.
        by: the same, by (caller's address, address).
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.places: dict[tuple[str, int], Welcome] = {}
        self.dialled: Counter[tuple[str, int]] = Counter()

    def dial_from(self, caller: str) -> Dial:
        async def dial(host: str, port: int) -> trio.abc.Stream:
            self.dialled[host, port] += 1
            await trio.sleep(0.001)
            welcome = self.places.get((host, port))
            if welcome is None:
                raise ConnectionRefusedError("nobody listens there")
            near, far = trio.testing.memory_stream_pair()
            self.nursery.start_soon(welcome, far, caller)
            return near

        return dial

    def host(self, feed: MemoryFeed, place: Endpoint, hoster: Hoster | None = None) -> Hoster:
        """A hoster as `datdot hoster run` runs it, but for the store."""
        hoster = hoster or Hoster(Shelf(feed), HOSTER)  # type: ignore[arg-type]
        hoster._port = place.port
        self.places[place.host, place.port] = hoster.serve_stream
        return hoster

    async def read(
        self,
        key: bytes,
        place: Endpoint,
        origin: Endpoint,
        *,
        rate: float,
        task_status: trio.TaskStatus[FeedSwarm] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """A reader as `datdot get --watch` is, which reads again and again."""
        plan = WatchPlan(key, origin, rate=rate, again=True)
        feed = SparseFeed(key, capacity=4_000)
        async with trio.open_nursery() as nursery:
            swarm = FeedSwarm(
                nursery,
                feed,
                self.dial_from(place.host),
                port=place.port,
                choices=random.Random(place.port),
                timeouts=QUICK,
                max_told=8,
                events=lambda _connection: PeerEvents(),
            )
            self.places[place.host, place.port] = swarm.welcome
            await swarm.join(origin.host, origin.port)
            task_status.started(swarm)
            await _Watcher(plan, feed, swarm, lambda _index, _data: None).read(nursery)
