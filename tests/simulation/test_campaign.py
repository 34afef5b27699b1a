"""Many seeds: nothing breaks, the table says what was reached, and the last line is fixed."""

from __future__ import annotations

import dataclasses
import re

import pytest
from typer.testing import CliRunner

from offchain_worker.cli.app import app
from offchain_worker.coinflip.effects import Outcome
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.simulation import draw
from offchain_worker.simulation.campaign import Tally, campaign, run_seeds, table
from offchain_worker.simulation.coverage import ROWS, SOMETIMES
from offchain_worker.simulation.scenario import Scenario


class Endless(CoinflipMachine):
    def _exit(self, outcome: Outcome) -> None:
        pass


true_scenario = draw.scenario


def broken_scenario(seed: int) -> Scenario:
    return dataclasses.replace(true_scenario(seed), machine=Endless)


@pytest.fixture(scope="module")
def tally() -> Tally:
    return run_seeds(range(400))


def test_nothing_breaks_in_some_hundred_runs(tally: Tally) -> None:
    assert tally.broken == []
    assert tally.rounds == 400


def test_they_reach_nearly_everything(tally: Tally) -> None:
    """The rest takes thousands of runs: `make sim` prints what is missing."""
    assert sum(bool(tally.counts[name]) for name in SOMETIMES) > 0.8 * len(SOMETIMES)
    assert sum(bool(tally.rows[row]) for row in ROWS) > 0.9 * len(ROWS)
    assert len(tally.states) > 100


def test_no_run_counts_what_nobody_asked_for(tally: Tally) -> None:
    assert set(tally.counts) <= set(SOMETIMES)


def test_twins_break_nothing() -> None:
    assert run_seeds(range(150), draw.twin_scenario).broken == []


def test_two_processes_find_what_one_does() -> None:
    one = campaign(rounds=120, processes=1)
    two = campaign(rounds=120, processes=2)
    assert (one.counts, one.rows, one.states) == (two.counts, two.rows, two.states)
    assert two.rounds == 120


def test_the_last_line_and_what_is_missing(tally: Tally) -> None:
    *lines, last = table(tally)
    assert re.fullmatch(r"400 rounds, 0 broken, \d+ rounds/s/core", last)
    assert not any("--seed" in line for line in lines)
    assert any(line.endswith("MISSING  exit success") for line in table(Tally()))


def test_a_broken_run_prints_the_command_that_replays_it() -> None:
    tally = run_seeds(range(3), broken_scenario)
    lines = table(tally)
    assert tally.failures == 3
    assert lines[-1].startswith("3 rounds, 3 broken, ")
    assert "T broken: " in "\n".join(lines)
    assert "    datdot simulate coinflip --seed 0 --trace" in lines


def test_the_command_runs_and_replays() -> None:
    runner = CliRunner()
    ended = runner.invoke(app, ["simulate", "coinflip", "--rounds", "5", "--processes", "1"])
    assert ended.exit_code == 0
    assert re.fullmatch(
        r"5 rounds, 0 broken, \d+ rounds/s/core", ended.output.strip().splitlines()[-1]
    )
    ended = runner.invoke(app, ["simulate", "coinflip", "--seed", "3", "--trace"])
    assert ended.exit_code == 0
    assert ended.output.startswith("run 3: ")
    assert " says " in ended.output
    again = runner.invoke(app, ["simulate", "coinflip", "--seed", "3", "--trace"])
    assert again.output == ended.output


def test_the_command_ends_with_a_status_when_something_broke(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(draw, "scenario", broken_scenario)
    runner = CliRunner()
    ended = runner.invoke(app, ["simulate", "coinflip", "--rounds", "2", "--processes", "1"])
    assert ended.exit_code == 1
    ended = runner.invoke(app, ["simulate", "coinflip", "--seed", "1"])
    assert ended.exit_code == 1
    assert "T broken: " in ended.output
