"""When readers are observed, and that it never touches the audit."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from challenge_world import World, open_world
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from chain_types.records import ServedRecord, Verdict
from offchain_worker.attestor import observing
from offchain_worker.attestor.observing import GUARD_MS, slots
from offchain_worker.explorer.history import read_history
from offchain_worker.explorer.show import challenge_lines, challenge_summary
from offchain_worker.explorer.verify import verify_history
from offchain_worker.hypercore.errors import NoData

WINDOW, END = 15_000, 115_000
CHUNK = 1_000


@given(st.integers(100_000, 116_000), st.integers(106_000, 112_000), st.integers())
def test_a_session_is_over_before_the_audit_or_begins_after_it(
    now: int, moment: int, seed: int
) -> None:
    found = slots(now, WINDOW, moment, END, CHUNK)
    drawn = found.draw(random.Random(seed))
    if drawn is None:
        assert now >= moment - GUARD_MS - found.length_ms
        assert max(now, moment + CHUNK) >= END - GUARD_MS - found.length_ms
        return
    start, is_before = drawn
    assert start >= now
    stop = start + found.length_ms
    assert stop < moment if is_before else (start >= moment + CHUNK and stop < END)


def test_there_is_time_for_it_with_the_timing_of_development() -> None:
    # R is there 4 s after the start, moments are from 6 to 12 s, END is at 15 s.
    for moment in range(106_000, 112_000):
        assert slots(104_000, WINDOW, moment, END, CHUNK).draw(random.Random(moment)) is not None


def test_in_production_it_takes_two_minutes() -> None:
    found = slots(0, 86_400_000, 40_000_000, 86_400_000, 20_000)
    assert found.length_ms == 120_000
    drawn = [found.draw(random.Random(seed)) for seed in range(1_000)]
    before = sum(is_before for one in drawn if one is not None for is_before in one[1:])
    assert 400 < before < 530


async def observed(world: World) -> dict[str, object]:
    found = await world.client.reports(0)
    return {
        world.by_account(account).name: record.outcome.metrics.observed
        for account, record in found.items()
        if isinstance(record.outcome, ServedRecord)
    }


async def test_figures_come_to_the_chain(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        await world.hire()
        settled = await world.settled()
        assert settled.settlement is not None
        assert settled.settlement.outcome is Verdict.PASSED
        figures = await observed(world)
        assert len(figures) == 5
        assert None not in figures.values()
        finished = world.events("observe.finished", challenge=0)
        assert len(finished) == 5
        for line in finished:
            figure = figures[line.worker or ""]
            assert line.values["chunks"] == figure.chunks  # type: ignore[attr-defined]
            assert line.values["throughput"] == figure.throughput  # type: ignore[attr-defined]
        assert list(verify_history(await read_history(world.client, 0)))
        medians = settled.settlement.medians
        assert medians.observed_throughput is not None
        assert medians.observed_throughput.reports == 5
        summary = challenge_summary(settled, await world.client.reports(0))
        assert sum("readers get" in line for line in challenge_lines(summary)) == 5


async def test_the_two_sessions_of_one_attestor_do_not_overlap(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        await world.hire(hosters=2)
        for challenge in range(2):
            await world.settled(challenge)
            for attestor in world.attestors:
                (opened,) = (
                    line
                    for line in world.events("audit.opened", challenge=challenge)
                    if line.worker == attestor.name
                )
                (closed,) = (
                    line
                    for line in world.events("audit.finished", challenge=challenge)
                    if line.worker == attestor.name
                )
                began = [
                    line.at_ms
                    for line in world.events("observe.began", challenge=challenge)
                    if line.worker == attestor.name
                ]
                ended = [
                    line.at_ms
                    for line in world.events("observe.finished", challenge=challenge)
                    if line.worker == attestor.name
                ]
                assert len(began) == len(ended) == 1
                assert ended[0] < opened.at_ms or began[0] >= closed.at_ms


async def test_a_crash_in_it_costs_nothing_but_its_figures(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_rest: object) -> None:
        raise ZeroDivisionError

    async with open_world(tmp_path) as world:
        monkeypatch.setattr(observing, "observe", crash)
        await world.hire()
        settled = await world.settled()
        assert settled.settlement is not None
        assert settled.settlement.outcome is Verdict.PASSED
        assert set((await observed(world)).values()) == {None}
        assert len(world.events("observe.crashed")) == 5


async def test_a_hoster_that_does_not_serve_readers_is_reported_without_figures(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_rest: object) -> None:
        raise NoData("it has it not")

    async with open_world(tmp_path) as world:
        monkeypatch.setattr(observing, "observe", fail)
        await world.hire()
        settled = await world.settled()
        assert settled.settlement is not None
        assert settled.settlement.served == 5
        assert set((await observed(world)).values()) == {None}
        (line, *_) = world.events("observe.failed")
        assert line.values["reason"] == "NoData: it has it not"


async def test_figures_survive_a_restart(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        world.crashes.add(("Anna", "observe.finished"))
        await world.hire()
        await world.settled()
        (finished,) = (
            line for line in world.events("observe.finished", challenge=0) if line.worker == "Anna"
        )
        figure = (await observed(world))["Anna"]
        assert figure is not None
        assert figure.throughput == finished.values["throughput"]  # type: ignore[attr-defined]
