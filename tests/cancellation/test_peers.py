"""Peers that read and serve, and an observed session, are cancelled inside every await.

Each time no task is left, and those on the other side end, or go on, at once.
"""

import random
from functools import partial

import trio
from every_await import at_every_await, cancelled_after
from feed_world import QUICK, Street
from hypercore_feeds import HOSTER, KEY, MemoryFeed

from chain_types.records import Endpoint
from offchain_worker.hypercore.sparse import SparseFeed
from offchain_worker.swarm.feed_swarm import open_feed_swarm
from offchain_worker.swarm.observed_session import ObservationPlan, observe

PLACE = Endpoint.of("10.0.0.1", 4001)
READER = Endpoint.of("10.0.1.1", 5001)


async def test_an_observed_session(autojump_clock: object) -> None:
    async def attempt(steps: int) -> bool:
        cancelled = False
        async with trio.open_nursery() as nursery:
            street = Street(nursery)
            hoster = street.host(MemoryFeed(100), PLACE)
            await nursery.start(
                lambda task_status: street.read(KEY, READER, PLACE, rate=8, task_status=task_status)
            )
            await trio.sleep(2)
            plan = ObservationPlan(
                feed_key=KEY,
                hoster=PLACE,
                hoster_key=HOSTER.public,
                fork=0,
                length=100,
                others=(),
                listen_s=0.6,
                until=trio.current_time() + 5,
                timeout_s=1.0,
            )
            session = partial(observe, plan, street.dial_from("10.0.9.9"), random.Random(1))

            async def run() -> None:
                await session()

            cancelled = await cancelled_after(steps, run)
            assert not hoster.counters["crashes"]
            nursery.cancel_scope.cancel()
        return cancelled

    # Most of a session's steps are like others: every third one is tried.
    assert await at_every_await(lambda step: attempt(1 + 3 * (step - 1))) > 60


async def test_a_swarm_that_reads_and_serves(autojump_clock: object) -> None:
    async def attempt(steps: int) -> bool:
        cancelled = False
        async with trio.open_nursery() as nursery:
            street = Street(nursery)
            street.host(MemoryFeed(8), PLACE)
            theirs = SparseFeed(KEY, capacity=1_000)

            async def work() -> None:
                mine = SparseFeed(KEY, capacity=1_000)
                dial = street.dial_from("10.0.0.8")
                async with open_feed_swarm(mine, dial, timeouts=QUICK) as swarm:
                    await swarm.join(PLACE.host, PLACE.port)
                    await swarm.get(3, timeout=5)
                    street.places["10.0.0.8", 1] = swarm.welcome
                    other = open_feed_swarm(theirs, street.dial_from("10.0.0.9"), timeouts=QUICK)
                    async with other as reader:
                        await reader.join("10.0.0.8", 1)
                        await reader.get(3, timeout=5)

            cancelled = await cancelled_after(steps, work)
            nursery.cancel_scope.cancel()
        return cancelled

    assert await at_every_await(attempt) > 30
