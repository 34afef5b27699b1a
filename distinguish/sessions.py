"""Runs sessions against a hoster of ours that writes down all that it sees.

Clients and links are processes of their own. All kinds of sessions are mixed at random in time,
over links and over processes, so that nothing but the client differs between them.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from distinguish.features import Frame, Session
from offchain_worker.coinflip.draws import session_habit
from offchain_worker.hoster.feeds import append
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.connection import Connection
from offchain_worker.hypercore.manifest import feed_key, single_signer_manifest
from offchain_worker.hypercore.order import DownloadOrder
from offchain_worker.keys import KeyPair

NODE = Path(__file__).parents[1] / "tests" / "interop" / "node"
HEAD_BYTES = 64
PROCESSES = 2
SESSION_S = 180.0
KINDS = ("audit", "npm", "python", "control", "shuffled")


@dataclass(frozen=True)
class Setting:
    """What the sessions run in.

    Attributes:
        chunks, size: the feed's: how many, of how many bytes.
        links: one-way delay in ms, jitter in ms, bandwidth in bytes per second.
        at_once: sessions at a time.
    """

    chunks: int = 1_024
    size: int = 4_096
    links: tuple[tuple[float, float, int], ...] = (
        (6.0, 1.0, 3_000_000),
        (12.0, 2.0, 2_000_000),
        (20.0, 3.0, 4_000_000),
        (30.0, 2.0, 1_500_000),
    )
    at_once: int = 16


@dataclass(frozen=True)
class Recorded:
    """A session that the hoster saw, with what it learns later.

    Attributes:
        kind: see `KINDS`.
        turn: its place in the order of starting.
        windowed: its habit.
        session: what was seen.
    """

    kind: str
    turn: int
    windowed: bool
    session: Session


class RecordingHoster(Hoster):
    """A hoster that keeps all plaintexts of its sessions, by the client's key."""

    def __init__(self, library: Library, keypair: KeyPair, length: int) -> None:
        super().__init__(library, keypair)
        self.sessions: dict[bytes, Session] = {}
        self.ended: dict[bytes, trio.Event] = {}
        self._length = length

    async def _serve_connection(self, connection: Connection, host: str | None) -> None:
        opened = trio.current_time()
        session = Session(self._length, opened, handshake=connection.handshake_s)
        client = connection.remote_public_key

        def tap(sent: bool, plaintext: bytes, at: float) -> None:
            if sent and len(plaintext) > HEAD_BYTES:
                frame = Frame(sent, at, plaintext[:HEAD_BYTES], len(plaintext))
            else:
                frame = Frame(sent, at, plaintext, len(plaintext))
            session.frames.append(frame)

        connection.tap = tap
        try:
            await super()._serve_connection(connection, host)
        finally:
            session.ended = trio.current_time()
            session.broken = "broke" in str(connection.error)
            session.keep_alives = connection._secret.keep_alives
            self.sessions[client] = session
            self.ended.setdefault(client, trio.Event()).set()


