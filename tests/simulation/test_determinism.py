"""A run is its seed: the same events in the same order, wherever and however often it runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from offchain_worker.simulation.draw import scenario, twin_scenario
from offchain_worker.simulation.trace import Trace
from offchain_worker.simulation.world import World


def digest(seed: int) -> str:
    trace = Trace()
    World(scenario(seed), trace).run()
    return trace.digest


@pytest.mark.parametrize("seed", range(12))
def test_the_same_seed_gives_the_same_run(seed: int) -> None:
    assert digest(seed) == digest(seed)


def test_other_seeds_give_other_runs() -> None:
    assert len({digest(seed) for seed in range(12)}) == 12


def test_a_run_does_not_depend_on_the_order_of_sets_in_this_process() -> None:
    program = (
        "from offchain_worker.simulation.draw import scenario\n"
        "from offchain_worker.simulation.trace import Trace\n"
        "from offchain_worker.simulation.world import World\n"
        "for seed in range(15):\n"
        "    trace = Trace()\n"
        "    World(scenario(seed), trace).run()\n"
        "    print(trace.digest)\n"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for hash_seed in (1, 2)
    }
    assert len(told) == 1


def test_tracing_changes_nothing() -> None:
    for seed in range(10):
        traced = World(scenario(seed), Trace()).run()
        plain = World(scenario(seed)).run()
        assert (traced.state, traced.messages) == (plain.state, plain.messages)


def test_the_scenario_is_drawn_from_the_seed_alone() -> None:
    assert [scenario(seed).size for seed in range(50)] == [scenario(s).size for s in range(50)]
    sizes = {scenario(seed).size for seed in range(400)}
    assert sizes == set(range(3, 11))
    assert all(len(twin_scenario(seed).dishonest) == 1 for seed in range(20))
