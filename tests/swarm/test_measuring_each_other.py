"""Attestors measure each other over limited links, all at once, and are not in each other's way.

Each member has one uplink for all its connections, so that two transfers at a time would show in
both figures. Rules: a mock clock; what is true is what the links saw.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import combinations

import pytest
import trio
import trio.testing
from swarm_world import TIMING, Disk, World, flip_for, run_all

from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.schedule import Schedule as Instants
from offchain_worker.measurement.turns import Turns
from offchain_worker.simulation.link import (
    LinkShape,
    Schedule,
    Way,
    carry,
)
from offchain_worker.simulation.recording import Recording
from offchain_worker.swarm.roster import BULK_FRAME, Attended, PeerAddress, SessionSwarm

BULK_BYTES = 256 * 1024
DELAY_S = 0.02


@dataclass(frozen=True)
class Transfer:
    """From one member to another, from the first byte that entered to the last that left."""

    sender: int
    receiver: int
    begun: float
    ended: float
    size: int


class LinkedWorld(World):
    """Members with an uplink each, of so many bytes per second."""

    def __init__(self, size: int, bandwidth: float, nursery: trio.Nursery) -> None:
        super().__init__(size)
        self.nursery = nursery
        self.recordings: dict[tuple[int, int, int], Recording] = {}
        self.uplinks = [
            Schedule(LinkShape(DELAY_S, bandwidth), random.Random(i)) for i in range(size)
        ]

    def dialler(self, index: int):  # type: ignore[no-untyped-def]
        async def dial(address: PeerAddress) -> trio.abc.Stream:
            self.dialled += 1
            await trio.sleep(0.001)
            far = self.connect(address.port)
            ours, near = trio.testing.memory_stream_pair()
            ways = {Way.UP: self.uplinks[index], Way.DOWN: self.uplinks[address.port]}
            recording = Recording()
            self.recordings[index, address.port, self.dialled] = recording

            async def link() -> None:
                await carry(near, far, ways, precise=False, observe=recording.take)

            self.nursery.start_soon(link)
            return ours

        return dial

    def transfers(self) -> Iterator[Transfer]:
        """All bulk transfers, of which a run has at most one for each way."""
        for (dialler, target, _), recording in self.recordings.items():
            for way, pair in ((Way.UP, (dialler, target)), (Way.DOWN, (target, dialler))):
                frames = [f for f in recording.frames if f.way is way and f.size >= BULK_FRAME]
                if frames:
                    left = [f.left for f in frames if f.left is not None]
                    size = sum(f.size for f in frames)
                    yield Transfer(*pair, frames[0].entered, max(left), size)


def overlaps(transfers: Sequence[Transfer]) -> list[tuple[Transfer, Transfer]]:
    """Pairs of transfers at the same time that share a member."""
    return [
        (one, other)
        for one, other in combinations(transfers, 2)
        if {one.sender, one.receiver} & {other.sender, other.receiver}
        and one.begun < other.ended
        and other.begun < one.ended
    ]


@pytest.mark.parametrize(("size", "bandwidth"), [(2, 10e6), (5, 10e6), (6, 3e6), (9, 40e6)])
async def test_figures_are_those_of_the_links_though_all_measure_at_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, size: int, bandwidth: float
) -> None:
    world = LinkedWorld(size, bandwidth, nursery)
    results = await run_all(world, range(size))
    transfers = list(world.transfers())
    assert len(transfers) == size * (size - 1)
    assert overlaps(transfers) == []
    for index, attended in results.items():
        assert [figures.index for figures in attended.peers] == [
            peer for peer in range(size) if peer != index
        ]
        for figures in attended.peers:
            assert figures.throughput == pytest.approx(bandwidth, rel=0.05)
            # A round trip, and a ping's own bytes; nothing that waited behind a transfer.
            assert figures.rtt_p50_us == pytest.approx(2e6 * DELAY_S, rel=0.02)


async def test_without_turns_they_would_be_in_each_others_way(
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the test above sees when everybody asks whenever it likes: it can fail."""

    def anybody(self: Turns, slot: int) -> int | None:
        peer = slot % self.size
        return None if peer == self.index else peer

    monkeypatch.setattr(Turns, "asked_in", anybody)
    monkeypatch.setattr("offchain_worker.swarm.roster._Turn.taken", False)
    monkeypatch.setattr("offchain_worker.swarm.roster._Turn.take", AsyncExitStack)
    monkeypatch.setattr("offchain_worker.swarm.roster.MAX_LATE", 0.0)
    world = LinkedWorld(6, 3e6, nursery)
    results = await run_all(world, range(6))
    assert overlaps(list(world.transfers()))
    figures = [peer.throughput for attended in results.values() for peer in attended.peers]
    assert min(figures) < 0.8 * 3e6


async def test_transfers_of_several_coinflips_wait_for_each_other(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Three runs of the same four members at the same time: one worker has one uplink."""
    world = LinkedWorld(4, 10e6, nursery)
    results: list[Attended] = []

    async def attend(swarm: SessionSwarm, index: int, challenge: int) -> None:
        machine = CoinflipMachine(
            flip_for(world.pairs, challenge),
            world.pairs[index],
            world.secrets[index],
            Instants.first(TIMING, 0),
        )
        results.append(await swarm.run(machine, world.addresses, journal=Disk()))

    async with AsyncExitStack() as stack:
        swarms = [await stack.enter_async_context(world.swarm(i)) for i in range(4)]
        async with trio.open_nursery() as runs:
            for index, swarm in enumerate(swarms):
                for challenge in range(3):
                    runs.start_soon(attend, swarm, index, challenge)
    transfers = list(world.transfers())
    assert overlaps(transfers) == []
    figures = [peer for attended in results for peer in attended.peers]
    assert len(figures) == 3 * 4 * 3
    measured = [peer.throughput for peer in figures if peer.throughput]
    assert len(measured) >= len(figures) // 2
    assert measured == pytest.approx([10e6] * len(measured), rel=0.05)


async def test_a_transfer_that_takes_too_long_does_not_keep_the_turn(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Each takes 0.9 s; after 0.3 s the next begins. What did not end until Tx has no figure."""
    world = LinkedWorld(3, 300e3, nursery)
    results = await run_all(world, range(3), bulk_s=0.3)
    transfers = list(world.transfers())
    assert len(transfers) == 6
    assert overlaps(transfers)
    for attended in results.values():
        assert len(attended.peers) == 2
        assert all(figures.throughput < 310e3 for figures in attended.peers)
    assert any(peer.throughput for attended in results.values() for peer in attended.peers)
