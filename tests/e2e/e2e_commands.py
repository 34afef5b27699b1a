"""Running `datdot` as a person or an operator does: as a process of its own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "offchain_worker.cli"]
COMMAND_SECONDS = 60.0
READY_SECONDS = 30.0
FEED_BYTES = 2 * 1024 * 1024


def datdot(*arguments: str | Path, timeout: float = COMMAND_SECONDS) -> tuple[int, str, str]:
    """Run a command to its end; returns exit status, standard output and standard error."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def succeed(*arguments: str | Path, timeout: float = COMMAND_SECONDS) -> str:
    """Run a command that must succeed; returns its standard output."""
    status, output, errors = datdot(*arguments, timeout=timeout)
    assert status == 0, errors + output
    return output


@contextmanager
def service(event: str, *arguments: str | Path) -> Iterator[dict[str, Any]]:
    """Run a service as long as the block runs; yields the log entry that says it is ready."""
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments), "--log", "json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        # Ends the wait for a line that never comes.
        watchdog = threading.Timer(READY_SECONDS, process.kill)
        watchdog.start()
        try:
            lines: list[str] = []
            for line in process.stderr:
                lines.append(line)
                if line.startswith("{") and (entry := json.loads(line))["event"] == event:
                    break
            else:
                raise AssertionError(f"{arguments[0]} did not become ready: {''.join(lines)}")
            watchdog.cancel()
            reader = threading.Thread(target=process.stderr.read)
            reader.start()
            yield entry
            process.send_signal(signal.SIGTERM)
            assert process.wait(READY_SECONDS) == 143
            reader.join()
        finally:
            watchdog.cancel()
            process.kill()


@contextmanager
def node(directory: Path) -> Iterator[str]:
    """Run `datdot node` on a chain's folder; yields its URL."""
    arguments = ("node", "--dir", directory, "--port", "0")
    with service("node_ready", *arguments) as ready:
        yield ready["url"]


def make_feed(folder: Path, size: int = FEED_BYTES) -> Path:
    """A folder to host: noise and a small file."""
    folder.mkdir()
    (folder / "noise.bin").write_bytes(random.Random(1).randbytes(size))
    (folder / "letter.txt").write_text("something to keep online\n")
    return folder


def processes_below(pid: int) -> set[int]:
    """The processes that a process has started, and those that these have, as long as they run."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                status = Path("/proc", entry, "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            fields = status.rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(entry)] = int(fields[1])
    found: set[int] = set()
    wanted = {pid}
    while wanted:
        wanted = {child for child, parent in parents.items() if parent in wanted} - found
        found |= wanted
    return found


def wait_until_gone(pids: set[int], seconds: float) -> set[int]:
    """Wait until none of these processes runs; returns those that still do at the end."""
    deadline = time.monotonic() + seconds
    left = set(pids)
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if _runs(pid)}
        time.sleep(0.02)
    return left


def _runs(pid: int) -> bool:
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
