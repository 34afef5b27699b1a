"""From the chain's records to what the audit's rules ask for."""

from __future__ import annotations

from collections.abc import Iterable

from chain_types.records import Challenge, Expulsion, Flip, Slots
from offchain_worker.audit.report import ReportContext
from offchain_worker.audit.report import Slots as SlotPlace
from offchain_worker.coinflip.attempts import Attempts
from offchain_worker.coinflip.attempts import Expulsion as KnownExpulsion
from offchain_worker.coinflip.schedule import Timing as FlipTiming


class NotActive(Exception):
    """Only active members audit and report (challenge.md §6)."""


def report_context(challenge: Challenge, flip: Flip, account: bytes, index: int) -> ReportContext:
    """What the chain knows about one active attestor's part in a challenge.

    Args:
        challenge: the record.
        flip: its shared randomness.
        account: the attestor's account id, 32 bytes.
        index: its place in the start roster.

    Raises:
        NotActive: it is not among the active members.
    """
    rank, commitment = flip.rank(index), flip.commitment_of(index)
    if rank is None or commitment is None:
        raise NotActive(f"place {index} of the roster is not active")
    timing = challenge.timing
    schedule = timing.schedule
    slots = (
        SlotPlace(schedule.num, schedule.den, active=len(flip.commitments), place=rank)
        if isinstance(schedule, Slots)
        else None
    )
    return ReportContext(
        topic=flip.topic,
        result=flip.randomness,
        account=account,
        session_key=challenge.roster[index].session_key,
        commitment=commitment,
        roster_size=len(challenge.roster),
        roster_index=index,
        feed=challenge.feed,
        hoster=challenge.noise_key,
        fork=challenge.fork,
        length=challenge.length,
        chunks=timing.chunks,
        proved=timing.proved,
        window_start_ms=flip.moments_from,
        window_ms=challenge.moments_ms(flip),
        clock_tolerance_ms=timing.clock_tolerance_ms,
        slots=slots,
    )


def challenge_attempts(
    genesis: bytes, challenge_id: int, challenge: Challenge, start_hash: bytes
) -> Attempts:
    """The attempts of a challenge's coinflip, as members and chain compute them.

    Args:
        genesis: hash of the chain's first block, 32 bytes.
        challenge_id: the challenge's number.
        challenge: the record.
        start_hash: hash of its start block, 32 bytes.
    """
    timing = challenge.timing
    return Attempts(
        genesis=genesis,
        challenge_id=challenge_id,
        start_block_hash=start_hash,
        roster=tuple(member.session_key for member in challenge.roster),
        timing=FlipTiming(
            block_ms=timing.block_ms,
            join_ms=timing.join_ms,
            delta_ms=timing.delta_ms,
            finality_ms=timing.finality_ms,
            flip_ms=timing.flip_ms,
        ),
        t0_ms=challenge.t0,
        min_active=timing.min_active,
    )


def known_expulsions(expulsions: Iterable[Expulsion]) -> list[KnownExpulsion]:
    """The chain's expulsions as `Attempts` takes them."""
    return [KnownExpulsion(one.place, one.timestamp_ms) for one in expulsions]
