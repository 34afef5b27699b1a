"""Bad input, signals at awkward moments, and a testnet that is killed: nothing stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from e2e_commands import COMMAND, datdot, make_feed, processes_below, wait_until_gone

Feed = Callable[[Path], Path]
"""Makes, in a folder, what cannot be hosted."""
END_SECONDS = 5.0
"""Within so many seconds of a signal all processes must have ended."""
STEP_SECONDS = 90.0
PROCESSES = 11
"""Of a testnet with two hosters, five attestors and two readers: these, the chain, the author."""


def missing(folder: Path) -> Path:
    return folder / "nowhere"


def unreadable(folder: Path) -> Path:
    loop = folder / "loop"
    loop.symlink_to(loop)
    return loop


def empty_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file"


def empty_folder(folder: Path) -> Path:
    (folder / "folder").mkdir()
    return folder / "folder"


def holds_a_pipe(folder: Path) -> Path:
    (folder / "files").mkdir()
    (folder / "files" / "a").write_text("something")
    os.mkfifo(folder / "files" / "pipe")
    return folder / "files"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (missing, "{feed} does not exist."),
        (unreadable, "{feed} cannot be read: Too many levels of symbolic links."),
        (empty_file, "The file {feed} is empty; there is nothing to host."),
        (empty_folder, "The folder {feed} is empty; there is nothing to host."),
        (
            holds_a_pipe,
            "{feed}/pipe is neither a file, a folder nor a link, and cannot be imported.",
        ),
    ],
)
def test_a_feed_that_cannot_be_hosted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Feed, sentence: str
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    feed = make(tmp_path)
    command = ("testnet", "--once", "--port", "0", "--feed", feed)
    # Where it is kept, too, when that is a folder that does not exist yet.
    for where in ((), ("--dir", temporary / "kept")) if make is missing else ((),):
        status, output, errors = datdot(*command, *where)
        assert (status, output) == (2, "")
        assert errors == f"datdot: {sentence.format(feed=feed)}\n"
        assert not list(temporary.iterdir())


@contextmanager
def taken_port() -> Iterator[int]:
    """A port that is in use, the one before it not."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port: int = taken.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port - 1)).close()
            except OSError:
                continue
            yield port
            return


def test_a_port_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with taken_port() as port:
        for first in (port, port - 1):
            status, output, errors = datdot(
                *("testnet", "--once", "--port", str(first), "--dir", tmp_path / "kept")
            )
            assert (status, output) == (2, "")
            sentence = f"Port {port} on 127.0.0.1 is in use; choose others with --port."
            assert errors == f"datdot: {sentence}\n"
        status, output, errors = datdot("node", "--port", str(port))
        assert (status, output) == (2, "")
        assert errors == f"datdot: The chain cannot run: port {port} on 127.0.0.1 is in use.\n"
    assert not list(tmp_path.iterdir())


class Started:
    """A running `datdot testnet`."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._buffer = b""

    async def says(self, words: str) -> None:
        """Wait until it prints a line with these words."""
        assert self.process.stdout is not None
        with trio.fail_after(STEP_SECONDS):
            while True:
                line, newline, rest = self._buffer.partition(b"\n")
                if newline:
                    self._buffer = rest
                    if words in line.decode():
                        return
                else:
                    data = await self.process.stdout.receive_some()
                    assert data, f"it ended before it said {words!r}"
                    self._buffer += data

    async def has_children(self, count: int) -> None:
        """Wait until it has started so many processes."""
        with trio.fail_after(STEP_SECONDS):
            while len(processes_below(self.process.pid)) < count:  # noqa: ASYNC110 - no event
                await trio.sleep(0.01)

    async def ends(self, number: signal.Signals) -> int:
        """Send a signal; returns the exit status when all of its processes have ended in time."""
        children = processes_below(self.process.pid)
        assert children
        started = trio.current_time()
        self.process.send_signal(number)
        with trio.fail_after(END_SECONDS):
            status = await self.process.wait()
        left = END_SECONDS - (trio.current_time() - started)
        assert not await trio.to_thread.run_sync(wait_until_gone, children, left)
        return status


@asynccontextmanager
async def started(folder: Path, feed: Path) -> AsyncIterator[Started]:
    with (folder / "errors").open("w") as errors:
        process = await trio.lowlevel.open_process(
            [
                *(*COMMAND, "testnet", "--port", "0"),
                *("--feed", str(feed), "--dir", str(folder / "net")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            yield Started(process)
        finally:
            process.kill()
            await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()
    assert (folder / "errors").read_text() == ""


async def test_it_ends_at_any_moment_and_can_be_started_again(tmp_path: Path) -> None:
    feed = make_feed(tmp_path / "feed")
    async with started(tmp_path, feed) as testnet:
        await testnet.has_children(1)
        assert await testnet.ends(signal.SIGINT) == 130
    async with started(tmp_path, feed) as testnet:
        await testnet.has_children(PROCESSES)
        assert await testnet.ends(signal.SIGKILL) == -signal.SIGKILL
    async with started(tmp_path, feed) as testnet:
        await testnet.says("is audited by")
        assert len(processes_below(testnet.process.pid)) == PROCESSES
        assert await testnet.ends(signal.SIGTERM) == 143
    async with started(tmp_path, feed) as testnet:
        await testnet.says(" audits (")
        assert await testnet.ends(signal.SIGINT) == 130
    async with started(tmp_path, feed) as testnet:
        # Audits were missed meanwhile, two in a row by each attestor: that must not drain them.
        await testnet.says(": Passed (")
        assert await testnet.ends(signal.SIGINT) == 130


async def test_a_process_that_ends_by_itself_ends_the_testnet(tmp_path: Path) -> None:
    feed = make_feed(tmp_path / "feed")
    folder = tmp_path / "net"
    command = ("testnet", "--port", "0", "--feed", feed, "--dir", folder)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kill_attestor, folder)
        status, _output, errors = await trio.to_thread.run_sync(datdot, *command)
    assert status == 1
    log = folder / "logs" / "attestor-2.log"
    assert errors == f"datdot: The process attestor-2 ended with status -9; see {log}.\n"


async def kill_attestor(folder: Path) -> None:
    wanted = str(folder / "attestor-2" / "attestor.toml").encode()
    with trio.fail_after(STEP_SECONDS):
        while True:
            for pid in processes_below(os.getpid()):
                try:
                    if wanted in Path("/proc", str(pid), "cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)
                        return
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it ended meanwhile
            await trio.sleep(0.05)
