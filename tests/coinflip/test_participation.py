"""One member's way through the attempts of a challenge (coinflip.md §3)."""

from __future__ import annotations

from typing import Any

import pytest

from offchain_worker.coinflip.attempts import Attempts, Expulsion
from offchain_worker.coinflip.participation import Participation
from offchain_worker.coinflip.schedule import Timing

T0 = 1_800_000_000_000
PRODUCTION = Timing(
    block_ms=6_000, join_ms=60_000, delta_ms=3_000, finality_ms=12_000, flip_ms=480_000
)


@pytest.fixture
def attempts(tools: Any) -> Attempts:
    return Attempts(
        genesis=bytes(32),
        challenge_id=7,
        start_block_hash=b"\1" * 32,
        roster=tuple(pair.public for pair in tools.keypairs(5)),
        timing=PRODUCTION,
        t0_ms=T0,
        min_active=3,
    )


def test_a_member_that_may_retry_waits_and_goes_on(attempts: Attempts) -> None:
    member = Participation(attempts, 3)
    assert member.attempt == attempts.first()
    assert member.index == 3
    member.conclude(may_retry=True)
    assert member.attempt is None
    expected = attempts.numbered(1, [Expulsion(1, T0)])
    assert expected is not None
    assert member.next_ms == expected.schedule.start_ms
    member.go_on([Expulsion(1, T0)])
    assert member.attempt == expected
    assert member.index == 2
    assert member.next_ms is None


def test_who_may_not_retry_takes_no_further_part(attempts: Attempts) -> None:
    member = Participation(attempts, 0)
    member.conclude(may_retry=False)
    assert (member.attempt, member.next_ms) == (None, None)
    with pytest.raises(ValueError, match="no attempt"):
        member.conclude(may_retry=True)
    with pytest.raises(ValueError, match="in no attempt"):
        _ = member.index


def test_who_was_expelled_takes_no_further_part(attempts: Attempts) -> None:
    member = Participation(attempts, 1)
    member.conclude(may_retry=True)
    member.go_on([Expulsion(1, T0)])
    assert (member.attempt, member.next_ms) == (None, None)


def test_after_the_last_attempt_there_is_nothing_to_wait_for(attempts: Attempts) -> None:
    member = Participation(attempts, 0)
    begun = 1
    while True:
        member.conclude(may_retry=True)
        if member.next_ms is None:
            break
        member.go_on([])
        begun += 1
    assert begun == 3


def test_a_restart_passes_over_what_ended_as_far_as_the_journal_knows(attempts: Attempts) -> None:
    second = attempts.numbered(1, [])
    assert second is not None
    inside = second.schedule.start_ms + 1

    member = Participation(attempts, 0)
    member.resume(inside, may_retry=lambda topic: topic != second.flip.topic, expulsions=[])
    assert member.attempt == second

    cut_short = Participation(attempts, 0)
    cut_short.resume(inside, may_retry=lambda _topic: False, expulsions=[])
    assert (cut_short.attempt, cut_short.next_ms) == (None, None)

    between = Participation(attempts, 0)
    between.resume(second.schedule.start_ms - 1, may_retry=lambda _topic: True, expulsions=[])
    assert (between.attempt, between.next_ms) == (None, second.schedule.start_ms)

    running = Participation(attempts, 0)
    running.resume(T0 + 1, may_retry=lambda _topic: False, expulsions=[])
    assert running.attempt == attempts.first()
