"""The project's own processes, as an operator would start them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

END_SECONDS = 5.0


@contextmanager
def datdot(*arguments: str, until: str) -> Iterator[dict[str, Any]]:
    """Run `datdot ARGUMENTS --log json` for as long as the block lasts.

    Args:
        arguments: of the command.
        until: the log event to wait for; the block gets its entry.

    Raises:
        RuntimeError: the process ended before that event.
    """
    command = [sys.executable, "-m", "offchain_worker.cli", *arguments, "--log", "json"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield _entry(process, until)
        finally:
            process.terminate()
            try:
                # Reads what is left: a process must not stick in a full pipe on its way out.
                process.communicate(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _entry(process: subprocess.Popen[bytes], event: str) -> dict[str, Any]:
    for line in process.stderr or ():
        entry: dict[str, Any] = json.loads(line)
        if entry.get("event") == event:
            return entry
    raise RuntimeError(f"a process ended before {event!r}")
