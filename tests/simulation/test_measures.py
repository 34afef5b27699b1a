"""Bias beside its exact figure, and R in one-way delays."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offchain_worker.cli.app import app
from offchain_worker.simulation.bias import Bias, bias_table, exact, measure_bias
from offchain_worker.simulation.latency import measure_latency
from offchain_worker.simulation.plot import bias_plot


def test_the_exact_figures() -> None:
    assert exact(0) == 0.5
    assert [exact(k) for k in (1, 2, 9)] == [0.75] * 3
    assert exact(1, wish=0.25) == 1 - 0.75**2


def test_withholding_buys_one_exchange_of_the_result() -> None:
    rows = measure_bias(250, groups=[(3, 0), (3, 1), (4, 3)], processes=1)
    for row in rows:
        assert abs(row.measured - row.exact) < 4 * row.error
    assert rows[0].fell_back == 0
    for row in rows[1:]:
        assert abs(row.fell_back / row.rounds - 0.5) < 0.13
    assert len(bias_table(rows)) == 4


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    rows = [Bias(5, 0, 100, 0, 49), Bias(5, 2, 100, 50, 76)]
    root = ET.fromstring(bias_plot(rows))  # noqa: S314 — our own text
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 2
    assert "2/5" in bias_plot(rows)


def test_the_command_prints_and_draws(tmp_path: Path) -> None:
    picture = tmp_path / "bias.svg"
    arguments = ["simulate", "bias", "--rounds", "3", "--processes", "1", "--plot", str(picture)]
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 0
    assert "wish granted" in ended.output
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize("size", [3, 10, 32])
def test_three_delays_to_the_result(size: int) -> None:
    measured = measure_latency(size, delay_ms=100)
    assert measured.delays <= 3.2
    if size == 10:
        assert measured.cpu_ms <= 15
