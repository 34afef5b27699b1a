"""From the chain's records to what the audit's rules ask for."""

from __future__ import annotations

from chain_types.records import Challenge, Flip, Slots
from offchain_worker.audit.report import ReportContext
from offchain_worker.audit.report import Slots as SlotPlace


def report_context(challenge: Challenge, flip: Flip, account: bytes, index: int) -> ReportContext:
    """What the chain knows about one attestor's part in an anchored challenge.

    Args:
        challenge: the record.
        flip: its anchored coinflip.
        account: the attestor's account id, 32 bytes.
        index: its place in the roster.
    """
    timing = challenge.timing
    schedule = timing.schedule
    slots = (
        SlotPlace(schedule.num, schedule.den, active=len(flip.commitments), place=index)
        if isinstance(schedule, Slots)
        else None
    )
    return ReportContext(
        topic=flip.topic,
        result=flip.randomness,
        account=account,
        session_key=challenge.roster[index].session_key,
        commitment=flip.commitments[index],
        roster_size=len(challenge.roster),
        roster_index=index,
        feed=challenge.feed,
        hoster=challenge.noise_key,
        fork=challenge.fork,
        length=challenge.length,
        chunks=timing.chunks,
        proved=timing.proved,
        window_start_ms=timing.moments_from(challenge.t0),
        window_ms=timing.moments_ms,
        clock_tolerance_ms=timing.clock_tolerance_ms,
        slots=slots,
    )
