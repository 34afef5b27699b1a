"""Properties of the draws that no single vector shows."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.coinflip import draws
from offchain_worker.coinflip.commitments import hash_concat, xor, xor_hash
from offchain_worker.coinflip.hashing import coinflip_tag, performance_tag

SEEDS = st.binary(min_size=32, max_size=32)


@given(SEEDS, st.integers(0, 200))
def test_a_permutation_has_everything_once(seed: bytes, size: int) -> None:
    assert sorted(draws.permutation(draws.Prng(seed, "x"), size)) == list(range(size))


def plain_fisher_yates(prng: draws.Prng, size: int) -> list[int]:
    numbers = list(range(size))
    for top in range(size - 1, 0, -1):
        other = prng.below(top + 1)
        numbers[top], numbers[other] = numbers[other], numbers[top]
    return numbers


@given(SEEDS, st.integers(0, 80))
def test_the_sparse_shuffle_is_the_plain_one(seed: bytes, size: int) -> None:
    expected = plain_fisher_yates(draws.Prng(seed, "x"), size)
    assert draws.permutation(draws.Prng(seed, "x"), size) == expected


@given(SEEDS, st.integers(0, 60), st.integers(0, 32), st.sets(st.integers(0, 59), max_size=2))
def test_a_roster_is_the_end_of_the_permutation_without_the_skipped(
    seed: bytes, eligible: int, size: int, skip: set[int]
) -> None:
    order = draws.permutation(draws.Prng(seed, "roster"), eligible)[::-1]
    expected = [place for place in order if place not in skip][:size]
    assert draws.draw_roster(seed, eligible, size, skip) == expected


def test_a_roster_takes_at_most_two_steps_more_than_it_needs() -> None:
    drawn = draws.draw_roster(bytes(32), 100, 10, range(100))
    assert drawn == []
    order = draws.permutation(draws.Prng(bytes(32), "roster"), 100)[::-1]
    assert draws.draw_roster(bytes(32), 100, 10, order[:3]) == order[3:12]


@given(SEEDS, st.integers(1, 300), st.integers(0, 100))
def test_drawn_chunks_follow_the_plain_rule(seed: bytes, length: int, count: int) -> None:
    prng = draws.Prng(seed, "chunks")
    expected: list[int] = []
    for _ in range(min(length, count)):
        index = prng.below(length)
        while index in expected:
            index = (index + 1) % length
        expected.append(index)
    assert draws.drawn_chunks(seed, length, count) == expected


def test_a_huge_feed_is_no_work() -> None:
    assert len(draws.drawn_chunks(bytes(32), 2**53, 100)) == 100
    assert len(draws.draw_roster(bytes(32), 2**40, 32)) == 32


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**50), st.integers(1, 2**40))
def test_uniform_moments_stay_in_the_window(u: int, low: int, window: int) -> None:
    assert low <= draws.moment_uniform(u, low, window) < low + window


@given(
    st.integers(0, 2**64 - 1),
    st.integers(1, 32),
    st.integers(1, 2**40),
    st.integers(0, 50),
    st.integers(100, 1000),
)
def test_slot_moments_stay_in_their_slot(
    u: int, slots: int, window: int, numerator: int, denominator: int
) -> None:
    offset = draws.slot_offset(u, numerator, denominator)
    assert 0 <= offset < 2**64
    for slot in range(slots):
        moment = draws.moment_slots(slot, offset, slots, 0, window)
        assert slot * window // slots <= moment <= (slot + 1) * window // slots


@pytest.mark.parametrize(
    "call",
    [
        lambda: draws.slot_offset(0, 2, 3),
        lambda: draws.slot_offset(0, -1, 3),
        lambda: draws.slot_offset(0, 0, 0),
        lambda: draws.moment_slots(2, 0, 2, 0, 10),
        lambda: draws.moment_slots(0, 0, 33, 0, 10),
        lambda: draws.moment_slots(0, 0, 2, 0, 2**58),
        lambda: draws.Prng(bytes(32), "x").below(0),
        lambda: draws.Prng(bytes(32), "x").below(2**64 + 1),
        lambda: draws.Prng(bytes(32), "l" * 33),
    ],
)
def test_arguments_out_of_bounds(call: object) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=r"jitter|slot|bound|label"):
        call()


def test_habits_have_their_distribution() -> None:
    """P(m) = 2^−m below the cap of six, which takes the rest; half the sessions are windowed."""
    habits = [draws.session_habit(n.to_bytes(32, "little")) for n in range(8_192)]
    multiples = Counter(habit.multiple for habit in habits)
    for m, expected in ((1, 1 / 2), (2, 1 / 4), (3, 1 / 8), (4, 1 / 16), (5, 1 / 32), (6, 1 / 32)):
        assert abs(multiples[m] / len(habits) - expected) < 0.02
    assert abs(sum(habit.windowed for habit in habits) / len(habits) - 0.5) < 0.03


def test_the_weaknesses_of_xor_are_real() -> None:
    """Equal inputs cancel, in xor and inside its hash; concatenation keeps them apart."""
    a, b = b"a" * 32, b"b" * 32
    topic, root = bytes(32), bytes(32)
    for magic in (xor, xor_hash):
        assert magic(topic, root, [a, a]) == magic(topic, root, [b, b])
        assert magic(topic, root, [a, b]) == magic(topic, root, [b, a])
    assert hash_concat(topic, root, [a, a]) != hash_concat(topic, root, [b, b])
    assert hash_concat(topic, root, [a, b]) != hash_concat(topic, root, [b, a])


def test_tags_are_padded_to_32_bytes() -> None:
    assert coinflip_tag("y") == b"datdot.coinflip.v1.y".ljust(32, b"\0")
    assert performance_tag("report") == b"datdot.performance.v1.report".ljust(32, b"\0")
    with pytest.raises(ValueError, match="at most 32"):
        performance_tag("far too long a name")
