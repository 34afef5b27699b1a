"""One operating-system process: signals, exit status, the end of its parent."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable

import trio

STDIN_READ_BYTES = 4096


def run_process(main: Callable[[], Awaitable[int]], *, until_stdin_closes: bool = False) -> int:
    """Run `main` under Trio until it returns, a signal comes, or the parent goes.

    SIGINT and SIGTERM cancel `main`, which ends in order; the exit status is then 130 or 143
    (128 + the signal's number). With `until_stdin_closes` the end of standard input ends the
    process as SIGTERM does.

    Args:
        main: returns the exit status.
        until_stdin_closes: end when standard input does.

    Raises:
        BaseExceptionGroup: what `main` raised.
    """
    return trio.run(_supervise, main, until_stdin_closes)


async def _supervise(main: Callable[[], Awaitable[int]], until_stdin_closes: bool) -> int:
    status: int | None = None

    async with trio.open_nursery() as nursery:

        async def watch_signals(
            task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
        ) -> None:
            nonlocal status
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                task_status.started()
                async for number in signals:
                    if status is None:
                        status = 128 + number
                    nursery.cancel_scope.cancel()
                    return

        async def watch_stdin() -> None:
            nonlocal status
            async with trio.lowlevel.FdStream(sys.stdin.fileno()) as stdin:
                while await stdin.receive_some(STDIN_READ_BYTES):
                    pass
            status = 128 + signal.SIGTERM
            nursery.cancel_scope.cancel()

        await nursery.start(watch_signals)
        if until_stdin_closes:
            nursery.start_soon(watch_stdin)
        result = await main()
        if status is None:
            status = result
        nursery.cancel_scope.cancel()
    return 1 if status is None else status
