"""What one peer may cost in one run: a credit that only time refills.

An honest peer never comes near its limit; one that floods is cut off after a bounded amount of
work (coinflip.md §9, row 23). One unit is about one signature check, 0.1 ms of a core.
"""

from __future__ import annotations

PER_SECOND = 100
PER_DELTA = 16
"""More for short Δ: an honest peer's pulls come once a Δ."""
BASE = 256
PER_MEMBER = 16

CONNECT = 8
REFUSED = 8
FORGED = 32
"""More: who relays nothing unchecked never sends a signature that does not verify."""
VERIFY = 1
_BYTES_PER_UNIT = 4096
_ENVELOPES_PER_UNIT = 8


def message_cost(length: int) -> int:
    """For reading a message of that many bytes."""
    return 1 + length // _BYTES_PER_UNIT


def answer_cost(envelopes: int) -> int:
    """For an answer with that many envelopes."""
    return envelopes // _ENVELOPES_PER_UNIT


class Credit:
    """The credit of one peer among `members`, at a time `now_ms`; full at first."""

    def __init__(self, members: int, delta_ms: int, now_ms: int) -> None:
        self._limit = BASE + PER_MEMBER * members
        self._delta_ms = delta_ms
        self._left = self._limit
        self._refilled_ms = now_ms

    def pay(self, cost: int, now_ms: int) -> bool:
        """Take `cost` off; False when that is more than there is, which leaves nothing."""
        passed = now_ms - self._refilled_ms
        refill = passed * PER_SECOND // 1000 + passed * PER_DELTA // self._delta_ms
        if refill > 0:
            self._left = min(self._limit, self._left + refill)
            self._refilled_ms = now_ms
        enough = cost <= self._left
        self._left = max(0, self._left - cost)
        return enough
