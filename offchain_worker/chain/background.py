"""A task beside the body of a context manager."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def running(task: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run `task` beside the body, and cancel it when the body ends.

    An error of one of them cancels the other. A single error is raised as it is, not in a group,
    so that callers can name the errors that they handle.
    """
    single: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task)
            yield
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        single = group.exceptions[0]
    if single is not None:
        raise single
