"""The native node's program, and a development chain on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "e2e")]

START_SECONDS = 60.0
END_SECONDS = 20.0
LISTENING = re.compile(r"Running JSON-RPC server: addr=(127\.0\.0\.1:\d+)")


@pytest.fixture(scope="session")
def datdot_node() -> Path:
    """The program that `make native-node` builds, or the one of DATDOT_NATIVE_NODE."""
    target = os.environ.get("CARGO_TARGET_DIR", str(Path.home() / ".cache/datdot/target"))
    built = Path(target, "native-node/release/datdot-node")
    path = Path(os.environ.get("DATDOT_NATIVE_NODE", built))
    if not path.exists():
        pytest.skip(f"the native node is missing ({path}): `make native-node` builds it")
    return path


@pytest.fixture
def development_url(datdot_node: Path, tmp_path: Path) -> Iterator[str]:
    """A new chain with one validator; it ends when its standard input is closed."""
    with subprocess.Popen(
        [
            *(datdot_node, "--dev", "--base-path", tmp_path / "dev", "--rpc-port", "0"),
            *("--no-prometheus", "--no-telemetry", "--until-stdin-closes"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        try:
            lines: list[str] = []
            for line in process.stderr:
                lines.append(line)
                if found := LISTENING.search(line):
                    break
            else:
                raise AssertionError("the node did not start:\n" + "".join(lines))
            watchdog.cancel()
            reader = threading.Thread(target=process.stderr.read)
            reader.start()
            yield f"ws://{found[1]}"
            process.stdin.close()
            assert process.wait(END_SECONDS) == 0
            reader.join()
        finally:
            watchdog.cancel()
            process.kill()
