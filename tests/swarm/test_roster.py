"""Coinflips over connections: in memory on a mock clock, and over loopback TCP.

On the mock clock nothing waits for real time; the protocol's instants are exact. Over TCP only
what needs real sockets is tested: the port, strangers, two runs at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing
from swarm_world import TIMING, Disk, World, flip_for, intruder, keypairs, pour, run_all

from offchain_worker.coinflip import effects as fx
from offchain_worker.coinflip.envelope import Kind, Need, SignedEnvelope
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.journal import Journal, JournalConflict
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.schedule import Schedule, Timing
from offchain_worker.hypercore.connection import open_connection, wall_clock_ms
from offchain_worker.hypercore.errors import ChannelClosed, ChannelRejected, HypercoreError
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.roster import (
    ENVELOPE,
    PROTOCOL,
    QUEUE_MESSAGES,
    Attended,
    PeerAddress,
    PeerConnected,
    PeerLost,
    SessionSwarm,
    SwarmLimits,
    _Line,
    dial_tcp,
    open_session_swarm,
)

PATIENT = Timing(
    block_ms=6_000, join_ms=60_000, delta_ms=3_000, finality_ms=12_000, flip_ms=480_000
)
"""Production's: over real sockets a test waits for events, never for the protocol's instants."""


@pytest.mark.parametrize("size", range(2, 8))
async def test_everybody_agrees_and_serves_until_tx(
    size: int, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(size)
    results = await run_all(world, range(size))
    assert len({attended.outcome for attended in results.values()}) == 1
    assert all(isinstance(attended.outcome, fx.Success) for attended in results.values())
    assert trio.current_time() == pytest.approx(3.9, abs=0.01)
    assert world.dialled == size * (size - 1) // 2
    for index in range(size):
        kinds = [(event.kind, event.member) for event in world.of_type(index, fx.Seen)]
        assert sorted(kinds) == sorted((k, m) for k in (1, 2, 3) for m in range(size))
        assert len(world.of_type(index, fx.Anchor)) == 1
        assert {event.peer for event in world.of_type(index, fx.Confirmed)} == (
            set(range(size)) - {index}
        )


async def test_peers_are_measured(autojump_clock: trio.testing.MockClock) -> None:
    world = World(3)
    results = await run_all(world, range(3))
    for index, attended in results.items():
        assert [figures.index for figures in attended.peers] == [i for i in range(3) if i != index]
        assert all(figures.rtt_p50_us > 0 for figures in attended.peers)
        assert all(figures.throughput > 0 for figures in attended.peers)


async def test_an_absent_member_is_named_and_dialled_with_back_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(4)
    results = await run_all(world, range(3))
    expected = fx.Offline((3,), fx.Phase.COMMIT)
    assert [results[i].outcome for i in range(3)] == [expected] * 3
    failures = world.of_type(0, PeerLost)
    assert "nobody listens there" in failures[0].reason
    # 0.05, 0.1, 0.2, 0.4, 0.8, then each second of 3.9.
    assert 6 <= len([f for f in failures if "nobody" in f.reason]) <= 9


async def test_a_member_that_comes_late_is_let_in(autojump_clock: trio.testing.MockClock) -> None:
    world = World(4)
    results: dict[int, Attended] = {}

    async def one(index: int, delay: float) -> None:
        await trio.sleep(delay)
        async with world.swarm(index) as swarm:
            results[index] = await world.attend(swarm, index)

    async with trio.open_nursery() as nursery:
        for index, delay in enumerate([0.9, 0.0, 0.0, 0.7]):
            nursery.start_soon(one, index, delay)
    assert len({attended.outcome for attended in results.values()}) == 1
    assert isinstance(results[0].outcome, fx.Success)


async def test_cut_connections_are_made_again(autojump_clock: trio.testing.MockClock) -> None:
    world = World(4)

    async def cut() -> None:
        for _ in range(8):
            await trio.sleep(0.004)
            for stream in world.streams:
                await trio.aclose_forcefully(stream)

    results: dict[int, Attended] = {}

    async def one(swarm: SessionSwarm, index: int) -> None:
        results[index] = await world.attend(swarm, index)

    async with AsyncExitStack() as stack:
        swarms = [await stack.enter_async_context(world.swarm(i)) for i in range(4)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut)
            for index, swarm in enumerate(swarms):
                nursery.start_soon(one, swarm, index)
    assert len({attended.outcome for attended in results.values()}) == 1
    assert isinstance(results[0].outcome, fx.Success)
    assert world.dialled > 6


@pytest.mark.parametrize("moment", [0.0005, 0.002, 0.004, 0.006, 0.01, 0.5])
async def test_a_crash_and_a_restart_from_the_journal(
    moment: float, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(4)
    results: dict[int, Attended] = {}

    async def one(index: int) -> None:
        async with world.swarm(index) as swarm:
            results[index] = await world.attend(swarm, index)

    async def crash_and_restart() -> None:
        with trio.move_on_after(moment):
            await one(1)
        before = {kind: record.envelope for kind, record in world.disks[1].records.items()}
        await trio.sleep(0.2)
        await one(1)
        after = {kind: record.envelope for kind, record in world.disks[1].records.items()}
        assert before.items() <= after.items()

    async with trio.open_nursery() as nursery:
        for index in (0, 2, 3):
            nursery.start_soon(one, index)
        nursery.start_soon(crash_and_restart)
    assert len({attended.outcome for attended in results.values()}) == 1
    assert isinstance(results[1].outcome, fx.Success)


async def test_nothing_is_sent_of_what_the_journal_refuses(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(2)
    other = SignedEnvelope.sign(Kind.COMMIT, world.flip.topic, 0, bytes(64), world.pairs[0])

    class FullDisk(Disk):
        def record(self, envelope: SignedEnvelope, support: Sequence[bytes] = ()) -> None:
            super().record(other, ())
            super().record(envelope, support)

    world.disks[0] = FullDisk()
    async with (
        world.swarm(1) as peer_swarm,
        world.swarm(0) as swarm,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(world.attend, peer_swarm, 1)
        with pytest.raises(JournalConflict):
            await world.attend(swarm, 0)
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert world.of_type(1, fx.Seen) == [fx.Seen(Kind.COMMIT, 1)]


async def test_the_same_topic_is_not_run_twice_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(2)
    async with world.swarm(0) as swarm, trio.open_nursery() as nursery:
        nursery.start_soon(world.attend, swarm, 0)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ValueError, match="being run already"):
            await world.attend(swarm, 0)
        nursery.cancel_scope.cancel()


async def test_r_from_the_anchor_ends_the_wait(autojump_clock: trio.testing.MockClock) -> None:
    world = World(3)
    async with world.swarm(0) as swarm, trio.open_nursery() as nursery:
        nursery.start_soon(world.attend, swarm, 0)
        await trio.sleep(0.1)
        await swarm.anchored(b"\1" * 32, b"r" * 32, b"R" * 32)
        assert world.of_type(0, fx.Exit) == []
        await swarm.anchored(world.flip.topic, b"r" * 32, b"R" * 32)
        assert world.of_type(0, fx.Exit) == [fx.Exit(fx.Success(b"R" * 32, b"r" * 32))]
        nursery.cancel_scope.cancel()


async def test_garbage_is_refused_and_its_sender_cut_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(3)
    async with world.swarm(2) as swarm, trio.open_nursery() as nursery:
        nursery.start_soon(world.attend, swarm, 2)
        await trio.testing.wait_all_tasks_blocked()
        async with intruder(world, 0, 2) as (channel, _encode):
            with suppress(ChannelClosed):
                await pour(channel, [bytes([n]) * 40 for n in range(200)])
            with trio.fail_after(1):
                async for _ in channel:
                    pass
        assert fx.Refused(0, "kind") in world.events[2]
        assert fx.Disconnect(0, "flood") in world.events[2]
        nursery.cancel_scope.cancel()


async def test_an_unknown_message_type_ends_the_line(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(3)
    async with world.swarm(2) as swarm, trio.open_nursery() as nursery:
        nursery.start_soon(world.attend, swarm, 2)
        await trio.testing.wait_all_tasks_blocked()
        async with intruder(world, 0, 2) as (channel, _encode):
            await channel.send(ENVELOPE + 1, b"?")
            with trio.fail_after(1):
                async for _ in channel:
                    pass
        assert PeerLost(0, "it sent a message of an unknown type") in world.events[2]
        nursery.cancel_scope.cancel()


async def test_a_newer_connection_takes_the_place_of_an_older_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(3)
    async with world.swarm(2) as swarm, trio.open_nursery() as nursery:
        nursery.start_soon(world.attend, swarm, 2)
        await trio.testing.wait_all_tasks_blocked()
        async with intruder(world, 0, 2) as (old, _), intruder(world, 0, 2) as (new, encoded):
            with trio.fail_after(1):
                async for _message in old:
                    pass
            await new.send(ENVELOPE, encoded(Need(Kind.COMMIT, frozenset({2}))))
            with trio.fail_after(1):
                kinds = []
                while Kind.BUNDLE not in kinds:
                    kinds.append((await new.receive()).body[0])
        nursery.cancel_scope.cancel()
    assert PeerLost(0, "it connected again") in world.events[2]


async def test_a_slow_reader_delays_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """Member 0 never reads; the others meet, and end without it in time."""
    world = World(4)

    results: dict[int, Attended] = {}

    async def one(swarm: SessionSwarm, index: int) -> None:
        results[index] = await world.attend(swarm, index)

    async with AsyncExitStack() as stack:
        swarms = {i: await stack.enter_async_context(world.swarm(i)) for i in (1, 2, 3)}
        async with trio.open_nursery() as nursery:
            for index, swarm in swarms.items():
                nursery.start_soon(one, swarm, index)
            await trio.testing.wait_all_tasks_blocked()
            async with intruder(world, 0, 1) as (channel, encoded):
                world.streams[-1].stuck = True
                await pour(channel, [encoded(Need(Kind.COMMIT, frozenset({1, 2, 3})))] * 300)
    expected = fx.Offline((0,), fx.Phase.COMMIT)
    assert [results[i].outcome for i in (1, 2, 3)] == [expected] * 3
    assert trio.current_time() < 6


async def test_a_line_whose_queue_is_full_is_given_up() -> None:
    class Deaf:
        """A channel that takes nothing and says nothing."""

        error = None

        async def send(self, _type: int, _body: bytes) -> None:
            await trio.sleep_forever()

        def __aiter__(self) -> Deaf:
            return self

        async def __anext__(self) -> Any:
            await trio.sleep_forever()

    line = _Line(cast(Any, Deaf()), lambda _size: None)

    async def receive(_data: bytes, _arrived: float) -> None:
        raise AssertionError("nothing arrives")

    with trio.fail_after(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.serve, receive, b"", AsyncExitStack)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(QUEUE_MESSAGES + 2):
                line.send(b"m")
    assert line.lost == "it does not read"


# Over TCP


@asynccontextmanager
async def tcp_swarms(
    pairs: Sequence[KeyPair], host: str = "127.0.0.1"
) -> AsyncIterator[tuple[list[Any], list[Any]]]:
    async with AsyncExitStack() as stack:
        swarms: list[Any] = []
        addresses = []
        for pair in pairs:
            listeners = await trio.open_tcp_listeners(0, host=host)
            port = listeners[0].socket.getsockname()[1]
            addresses.append(PeerAddress(pair.public, host, port))
            opened = open_session_swarm(pair, listeners, limits=SwarmLimits(ping_s=0.05))
            swarms.append(await stack.enter_async_context(opened))
        yield swarms, addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_two_runs_at_once_on_the_same_ports_with_real_journals(
    tmp_path: Path, host: str
) -> None:
    pairs = keypairs(4)
    t0 = wall_clock_ms()
    exits: dict[int, list[Any]] = {1: [], 2: []}
    everybody = trio.Event()
    async with AsyncExitStack() as stack:
        journals = [
            stack.enter_context(Journal.open(tmp_path / f"{i}.sqlite", now_ms=t0)) for i in range(4)
        ]
        swarms, addresses = await stack.enter_async_context(tcp_swarms(pairs, host))

        async def one(index: int, challenge: int) -> None:
            flip = flip_for(pairs, challenge)
            secrets = journals[index].begin(flip.topic, started_ms=t0).secrets
            machine = CoinflipMachine(flip, pairs[index], secrets, Schedule.first(PATIENT, t0))

            def note(event: Any) -> None:
                if isinstance(event, fx.Exit):
                    exits[challenge].append(event.outcome)
                    if sum(map(len, exits.values())) == 8:
                        everybody.set()

            await swarms[index].run(machine, addresses, journal=journals[index], on_event=note)

        async with trio.open_nursery() as nursery:
            for index in range(4):
                for challenge in (1, 2):
                    nursery.start_soon(one, index, challenge)
            with trio.fail_after(60):
                await everybody.wait()
            nursery.cancel_scope.cancel()
        for index, journal in enumerate(journals):
            for challenge in (1, 2):
                records = journal.records(flip_for(pairs, challenge).topic)
                assert sorted(records) == [Kind.COMMIT, Kind.ECHO, Kind.REVEAL], index
    assert [len(set(found)) for found in exits.values()] == [1, 1]
    assert exits[1][0] != exits[2][0]
    assert all(isinstance(outcome, fx.Success) for found in exits.values() for outcome in found)


async def test_strangers_and_unknown_topics_are_refused() -> None:
    pairs = keypairs(3)
    flip = flip_for(pairs)
    async with tcp_swarms(pairs[2:]) as ((swarm,), (address,)):
        secrets = FlipSecrets.generate()
        machine = CoinflipMachine(flip, pairs[2], secrets, Schedule.first(TIMING, 10**15))

        async def knock(pair: KeyPair, topic: bytes) -> None:
            stream = await dial_tcp(address)
            async with open_connection(stream, pair, initiator=True, timeout=2) as connection:
                await connection.open_channel(PROTOCOL, topic, b"", timeout=2)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: swarm.run(machine, [], journal=Disk()))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(HypercoreError):
                await knock(KeyPair.from_seed(b"s" * 32), flip.topic)
            assert swarm.refused["WrongIdentity"] == 1
            with pytest.raises(ChannelRejected):
                await knock(pairs[0], b"\2" * 32)
            await knock(pairs[0], flip.topic)
            nursery.cancel_scope.cancel()


async def test_strangers_that_say_nothing_are_displaced_or_dropped_after_the_time_out() -> None:
    pairs = keypairs(2)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    refused: list[str] = []
    limits = SwarmLimits(handshake_s=0.05, newcomers=1)
    async with open_session_swarm(pairs[0], listeners, limits=limits, on_refused=refused.append):
        first = await trio.open_tcp_stream("127.0.0.1", port)
        second = await trio.open_tcp_stream("127.0.0.1", port)
        with trio.fail_after(2):
            for stream in (first, second):
                with suppress(trio.BrokenResourceError):
                    assert await stream.receive_some() == b""
                await stream.aclose()
    assert sorted(refused) == ["HandshakeFailed", "displaced"]


async def test_events_tell_of_connections(autojump_clock: trio.testing.MockClock) -> None:
    world = World(2)
    await run_all(world, range(2))
    assert world.of_type(0, PeerConnected) == [PeerConnected(1)]
    assert len(world.of_type(0, PeerLost)) <= 1
