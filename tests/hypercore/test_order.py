"""The order of a whole download, beside the stock client's rule written out plainly."""

import random
from collections import Counter

import pytest

from offchain_worker.hypercore.order import PAGE, DownloadOrder


def plainly(length: int, dice: random.Random, arrive_after: int) -> list[int]:
    """The rule of replicator.js: a random offset between the first and the last missing block."""
    asked: list[int] = []
    arrived: set[int] = set()
    while len(asked) < length:
        missing = [index for index in range(length) if index not in arrived]
        start, end = missing[0], missing[-1] + 1
        offset = dice.randrange(start, end)
        free = [*range(offset, end), *range(start, offset)]
        asked.append(next(index for index in free if index not in asked))
        if len(asked) > arrive_after:
            arrived.add(asked[len(asked) - 1 - arrive_after])
    return asked


@pytest.mark.parametrize("in_flight", [1, 7, 48])
@pytest.mark.parametrize("length", [1, 2, 60, 200])
def test_the_same_as_the_plain_rule(length: int, in_flight: int) -> None:
    expected = plainly(length, random.Random(3), in_flight)
    order = DownloadOrder(length, random.Random(3))
    got = []
    for index in order:
        got.append(index)
        if len(got) > in_flight:
            order.arrive(got[len(got) - 1 - in_flight])
    assert got == expected
    assert sorted(got) == list(range(length))
    assert order.left == 0


def test_blocks_chosen_by_others_are_left_out() -> None:
    order = DownloadOrder(10, random.Random(4))
    for index in (3, 3, 5):
        order.ask(index)
    assert order.left == 8
    assert sorted(order) == [0, 1, 2, 4, 6, 7, 8, 9]


def test_a_block_after_a_run_is_likelier() -> None:
    """That is what tells this order from a shuffled one."""
    hits = Counter()
    for seed in range(2_000):
        order = DownloadOrder(100, random.Random(seed))
        for index in range(50):
            order.ask(index)
        hits[next(order)] += 1
    assert 900 < hits[50] < 1_150
    assert hits[51] < 60


def test_memory_does_not_go_with_the_length() -> None:
    order = DownloadOrder(1 << 50, random.Random(5))
    asked = [next(order) for _ in range(100)]
    assert len(set(asked)) == 100
    assert len(order._asked) <= 100


def test_runs_over_pages() -> None:
    order = DownloadOrder(2 * PAGE + 3, random.Random(6))
    for index in range(2 * PAGE):
        order.ask(index)
    assert sorted(order) == [2 * PAGE, 2 * PAGE + 1, 2 * PAGE + 2]
