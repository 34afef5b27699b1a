"""Calls at given times, by the kernel's timer, and by Trio's clock where there is none."""

import os
from functools import partial
from pathlib import Path

import pytest
import trio

from offchain_worker.hypercore import alarm as module
from offchain_worker.hypercore.alarm import Alarm


@pytest.fixture(params=["timer", "no timer"])
def _timers(request, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "no timer":
        monkeypatch.setattr(module.sys, "platform", "elsewhere")


async def rung(alarm: Alarm, delays: list[float]) -> list[tuple[float, float]]:
    """Have it ring after each of these, asked for in this order: which, and by how much late."""
    found: list[tuple[float, float]] = []
    all_rung = trio.Event()

    def ring(delay: float, due: float) -> None:
        found.append((delay, trio.current_time() - due))
        if len(found) == len(delays):
            all_rung.set()

    for delay in delays:
        due = trio.current_time() + delay
        alarm.call_at(due, partial(ring, delay, due))
    await all_rung.wait()
    return found


DELAYS = [0.02, 0.000_3, 5_000.0, 0.000_3, 0.1, -1.0]


@pytest.mark.usefixtures("_timers")
async def test_calls_come_in_time_and_in_order(autojump_clock) -> None:
    alarm = Alarm()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        found = await rung(alarm, DELAYS)
        nursery.cancel_scope.cancel()
    assert [delay for delay, _late in found] == sorted(DELAYS)
    assert all(late == pytest.approx(0.0, abs=1e-6) for delay, late in found if delay > 0)


@pytest.mark.usefixtures("_timers")
async def test_by_the_real_clock_none_is_early() -> None:
    alarm = Alarm()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        for delays in ([0.000_3], [0.002, 0.001, 0.001], [0.000_1], [0.003]):
            found = await rung(alarm, delays)
            assert [delay for delay, _late in found] == sorted(delays)
            assert all(late >= 0.0 for _delay, late in found)
        nursery.cancel_scope.cancel()


async def test_what_a_call_raises_ends_it(autojump_clock) -> None:
    def fail() -> None:
        raise ValueError("not now")

    alarm = Alarm()
    alarm.call_at(trio.current_time() + 1, fail)
    with pytest.raises(ValueError, match="not now"):
        await alarm.run()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc/self/fd")
async def test_no_timer_is_left(autojump_clock) -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with trio.open_nursery() as nursery:
        alarm = Alarm()
        nursery.start_soon(alarm.run)
        await rung(alarm, [0.1])
        assert len(os.listdir("/proc/self/fd")) == before + 1
        nursery.cancel_scope.cancel()
    assert len(os.listdir("/proc/self/fd")) == before
