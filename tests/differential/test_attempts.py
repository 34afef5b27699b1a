"""Which attempts there are, when and among whom: the compiled runtime says the same."""

from __future__ import annotations

import pytest
from compiled_rules import Attempt, CompiledRules, Durations, Expelled, Flipping
from hypothesis import given, settings
from hypothesis import strategies as st

from offchain_worker.coinflip import attempts as ours
from offchain_worker.coinflip.attempts import MAX_ATTEMPTS, Attempts
from offchain_worker.coinflip.schedule import Timing
from offchain_worker.keys import KeyPair

KEYS = sorted(KeyPair.from_seed(bytes([seed]) * 32).public for seed in range(32))
HASHES = st.binary(min_size=32, max_size=32)
T0 = 1_800_000_000_000


@st.composite
def challenges(draw: st.DrawFn) -> Attempts:
    """A challenge with room for none to many retries, and always for attempt 0."""
    block_ms = draw(st.sampled_from([1, 500, 6_000]))
    join_ms = draw(st.integers(0, 5_000))
    delta_ms = draw(st.integers(1, 3_000))
    least = join_ms + 12 * delta_ms + 2 * block_ms
    size = draw(st.integers(1, 12))
    return Attempts(
        genesis=draw(HASHES),
        challenge_id=draw(st.integers(0, 2**64 - 1)),
        start_block_hash=draw(HASHES),
        roster=tuple(sorted(draw(st.permutations(KEYS))[:size])),
        timing=Timing(
            block_ms=block_ms,
            join_ms=join_ms,
            delta_ms=delta_ms,
            finality_ms=draw(st.integers(0, 12_000)),
            flip_ms=least + draw(st.integers(0, 2_000_000) | st.integers(0, 100_000)),
        ),
        t0_ms=draw(st.just(T0) | st.integers(0, 2**41)),
        min_active=draw(st.integers(1, size)),
    )


def theirs(challenge: Attempts, expulsions: list[ours.Expulsion]) -> Flipping:
    timing = challenge.timing
    return Flipping(
        genesis=challenge.genesis,
        challenge=challenge.challenge_id,
        start_block=challenge.start_block_hash,
        t0=challenge.t0_ms,
        durations=Durations(
            timing.block_ms,
            timing.join_ms,
            timing.delta_ms,
            timing.finality_ms,
            timing.flip_ms,
        ),
        min_active=challenge.min_active,
        roster=challenge.roster,
        expulsions=tuple(Expelled(one.place, one.timestamp_ms) for one in expulsions),
    )


def as_theirs(attempt: ours.Attempt | None) -> Attempt | None:
    if attempt is None:
        return None
    schedule = attempt.schedule
    return Attempt(
        number=attempt.flip.attempt,
        topic=attempt.flip.topic,
        members=sum(1 << place for place in attempt.places),
        delta_ms=schedule.delta_ms,
        start_ms=schedule.start_ms,
        commit_ms=schedule.commit_end_ms,
        echo_ms=schedule.echo_end_ms,
        reveal_ms=schedule.reveal_end_ms,
        end_ms=schedule.end_ms,
    )


@given(challenge=challenges(), data=st.data())
@settings(deadline=None, max_examples=300)
def test_attempts(chain_rules: CompiledRules, challenge: Attempts, data: st.DataObject) -> None:
    """With expulsions anywhere, and with one exactly at, and just after, what still counts."""
    expulsions = data.draw(
        st.lists(
            st.builds(
                ours.Expulsion,
                st.integers(0, len(challenge.roster) - 1),
                st.integers(0, challenge.timing.flip_ms).map(lambda ms: challenge.t0_ms + ms),
            ),
            max_size=4,
        )
    )
    second = challenge.numbered(1, [])
    if second is not None and data.draw(st.booleans()):
        timing = challenge.timing
        last = second.schedule.start_ms - 2 * timing.block_ms - timing.finality_ms
        place = data.draw(st.sampled_from(second.places))
        expulsions.append(ours.Expulsion(place, max(0, last + data.draw(st.integers(0, 1)))))
    flipping = theirs(challenge, expulsions)
    for number in (*range(MAX_ATTEMPTS + 1), 2**31, 2**32 - 1):
        expected = as_theirs(challenge.numbered(number, expulsions))
        assert chain_rules.attempt(flipping, number) == expected


@pytest.mark.parametrize("later_ms", [0, 1])
def test_who_is_expelled_too_late_stays(chain_rules: CompiledRules, later_ms: int) -> None:
    challenge = Attempts(
        genesis=bytes(32),
        challenge_id=1,
        start_block_hash=bytes(32),
        roster=tuple(KEYS[:5]),
        timing=Timing(block_ms=500, join_ms=1_500, delta_ms=200, finality_ms=700, flip_ms=14_000),
        t0_ms=T0,
        min_active=4,
    )
    second = challenge.numbered(1, [])
    assert second is not None
    last = second.schedule.start_ms - 2 * 500 - 700
    expulsions = [ours.Expulsion(3, last + later_ms)]
    found = chain_rules.attempt(theirs(challenge, expulsions), 1)
    assert found is not None
    assert found.members == (0b11111 if later_ms else 0b10111)
    assert found == as_theirs(challenge.numbered(1, expulsions))


def test_more_time_than_attempts(chain_rules: CompiledRules) -> None:
    """However long the flip, there are eight."""
    challenge = Attempts(
        genesis=bytes(32),
        challenge_id=1,
        start_block_hash=bytes(32),
        roster=tuple(KEYS[:5]),
        timing=Timing(block_ms=500, join_ms=1_500, delta_ms=200, finality_ms=0, flip_ms=2**40),
        t0_ms=T0,
        min_active=4,
    )
    flipping = theirs(challenge, [])
    last = chain_rules.attempt(flipping, MAX_ATTEMPTS - 1)
    assert last == as_theirs(challenge.numbered(MAX_ATTEMPTS - 1, []))
    assert last is not None
    assert chain_rules.attempt(flipping, MAX_ATTEMPTS) is None
    assert challenge.numbered(MAX_ATTEMPTS, []) is None
