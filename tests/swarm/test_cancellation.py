"""Cancelled inside any await of a run, nothing is left: no task, no connection, no memory of it.

A first run on the mock clock notes every place in this project's code where one of a member's
tasks comes to rest: the chain of its frames. Each place is then cancelled at, in a run of its
own, at each of the first visits of a task: the member's whole swarm, or its run alone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from swarm_world import World, flip_for, keypairs

from offchain_worker.coinflip.journal import Journal
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.schedule import Schedule, Timing
from offchain_worker.hypercore.connection import wall_clock_ms
from offchain_worker.swarm.roster import PeerAddress, SwarmLimits, open_session_swarm

Place = tuple[tuple[str, int], ...]
PACKAGE = "offchain_worker"
VISITS = 6
LIMITS = {"ping_s": 0.9, "bulk_bytes": 100_000}
PATIENT = Timing(
    block_ms=6_000, join_ms=60_000, delta_ms=3_000, finality_ms=12_000, flip_ms=480_000
)


def place_of(task: trio.lowlevel.Task) -> Place:
    """Where in this project's code a task waits; empty outside of it."""
    frames = ((frame.f_code.co_filename, line) for frame, line in task.iter_await_frames())
    return tuple((file.rpartition(PACKAGE)[2], line) for file, line in frames if PACKAGE in file)


def is_below(task: trio.lowlevel.Task, name: str) -> bool:
    """Whether a task is, or was started by, the one of that function."""
    while not task.name.endswith(f".{name}"):
        if task.parent_nursery is None:
            return False
        task = task.parent_nursery.parent_task
    return True


class Watch(trio.abc.Instrument):
    """Tells whenever a task of the disturbed member has come to rest."""

    def __init__(self, on_place: Callable[[Place], None]) -> None:
        self._on_place = on_place

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if is_below(task, "disturbed") and (place := place_of(task)):
            self._on_place(place)


async def two_members(world: World, member: int, cancel: trio.CancelScope, *, whole: bool) -> None:
    """One member within `cancel`, with its swarm or its run alone; the other goes on."""

    async def other() -> None:
        async with world.swarm(1 - member, **LIMITS) as swarm:
            await world.attend(swarm, 1 - member)

    async def disturbed() -> None:
        if whole:
            with cancel:
                async with world.swarm(member, **LIMITS) as swarm:
                    await world.attend(swarm, member)
            return
        async with world.swarm(member, **LIMITS) as swarm:
            with cancel:
                await world.attend(swarm, member)
            assert swarm._meetings == {}
            assert len(swarm._admission) == 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        nursery.start_soon(disturbed)


def run_to(place: Place | None, visit: int, member: int, *, whole: bool) -> Counter[Place]:
    """One run on a clock of its own, cancelled at that visit of `place`; returns all visits."""
    seen: Counter[Place] = Counter()
    world = World(2)
    cancel = trio.CancelScope()

    def on_place(found: Place) -> None:
        seen[found] += 1
        if found == place and seen[found] == visit:
            cancel.cancel()

    async def main() -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        await two_members(world, member, cancel, whole=whole)
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert all(stream.closed for stream in world.streams)

    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(main, clock=clock, instruments=[Watch(on_place)])
    assert world.streams if place is None else place in seen
    return seen


@pytest.mark.parametrize("whole", [True, False], ids=["the swarm", "the run"])
@pytest.mark.parametrize("member", [0, 1], ids=["dialling", "accepting"])
def test_cancelled_at_any_await_nothing_is_left(member: int, whole: bool) -> None:
    places = run_to(None, 0, member, whole=whole)
    innermost = {place[-1][0] for place in places}
    assert {"/swarm/roster.py", "/hypercore/connection.py", "/hypercore/queues.py"} <= innermost
    assert len(places) > 20
    for place in sorted(places):
        for visit in range(1, min(VISITS, places[place]) + 1):
            run_to(place, visit, member, whole=whole)


def open_sockets() -> int:
    """How many of this process's file descriptors are sockets."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            continue  # the one that listed them
    return count


@pytest.mark.parametrize("event", ["PeerConnected", "Seen", "Exit", "Confirmed"])
async def test_cancelled_over_tcp_no_socket_is_left(event: str, tmp_path: Path) -> None:
    """With real journals, whose writes are in threads."""
    pairs = keypairs(3)
    flip = flip_for(pairs)
    now = wall_clock_ms()
    before = open_sockets()
    async with AsyncExitStack() as stack:
        addresses, swarms, journals = [], [], []
        for index, pair in enumerate(pairs):
            journals.append(stack.enter_context(Journal.open(tmp_path / f"{index}", now_ms=now)))
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listeners[0].socket.getsockname()[1]
            addresses.append(PeerAddress(pair.public, "127.0.0.1", port))
            opened = open_session_swarm(pair, listeners, limits=SwarmLimits(ping_s=0.02))
            swarms.append(await stack.enter_async_context(opened))

        async def take_part(index: int) -> None:
            def hear(found: Any) -> None:
                if index == 1 and type(found).__name__ == event:
                    nursery.cancel_scope.cancel()

            secrets = journals[index].begin(flip.topic, started_ms=now).secrets
            schedule = Schedule.first(PATIENT, now)
            machine = CoinflipMachine(flip, pairs[index], secrets, schedule)
            await swarms[index].run(machine, addresses, journal=journals[index], on_event=hear)

        with trio.fail_after(60):
            # Inside of the journals: a run that is cancelled waits for the disk before it ends.
            async with trio.open_nursery() as nursery:
                for index in range(3):
                    nursery.start_soon(take_part, index)
    assert nursery.cancel_scope.cancelled_caught
    assert open_sockets() == before
