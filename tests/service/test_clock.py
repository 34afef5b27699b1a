"""A clock that is off is warned about, and looked at again and again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from chain_types import storage
from offchain_worker.chain.client import ChainClient
from offchain_worker.chain.errors import MalformedAnswer
from offchain_worker.service.clock import INTERVAL_SECONDS, warn_about_clock


@dataclass
class TimingOnly:
    """Of the chain's timing, what the check reads; 2 s as in development."""

    clock_tolerance_ms: int = 2_000


@dataclass
class FakeClient:
    """A chain beside which the clock is off by these seconds, look after look; None: no block."""

    offsets: deque[float | Exception | None] = field(default_factory=deque)

    async def clock_offset(self) -> float | None:
        await trio.lowlevel.checkpoint()
        offset = self.offsets.popleft()
        if isinstance(offset, Exception):
            raise offset
        return offset

    async def read(self, entry: Any) -> TimingOnly:
        await trio.lowlevel.checkpoint()
        assert entry is storage.TIMING
        return TimingOnly()


async def logged(*offsets: float | Exception | None) -> list[dict[str, Any]]:
    """What is logged in as many looks as there are offsets."""
    client = FakeClient(deque(offsets))
    with capture_logs() as logs, trio.move_on_after((len(offsets) - 0.5) * INTERVAL_SECONDS):
        await warn_about_clock(cast(ChainClient, client))
    assert not client.offsets
    return [dict(entry) for entry in logs]


@pytest.mark.parametrize("offset", [-1.1, 1.1, 3_600.0])
async def test_a_clock_that_is_off_by_more_than_half_the_tolerance(
    offset: float, autojump_clock: trio.testing.MockClock
) -> None:
    (entry,) = await logged(offset)
    assert (entry["event"], entry["log_level"]) == ("clock.off", "warning")
    assert entry["seconds_ahead_of_chain"] == offset


@pytest.mark.parametrize("offset", [-0.9, 0.0, 0.9, None])
async def test_a_clock_that_is_right_or_cannot_be_compared(
    offset: float | None, autojump_clock: trio.testing.MockClock
) -> None:
    assert await logged(offset) == []


async def test_it_goes_on_looking(autojump_clock: trio.testing.MockClock) -> None:
    entries = await logged(0.1, MalformedAnswer("no number"), 5.0)
    assert [entry["event"] for entry in entries] == ["clock.unchecked", "clock.off"]
    assert "no number" in entries[0]["reason"]