class Worker:
    """A client process that runs sessions."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = trio.lowlevel.ParkingLot()
        self._ended = False
        self._writing = trio.Lock()

    async def read(self) -> None:
        """Take the process's answers until it ends."""
        stdout = self._process.stdout
        if stdout is None:
            raise RuntimeError("a worker has pipes")
        rest = b""
        async for data in stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                if "id" in answer:
                    self._answers[answer["id"]] = answer
            self._changed.unpark_all()
        self._ended = True
        self._changed.unpark_all()

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Have a session run; returns the answer.

        Raises:
            RuntimeError: the process ended.
        """
        stdin = self._process.stdin
        if stdin is None:
            raise RuntimeError("a worker has pipes")
        async with self._writing:
            await stdin.send_all(json.dumps(command).encode() + b"\n")
        while command["id"] not in self._answers:
            if self._ended:
                raise RuntimeError("a client process ended")
            await self._changed.park()
        return self._answers.pop(command["id"])


@asynccontextmanager
async def open_worker(*command: str, cwd: Path | None = None) -> AsyncIterator[Worker]:
    """A client process for the body."""
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd
    )
    async with trio.open_nursery() as nursery:
        worker = Worker(process)
        nursery.start_soon(worker.read)
        try:
            yield worker
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_link(port: int, delay: float, jitter: float, rate: int) -> AsyncIterator[int]:
    """A link in front of the hoster for the body; gives its port."""
    module = "offchain_worker.simulation.link"
    options = (f"--delay-ms={delay}", f"--jitter-ms={jitter}", f"--bandwidth={rate}")
    command = (sys.executable, "-m", module, f"127.0.0.1:{port}", *options)
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        if process.stdout is None:
            raise RuntimeError("a link has pipes")
        line = await process.stdout.receive_some(1_024)
        yield int(json.loads(line)["port"])
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def reader_count(length: int, dice: random.Random) -> int:
    """How many chunks a reader reads: half of them everything, half up to any point."""
    return length if dice.random() < 0.5 else dice.randint(1, length)


def positions(length: int, count: int, dice: random.Random, *, shuffled: bool) -> list[int]:
    """What a reader asks for that reads one chunk after the other."""
    if shuffled:
        return dice.sample(range(length), count)
    order = DownloadOrder(length, dice)
    found = []
    for index in order:
        order.arrive(index)
        found.append(index)
        if len(found) == count:
            break
    return found


async def record(
    kinds: Sequence[str], setting: Setting, dice: random.Random
) -> tuple[list[Recorded], list[str]]:
    """Run a session of each of `kinds`, in this order; returns them, and what went wrong."""
    recorded: list[Recorded] = []
    failures: list[str] = []
    author, noise = KeyPair.generate(), KeyPair.generate()
    manifest = single_signer_manifest(author.public)
    key = feed_key(manifest)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        library = stack.enter_context(Library(Path(folder) / "library"))
        store = library.create(key, manifest)
        append(store, [dice.randbytes(setting.size) for _ in range(setting.chunks)], author)
        hoster = RecordingHoster(library, noise, setting.chunks)
        nursery = await stack.enter_async_context(trio.open_nursery())
        _host, port = await nursery.start(partial(hoster.serve, "127.0.0.1", 0))
        links = [
            await stack.enter_async_context(open_link(port, *shape)) for shape in setting.links
        ]
        ours = [
            await stack.enter_async_context(open_worker(sys.executable, "-m", "distinguish.worker"))
            for _ in range(PROCESSES)
        ]
        npm = [
            await stack.enter_async_context(open_worker("node", "sessions.mjs", cwd=NODE))
            for _ in range(PROCESSES)
        ]
        limit = trio.CapacityLimiter(setting.at_once)

        async def session(turn: int, kind: str, command: dict[str, Any], worker: Worker) -> None:
            try:
                client = KeyPair.from_seed(bytes.fromhex(command["seed"])).public
                ended = hoster.ended.setdefault(client, trio.Event())
                with trio.move_on_after(SESSION_S) as scope:
                    answer = await worker.do(command)
                    await ended.wait()
                    problem = answer.get("error") or answer.get("message")
                if scope.cancelled_caught:
                    failures.append(f"{kind}: no end in {SESSION_S:g} s")
                elif problem:
                    failures.append(f"{kind}: {problem}")
                else:
                    seen = hoster.sessions[client]
                    recorded.append(Recorded(kind, turn, command["windowed"], seen))
            finally:
                limit.release_on_behalf_of(turn)

        async with trio.open_nursery() as sessions:
            conditions = evenly_spread(kinds, len(links), dice)
            for turn, (kind, (windowed, link)) in enumerate(zip(kinds, conditions, strict=True)):
                await limit.acquire_on_behalf_of(turn)
                command = command_for(turn, kind, windowed, setting, dice)
                command |= {"key": key.hex(), "hoster": noise.public.hex()}
                via = links[link]
                command |= {"port": via, "to": f"127.0.0.1:{via}"}
                worker = dice.choice(npm if kind in ("npm", "shuffled") else ours)
                sessions.start_soon(session, turn, kind, command, worker)
        nursery.cancel_scope.cancel()
    return sorted(recorded, key=lambda one: one.turn), failures


def evenly_spread(kinds: Sequence[str], links: int, dice: random.Random) -> list[tuple[bool, int]]:
    """For each session its habit (windowed or not) and its link, in equal shares for each kind.

    Drawn one by one, some kind would have more of one of them, by chance, and be told by that.
    """
    conditions = list(itertools.product((True, False), range(links)))
    left: dict[str, list[tuple[bool, int]]] = {}
    found = []
    for kind in kinds:
        of_kind = left.setdefault(kind, [])
        if not of_kind:
            of_kind += dice.sample(conditions, len(conditions))
        found.append(of_kind.pop())
    return found


def command_for(
    turn: int, kind: str, windowed: bool, setting: Setting, dice: random.Random
) -> dict[str, Any]:
    """What a client is told; audits find out themselves how, and how much, they read."""
    seed = dice.randbytes(32)
    audited = kind in ("audit", "control")
    while audited and session_habit(seed).windowed != windowed:
        seed = dice.randbytes(32)
    count = reader_count(setting.chunks, dice)
    return {
        "id": turn,
        "do": "session",
        "kind": kind if audited else "reader",
        "seed": seed.hex(),
        "length": setting.chunks,
        "windowed": windowed,
        "count": count,
        "order": positions(setting.chunks, count, dice, shuffled=kind == "shuffled"),
    }
