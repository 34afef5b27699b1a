"""A seat's clock: what it believes the time is (coinflip.md §9, row 21)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClockFault:
    """How a clock is wrong.

    Attributes:
        skew_ms: added from the start on.
        drift_ppm: how many ms it gains in a thousand seconds.
        jump_at_ms: virtual time of a sudden change, None for none.
        jump_ms: added from there on; backwards when negative.
    """

    skew_ms: int = 0
    drift_ppm: int = 0
    jump_at_ms: int | None = None
    jump_ms: int = 0


class Clock:
    """Turns virtual time into a seat's and back."""

    __slots__ = ("_fault", "_start", "right")

    def __init__(self, start_ms: int, fault: ClockFault | None = None) -> None:
        self._start = start_ms
        self._fault = fault or ClockFault()
        self.right = fault is None
        """Whether it is never wrong, so that nothing need be computed."""

    def read(self, virtual_ms: int) -> int:
        """What the clock shows at that virtual time."""
        if self.right:
            return virtual_ms
        fault = self._fault
        shown = virtual_ms + fault.skew_ms
        shown += (virtual_ms - self._start) * fault.drift_ppm // 1_000_000
        if fault.jump_at_ms is not None and virtual_ms >= fault.jump_at_ms:
            shown += fault.jump_ms
        return shown

    def when(self, shown_ms: int, now_ms: int) -> int:
        """About when the clock will show that much, seen from `now_ms`; never in the past."""
        if self.right:
            return max(shown_ms, now_ms)
        ahead = shown_ms - self.read(now_ms)
        return now_ms + max(0, ahead)
