"""A heap of actions over virtual milliseconds: the only time there is in a simulation."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

Action = Callable[..., None]


class Endless(RuntimeError):
    """A run went on for more steps than any run may take."""


class Scheduler:
    """Runs actions in order of time; of the same instant, in the order in which they were asked.

    Attributes:
        now: ms since 1970, of the action that runs.
        heap: what is to come: (when, count, action, arguments). The network pushes here itself.
        count: of everything ever scheduled; makes entries comparable and runs deterministic.
    """

    __slots__ = ("count", "heap", "now", "steps")

    def __init__(self, start_ms: int) -> None:
        self.now = start_ms
        self.heap: list[tuple[int, int, Action, tuple[Any, ...]]] = []
        self.count = 0
        self.steps = 0

    def at(self, when: int, action: Action, *arguments: Any) -> None:
        """Have `action(*arguments)` run at `when`, at once when that has passed."""
        self.count += 1
        due = max(self.now, when)
        heapq.heappush(self.heap, (due, self.count, action, arguments))

    def run(self, most_steps: int) -> None:
        """Run until nothing is left.

        Raises:
            Endless: after `most_steps` there was still something.
        """
        heap, pop = self.heap, heapq.heappop
        steps = 0
        try:
            while heap:
                self.now, _, action, arguments = pop(heap)
                action(*arguments)
                steps += 1
                if steps > most_steps:
                    raise Endless(f"still going after {steps} steps")
        finally:
            self.steps += steps
