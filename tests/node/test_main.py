"""The node as a process: ready line, kill -9, one process per folder, port in use."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from substrateinterface import SubstrateInterface

NODE = """
import sys
from pathlib import Path
import trio
from datdot_node.errors import NodeError
from datdot_node.main import run
try:
    trio.run(lambda: run(Path(sys.argv[1]), port=int(sys.argv[2]), ready_line=True))
except NodeError as error:
    sys.exit(str(error))
"""


@contextmanager
def node(directory: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    with subprocess.Popen(
        [sys.executable, "-c", NODE, str(directory), str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            ready = next(line for line in process.stdout if line.startswith('{"event":"ready"'))
            yield process, json.loads(ready)
        finally:
            process.kill()


def failed(directory: Path, port: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", NODE, str(directory), str(port)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]


def test_killed_it_goes_on(tmp_path: Path) -> None:
    with node(tmp_path) as (process, first):
        with SubstrateInterface(url=first["url"]) as substrate:

            def third(head: dict[str, Any], count: int, subscription: str) -> str | None:
                return head["header"]["parentHash"] if count == 3 else None

            seen = substrate.subscribe_block_headers(third, finalized_only=True)
        assert failed(tmp_path) == f"another process runs the chain in {tmp_path}"
        untouched = tmp_path / "other"
        assert failed(untouched, first["port"]) == (f"port {first['port']} on 127.0.0.1 is in use")
        assert not untouched.exists()
        process.kill()
    with node(tmp_path) as (_, second):
        assert second["genesis"] == first["genesis"]
        assert second["head"] >= 2
        with SubstrateInterface(url=second["url"]) as substrate:
            assert substrate.get_block_number(seen) is not None
