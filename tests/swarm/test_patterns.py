"""Request patterns: read off what peers ask, and turned into requests again."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.swarm.patterns import (
    MAX_REQUESTS,
    MAX_WINDOW,
    READER_MODELS,
    WHOLE,
    Order,
    ReaderModel,
    RequestLog,
    RequestPattern,
    draw_model,
    most_common,
    requests_of,
)

PATTERNS = st.builds(
    RequestPattern,
    st.sampled_from(Order),
    st.sampled_from([1, 2, 4, 16, 64, WHOLE]),
    st.sampled_from([1, 4, 8, 32, MAX_WINDOW]),
)
SEQUENTIAL = RequestPattern(Order.ASCENDING, WHOLE, 1)


def log_of(indices: Iterable[int], window: int = 1) -> RequestLog:
    """A reader with `window` requests open asks for these, in this order."""
    log = RequestLog()
    waiting: list[int] = []
    for at, index in enumerate(indices):
        if len(waiting) == window:
            log.answered(waiting.pop(0), at - 0.5)
        log.requested(index, float(at))
        waiting.append(index)
    return log


def test_too_few_requests_are_no_pattern() -> None:
    assert log_of([]).pattern(range(100), 1000) is None
    assert log_of([7, 8]).pattern(range(100), 1000) is None
    assert log_of([7, 8, 9]).pattern(range(100), 1000) is not None


def test_one_run_that_goes_on_is_a_reader_of_the_whole_feed() -> None:
    assert log_of(range(10, 20)).pattern(range(10, 30), 1000) == SEQUENTIAL


def test_runs_cut_off_where_the_offer_ends_are_too() -> None:
    offered = {*range(10, 20), *range(100, 110)}
    assert log_of([*range(12, 20), *range(100, 110)]).pattern(offered, 1000) == SEQUENTIAL


def test_steps_over_what_others_gave_go_on_with_a_run() -> None:
    assert log_of([10, 12, 13, 29, 34, 33, 40]).pattern(range(100), 1000) == SEQUENTIAL


def test_in_a_short_feed_a_step_is_shorter() -> None:
    assert log_of([10, 20, 30, 40]).pattern(range(64), 64) == RequestPattern(Order.ASCENDING, 1, 1)


def test_seeks_between_runs_are_seen() -> None:
    indices = [*range(500, 517), *range(100, 116), *range(900, 917), *range(300, 316), 50]
    pattern = log_of(indices, window=4).pattern(range(1000), 1000)
    assert pattern == RequestPattern(Order.SCATTERED, 16, 4)


def test_single_chunks_here_and_there_are_random_access() -> None:
    indices = [50, 900, 20, 700, 300, 10, 600, 5]
    assert log_of(indices).pattern(range(1000), 1000) == RequestPattern(Order.SCATTERED, 1, 1)


@pytest.mark.parametrize(
    ("window", "seen"), [(1, 1), (2, 2), (5, 4), (8, 8), (40, 32), (48, 48), (90, 48)]
)
def test_the_window_is_what_is_open_at_a_time(window: int, seen: int) -> None:
    pattern = log_of(range(200), window).pattern(range(200), 1000)
    assert pattern is not None
    assert pattern.window == seen


def test_an_answer_that_is_under_way_is_still_open() -> None:
    far = RequestLog(round_trip=0.1)
    near = RequestLog(round_trip=0.001)
    for log in (far, near):
        for index in range(4):
            log.requested(index, index * 0.02)
            log.answered(index, index * 0.02 + 0.001)
    assert [log.pattern(range(9), 1000) for log in (far, near)] == [
        RequestPattern(Order.ASCENDING, WHOLE, 4),
        SEQUENTIAL,
    ]


def test_a_flood_of_requests_takes_no_memory() -> None:
    log = RequestLog()
    for index in range(3 * MAX_REQUESTS):
        log.requested(index * 1_000_003 % (1 << 53), index * 1e-6)
        log.answered(index, index * 1e-6)
    assert len(log) == MAX_REQUESTS
    assert len(log._open) <= MAX_WINDOW
    pattern = log.pattern((), 1000)
    assert pattern is not None
    assert pattern.window == MAX_WINDOW


def test_the_most_common_pattern_wins_and_a_tie_is_drawn() -> None:
    one, two = RequestPattern(Order.SCATTERED, 1, 1), RequestPattern(Order.SCATTERED, 16, 4)
    assert most_common([], random.Random(0)) is None
    assert most_common([two, one, two], random.Random(0)) == two
    drawn = {most_common([one, two], random.Random(seed)) for seed in range(50)}
    assert drawn == {one, two}


def test_models_are_drawn_by_weight() -> None:
    choices = random.Random(3)
    drawn = [draw_model(choices).name for _ in range(5_000)]
    total = sum(model.weight for model in READER_MODELS)
    for model in READER_MODELS:
        assert abs(drawn.count(model.name) / 5_000 - model.weight / total) < 0.03


@given(
    PATTERNS,
    st.integers(1, 500),
    st.integers(1, 60),
    st.sets(st.integers(0, 500), max_size=40),
    st.integers(),
)
def test_requests_are_distinct_inside_the_feed_and_not_held(
    pattern: RequestPattern, length: int, count: int, held: set[int], seed: int
) -> None:
    found = list(requests_of(pattern, length, count, held, random.Random(seed)))
    assert len(found) == len(set(found)) <= count
    assert all(0 <= index < length for index in found)
    assert not held & set(found)
    if length >= 200:
        # Enough is left to choose from.
        assert len(found) == count


@pytest.mark.parametrize("model", READER_MODELS, ids=lambda model: model.name)
def test_a_model_is_recognised_by_its_requests(model: ReaderModel) -> None:
    found = list(requests_of(model.pattern, 100_000, 400, (), random.Random(5)))
    assert log_of(found, model.pattern.window).pattern(range(100_000), 100_000) == model.pattern


def test_a_pattern_says_what_it_is() -> None:
    assert str(SEQUENTIAL) == "ascending runs to the end, 1 at a time"
    assert str(RequestPattern(Order.SCATTERED, 16, 4)) == "scattered runs of 16, 4 at a time"
