"""The node by itself: its commands, and the worker's client against one validator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND_SECONDS = 60.0
TESTS_SECONDS = 600.0
NOBODY = bytes(32).hex()


def run(program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def test_what_runs_on_either_chain_runs_on_this_one(development_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/integration"],
        cwd=ROOT,
        env={**os.environ, "DATDOT_NODE": development_url},
        capture_output=True,
        text=True,
        timeout=TESTS_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_production_template_runs_only_when_it_was_completed(
    datdot_node: Path, tmp_path: Path
) -> None:
    arguments = ("--chain", "production", "--base-path", tmp_path, "--rpc-port", "0", "--no-mdns")
    done = run(datdot_node, *arguments)
    assert done.returncode == 1
    assert done.stderr == (
        "datdot-node: The node cannot run: the production chain is a template; export it, complete "
        "it, give it an id of its own, and name that file with --chain.\n"
    )
    spec = json.loads(run(datdot_node, "export-chain-spec", "--chain", "production").stdout)
    assert spec["chainType"] == "Live"
    patch = spec["genesis"]["runtimeGenesis"]["patch"]
    assert patch["sudo"] == {"key": None}
    assert patch["balances"] == {"balances": []}


def test_a_validator_without_a_node_key_is_told_how_to_make_one(
    datdot_node: Path, tmp_path: Path
) -> None:
    done = run(datdot_node, "--alice", "--base-path", tmp_path, "--rpc-port", "0", "--no-mdns")
    assert done.returncode == 1
    assert done.stderr.startswith("datdot-node: A validator needs a node key that stays the same;")
    assert done.stderr.count("\n") == 1


def test_session_keys_are_inserted_and_a_database_is_purged(
    datdot_node: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"0x{NOBODY}")
    where = ("--chain", "local", "--base-path", tmp_path / "node")
    key = ("--scheme", "sr25519", "--key-type", "aura", "--suri", secret)
    assert run(datdot_node, "key", "insert", *where, *key).returncode == 0
    (file,) = (tmp_path / "node/chains/datdot-local/keystore").iterdir()
    assert file.name.startswith(b"aura".hex())

    database = tmp_path / "node/chains/datdot-local/paritydb"
    database.mkdir()
    assert run(datdot_node, "purge-chain", "-y", *where).returncode == 0
    assert not database.exists()


def test_a_chain_that_cannot_be_read_is_one_sentence(datdot_node: Path, tmp_path: Path) -> None:
    done = run(datdot_node, "--chain", tmp_path / "none.json", "--base-path", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("datdot-node: The node cannot run: Error opening spec file")
    assert done.stderr.count("\n") == 1
