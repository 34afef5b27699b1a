"""Nobody is in two transfers at a time, and each pair has both of its turns."""

from __future__ import annotations

from itertools import permutations

import pytest

from offchain_worker.measurement.turns import Turns, partner, rounds, slots

SIZES = range(2, 33)


@pytest.mark.parametrize("size", SIZES)
def test_each_round_pairs_each_member_once_at_most(size: int) -> None:
    for turn in range(rounds(size)):
        fellows = [partner(size, index, turn) for index in range(size)]
        for index, fellow in enumerate(fellows):
            assert fellow != index
            if fellow is not None:
                assert fellows[fellow] == index
        assert fellows.count(None) == size % 2


@pytest.mark.parametrize("size", SIZES)
def test_in_all_slots_each_asks_each_once_and_nobody_is_in_two_transfers(size: int) -> None:
    members = [Turns(size, index, 10) for index in range(size)]
    transfers = []
    for slot in range(slots(size)):
        asking = [
            (index, asked)
            for index, member in enumerate(members)
            if (asked := member.asked_in(slot)) is not None
        ]
        busy = [index for pair in asking for index in pair]
        assert len(busy) == len(set(busy))
        transfers += asking
    assert sorted(transfers) == sorted(permutations(range(size), 2))


def test_who_missed_its_slot_has_it_again() -> None:
    member = Turns(7, 3, 10)
    for slot in range(slots(7)):
        assert member.asked_in(slot) == member.asked_in(slot + 3 * slots(7))


def test_slots_fill_a_span() -> None:
    for size in SIZES:
        turns = Turns.within(size, 0, 30_000)
        assert slots(size) * turns.slot_ms <= 30_000 < slots(size) * (turns.slot_ms + 1)
    assert Turns.within(32, 0, 5).slot_ms == 1


@pytest.mark.parametrize(("elapsed", "slot"), [(-25, -2), (-1, 0), (0, 1), (9, 1), (10, 2)])
def test_the_next_slot_begins_after_now(elapsed: int, slot: int) -> None:
    assert Turns(5, 0, 10).next_slot(elapsed) == slot
