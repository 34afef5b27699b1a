"""The testnet's operating-system processes: start, listen to their logs, end them all.

Each child runs the same command an operator would run. Its standard error, JSON lines, goes to a
log file and, parsed, to the testnet. Its standard input is a pipe that the testnet holds open: a
child started with `--until-stdin-closes` ends when the testnet is gone, even by kill -9.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from offchain_worker.errors import OperationError

END_SECONDS = 3.0
DATDOT = (sys.executable, "-m", "offchain_worker.cli")
MAX_LINE_BYTES = 64 * 1024
READ_BYTES = 16 * 1024


@dataclass
class Child:
    """One running process of the testnet."""

    name: str
    process: trio.Process
    expected_end: bool = False
    ended: trio.Event = field(default_factory=trio.Event)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would; the testnet does not take it for a fault."""
        self.expected_end = True
        self.process.kill()


class Processes:
    """The children of one testnet; made by `open_processes`."""

    def __init__(self, nursery: trio.Nursery, logs: Path, on_line: LineHandler) -> None:
        self._nursery = nursery
        self._logs = logs
        self._on_line = on_line
        self.children: dict[str, Child] = {}

    async def start(
        self, name: str, arguments: Sequence[str], program: Sequence[str] = DATDOT
    ) -> Child:
        """Start `PROGRAM ARGUMENTS`; its log goes to `<logs>/<name>.log`.

        Args:
            name: of the process.
            arguments: of the program.
            program: `datdot`, or another one that knows `--until-stdin-closes`.

        Raises:
            OSError: the process cannot be started.
        """
        process = await trio.lowlevel.open_process(
            [*program, *arguments, "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=dict(os.environ),
        )
        child = Child(name, process)
        self.children[name] = child
        self._nursery.start_soon(self._follow, child)
        return child

    async def _follow(self, child: Child) -> None:
        stderr = child.process.stderr
        if stderr is None:
            raise RuntimeError("a child is always started with a pipe for standard error")
        last = ""
        with (self._logs / f"{child.name}.log").open("ab", buffering=0) as log:
            async for line in _lines(stderr):
                log.write(line + b"\n")
                try:
                    entry = msgspec.json.decode(line)
                except msgspec.DecodeError:
                    last = line.decode(errors="replace")
                    continue
                # What a child says while it is made to end is for its log only.
                if isinstance(entry, dict) and not child.expected_end:
                    self._on_line(child.name, entry)
        status = await child.process.wait()
        child.ended.set()
        if not child.expected_end:
            reason = f" ({last})" if last else ""
            raise OperationError(
                f"The process {child.name} ended with status {status}{reason}; "
                f"see {self._logs / (child.name + '.log')}."
            )

    async def end_all(self) -> None:
        """End every child: SIGTERM, and SIGKILL for those still there after three seconds."""
        for child in self.children.values():
            child.expected_end = True
            if child.process.returncode is None:
                child.process.send_signal(signal.SIGTERM)
        with trio.move_on_after(END_SECONDS):
            for child in self.children.values():
                await child.process.wait()
        for child in self.children.values():
            if child.process.returncode is None:
                child.process.kill()
                await child.process.wait()


LineHandler = Callable[[str, Mapping[str, Any]], None]


@asynccontextmanager
async def open_processes(logs: Path, on_line: LineHandler) -> AsyncIterator[Processes]:
    """Run children; on leaving, for whatever cause, all of them have ended.

    Cancellation leaves no child behind: the ending itself is shielded and bounded.
    """
    logs.mkdir(parents=True, exist_ok=True)
    async with trio.open_nursery() as nursery:
        processes = Processes(nursery, logs, on_line)
        try:
            yield processes
        finally:
            with trio.CancelScope(deadline=math.inf, shield=True):
                await processes.end_all()
            nursery.cancel_scope.cancel()


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    buffer = bytearray()
    async with stream:
        while True:
            data = await stream.receive_some(READ_BYTES)
            if not data:
                break
            buffer += data
            while (end := buffer.find(b"\n")) >= 0:
                yield bytes(buffer[:end])
                del buffer[: end + 1]
            if len(buffer) > MAX_LINE_BYTES:
                buffer.clear()
    if buffer:
        yield bytes(buffer)
