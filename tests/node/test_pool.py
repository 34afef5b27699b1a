"""The pool on its own: tags, order, replacement, limits, bans."""

import pytest

from datdot_node.pool import Pool, PoolError, PoolEvent, Status
from datdot_node.validity import Valid


def valid(provides: str, requires: str = "", priority: int = 1, longevity: int = 64) -> Valid:
    return Valid(
        priority,
        tuple(each.encode() for each in requires),
        tuple(each.encode() for each in provides),
        longevity,
        True,
    )


def statuses(pool: Pool) -> list[tuple[bytes, Status]]:
    return [(event.hash, event.status) for event in pool.take_events()]


def test_a_chain_of_tags_becomes_ready_from_its_end() -> None:
    pool = Pool()
    third = pool.add(b"3", valid("c", "b"), 0)
    second = pool.add(b"2", valid("b", "a"), 0)
    assert pool.pending() == []
    assert sorted(pool.future()) == [b"2", b"3"]
    assert statuses(pool) == [(third, Status.FUTURE), (second, Status.FUTURE)]
    first = pool.add(b"1", valid("a"), 0)
    assert pool.pending() == [b"1", b"2", b"3"]
    assert statuses(pool) == [(each, Status.READY) for each in (first, second, third)]


def test_the_better_come_first_but_after_what_they_need() -> None:
    pool = Pool()
    pool.add(b"low", valid("a", priority=1), 0)
    pool.add(b"needs low", valid("b", "a", priority=9), 0)
    pool.add(b"middle", valid("x", priority=5), 0)
    pool.add(b"middle, later", valid("y", priority=5), 0)
    assert pool.pending() == [b"middle", b"middle, later", b"low", b"needs low"]


def test_a_block_provides_tags_for_good() -> None:
    pool = Pool()
    first = pool.add(b"1", valid("a"), 0)
    pool.add(b"2", valid("b", "a"), 0)
    pool.add(b"4", valid("d", "c"), 0)
    pool.included([first, b"unknown"])
    assert pool.pending() == [b"2"]
    pool.add(b"3", valid("c", "b"), 1)
    assert pool.pending() == [b"2", b"3", b"4"]


def test_replacing_needs_a_higher_priority() -> None:
    pool = Pool()
    old = pool.add(b"old", valid("a", priority=3), 0)
    dependent = pool.add(b"next", valid("b", "a"), 0)
    with pytest.raises(PoolError) as caught:
        pool.add(b"same", valid("a", priority=3), 0)
    assert caught.value.code == 1014
    assert caught.value.message == "Priority is too low: (3 vs 3)"
    pool.take_events()
    new = pool.add(b"new", valid("a", priority=4), 0)
    assert pool.pending() == [b"new", b"next"]
    events = pool.take_events()
    assert PoolEvent(old, Status.USURPED, new) in events
    assert PoolEvent(new, Status.READY) in events
    assert dependent not in [event.hash for event in events]


def test_the_same_twice_and_the_banned() -> None:
    pool = Pool()
    transaction_hash = pool.add(b"x", valid("a"), 0)
    assert pool.check_new(b"y", 0)
    with pytest.raises(PoolError) as caught:
        pool.check_new(b"x", 0)
    assert caught.value.code == 1013
    dependent = pool.add(b"z", valid("b", "a"), 0)
    pool.take_events()
    pool.remove_invalid(transaction_hash, 1_000)
    assert statuses(pool) == [(transaction_hash, Status.INVALID), (dependent, Status.INVALID)]
    assert len(pool) == 0
    with pytest.raises(PoolError) as caught:
        pool.check_new(b"x", 2_000)
    assert caught.value.code == 1012
    assert pool.check_new(b"x", 1_000 + 30 * 60 * 1000) == transaction_hash


def test_a_full_pool_keeps_the_best() -> None:
    pool = Pool(max_ready=2)
    pool.add(b"1", valid("a", priority=5), 0)
    worst = pool.add(b"2", valid("b", priority=2), 0)
    with pytest.raises(PoolError) as caught:
        pool.add(b"3", valid("c", priority=1), 0)
    assert caught.value.code == 1016
    pool.take_events()
    newcomer = pool.add(b"4", valid("d", priority=3), 0)
    assert pool.pending() == [b"1", b"4"]
    assert statuses(pool) == [(newcomer, Status.READY), (worst, Status.DROPPED)]


def test_full_by_bytes_and_of_future_ones() -> None:
    pool = Pool(max_ready_bytes=10, max_future=1)
    pool.add(b"12345678", valid("a"), 0)
    with pytest.raises(PoolError):
        pool.add(b"123", valid("b"), 0)
    pool.add(b"1", valid("c", "x"), 0)
    with pytest.raises(PoolError):
        pool.add(b"2", valid("d", "x"), 0)
    assert len(pool) == 2


def test_without_a_tag_it_cannot_be_kept() -> None:
    with pytest.raises(PoolError) as caught:
        Pool().add(b"x", valid(""), 0)
    assert caught.value.code == 1019


def test_what_is_checked_again_and_when() -> None:
    pool = Pool()
    pool.add(b"1", valid("a", longevity=100), 0)
    ending = pool.add(b"2", valid("b", longevity=3), 0)
    assert pool.to_recheck(3, 0) == []
    assert [each.hash for each in pool.to_recheck(4, 0)] == [ending]
    assert [each.extrinsic for each in pool.to_recheck(1, 1)] == [b"1"]
    pool.rechecked(pool.to_recheck(1, 1)[0].hash, valid("a", longevity=100), 1)
    assert [each.extrinsic for each in pool.to_recheck(2, 1)] == [b"2"]
    pool.rechecked(ending, valid("b", longevity=3), 4)
    assert pool.to_recheck(7, 0) == []
