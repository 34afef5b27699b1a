"""Reports when only a part of the start roster is active: whose place is what.

Peers are named by their places in the start roster; slots, commitments and the number of
attestors are those of the active alone; the window begins where the flip says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chain_types.records import (
    Challenge,
    Feed,
    FeedKind,
    Flip,
    Flipping,
    Member,
    Slots,
    Terms,
    Timing,
    Uniform,
)
from chain_types.report import Failure, PeerMetrics, Reason
from offchain_worker.attestor.context import NotActive, challenge_attempts, report_context
from offchain_worker.audit.report import (
    ReportContext,
    WrongOpening,
    WrongPeers,
    check_report,
    sign_report,
)
from offchain_worker.coinflip.commitments import audit_commitment
from offchain_worker.coinflip.draws import join_number, moment_slots, slot_offset, slot_order
from offchain_worker.keys import KeyPair

T0 = 1_800_000_000_000
TIMING = Timing(
    block_ms=500,
    join_ms=1_500,
    delta_ms=200,
    finality_ms=0,
    flip_ms=14_000,
    commit_ms=2_000,
    commit_blocks=4,
    window_ms=30_000,
    tail_ms=3_000,
    chunk_timeout_ms=1_000,
    grace_blocks=12,
    demand_blocks=12,
    attestors=5,
    min_active=3,
    chunks=100,
    proved=32,
    clock_tolerance_ms=2_000,
    pool_factor=1,
    min_age=1,
    schedule=Slots(1, 5),
)
PAIRS = sorted((KeyPair.from_seed(bytes([seed]) * 32) for seed in range(5)), key=lambda p: p.public)
ACCOUNTS = [bytes([100 + place]) * 32 for place in range(5)]
W, AUDIT_KEY = b"w" * 32, KeyPair.from_seed(b"a" * 32)
TOPIC, RESULT = b"t" * 32, b"R" * 32
PLACES = (0, 2, 4)


def challenge(**timing: Any) -> Challenge:
    return Challenge(
        hosting=0,
        hoster=bytes(32),
        sponsor=bytes(32),
        noise_key=bytes(32),
        feed=Feed(bytes(32), bytes(32), FeedKind.COMPAT),
        terms=Terms(1, 1, 1, None),
        fork=0,
        length=300,
        block=3,
        t0=T0,
        timing=replace(TIMING, **timing),
        randomness=bytes(32),
        roster=tuple(
            Member(account, pair.public) for account, pair in zip(ACCOUNTS, PAIRS, strict=True)
        ),
        stage=Flipping(),
    )


FLIP = Flip(
    attempt=1,
    topic=TOPIC,
    root=bytes(32),
    randomness=RESULT,
    active=sum(1 << place for place in PLACES),
    commitments=tuple(
        audit_commitment(TOPIC, PAIRS[place].public, W, AUDIT_KEY.public) for place in PLACES
    ),
    moments_from=T0 + 18_000,
    block=9,
    by=0,
    chain_randomness=None,
    late=0,
)


def context(place: int, **timing: Any) -> ReportContext:
    return report_context(challenge(**timing), FLIP, ACCOUNTS[place], place)


@pytest.mark.parametrize(("rank", "place"), list(enumerate(PLACES)))
def test_a_slot_for_each_active_member(rank: int, place: int) -> None:
    found = context(place)
    u = join_number(TOPIC, RESULT, PAIRS[place].public, W)
    slot = slot_order(RESULT, len(PLACES))[rank]
    expected = moment_slots(slot, slot_offset(u, 1, 5), len(PLACES), T0 + 18_000, 27_000 - 18_000)
    assert found.moment(W) == expected
    assert (found.window_start_ms, found.window_ms) == (T0 + 18_000, 9_000)
    assert T0 + 18_000 <= found.moment(W) < T0 + 27_000


def test_the_slots_of_the_active_are_all_taken() -> None:
    width = 9_000 // len(PLACES)
    moments = [context(place).moment(W) - (T0 + 18_000) for place in PLACES]
    assert {moment // width for moment in moments} == {0, 1, 2}


def test_the_uniform_schedule_knows_no_places() -> None:
    assert context(2, schedule=Uniform()).slots is None


@pytest.mark.parametrize("place", [1, 3])
def test_who_is_not_active_has_no_part(place: int) -> None:
    with pytest.raises(NotActive, match=f"place {place} of the roster is not active"):
        context(place)


def report(place: int, *peers: int) -> Any:
    return sign_report(
        w=W,
        audit_key=AUDIT_KEY,
        topic=TOPIC,
        account=ACCOUNTS[place],
        outcome=Failure(Reason.TIMEOUT, None),
        peers=[PeerMetrics(peer, 1, 1) for peer in peers],
    )


@pytest.mark.parametrize("place", PLACES)
def test_peers_are_named_by_their_places_in_the_start_roster(place: int) -> None:
    """Those who are not active were measured too, in an earlier attempt."""
    others = [peer for peer in range(5) if peer != place]
    assert check_report(report(place, *others), context(place)) is None
    for wrong in ([place], [5], [*others[:2], others[0]]):
        with pytest.raises(WrongPeers):
            check_report(report(place, *wrong), context(place))


def test_the_commitment_is_the_members_own() -> None:
    """z binds the session key: the one of another rank does not open."""
    shifted = replace(FLIP, commitments=(*FLIP.commitments[1:], FLIP.commitments[0]))
    with pytest.raises(WrongOpening):
        check_report(report(2), report_context(challenge(), shifted, ACCOUNTS[2], 2))


def test_attempts_follow_from_the_record() -> None:
    attempts = challenge_attempts(bytes(32), 7, challenge(), b"s" * 32)
    first = attempts.first()
    assert first.flip.roster == tuple(pair.public for pair in PAIRS)
    assert first.schedule.end_ms == T0 + 1_500 + 12 * 200
    second = attempts.after(first, [])
    assert second is not None
    assert attempts.after(second, []) is None
