"""What hostile fellows and strangers cost: counted, never timed (coinflip.md §9, rows 22 and 23).

The proxies for processor time are what reaches a machine until the cut, and how many handshakes
are made; for memory, what the interpreter allocates. `make bench` measures the time itself.
"""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import trio
import trio.testing
from swarm_world import TIMING, World, intruder

from offchain_worker.coinflip import effects as fx
from offchain_worker.coinflip.envelope import (
    MAX_MESSAGE_BYTES,
    BulkData,
    Bundle,
    EvidenceMessage,
    Kind,
    Need,
    Ping,
    SignedEnvelope,
)
from offchain_worker.hypercore.connection import QUEUE_BYTES, Channel, open_connection
from offchain_worker.hypercore.errors import HypercoreError
from offchain_worker.hypercore.protomux import encode_batch
from offchain_worker.hypercore.secret_stream import SecretStream
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.admission import FELLOW, OVERALL, STRANGER
from offchain_worker.swarm.roster import (
    BAR_S,
    ENVELOPE,
    INCOMING_BYTES,
    MAX_BAR_S,
    MAX_FRAME,
    MAX_STRAYS,
    PROTOCOL,
    Attended,
    PeerConnected,
)

Encoded = Callable[[Any], bytes]
Flood = Callable[[World, Channel, Encoded], Awaitable[None]]

REFUSED_UNTIL_CUT = 40
"""Messages, at n = 3: a credit of 304, of which each refused one takes 9 or more."""
TAKEN_UNTIL_CUT = 310
"""The same for valid ones, which take at least one each."""
READ_AT_ONCE = 256 * 1_024
IN_TRANSIT = tracemalloc.Filter(False, "*/trio/testing/*")
"""What the streams in memory still hold is nobody's."""
LEFT = 16 * 1_024
"""Bytes that may be left of a flood: events, counters, what the interpreter keeps for itself."""


def forged(world: World, number: int) -> SignedEnvelope:
    """A commit of member 1 that somebody else signed."""
    body = number.to_bytes(64, "little")
    return SignedEnvelope.sign(Kind.COMMIT, world.flip.topic, 1, body, world.pairs[0])


async def large_noise(_world: World, channel: Channel, _encoded: Encoded) -> None:
    noise = random.Random(1).randbytes(MAX_MESSAGE_BYTES)
    for _ in range(160):
        await channel.send(ENVELOPE, noise)


async def small_noise(_world: World, channel: Channel, _encoded: Encoded) -> None:
    for number in range(5_000):
        await channel.send(ENVELOPE, number.to_bytes(40, "big"))


async def empty_messages(_world: World, channel: Channel, _encoded: Encoded) -> None:
    for _ in range(5_000):
        await channel.send(ENVELOPE, b"")


async def batched_noise(_world: World, channel: Channel, _encoded: Encoded) -> None:
    for _ in range(80):
        await channel.send_batch([(ENVELOPE, b"?")] * 5_000)


async def unasked_bulk(_world: World, channel: Channel, encoded: Encoded) -> None:
    data = encoded(BulkData(bytes(65_536)))
    for _ in range(160):
        await channel.send(ENVELOPE, data)


async def forgeries(world: World, channel: Channel, _encoded: Encoded) -> None:
    for number in range(1_000):
        await channel.send(ENVELOPE, forged(world, number).raw)


async def bundled_forgeries(world: World, channel: Channel, encoded: Encoded) -> None:
    bundle = encoded(Bundle(tuple(forged(world, number) for number in range(12))))
    for _ in range(200):
        await channel.send(ENVELOPE, bundle)


async def false_evidence(_world: World, channel: Channel, encoded: Encoded) -> None:
    for number in range(1_000):
        await channel.send(ENVELOPE, encoded(EvidenceMessage(number.to_bytes(400, "big"))))


async def needs(_world: World, channel: Channel, encoded: Encoded) -> None:
    need = encoded(Need(Kind.COMMIT, frozenset({0, 1, 2})))
    for _ in range(100_000):
        await channel.send(ENVELOPE, need)


