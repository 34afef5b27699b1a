"""Which failure is worth a demand on chain (challenge.md §5)."""

from __future__ import annotations

from collections.abc import Sequence

from chain_types.report import Failure, Reason
from offchain_worker.audit.session import Audit

DEMANDING = frozenset({Reason.NO_DATA, Reason.BAD_PROOF, Reason.TIMEOUT})
"""The hoster was asked for a chunk, and did not give it."""


def chunk_to_demand(audit: Audit, drawn: Sequence[int]) -> int | None:
    """The chunk that the hoster shall show on chain; None: a demand would be no use.

    A demand costs a fee if the hoster has the chunk after all. So it is made only when the hoster
    kept back one drawn chunk, not when it serves nothing at all, which the others see as well: a
    session that could not be opened, or a time-out before anything came.

    Args:
        audit: what the session found.
        drawn: the drawn chunks; no other may be demanded.
    """
    outcome, chunk = audit.outcome, audit.failed_chunk
    if not isinstance(outcome, Failure) or outcome.reason not in DEMANDING:
        return None
    if audit.opened_ms is None or chunk is None or chunk not in drawn:
        return None
    if outcome.reason is Reason.TIMEOUT and not audit.chunks:
        return None
    return chunk
