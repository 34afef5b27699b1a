"""What a seed can become, and that each part of it bites."""

from __future__ import annotations

import random

import pytest

from offchain_worker.coinflip.effects import Success
from offchain_worker.simulation import strategies as bad
from offchain_worker.simulation.draw import KINDS, heal, only, scenario, split
from offchain_worker.simulation.network import LinkPlan, uniform
from offchain_worker.simulation.scenario import QUICK, Scenario, Trouble
from offchain_worker.simulation.seat import KEPT, LOST, STALE, Crash
from offchain_worker.simulation.world import World


@pytest.mark.parametrize("kind", sorted(set(KINDS), key=lambda kind: kind.__name__))
@pytest.mark.parametrize("size", [3, 5])
def test_every_strategy_touches_a_row_and_breaks_nothing(kind: type, size: int) -> None:
    rows: set[int] = set()
    for seed in range(8):
        many = seed % 2
        dishonest = {place: only(kind) for place in range(1 + many * (size - 2))}
        world = World(Scenario(seed=seed, size=size, timing=QUICK, dishonest=dishonest, calm=True))
        rows |= world.run().rows
    assert rows - {26}


@pytest.mark.parametrize("journal", [KEPT, LOST, STALE])
@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_a_crash_at_every_write_and_every_journal_after_it(
    journal: str, durable: bool, write: int
) -> None:
    for image in range(write):
        for down in (1, 100, 1_500):
            crash = Crash(write, durable, None, down, journal, image)
            given = {"crashes": {1: [crash]}, "dishonest": {0: only(bad.Chaos)}}
            world = World(Scenario(seed=write * down, size=4, **given))  # type: ignore[arg-type]
            counts = world.run().counts
            when = "after" if durable else "before"
            if f"crash {when} a write is durable" in counts:
                assert any(name.startswith("restart with") for name in counts)


def test_everybody_honest_succeeds_when_a_partition_heals_in_time() -> None:
    cut = split(random.Random(3), one_way=False)
    world = World(
        Scenario(
            seed=3,
            size=5,
            links=LinkPlan(uniform(1, 100)),
            troubles=[Trouble(0, cut), Trouble(750, heal)],
            live=True,
        )
    )
    world.run()
    assert all(isinstance(seat.outcomes[0], Success) for seat in world.honest_seats)


def test_a_slow_reader_holds_up_nobody_else() -> None:
    world = World(Scenario(seed=1, size=4, dishonest={0: only(bad.SlowReader)}, calm=True))
    assert 22 in world.run().rows


def test_live_and_calm_runs_are_drawn() -> None:
    drawn = [scenario(seed) for seed in range(600)]
    assert sum(one.live for one in drawn) > 10
    assert sum(one.calm for one in drawn) > 100
    assert sum(len(one.dishonest) == one.size - 1 for one in drawn) > 50


def test_partitions_that_heal_in_time_are_drawn() -> None:
    healing = [s for s in range(3_000) if (one := scenario(s)).live and one.troubles]
    assert len(healing) > 5
    for seed in healing[:5]:
        assert "healed in time" in World(scenario(seed)).run().counts
