"""Processes: the project's own, as an operator would start them, and npm peers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

END_SECONDS = 5.0
ROOT = Path(__file__).parent.parent
NPM_PEERS = ROOT / "tests" / "interop" / "node"


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
            entry = _entry(process, until)
            # Reads what follows: a process must not stick in a full pipe.
            threading.Thread(target=_drain, args=(process,), daemon=True).start()
            yield entry
        finally:
            process.terminate()
            try:
                process.wait(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _drain(process: subprocess.Popen[bytes]) -> None:
    for _ in process.stderr or ():
        pass


def _entry(process: subprocess.Popen[bytes], event: str) -> dict[str, Any]:
    for line in process.stderr or ():
        entry: dict[str, Any] = json.loads(line)
        if entry.get("event") == event:
            return entry
    raise RuntimeError(f"a process ended before {event!r}")


@contextmanager
def node(script: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """Run an npm peer of `tests/interop/node` for as long as the block lasts.

    The block gets its first line; it ends when its input closes.

    Raises:
        RuntimeError: it ended before.
    """
    command, pipe = ["node", script, *arguments], subprocess.PIPE
    with subprocess.Popen(command, cwd=NPM_PEERS, stdin=pipe, stdout=pipe) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else b""
            if not line:
                raise RuntimeError(f"{script} ended at once; is it installed (make npm-peers)?")
            said: dict[str, Any] = json.loads(line)
            yield said
        finally:
            try:
                process.communicate(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass(frozen=True)
class Finished:
    """A process that came to its end.

    Attributes:
        said: the fields of all lines of its output that are JSON objects, later ones first.
        cpu_seconds: user and system time of all its threads, as the kernel counted it.
    """

    said: dict[str, Any]
    cpu_seconds: float


def finish(command: list[str]) -> Finished:
    """Run a process to its end; the scripts of npm peers are found wherever this runs.

    Raises:
        RuntimeError: it failed.
    """
    folder = NPM_PEERS if command[0] == "node" else ROOT
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE) as process:
        output = process.stdout.read() if process.stdout is not None else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with status {process.returncode}")
    said: dict[str, Any] = {}
    for line in output.splitlines():
        if line.startswith(b"{"):
            said |= json.loads(line)
    return Finished(said, usage.ru_utime + usage.ru_stime)
