"""A node that is killed at any statement to its database goes on with a whole chain."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datdot_node import Chain

WRITER = """
import os, signal, sys
from pathlib import Path
from datdot_node import Chain

chain = Chain.open(Path(sys.argv[1]), finality_lag=3, kept_states=4)
print(chain.head.number, flush=True)
left = int(sys.argv[2])

def statement(text):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

chain._store._db.set_trace_callback(statement)
chain.new_block()
chain.fast_forward(chain.timestamp() + 2 * chain.slot_ms)
chain.reorganise(2)
chain.travel(1000)
chain.new_block()
chain._store._db.set_trace_callback(None)
print("done", chain.head.number, flush=True)
chain.close()
"""


def write(folder: Path, kill_at: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", WRITER, str(folder), str(kill_at)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("first", range(0, 60, 6))
def test_killed_at_a_statement(tmp_path: Path, first: int) -> None:
    """Six kills one after the other on one chain, each a statement later than the last."""
    number = 0
    for kill_at in range(first + 1, first + 7):
        process = write(tmp_path, kill_at)
        assert process.returncode == -signal.SIGKILL, process.stderr
        assert int(process.stdout.split()[0]) == number
        with Chain.open(tmp_path, finality_lag=3, kept_states=4) as chain:
            assert chain.head.number >= number - 2
            chain.verify()
            number = chain.head.number
            assert chain.finalized.number <= number


def test_not_killed_it_comes_to_its_end(tmp_path: Path) -> None:
    process = write(tmp_path, 0)
    assert process.returncode == 0, process.stderr
    assert process.stdout.split()[1] == "done"
    with Chain.open(tmp_path, finality_lag=3) as chain:
        chain.verify()