async def pings(_world: World, channel: Channel, encoded: Encoded) -> None:
    for number in range(5_000):
        await channel.send(ENVELOPE, encoded(Ping(number.to_bytes(16, "big"), bytes(32))))


REFUSED: dict[Flood, str] = {
    large_noise: "kind",
    small_noise: "topic",
    empty_messages: "length",
    batched_noise: "length",
    unasked_bulk: "bulk data not asked for",
    forgeries: "signature",
    bundled_forgeries: "signature",
    false_evidence: "encoding",
}
TAKEN: list[Flood] = [needs, pings]


async def be_flooded(world: World, flood: Flood, **changes: Any) -> Attended:
    """Member 2 of three takes part alone; member 0 floods it once; until Tx."""
    attended: list[Attended] = []

    async def take_part() -> None:
        attended.append(await world.attend(world.swarms[2], 2))

    async with world.swarm(2), trio.open_nursery() as nursery:
        nursery.start_soon(take_part)
        await trio.testing.wait_all_tasks_blocked()
        with suppress(HypercoreError):
            async with intruder(world, 0, 2, **changes) as (channel, encoded):
                await flood(world, channel, encoded)
                with trio.fail_after(30):
                    await channel.connection.wait_closed()
    return attended[0]


@pytest.mark.parametrize("flood", REFUSED, ids=lambda flood: flood.__name__)
async def test_refused_messages_are_counted_told_once_and_end_the_line(
    flood: Flood, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(3)
    attended = await be_flooded(world, flood)
    peer, silent = attended.statistics.peers
    assert 0 < peer.traffic.messages_in <= REFUSED_UNTIL_CUT
    reason = REFUSED[flood]
    assert peer.refusals.pop(reason) > 0
    assert peer.refusals == {"flood": 1}
    assert silent.refusals == {}
    assert world.events[2].count(fx.Refused(0, reason)) == 1
    assert world.events[2].count(fx.Disconnect(0, "flood")) == 1
    assert peer.losses == {"flood": 1}
    assert peer.connects == 1


@pytest.mark.parametrize("flood", TAKEN, ids=lambda flood: flood.__name__)
async def test_too_many_valid_messages_end_the_line_as_well(
    flood: Flood, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(3)
    attended = await be_flooded(world, flood)
    peer = attended.statistics.peers[0]
    assert 0 < peer.traffic.messages_in <= TAKEN_UNTIL_CUT
    assert peer.traffic.messages_out <= TAKEN_UNTIL_CUT
    assert peer.losses in ({"flood": 1}, {"it does not read": 1})


@pytest.mark.parametrize("flood", [*REFUSED, *TAKEN], ids=lambda flood: flood.__name__)
async def test_a_flood_leaves_nothing_in_memory(
    flood: Flood, autojump_clock: trio.testing.MockClock
) -> None:
    """Nothing is buffered between the two; the flooder's own queue is allowed for in the peak."""
    world = World(3)
    async with world.swarm(2) as swarm, trio.open_nursery() as nursery:
        nursery.start_soon(world.attend, swarm, 2)
        await trio.testing.wait_all_tasks_blocked()
        # Once before it is measured, for what is made once.
        await pour_into(world, large_noise)
        await trio.sleep(1.1 * BAR_S)
        gc.collect()
        tracemalloc.start()
        try:
            await pour_into(world, flood)
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            _, peak = tracemalloc.get_traced_memory()
            traces = tracemalloc.take_snapshot().filter_traces([IN_TRANSIT])
            left = sum(statistic.size for statistic in traces.statistics("filename"))
        finally:
            tracemalloc.stop()
        nursery.cancel_scope.cancel()
    assert left < LEFT
    assert peak < QUEUE_BYTES + 4 * (INCOMING_BYTES + MAX_FRAME + READ_AT_ONCE)


async def pour_into(world: World, flood: Flood) -> None:
    with suppress(HypercoreError):
        async with intruder(world, 0, 2, lockstep=True) as (channel, encoded):
            await flood(world, channel, encoded)
            await channel.connection.wait_closed()
    world.streams.clear()


async def stray_messages(connection: Any) -> None:
    for _ in range(5_000):
        await connection._send(b"\x7f\x00stray", connection._check)


async def stray_batches(connection: Any) -> None:
    for _ in range(20):
        await connection._send(encode_batch(77, [(0, b"?")] * 20_000), connection._check)


async def empty_batches(connection: Any) -> None:
    for _ in range(5_000):
        await connection._send(b"\x00\x00\x05", connection._check)


async def closes(connection: Any) -> None:
    for _ in range(5_000):
        await connection._send(b"\x00\x03\x55", connection._check)


async def unknown_controls(connection: Any) -> None:
    for _ in range(5_000):
        await connection._send(b"\x00\x09\x55", connection._check)


async def keep_alives(connection: Any) -> None:
    for _ in range(5_000):
        await connection._send(b"", connection._check)


async def other_channels(connection: Any) -> None:
    for number in range(5_000):
        with suppress(HypercoreError):
            await connection.open_channel("x", number.to_bytes(2, "big"), b"", timeout=60)
        connection._check()


@pytest.mark.parametrize(
    "flood",
    [
        stray_messages,
        stray_batches,
        empty_batches,
        closes,
        unknown_controls,
        keep_alives,
        other_channels,
    ],
    ids=lambda flood: flood.__name__,
)
async def test_what_no_channel_takes_ends_the_line(
    flood: Callable[[Any], Awaitable[None]], autojump_clock: trio.testing.MockClock
) -> None:
    world = World(3)

    async def stray(_world: World, channel: Channel, _encoded: Encoded) -> None:
        await flood(channel.connection)

    attended = await be_flooded(world, stray)
    peer = attended.statistics.peers[0]
    assert peer.losses == {f"more than {MAX_STRAYS} messages for no channel": 1}
    assert peer.traffic.messages_in == 0


async def test_who_was_cut_off_is_barred_ever_longer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """From the dialling side and from the accepting one."""
    world = World(3)
    lasted: list[float] = []
    async with world.swarm(2) as swarm, trio.open_nursery() as nursery:
        nursery.start_soon(world.attend, swarm, 2)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            async with AsyncExitStack() as stack:
                while True:
                    with suppress(HypercoreError):
                        channel, _ = await stack.enter_async_context(intruder(world, 0, 2))
                        break
                    await trio.sleep(0.01)
                if lasted:
                    lasted[-1] = trio.current_time() - lasted[-1]
                await channel.send(ENVELOPE + 1, b"?")
                await channel.connection.wait_closed()
                lasted.append(trio.current_time())
        nursery.cancel_scope.cancel()
    assert lasted[:2] == pytest.approx([BAR_S, 2 * BAR_S], abs=0.05)
    assert swarm.refused["WrongIdentity"] > 100
    assert MAX_BAR_S >= 2 * BAR_S


async def test_a_barred_peer_is_not_dialled(autojump_clock: trio.testing.MockClock) -> None:
    world = World(2)

    class Bad:
        """Member 1 accepts, and answers with a message of an unknown type."""

        connects = 0

        async def serve(self, listener: Any) -> None:
            while True:
                stream = await listener.accept()
                nursery.start_soon(self.answer, stream)

        async def answer(self, stream: trio.abc.Stream) -> None:
            def decide(offer: Any) -> None:
                offer.accept(b"").send_nowait(ENVELOPE + 1, b"?")

            async with open_connection(
                stream, world.pairs[1], initiator=False, timeout=1
            ) as connection:
                self.connects += 1
                connection.pair(PROTOCOL, None, decide)
                await connection.wait_closed()

    bad = Bad()
    async with world.swarm(1), world.swarm(0) as swarm, trio.open_nursery() as nursery:
        listener = world.listeners[1] = type(world.listeners[0])()
        nursery.start_soon(bad.serve, listener)
        await world.attend(swarm, 0)
        nursery.cancel_scope.cancel()
    # At 0, 1 and 3 s of 3.9.
    assert bad.connects == 3
    assert world.of_type(0, PeerConnected) == [PeerConnected(1)] * 3


# Strangers


def stranger() -> KeyPair:
    return KeyPair.from_seed(b"s" * 32)


async def knock(world: World, target: int, source: str, pair: KeyPair) -> None:
    """Shake hands from an address, and be refused one way or another."""
    with suppress(HypercoreError):
        async with open_connection(
            world.connect(target, source), pair, initiator=True, timeout=10
        ) as connection:
            await connection.open_channel(PROTOCOL, world.flip.topic, b"", timeout=10)
            raise AssertionError("a stranger was let in")


async def test_a_crowd_of_strangers_gets_few_handshakes_and_keeps_no_fellow_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two thousand from as many addresses, and as many from one, while four members meet."""
    world = World(4)
    results: dict[int, Attended] = {}

    async def attend(index: int) -> None:
        async with world.swarm(index):
            results[index] = await world.attend(world.swarms[index], index)

    async def crowd() -> None:
        for number in range(2_000):
            nursery.start_soon(knock, world, 3, f"192.0.2.{number}", stranger())
            nursery.start_soon(knock, world, 3, "198.51.100.1", stranger())
            if number % 20 == 0:
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        for index in (1, 2, 3):
            nursery.start_soon(attend, index)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(crowd)
        await trio.sleep(0.5)
        nursery.start_soon(attend, 0)
    assert isinstance(results[0].outcome, fx.Success)
    assert len({attended.outcome for attended in results.values()}) == 1
    refused = world.swarms[3].refused
    assert refused["rate"] + refused["WrongIdentity"] == 4_000
    assert OVERALL.burst <= refused["WrongIdentity"] <= OVERALL.burst + 2 * OVERALL.per_second


async def test_a_fellow_from_an_address_that_the_chain_does_not_name_is_let_in(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It gets its token back, and its address counts as a fellow's until the run is over."""
    world = World(3)
    async with world.swarm(2) as swarm, trio.open_nursery() as nursery:
        nursery.start_soon(world.attend, swarm, 2)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(2 * STRANGER.burst):
            async with intruder(world, number % 2, 2, source="192.0.2.1"):
                pass
        assert swarm._admission.is_fellow("192.0.2.1")
        nursery.cancel_scope.cancel()
    assert swarm.refused["rate"] == 0
    assert not swarm._admission.is_fellow("192.0.2.1")
    assert len(swarm._admission) <= 1


async def test_a_fellows_own_crowd_uses_up_its_own_bucket_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(3)
    async with world.swarm(2) as swarm, trio.open_nursery() as nursery:
        nursery.start_soon(world.attend, swarm, 2)
        await trio.testing.wait_all_tasks_blocked()
        async with intruder(world, 0, 2, source="192.0.2.1"):
            for _ in range(FELLOW.burst + 50):
                await knock(world, 2, "192.0.2.1", stranger())
        assert swarm.refused["rate"] == 50
        async with intruder(world, 1, 2, source="192.0.2.2"):
            pass
        nursery.cancel_scope.cancel()


async def test_refusals_are_told_ever_more_rarely(autojump_clock: trio.testing.MockClock) -> None:
    world = World(2)
    told: list[str] = []
    async with world.swarm(1) as swarm:
        swarm._on_refused = told.append
        for _ in range(1_000):
            await knock(world, 1, "192.0.2.1", stranger())
        assert swarm.refused == {"WrongIdentity": STRANGER.burst, "rate": 1_000 - STRANGER.burst}
    assert told.count("WrongIdentity") == 4
    assert told.count("rate") == 10


async def test_half_open_connections_are_dropped_and_displaced(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A hundred that connect and say nothing, then a fellow: strangers make room for it."""
    world = World(2)
    async with world.swarm(1, newcomers=16) as swarm, trio.open_nursery() as nursery:
        nursery.start_soon(world.attend, swarm, 1)
        await trio.testing.wait_all_tasks_blocked()
        silent = [world.connect(1, f"192.0.2.{number}") for number in range(OVERALL.burst)]
        await trio.testing.wait_all_tasks_blocked()
        assert swarm.refused["displaced"] == OVERALL.burst - 16
        async with intruder(world, 0, 1):
            assert swarm.refused["displaced"] == OVERALL.burst - 15
        await trio.sleep(5.1)
        assert swarm.refused["HandshakeFailed"] == 15
        for stream in silent:
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()


async def test_a_connection_that_is_gone_before_it_is_looked_at(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(2)

    def gone(_stream: trio.abc.Stream) -> str:
        raise OSError("not connected")

    async with world.swarm(1) as swarm:
        swarm._source = gone
        stream = world.connect(1)
        await trio.testing.wait_all_tasks_blocked()
        assert swarm.refused == {"gone": 1}
        assert await stream.receive_some() == b""


async def drip(stream: trio.abc.Stream, data: bytes, pause: float) -> None:
    """Send byte by byte until the other side has had enough."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        for byte in data:
            await stream.send_all(bytes([byte]))
            await trio.sleep(pause)


async def test_a_handshake_byte_by_byte_takes_no_longer_than_any_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World(2)
    secret = SecretStream(initiator=True, keypair=world.pairs[0], ephemeral=stranger())
    async with world.swarm(1) as swarm, trio.open_nursery() as nursery:
        nursery.start_soon(world.attend, swarm, 1)
        await trio.testing.wait_all_tasks_blocked()
        await drip(world.connect(1), secret.data_to_send(), 1.0)
        await trio.testing.wait_all_tasks_blocked()
        assert swarm.refused == {"HandshakeFailed": 1}
        assert trio.current_time() <= 7
        nursery.cancel_scope.cancel()


async def test_frames_byte_by_byte_hold_one_line_and_delay_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Member 0 drips a frame to member 3 all the time; the others end without it, at Tf."""
    world = World(4)
    results: dict[int, Attended] = {}

    async def attend(index: int) -> None:
        async with world.swarm(index):
            results[index] = await world.attend(world.swarms[index], index)

    async def slowloris() -> None:
        async with intruder(world, 0, 3) as (channel, _encoded):
            frame = channel.connection._secret.encrypt(bytes(MAX_MESSAGE_BYTES))
            await drip(world.streams[-2], frame, 0.01)

    async with trio.open_nursery() as nursery:
        for index in (1, 2, 3):
            nursery.start_soon(attend, index)
        await trio.testing.wait_all_tasks_blocked()
        with suppress(HypercoreError):
            await slowloris()
    expected = fx.Offline((0,), fx.Phase.COMMIT)
    assert [results[index].outcome for index in (1, 2, 3)] == [expected] * 3
    assert trio.current_time() == pytest.approx(3.9, abs=1.1)
    statistics = results[3].statistics
    assert statistics.peers[0].traffic.messages_in == 0
    assert statistics.exit_ms == TIMING.join_ms + 10 * TIMING.delta_ms


async def test_a_peer_that_never_reads_costs_a_bounded_queue(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It asks for ever more and takes nothing of the answers."""
    world = World(3)
    grown: list[int] = []

    async def never_read(world: World, channel: Channel, encoded: Encoded) -> None:
        world.streams[-1].stuck = True
        need = encoded(Need(Kind.COMMIT, frozenset({0, 1, 2})))
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(20):
                await channel.send_batch([(ENVELOPE, need)] * 15)
                await trio.sleep(0.1)
                grown.append(tracemalloc.get_traced_memory()[0] - before)
        finally:
            tracemalloc.stop()

    attended = await be_flooded(world, never_read)
    assert max(grown) < 2 * (INCOMING_BYTES + MAX_FRAME + READ_AT_ONCE)
    assert attended.statistics.exit == "Offline"
