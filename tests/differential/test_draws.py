"""Rosters, moments, chunks and habits: both sides draw the same."""

import pytest
from compiled_rules import CompiledRules, Habit, Opened, Refused, Slots, Uniform, Window
from hypothesis import given, settings
from hypothesis import strategies as st

from offchain_worker.coinflip.draws import (
    MAX_SLOTS,
    MAX_WINDOW_MS,
    chunk_seed,
    draw_roster,
    drawn_chunks,
    join_number,
    moment_slots,
    moment_uniform,
    roster_seed,
    session_habit,
    slot_offset,
    slot_order,
)

HASHES = st.binary(min_size=32, max_size=32)
U64 = st.integers(0, 2**64 - 1)
OPENED = st.builds(Opened, HASHES, HASHES, HASHES, HASHES)
STARTS = st.integers(0, 2**63)
WIDTHS = st.integers(0, MAX_WINDOW_MS - 1)


@given(
    randomness=HASHES,
    challenge=U64,
    eligible=st.integers(0, 400) | st.integers(0, 40),
    count=st.integers(0, 32),
    data=st.data(),
)
@settings(deadline=None, max_examples=200)
def test_rosters(
    chain_rules: CompiledRules,
    randomness: bytes,
    challenge: int,
    eligible: int,
    count: int,
    data: st.DataObject,
) -> None:
    """With up to three skipped: one more than the steps allow for."""
    seed = roster_seed(randomness, challenge)
    reached = draw_roster(seed, eligible, count + 2)
    skip = data.draw(st.sets(st.sampled_from(reached), max_size=3)) if reached else set()
    ours = draw_roster(seed, eligible, count, skip)
    theirs = chain_rules.draw_roster(randomness, challenge, eligible, count, sorted(skip))
    assert theirs == (ours if len(ours) == count else None)


@given(opened=OPENED, start=STARTS, width=WIDTHS)
@settings(deadline=None)
def test_uniform_moments(
    chain_rules: CompiledRules, opened: Opened, start: int, width: int
) -> None:
    u = join_number(opened.topic, opened.result, opened.session_key, opened.w)
    theirs = chain_rules.moment(opened, Uniform(), Window(start, width), 0, 1)
    assert theirs == moment_uniform(u, start, width)


@given(
    opened=OPENED,
    start=STARTS,
    width=WIDTHS,
    active=st.integers(1, MAX_SLOTS),
    jitter=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    data=st.data(),
)
@settings(deadline=None, max_examples=200)
def test_slotted_moments(
    chain_rules: CompiledRules,
    opened: Opened,
    start: int,
    width: int,
    active: int,
    jitter: tuple[int, int],
    data: st.DataObject,
) -> None:
    place = data.draw(st.integers(0, active - 1))
    numerator, denominator = data.draw(
        st.sampled_from([(1, 2), (1, 5), (0, 1), (jitter[0] // 2, jitter[1]), jitter])
    )
    schedule = Slots(numerator, denominator)
    theirs = chain_rules.moment(opened, schedule, Window(start, width), place, active)
    u = join_number(opened.topic, opened.result, opened.session_key, opened.w)
    try:
        offset = slot_offset(u, numerator, denominator)
    except ValueError:
        assert theirs == Refused("Schedule")
    else:
        slot = slot_order(opened.result, active)[place]
        assert theirs == moment_slots(slot, offset, active, start, width)


def test_moments_that_cannot_be(chain_rules: CompiledRules) -> None:
    opened = Opened(bytes(32), bytes(32), bytes(32), bytes(32))
    half = Slots(1, 2)
    wide = Window(0, MAX_WINDOW_MS)
    assert chain_rules.moment(opened, half, wide, 0, 1) == Refused("Window")
    with pytest.raises(ValueError, match="window"):
        moment_slots(0, 0, 1, 0, MAX_WINDOW_MS)
    assert chain_rules.moment(opened, half, Window(0, 1), 0, MAX_SLOTS + 1) == Refused("Place")
    with pytest.raises(ValueError, match="slot"):
        moment_slots(0, 0, MAX_SLOTS + 1, 0, 1)
    assert chain_rules.moment(opened, half, Window(0, 1), 2, 2) == Refused("Place")
    with pytest.raises(ValueError, match="slot"):
        moment_slots(2, 0, 2, 0, 1)


@given(
    opened=OPENED,
    length=st.one_of(st.integers(0, 250), U64),
    count=st.integers(0, 100),
)
@settings(deadline=None, max_examples=200)
def test_drawn_chunks(chain_rules: CompiledRules, opened: Opened, length: int, count: int) -> None:
    seed = chunk_seed(opened.topic, opened.result, opened.session_key, opened.w)
    assert chain_rules.drawn_chunks(opened, length, count) == drawn_chunks(seed, length, count)


@given(opened=OPENED)
@settings(deadline=None, max_examples=300)
def test_habits(chain_rules: CompiledRules, opened: Opened) -> None:
    ours = session_habit(chunk_seed(opened.topic, opened.result, opened.session_key, opened.w))
    assert chain_rules.session_habit(opened) == Habit(ours.windowed, ours.multiple)
