"""What records tell beyond their fields: places, ranks, windows, when commits are over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_types.records import (
    MAX_ROSTER,
    STAGE,
    Auditing,
    Challenge,
    Closed,
    Committing,
    Deadline,
    Fallback,
    FallbackCommit,
    Feed,
    FeedKind,
    Flip,
    Flipping,
    Median,
    Medians,
    Member,
    Reporting,
    Sla,
    Terms,
    Timing,
    Uniform,
    Verdict,
    places_of,
)

TIMING = Timing(
    block_ms=500,
    join_ms=1_500,
    delta_ms=200,
    finality_ms=0,
    flip_ms=5_000,
    commit_ms=2_000,
    commit_blocks=4,
    window_ms=15_000,
    tail_ms=3_000,
    chunk_timeout_ms=1_000,
    grace_blocks=12,
    demand_blocks=12,
    attestors=5,
    min_active=4,
    chunks=100,
    proved=32,
    clock_tolerance_ms=2_000,
    pool_factor=1,
    min_age=1,
    schedule=Uniform(),
)
T0 = 1_800_000_000_000
BITS = st.integers(0, 2**MAX_ROSTER - 1)


def challenge() -> Challenge:
    return Challenge(
        hosting=0,
        hoster=bytes(32),
        sponsor=bytes(32),
        noise_key=bytes(32),
        feed=Feed(bytes(32), bytes(32), FeedKind.COMPAT),
        terms=Terms(1, 1, 1, Sla(None, None)),
        fork=0,
        length=1,
        block=3,
        t0=T0,
        timing=TIMING,
        randomness=bytes(32),
        roster=tuple(Member(bytes([i]) * 32, bytes([i]) * 32) for i in range(5)),
        stage=Flipping(),
    )


def flip(active: int = 0b11011, **changes: Any) -> Flip:
    places = places_of(active)
    plain = Flip(
        attempt=0,
        topic=bytes(32),
        root=bytes(32),
        randomness=bytes(32),
        active=active,
        commitments=tuple(bytes([place]) * 32 for place in places),
        moments_from=TIMING.moments_from(T0),
        block=9,
        by=0,
        chain_randomness=None,
        late=0,
    )
    return replace(plain, **changes)


@given(BITS)
def test_a_place_is_active_exactly_when_it_has_a_rank(active: int) -> None:
    one = flip(active)
    assert sum(1 << place for place in one.places) == active
    assert list(one.places) == sorted(one.places)
    for place in range(MAX_ROSTER):
        if active >> place & 1:
            assert one.rank(place) == one.places.index(place)
            assert one.commitment_of(place) == bytes([place]) * 32
        else:
            assert one.rank(place) is None
            assert one.commitment_of(place) is None


def test_the_window_begins_where_the_flip_says() -> None:
    """challenge.md §3.1, with the development values."""
    anchored = flip()
    assert anchored.moments_from == T0 + 6_000
    assert challenge().moments_ms(anchored) == 6_000
    assert not anchored.fell_back
    fixed_ms = T0 + 7_500
    after = flip(
        moments_from=TIMING.moments_after(fixed_ms), by=None, chain_randomness=bytes(range(32))
    )
    assert after.fell_back
    assert challenge().moments_ms(after) == 12_000 - 8_500
    for one in (anchored, after):
        assert one.moments_from + challenge().moments_ms(one) == challenge().moments_end_ms


@pytest.mark.parametrize(
    ("block", "later_ms", "over"),
    [(23, 2_000, False), (24, 1_999, False), (24, 2_000, True), (40, 9_000, True)],
)
def test_commits_end_when_both_time_and_blocks_have_passed(
    block: int, later_ms: int, over: bool
) -> None:
    stage = Committing(since=20, opened_ms=T0 + 5_000)
    assert challenge().commits_are_over(stage, block, T0 + 5_000 + later_ms) is over


@given(roster=BITS, committed=BITS)
def test_who_did_not_commit(roster: int, committed: int) -> None:
    commits = tuple(FallbackCommit(place, bytes(32)) for place in places_of(roster & committed))
    fallback = Fallback(bytes(32), roster, commits)
    assert set(fallback.missing) == set(places_of(roster & ~committed))
    assert {*fallback.missing, *(commit.place for commit in commits)} == set(fallback.places)


@pytest.mark.parametrize(
    ("stage", "data"),
    [
        (Flipping(), "00"),
        (Committing(since=7, opened_ms=T0), "0107000000" + T0.to_bytes(8, "little").hex()),
        (Auditing(), "02"),
        (
            Reporting(since=1, deadline=Deadline(2, 3), answers=None),
            "030100000002000000000000000300000000",
        ),
        (
            Reporting(since=1, deadline=Deadline(2, 3), answers=Deadline(4, 5)),
            "0301000000020000000000000003000000" + "01040000000000000005000000",
        ),
        (Closed(at=5, outcome=Verdict.VOID), "040500000003"),
    ],
)
def test_stages_have_their_numbers(stage: Any, data: str) -> None:
    """`PerformanceApi_open_challenges` is in no metadata: what it says must be right here."""
    assert STAGE.encode(stage).hex() == data
    assert STAGE.decode(bytes.fromhex(data)) == stage


def medians(latency_us: int | None, throughput: int | None) -> Medians:
    def of(value: int | None) -> Median | None:
        return None if value is None else Median(value, 1, value, value)

    nothing = Medians(*[None] * 12)
    return replace(nothing, latency_p50_us=of(latency_us), throughput=of(throughput))


@pytest.mark.parametrize(
    ("sla", "latency_us", "throughput", "broken"),
    [
        (Sla(100, 7), None, None, False),
        (Sla(100, 7), 100, 7, False),
        (Sla(100, 7), 101, 7, True),
        (Sla(100, 7), 100, 6, True),
        (Sla(100, 7), 101, None, True),
        (Sla(100, 7), None, 6, True),
        (Sla(100, None), 0, 0, False),
        (Sla(None, 7), 2**32, 7, False),
    ],
)
def test_an_sla_is_broken_by_a_median_beyond_its_bound(
    sla: Sla, latency_us: int | None, throughput: int | None, broken: bool
) -> None:
    assert sla.is_broken_by(medians(latency_us, throughput)) is broken
