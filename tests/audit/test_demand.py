"""Which failures are worth a demand."""

from __future__ import annotations

import pytest

from chain_types.report import Failure, Reason
from offchain_worker.audit.demand import chunk_to_demand
from offchain_worker.audit.session import Audit

DRAWN = [5, 3, 9]


def failed(reason: Reason, chunk: int | None, *, opened: bool = True, chunks: int = 1) -> Audit:
    return Audit(
        outcome=Failure(reason, None),
        detail="",
        failed_chunk=chunk,
        opened_ms=1 if opened else None,
        chunks=chunks,
        byte_length=0,
        connections=1,
        receipt=None,
    )


@pytest.mark.parametrize("reason", [Reason.NO_DATA, Reason.BAD_PROOF, Reason.TIMEOUT])
def test_a_drawn_chunk_that_was_kept_back_is_demanded(reason: Reason) -> None:
    assert chunk_to_demand(failed(reason, 3), DRAWN) == 3
    assert chunk_to_demand(failed(reason, 4), DRAWN) is None
    assert chunk_to_demand(failed(reason, None), DRAWN) is None
    assert chunk_to_demand(failed(reason, 3, opened=False), DRAWN) is None
    nothing = chunk_to_demand(failed(reason, 3, chunks=0), DRAWN)
    assert nothing == (None if reason is Reason.TIMEOUT else 3)


@pytest.mark.parametrize(
    "reason",
    [
        Reason.UNREACHABLE,
        Reason.WRONG_IDENTITY,
        Reason.NOT_HOSTED,
        Reason.NO_RECEIPT,
        Reason.BAD_RECEIPT,
    ],
)
def test_what_no_chunk_can_show_is_not(reason: Reason) -> None:
    assert chunk_to_demand(failed(reason, 3), DRAWN) is None
