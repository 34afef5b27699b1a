"""How often a loss is seen: the exact figure against all draws, the simulation against it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, product

import pytest
import structlog
import trio
from typer.testing import CliRunner

from chain_types.report import Failure, Reason
from offchain_worker.audit.session import Audit
from offchain_worker.cli.app import app
from offchain_worker.simulation import detection
from offchain_worker.simulation.detection import (
    Figure,
    Pattern,
    binomial,
    binomial_tail,
    detection_table,
    draws_of_challenge,
    exact_failures,
    exact_sight,
    fails,
    measure_detection,
    missing_chunks,
    unlikely,
)
from offchain_worker.simulation.detection_sessions import (
    Sessions,
    measure_sessions,
    sessions_lines,
    verdict,
)

ATTEMPT = ["simulate", "detection", "--challenges", "5", "--sessions", "0"]


def drawn_from(starts: tuple[int, ...], length: int) -> set[int]:
    """The rule of `drawn_chunks`, with its random places given."""
    taken: set[int] = set()
    for start in starts:
        while start in taken:
            start = (start + 1) % length
        taken.add(start)
    return taken


@pytest.mark.parametrize(("length", "drawn"), [(5, 3), (6, 4), (4, 4), (7, 3), (6, 1)])
def test_the_exact_figure_is_that_of_all_draws(length: int, drawn: int) -> None:
    all_draws = [drawn_from(starts, length) for starts in product(range(length), repeat=drawn)]
    for count in (1, 2, 3, length):
        for missing in combinations(range(length), count):
            seeing = sum(not chunks.isdisjoint(missing) for chunks in all_draws)
            assert exact_sight(length, missing, drawn) == Fraction(seeing, len(all_draws))


def test_figures_that_are_known() -> None:
    # One chunk is drawn with N/L, whatever the rule.
    assert exact_sight(4_096, [17], 100) == Fraction(100, 4_096)
    assert exact_sight(50, [3], 100) == 1
    five = missing_chunks(4_096, 0.05, Pattern.CONTIGUOUS, 0)
    assert round(float(exact_sight(4_096, five, 100)), 3) == 0.994
    # What lies scattered is seen as by distinct draws, within what neighbours take away.
    scattered = missing_chunks(4_096, 0.05, Pattern.SCATTERED, 0)
    distinct = 1 - math.comb(4_096 - 205, 100) / math.comb(4_096, 100)
    assert float(exact_sight(4_096, five, 100)) < float(exact_sight(4_096, scattered, 100))
    assert float(exact_sight(4_096, scattered, 100)) == pytest.approx(distinct, abs=5e-4)
    # Half of ten is no majority; six are.
    assert [fails(seeing, 10) for seeing in (5, 6)] == [False, True]
    assert exact_failures(0.5, 3) == pytest.approx(0.5)
    assert exact_failures(0.0, 10) == 0
    assert exact_failures(1.0, 10) == 1


@pytest.mark.parametrize("missing", [[], [10], [-1]])
def test_what_is_missing_is_part_of_the_feed(missing: list[int]) -> None:
    with pytest.raises(ValueError, match="part of the feed"):
        exact_sight(10, missing, 3)


@pytest.mark.parametrize("pattern", Pattern)
def test_missing_chunks(pattern: Pattern) -> None:
    assert len(missing_chunks(4_096, 0.05, pattern, 1)) == 205
    assert len(missing_chunks(100, 0.0001, pattern, 1)) == 1
    assert missing_chunks(10, 1.0, pattern, 1) == frozenset(range(10))
    assert missing_chunks(100, 0.2, pattern, 1) != missing_chunks(100, 0.2, pattern, 2)
    one_piece = sorted(missing_chunks(100, 0.2, pattern, 1))
    gaps = sum(
        (b - a) % 100 != 1 for a, b in zip(one_piece, [*one_piece[1:], one_piece[0]], strict=True)
    )
    assert (gaps == 1) == (pattern is Pattern.CONTIGUOUS)


@pytest.mark.parametrize("probability", [0.0, 0.02, 0.5, 1.0])
def test_binomials(probability: float) -> None:
    weights = binomial(12, probability)
    assert sum(weights) == pytest.approx(1)
    assert weights[3] == pytest.approx(
        math.comb(12, 3) * probability**3 * (1 - probability) ** 9, abs=1e-12
    )
    assert binomial_tail(12, probability, 0) == pytest.approx((1 - probability) ** 12)
    assert binomial_tail(12, probability, 12) == pytest.approx(probability**12)


def test_chance_is_told_from_a_fault() -> None:
    sigma = math.sqrt(0.25 / 10_000)
    near = Figure(round(10_000 * (0.5 + 4.4 * sigma)), 10_000, 0.5)
    far = Figure(round(10_000 * (0.5 + 4.7 * sigma)), 10_000, 0.5)
    assert unlikely([near]) == []
    assert unlikely([far]) == [far]
    assert unlikely([far, *[near] * 99]) == []
    never, once = Figure(0, 10, 0.0), Figure(1, 10, 0.0)
    assert unlikely([never, once, Figure(9, 10, 1.0)]) == [once, Figure(9, 10, 1.0)]


def test_rosters_draw_for_themselves_and_are_replayed() -> None:
    draws = draws_of_challenge(3, 8, length=500, drawn=100, attestors=4)
    assert draws == draws_of_challenge(3, 8, length=500, drawn=100, attestors=4)
    assert draws != draws_of_challenge(3, 9, length=500, drawn=100, attestors=4)
    assert all(len(set(chunks)) == 100 for chunks in draws)
    assert len({tuple(chunks) for chunks in draws}) == 4


def test_the_simulation_agrees_with_the_exact_figure() -> None:
    rows = measure_detection(
        150, seed=4, length=300, drawn=20, attestors=5, losses=(0.01, 0.05, 0.5)
    )
    assert [row.missing for row in rows] == [3, 3, 15, 15, 150, 150]
    assert unlikely([figure for row in rows for figure in row.figures]) == []
    for row in rows:
        assert row.audits.trials == 750
        assert row.demanded.seen >= row.challenges.seen
    assert len(detection_table(rows)) == 8


async def test_sessions_come_to_the_reason_that_the_draws_lead_to() -> None:
    with trio.fail_after(120):
        found = await measure_sessions(12, seed=2, length=200, drawn=20, loss=0.03)
    assert found.wrong == ()
    assert found.missing == 6
    assert unlikely([found.drawn]) == []
    assert 0 < found.drawn.seen <= found.failed <= 12
    assert f"{found.failed} failed" in sessions_lines(found)[1]


def test_a_session_that_comes_to_another_end_is_told() -> None:
    missing = frozenset({3})

    def ended(reason: Reason | None, chunk: int | None) -> Audit:
        outcome = None if reason is None else Failure(reason=reason, demand=None)
        return Audit(outcome, "why", chunk, 0, 1, 1, 1, None)  # type: ignore[arg-type]

    assert verdict(ended(None, None), [1, 2], missing) is None
    assert "served" in str(verdict(ended(None, None), [1, 3], missing))
    assert verdict(ended(Reason.NO_DATA, 3), [1, 2], missing) is None
    assert "blames chunk 1" in str(verdict(ended(Reason.NO_DATA, 1), [1, 3], missing))
    assert "otherwise: why" in str(verdict(ended(Reason.TIMEOUT, 3), [1, 3], missing))
    line = Sessions(1, Figure(1, 2, 0.5), 1, 9, ("session 0 served",))
    assert sessions_lines(line)[-1] == "session 0 served"


@pytest.fixture
def logs() -> Iterator[None]:
    """Undo what a command sets up for its own logs, on a stream that ends with it."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("logs")
def test_the_command() -> None:
    ended = CliRunner().invoke(app, [*ATTEMPT, "--seed", "3"])
    assert ended.exit_code == 0
    assert "5 % contiguous" in ended.output
    assert "0 of 54 figures are off" in ended.output
    again = CliRunner().invoke(app, [*ATTEMPT, "--seed", "3", "--json"])
    found = json.loads(again.output)
    assert (found["seed"], found["sessions"], found["unlikely"]) == (3, None, [])
    assert len(found["losses"]) == 18


@pytest.mark.usefixtures("logs")
def test_the_command_fails_when_the_draws_are_not_what_they_must_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if all drew the same first chunks, which nobody is to know."""
    monkeypatch.setattr(detection, "drawn_chunks", lambda _seed, _length, count: list(range(count)))
    ended = CliRunner().invoke(app, ATTEMPT)
    assert ended.exit_code == 1
    assert "0 of 54" not in ended.output
