"""Which attempts there are, when, and among whom (coinflip.md §2, §3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from offchain_worker.coinflip.attempts import MAX_ATTEMPTS, Attempt, Attempts, Expulsion
from offchain_worker.coinflip.draws import retry_jitter
from offchain_worker.coinflip.schedule import Timing
from offchain_worker.coinflip.topic import FALLBACK_ATTEMPT, RosterError

PRODUCTION = Timing(
    block_ms=6_000, join_ms=60_000, delta_ms=3_000, finality_ms=12_000, flip_ms=480_000
)
T0 = 1_800_000_000_000


@pytest.fixture
def attempts(tools: Any) -> Attempts:
    return Attempts(
        genesis=bytes(32),
        challenge_id=7,
        start_block_hash=b"\1" * 32,
        roster=tuple(pair.public for pair in tools.keypairs(10)),
        timing=PRODUCTION,
        t0_ms=T0,
        min_active=7,
    )


def following(attempts: Attempts, attempt: Attempt, *expulsions: Expulsion) -> Attempt:
    found = attempts.after(attempt, expulsions)
    assert found is not None
    return found


def test_the_first_attempt_is_among_the_whole_start_roster(attempts: Attempts) -> None:
    first = attempts.first()
    assert first.places == tuple(range(10))
    assert first.flip.roster == attempts.roster
    assert first.flip.attempt == first.schedule.attempt == 0
    assert first.schedule.start_ms == T0


def test_production_has_time_for_three_attempts(attempts: Attempts) -> None:
    first = attempts.first()
    second = following(attempts, first)
    jitter = retry_jitter(first.flip.topic, 3_000)
    assert second.schedule.start_ms == first.schedule.end_ms + 24_000 + 12_000 + jitter
    assert second.schedule.delta_ms == 6_000
    assert second.flip.topic != first.flip.topic
    third = following(attempts, second)
    assert attempts.after(third, ()) is None
    assert attempts.numbered(2, ()) == third
    assert attempts.numbered(3, ()) is None


def test_only_an_expulsion_that_all_know_of_changes_the_roster(attempts: Attempts) -> None:
    first = attempts.first()
    start = following(attempts, first).schedule.start_ms
    last = start - 2 * 6_000 - 12_000
    assert following(attempts, first, Expulsion(4, last + 1)).places == first.places
    without = following(attempts, first, Expulsion(4, last))
    assert without.places == (0, 1, 2, 3, 5, 6, 7, 8, 9)
    assert without.flip.roster == tuple(key for i, key in enumerate(attempts.roster) if i != 4)
    assert without.index_of(5) == 4
    assert without.index_of(4) is None


def test_an_expulsion_changes_the_topics_from_its_attempt_on(attempts: Attempts) -> None:
    first = attempts.first()
    second = following(attempts, first)
    between = Expulsion(0, second.schedule.start_ms)
    assert attempts.numbered(1, [between]) == second
    third = attempts.numbered(2, [between])
    assert third is not None
    assert third.places == tuple(range(1, 10))


def test_fewer_than_min_active_make_no_further_attempt(attempts: Attempts) -> None:
    first = attempts.first()
    early = [Expulsion(place, T0) for place in range(4)]
    assert len(following(attempts, first, *early[:3]).places) == 7
    assert attempts.after(first, early) is None


def test_attempts_are_bounded_whatever_the_time(attempts: Attempts) -> None:
    endless = replace(attempts, timing=replace(PRODUCTION, flip_ms=1 << 40))
    assert endless.numbered(MAX_ATTEMPTS - 1, ()) is not None
    assert endless.numbered(MAX_ATTEMPTS, ()) is None


def test_development_has_time_for_one_attempt(attempts: Attempts, tools: Any) -> None:
    development = replace(attempts, timing=tools.TIMING)
    assert development.first().schedule.fits
    assert development.after(development.first(), ()) is None


def test_the_fallback_is_among_all_that_were_not_expelled(attempts: Attempts) -> None:
    flip, places = attempts.fallback({1, 9})
    assert flip.attempt == FALLBACK_ATTEMPT
    assert places == (0, 2, 3, 4, 5, 6, 7, 8)
    assert flip.roster == tuple(attempts.roster[place] for place in places)
    with pytest.raises(RosterError):
        attempts.fallback(range(10))
