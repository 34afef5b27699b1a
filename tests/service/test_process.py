"""A process ends on signals and with its parent, with the status that a shell expects."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys, trio
from offchain_worker.service.process import run_process

async def main():
    try:
        print("ready", flush=True)
        await trio.sleep_forever()
    finally:
        print("ended in order", flush=True)

sys.exit(run_process(main, until_stdin_closes=True))
"""


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_order(number: signal.Signals, status: int) -> None:
    with start() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "ended in order\n"
        assert process.wait(10) == status


def test_it_ends_with_its_parent() -> None:
    with start() as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.close()
        assert process.stdout.read() == "ended in order\n"
        assert process.wait(10) == 143
