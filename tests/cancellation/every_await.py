"""Cancels something inside every await that it comes to.

A scenario is run again and again; the k-th time its scope is cancelled after the k-th step that
the scheduler gave to one of its tasks: whatever its tasks wait for then, at any depth, is
cancelled there. When a run comes to its end before that, every await has had its turn.
"""

from collections.abc import Awaitable, Callable

import trio

MAX_STEPS = 20_000


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope after so many steps of a task and of those below it."""

    def __init__(self, scope: trio.CancelScope, task: trio.lowlevel.Task, steps: int) -> None:
        self.left = steps
        self._scope = scope
        self._task = task

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._is_below(task):
            self.left -= 1
            if self.left == 0:
                self._scope.cancel()

    def _is_below(self, task: trio.lowlevel.Task | None) -> bool:
        while task is not None:
            if task is self._task:
                return True
            nursery = task.parent_nursery
            task = None if nursery is None else nursery.parent_task
        return False


async def cancelled_after(steps: int, scenario: Callable[[], Awaitable[None]]) -> bool:
    """Run the scenario and cancel it after so many steps; whether it was cancelled."""
    scope = trio.CancelScope()

    async def run() -> None:
        instrument = CancelAfter(scope, trio.lowlevel.current_task(), steps)
        trio.lowlevel.add_instrument(instrument)
        try:
            with scope:
                await scenario()
        finally:
            trio.lowlevel.remove_instrument(instrument)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
    return scope.cancelled_caught


async def at_every_await(attempt: Callable[[int], Awaitable[bool]]) -> int:
    """Call `attempt` with 1, 2, 3 … until it was not cancelled any more; how often it was.

    Each must leave no task behind, whoever was to notice the end.
    """
    before = trio.lowlevel.current_statistics().tasks_living
    for steps in range(1, MAX_STEPS):
        cancelled = await attempt(steps)
        living = trio.lowlevel.current_statistics().tasks_living
        assert living == before, f"{living - before} tasks left when cancelled after step {steps}"
        if not cancelled:
            return steps - 1
    raise AssertionError(f"not at its end after {MAX_STEPS} steps")
