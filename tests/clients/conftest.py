"""A node of its own for the clients of other people."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def node_url() -> Iterator[str]:
    """`datdot node` in memory on a free port."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "offchain_worker.cli", "node", "--port", "0"),
            *("--log", "json", "--until-stdin-closes"),
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        entries = (json.loads(line) for line in process.stderr)
        ready = next(entry for entry in entries if entry["event"] == "node_ready")
        try:
            yield ready["url"]
        finally:
            process.stdin.close()
            process.stderr.close()
            process.wait(10)
