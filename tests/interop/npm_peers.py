"""Starts the npm peers of `node/` as processes, and speaks with them in lines of JSON.

Used by the tests here, and by other tests and benchmarks that need an unmodified peer. The peers
are installed by `make npm-peers`.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import trio

NODE = Path(__file__).parent / "node"
STEP_S = 30.0
"""Seconds that any step of a peer may take; a busy machine needs some, a right peer far fewer."""
END_S = 10.0
_LINE_BYTES = 64 * 1024

Fields = dict[str, Any]


class PeerError(Exception):
    """A peer ended, was late, or could not do what it was told."""


def block(index: int, size: int) -> bytes:
    """The peers' block `index`: SHA-256 of "feed INDEX", repeated to `size` bytes."""
    digest = hashlib.sha256(f"feed {index}".encode()).digest()
    return (digest * (size // len(digest) + 1))[:size]


class Peer:
    """A running Node process.

    Attributes:
        script: what it runs.
        process: the process.
        events: what it has said and nobody has taken, oldest first.
    """

    def __init__(self, script: str, process: trio.Process) -> None:
        """Made by `npm_peer` only."""
        self.script = script
        self.process = process
        self.events: deque[Fields] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._answers: dict[int, Fields] = {}
        self._commands = 0
        self._writing = trio.Lock()
        self._errors = bytearray()
        self._ended = False

    async def event(
        self,
        name: str,
        *,
        timeout: float = STEP_S,
        where: Callable[[Fields], bool] | None = None,
        **fields: Any,
    ) -> Fields:
        """Wait for the next event with that name and these fields, and take it.

        Events before it stay for others. Cancelled, nothing is taken.

        Args:
            name: of the event.
            timeout: seconds.
            where: what must be true of it besides.
            fields: values that it must have.

        Raises:
            PeerError: none came within `timeout` seconds, or the process ended before.
        """

        def fits(event: Fields) -> bool:
            return (
                event["event"] == name
                and all(event.get(field) == value for field, value in fields.items())
                and (where is None or where(event))
            )

        with trio.move_on_after(timeout):
            while True:
                for event in self.events:
                    if fits(event):
                        self.events.remove(event)
                        return event
                self._check_running(f"its event {name}")
                await self._changed.park()
        raise PeerError(f"{self.script} said no {name} in {timeout:g} s")

    def take(self, name: str) -> list[Fields]:
        """Take all events with that name that have come."""
        taken = [event for event in self.events if event["event"] == name]
        self.events = deque(event for event in self.events if event["event"] != name)
        return taken

    async def do(self, command: str, *, timeout: float = STEP_S, **fields: Any) -> Fields:
        """Have peer.mjs do something; returns the fields of its answer.

        Raises:
            PeerError: it could not, or not in time, or the process ended.
        """
        self._commands += 1
        number = self._commands
        line = json.dumps({"id": number, "do": command, **fields}) + "\n"
        stdin = self.process.stdin
        if stdin is None:
            raise RuntimeError("a peer is started with pipes")
        try:
            async with self._writing:
                await stdin.send_all(line.encode())
        except trio.BrokenResourceError as error:
            raise PeerError(f"{self.script} takes no commands: {self.stderr}") from error
        with trio.move_on_after(timeout):
            while number not in self._answers:
                self._check_running(f"the answer to {command}")
                await self._changed.park()
            answer = self._answers.pop(number)
            if answer["event"] == "failed":
                raise PeerError(f"{self.script} could not {command}: {answer['message']}")
            return answer
        raise PeerError(f"{self.script} did not {command} in {timeout:g} s")

    @property
    def stderr(self) -> str:
        """What the process printed as errors."""
        return self._errors.decode(errors="replace")

    async def wait(self, *, timeout: float = STEP_S) -> int:
        """Wait until the process has ended by itself; returns its exit status.

        Raises:
            PeerError: not within `timeout` seconds.
        """
        with trio.move_on_after(timeout):
            return await self.process.wait()
        raise PeerError(f"{self.script} did not end in {timeout:g} s")

    def _check_running(self, missing: str) -> None:
        if self._ended:
            raise PeerError(f"{self.script} ended before {missing}: {self.stderr}")

    async def _read_events(self) -> None:
        stdout = self.process.stdout
        if stdout is None:
            raise RuntimeError("a peer is started with pipes")
        partial: list[bytes] = []
        async for data in stdout:
            *lines, rest = data.split(b"\n")
            for line in lines:
                self._take_line(b"".join((*partial, line)))
                partial.clear()
            partial.append(rest)
        self._ended = True
        self._changed.unpark_all()

    def _take_line(self, line: bytes) -> None:
        event = json.loads(line)
        if event["event"] in ("done", "failed"):
            self._answers[event["id"]] = event
        else:
            self.events.append(event)
        self._changed.unpark_all()

    async def _read_errors(self) -> None:
        stderr = self.process.stderr
        if stderr is None:
            raise RuntimeError("a peer is started with pipes")
        async for data in stderr:
            self._errors += data


@asynccontextmanager
async def npm_peer(script: str, *arguments: str | int) -> AsyncIterator[Peer]:
    """Run a script of `node/` for the body; it has ended when the context has.

    An error of the body leaves as it is.

    Args:
        script: `hoster.mjs`, `reader.mjs` or `peer.mjs`.
        arguments: of its command line.
    """
    process = await trio.lowlevel.open_process(
        ["node", str(NODE / script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    peer = Peer(script, process)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer._read_events)
        nursery.start_soon(peer._read_errors)
        try:
            yield peer
        except BaseException as error:
            # Raised again below, outside the nursery, which would wrap it in a group.
            failure = error
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)
            nursery.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure


async def _end(process: trio.Process) -> None:
    """Close its standard input, upon which it ends; kill it when it does not."""
    if process.stdin is not None:
        await process.stdin.aclose()
    with trio.move_on_after(END_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def stock_peer(version: int, *arguments: str | int) -> AbstractAsyncContextManager[Peer]:
    """A `peer.mjs` of that version of hypercore."""
    return npm_peer("peer.mjs", "--version", version, *arguments)
