"""Peers of a feed that meet in memory: who reads, who serves, who tells of whom, who observes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import trio
import trio.testing
from feed_world import QUICK, Street
from hypercore_feeds import HOSTER, KEY, MemoryFeed, block

from chain_types.records import Endpoint
from offchain_worker.hypercore.connection import open_connection
from offchain_worker.hypercore.errors import HypercoreError, NoData, NotHosted, WrongIdentity
from offchain_worker.hypercore.peer import join_feed
from offchain_worker.hypercore.reader import open_reader
from offchain_worker.hypercore.sparse import SparseFeed
from offchain_worker.keys import KeyPair
from offchain_worker.swarm import feed_swarm, peer_exchange
from offchain_worker.swarm.feed_swarm import FeedSwarm, open_feed_swarm
from offchain_worker.swarm.observed_session import REPEATED, ObservationPlan, observe
from offchain_worker.swarm.patterns import READER_MODELS, Order
from offchain_worker.swarm.peer_exchange import EXTENSION, Peers

LENGTH = 600
PLACE, OTHER = Endpoint.of("10.0.0.1", 4001), Endpoint.of("10.0.0.2", 4001)
READERS = [Endpoint.of("10.0.1.1", 5001), Endpoint.of("10.0.1.2", 5002)]
OBSERVER = "10.0.9.9"


def choices() -> random.Random:
    return random.Random(7)


def plan(**changes: object) -> ObservationPlan:
    made = ObservationPlan(
        feed_key=KEY,
        hoster=PLACE,
        hoster_key=HOSTER.public,
        fork=0,
        length=LENGTH,
        others=(),
        listen_s=3.0,
        until=trio.current_time() + 6.0,
        timeout_s=1.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_what_one_peer_gave_another_gets_from_us(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        street.host(MemoryFeed(40), PLACE)
        mine = SparseFeed(KEY, capacity=10_000)
        async with open_feed_swarm(mine, street.dial_from("10.0.0.8"), timeouts=QUICK) as swarm:
            member = await swarm.join(PLACE.host, PLACE.port, HOSTER.public)
            for index in (3, 4, 20):
                assert (await member.peer.get(index)).data == block(index)
            street.places["10.0.0.8", 1] = swarm.welcome
            theirs = SparseFeed(KEY, capacity=10_000)
            dial = street.dial_from("10.0.0.9")
            async with open_feed_swarm(theirs, dial, timeouts=QUICK) as other:
                told = await other.join("10.0.0.8", 1)
                # It verifies the author's head, and sees what is held, from us alone.
                assert told.peer.reader.head.length == 40
                assert (await told.peer.get(20)).data == block(20)
                assert (await told.peer.get(4)).data == block(4)
                with pytest.raises(NoData):
                    await told.peer.get(5, timeout=1)
                # And what it reads elsewhere is told to us, while what is dropped is taken back.
                await other.join(PLACE.host, PLACE.port)
                await other.get(9, timeout=5)
                await trio.sleep(1)
                (caller,) = (one for one in swarm.members if one.endpoint is None)
                assert caller.peer.announces(9)
                theirs.forget()
                await trio.sleep(1)
                assert not caller.peer.announces(9)
        nursery.cancel_scope.cancel()


async def test_growth_that_one_peer_shows_is_known_to_all(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        feed = MemoryFeed(10)
        street.host(feed, PLACE)
        mine, theirs = SparseFeed(KEY, capacity=10_000), SparseFeed(KEY, capacity=10_000)
        async with (
            open_feed_swarm(mine, street.dial_from("10.0.0.8"), timeouts=QUICK) as swarm,
            open_feed_swarm(theirs, street.dial_from("10.0.0.9"), timeouts=QUICK) as other,
        ):
            await swarm.join(PLACE.host, PLACE.port)
            street.places["10.0.0.8", 1] = swarm.welcome
            told = await other.join("10.0.0.8", 1)
            feed.append([block(i) for i in range(10, 33)])
            while told.peer.reader.head.length < 33:
                await theirs.next_change().wait()
            await swarm.get(32, timeout=5)
            assert (await told.peer.get(32)).data == block(32)
        nursery.cancel_scope.cancel()


async def test_a_peer_that_fails_is_replaced_by_another(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        feed = MemoryFeed(30)
        street.host(feed, PLACE)
        street.host(feed, OTHER)
        mine = SparseFeed(KEY, capacity=10_000)
        async with open_feed_swarm(mine, street.dial_from(OBSERVER), timeouts=QUICK) as swarm:
            first = await swarm.join(PLACE.host, PLACE.port)
            await swarm.join(OTHER.host, OTHER.port)
            first.connection.close()
            for index in range(30):
                assert (await swarm.get(index, timeout=5)).data == block(index)
            with pytest.raises(HypercoreError):
                await swarm.join("10.0.0.77", 1)
            with pytest.raises(WrongIdentity):
                await swarm.join(OTHER.host, OTHER.port, bytes(32))
        nursery.cancel_scope.cancel()


async def test_who_has_a_block_only_later_is_asked_again(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        feed = MemoryFeed(30)
        missing = feed.blocks.pop(0)
        street.host(feed, PLACE)
        mine = SparseFeed(KEY, capacity=10_000)
        async with open_feed_swarm(mine, street.dial_from(OBSERVER), timeouts=QUICK) as swarm:
            await swarm.join(PLACE.host, PLACE.port)

            async def give() -> None:
                await trio.sleep(2)
                feed.blocks[0] = missing
                feed.changes.notify()

            nursery.start_soon(give)
            began = trio.current_time()
            assert (await swarm.get(0, timeout=9)).data == block(0)
            assert trio.current_time() - began == pytest.approx(2, abs=0.1)
            assert swarm.counters["failed"] == 1
        nursery.cancel_scope.cancel()


async def test_nobody_left_is_said_so(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        mine = SparseFeed(KEY, capacity=10_000)
        async with open_feed_swarm(mine, street.dial_from(OBSERVER), timeouts=QUICK) as swarm:
            with pytest.raises(NoData, match="nobody gave block 0 in 2 s"):
                await swarm.get(0, timeout=2)


async def test_readers_find_each_other_through_the_hoster(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        hoster = street.host(MemoryFeed(LENGTH), PLACE)
        swarms = [
            await nursery.start(lambda task_status, p=p: _read(street, p, task_status))
            for p in READERS
        ]
        await trio.sleep(3)
        # The first asked when nobody else was there; the second was told of it, and joined it.
        assert [len(swarm.members) for swarm in swarms] == [2, 2]
        assert hoster.counters["peers_answered"] == 2
        nursery.cancel_scope.cancel()


async def _read(street: Street, place: Endpoint, task_status: trio.TaskStatus[FeedSwarm]) -> None:
    await street.read(KEY, place, PLACE, rate=20, task_status=task_status)


async def test_an_observer_repeats_what_two_readers_do(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        hoster = street.host(MemoryFeed(LENGTH), PLACE)
        for place in READERS:
            await nursery.start(lambda task_status, p=place: _read(street, p, task_status))
        await trio.sleep(4)
        before = hoster.counters["chunks"]
        seen = await observe(plan(), street.dial_from(OBSERVER), choices())
        assert (seen.source, seen.peers) == ("readers", 2)
        assert seen.requests >= 6
        assert seen.pattern.order is Order.ASCENDING
        assert seen.figures.chunks == REPEATED
        assert seen.figures.latency_p50_us >= 1
        assert seen.figures.throughput > 0
        assert hoster.counters["chunks"] - before >= REPEATED
        nursery.cancel_scope.cancel()


async def test_readers_of_another_hoster_are_found_through_the_chain(
    autojump_clock: object,
) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        feed = MemoryFeed(LENGTH)
        street.host(feed, PLACE)
        street.host(feed, OTHER)
        for place in READERS:
            await nursery.start(
                lambda task_status, p=place: street.read(
                    KEY, p, OTHER, rate=20, task_status=task_status
                )
            )
        await trio.sleep(4)
        seen = await observe(plan(others=[OTHER]), street.dial_from(OBSERVER), choices())
        assert (seen.source, seen.peers) == ("readers", 3)
        nursery.cancel_scope.cancel()


async def test_with_nobody_to_observe_it_reads_like_a_usual_reader(
    autojump_clock: object,
) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        hoster = street.host(MemoryFeed(LENGTH), PLACE)
        sources = set()
        for seed in range(30):
            seen = await observe(
                plan(listen_s=0.5), street.dial_from(OBSERVER), random.Random(seed)
            )
            assert seen.peers == seen.requests == 0
            assert seen.figures.chunks == REPEATED
            sources.add(seen.source)
        assert sources == {model.name for model in READER_MODELS}
        assert hoster.counters["sessions"] == 30
        nursery.cancel_scope.cancel()


async def test_a_short_feed_is_observed_as_far_as_it_goes(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        street.host(MemoryFeed(60), PLACE)
        seen = await observe(plan(length=60), street.dial_from(OBSERVER), choices())
        assert 60 - 24 <= seen.figures.chunks <= REPEATED
        nursery.cancel_scope.cancel()


async def test_a_hoster_that_is_not_there_or_another_gives_no_figures(
    autojump_clock: object,
) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        dial = street.dial_from(OBSERVER)
        with pytest.raises(HypercoreError):
            await observe(plan(), dial, choices())
        street.host(MemoryFeed(LENGTH), PLACE)
        with pytest.raises(NotHosted, match="not what was vouched"):
            await observe(plan(fork=1), dial, choices())
        with pytest.raises(NotHosted, match="not what was vouched"):
            await observe(plan(length=LENGTH + 1), dial, choices())
        with pytest.raises(WrongIdentity):
            await observe(plan(hoster_key=bytes(32)), dial, choices())
        nursery.cancel_scope.cancel()


async def test_time_that_is_over_ends_it(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        street.host(MemoryFeed(LENGTH), PLACE)
        until = trio.current_time() + 0.5
        with pytest.raises(NoData, match="the time was over"):
            await observe(plan(until=until, listen_s=9), street.dial_from(OBSERVER), choices())
        assert trio.current_time() < until + 0.1
        nursery.cancel_scope.cancel()


async def test_a_hoster_that_names_victims_makes_few_connections(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = [Endpoint.of("10.0.5.5", port) for port in range(1, 33)]
    monkeypatch.setattr(peer_exchange.Listening, "asked", lambda *_rest: tuple(victim))
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        street.host(MemoryFeed(LENGTH), PLACE)
        seen = await observe(plan(), street.dial_from(OBSERVER), choices())
        assert seen.source != "readers"
        attempts = sum(n for (host, _), n in street.dialled.items() if host == "10.0.5.5")
        assert attempts == 4
        nursery.cancel_scope.cancel()


async def test_who_asks_too_often_or_sends_nonsense_is_not_answered(
    autojump_clock: object,
) -> None:
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        hoster = street.host(MemoryFeed(20), PLACE)
        stream = await street.dial_from("10.0.0.9")(PLACE.host, PLACE.port)
        opened = open_connection(stream, KeyPair.generate(), initiator=True, timeout=5)
        feed = SparseFeed(KEY, capacity=1_000)
        async with opened as connection, join_feed(connection, feed, timeouts=QUICK) as peer:
            for _ in range(50):
                await peer.send_extension(EXTENSION, Peers(7).encode())
                await peer.send_extension(EXTENSION, b"nonsense")
                await peer.send_extension("datdot/other/1", b"nonsense")
            await trio.sleep(1)
            assert hoster.counters["peers_answered"] == 2
            assert hoster.counters["peers_asked_too_often"] == 48
            assert hoster.counters["peers_refused"] == 50
            assert (await peer.get(7)).data == block(7)
        await trio.sleep(1)
        assert all(not one.endpoints for one in hoster._listening.values())
        nursery.cancel_scope.cancel()


async def test_who_does_not_ask_is_sent_nothing(autojump_clock: object) -> None:
    """A stock reader, and an audit, see what they would see without the extension."""
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        street.host(MemoryFeed(20), PLACE)
        await nursery.start(
            lambda task_status: street.read(KEY, READERS[0], PLACE, rate=5, task_status=task_status)
        )
        stream = await street.dial_from("10.0.0.9")(PLACE.host, PLACE.port)
        opened = open_reader(stream, feed_key=KEY, keypair=KeyPair.generate(), expected_remote=None)
        async with opened as reader:
            async for _ in reader.download(range(20)):
                pass
            await trio.sleep(200)
            message = reader.extensions.receive_nowait()
            assert message.name == "datdot/receipt/1"
            with pytest.raises(trio.WouldBlock):
                reader.extensions.receive_nowait()
        nursery.cancel_scope.cancel()


async def test_more_callers_than_there_is_room_for_are_sent_away(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_swarm, "MAX_CALLERS", 1)
    async with trio.open_nursery() as nursery:
        street = Street(nursery)
        street.host(MemoryFeed(20), PLACE)
        await nursery.start(lambda task_status: _read(street, READERS[0], task_status))
        dial = street.dial_from(OBSERVER)
        async with open_feed_swarm(SparseFeed(KEY, capacity=1), dial, timeouts=QUICK) as swarm:
            await swarm.join(READERS[0].host, READERS[0].port)
            with pytest.raises(HypercoreError):
                await swarm.join(READERS[0].host, READERS[0].port)
        nursery.cancel_scope.cancel()
