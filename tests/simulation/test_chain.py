"""The chain of the simulation: what it refuses, when it falls back, whom it expels."""

from __future__ import annotations

from typing import Any

import pytest

from offchain_worker.coinflip.effects import Success
from offchain_worker.simulation import strategies as bad
from offchain_worker.simulation.chain import (
    BOND,
    Anchored,
    ChainPlan,
    CommitCall,
    FellBack,
    ReportCall,
    Void,
)
from offchain_worker.simulation.draw import only
from offchain_worker.simulation.scenario import DEVELOPMENT, PRODUCTION, QUICK, Scenario, Trouble
from offchain_worker.simulation.seat import Crash
from offchain_worker.simulation.world import Report, World, run_scenario


def run(**given: Any) -> Report:
    return run_scenario(Scenario(**{"seed": 5, "size": 4, "min_active": 3, **given}))


def test_honest_members_have_their_result_anchored_once() -> None:
    report = run(live=True, calm=True)
    chain = report.world.chain
    assert isinstance(report.verdict, Anchored)
    assert chain.active == (0, 1, 2, 3)
    assert chain.expelled == []
    for seat in report.world.honest_seats:
        assert seat.anchored == report.verdict
        assert seat.outcomes[0] == Success(report.verdict.result, report.verdict.root)


def test_a_censored_anchor_ends_in_the_fallback() -> None:
    report = run(chain=ChainPlan(censored_ms=(0, 10_000)))
    assert isinstance(report.verdict, FellBack)
    assert report.verdict.active == (0, 1, 2, 3)
    assert report.counts["anchor censored"] == 1


def test_who_missed_the_reveals_learns_the_result_from_the_anchor() -> None:
    report = run(timing=PRODUCTION, crashes={1: [Crash(at_write=4, down_ms=30_000)]})
    assert isinstance(report.verdict, Anchored)
    assert report.world.honest_seats[1].anchored is not None


def test_invented_anchors_are_refused() -> None:
    report = run(dishonest={0: only(bad.InventingAnchor)})
    refused = report.world.chain.refused
    assert isinstance(report.verdict, Anchored)
    assert {"AnchorCall echo", "AnchorCall count", "AnchorCall attempt"} <= set(refused)


def test_too_few_commits_make_it_void_and_the_absent_are_known() -> None:
    report = run(dishonest={place: only(bad.Silent) for place in (0, 1)})
    assert report.verdict == Void("active")
    assert report.world.chain.absent == (0, 1)


def test_a_frozen_roster_that_is_too_small_makes_it_void_at_once() -> None:
    split = {
        place: only(lambda world, at: bad.SplitCommit(world, at, lied_to=[2])) for place in (0, 1)
    }
    report = run(dishonest=split, timing=QUICK)
    assert report.verdict == Void("roster")
    assert report.world.chain.absent == ()
    assert {one.place for one in report.world.chain.expelled} == {0, 1}


def test_an_equivocator_is_expelled_once_and_the_rest_go_on_without_it() -> None:
    liar = only(lambda world, place: bad.SplitCommit(world, place, lied_to=[2]))
    report = run(dishonest={0: liar}, timing=QUICK, calm=True)
    chain = report.world.chain
    assert [one.place for one in chain.expelled] == [0]
    assert chain.slashed == BOND
    assert sum(chain.rewarded.values()) == BOND // 2
    assert isinstance(report.verdict, Anchored)
    assert report.verdict.attempt >= 1
    assert chain.active == (1, 2, 3)
    assert report.counts["retry succeeded"] == 3


def test_the_fallback_takes_one_commit_of_each_member_and_none_after_its_end() -> None:
    told: list[tuple[int, str]] = []

    def intrude(world: World) -> None:
        world.chain.on_refused = lambda place, _call, reason: told.append((place, reason))
        world.chain.submit(0, CommitCall(bytes(32)))

    early = Trouble(100, intrude)
    again = Trouble(DEVELOPMENT.flip_ms + 700, intrude)
    late = Trouble(DEVELOPMENT.flip_ms + 4_000, intrude)
    report = run(chain=ChainPlan(censored_ms=(0, 10_000)), troubles=[early, again, late])
    assert isinstance(report.verdict, FellBack)
    assert told == [(0, "stage"), (0, "committed"), (0, "too late")]


@pytest.mark.parametrize("proof", [b"", b"\0" * 12, b"\1" * 300])
def test_bytes_that_are_no_proof_are_refused(proof: bytes) -> None:
    report = run(troubles=[Trouble(10, lambda world: world.chain.submit(2, ReportCall(proof)))])
    assert report.world.chain.refused == {"ReportCall no proof": 1}
    assert report.world.chain.expelled == []


def test_seats_that_believe_in_another_start_block_first_come_back() -> None:
    report = run(chain=ChainPlan(other_start={0: 400, 1: 500, 2: 450, 3: 600}), timing=QUICK)
    assert report.counts["other start block first"] == 4
    assert isinstance(report.verdict, Anchored | FellBack)


def test_blocks_come_in_order_whatever_the_jitter() -> None:
    world = World(Scenario(seed=1, size=3, chain=ChainPlan(jitter_ms=5_000)))
    stamps = [world.chain.stamp(block) for block in range(50)]
    assert stamps == sorted(set(stamps))
    for when in (stamps[3], stamps[3] + 1, stamps[20] - 1):
        block = world.chain._block_from(when)
        assert world.chain.stamp(block) >= when > world.chain.stamp(block - 1)
