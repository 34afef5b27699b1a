"""subxt, in Rust, against `datdot node`: reads, signs and watches by each of its backends.

`make clients` runs this folder. The client's crates are built into a target folder of their own,
which takes minutes the first time; without cargo there is nothing to build them with.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENT = Path(__file__).parent / "subxt"
GENESIS_ACCOUNTS = 12
"""At least so many: those of the preset and their stashes."""


@pytest.fixture(scope="module")
def client() -> Path:
    """The client's executable."""
    if shutil.which("cargo") is None:
        pytest.skip("cargo is missing: the subxt client cannot be built")
    default = Path.home() / ".cache" / "datdot" / "target"
    target = Path(os.environ.get("CARGO_TARGET_DIR", default)) / "subxt"
    built = subprocess.run(
        ["cargo", "build", "--locked", "--quiet"],
        cwd=CLIENT,
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return target / "debug" / "datdot-subxt-client"


@pytest.mark.parametrize("backend", ["legacy", "chainHead"])
def test_subxt_reads_signs_and_watches(client: Path, node_url: str, backend: str) -> None:
    ended = subprocess.run(
        [client, node_url, backend],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    steps = {line["step"]: line for line in map(json.loads, ended.stdout.splitlines())}

    assert steps["connected"]["genesis"].startswith("0x")
    assert steps["read"]["block_ms"] == 500
    assert int(steps["read"]["deposit"]) > 0
    assert steps["read"]["accounts"] >= GENESIS_ACCOUNTS
    assert steps["transfer"]["statuses"][-1] == "finalized"
    assert {"validated", "in a block"} & set(steps["transfer"]["statuses"])
    assert "Balances.Transfer" in steps["transfer"]["events"]
    assert steps["transfer"]["events"][-1] == "System.ExtrinsicSuccess"
    assert steps["transfer"]["units"] == 3
    assert steps["transfer"]["sent"] == 1
    assert "Inability to pay some fees" in steps["refused"]["message"]
    numbers = steps["watched"]["numbers"]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
