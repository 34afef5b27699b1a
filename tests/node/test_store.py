"""A chain's folder: goes on after a restart and after kill -9, one process at a time."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datdot_node import Chain
from datdot_node.errors import BadStore, ChainLocked

MAKE_BLOCKS = """
import sys
from pathlib import Path
from datdot_node import Chain
with Chain.open(Path(sys.argv[1])) as chain:
    while True:
        block = chain.new_block()
        print(block.number, block.hash.hex(), flush=True)
"""


def test_a_chain_goes_on(tmp_path: Path, clock: Any, wallet: Any) -> None:
    with Chain.open(tmp_path / "chain", clock=clock) as chain:
        chain.submit(wallet.transfer(0))
        chain.new_block()
        chain.travel(5_000)
        chain.new_block()
        head, balances = chain.head, [wallet.free(chain, wallet.bob, at) for at in (0, 1, 2)]
    with Chain.open(tmp_path / "chain", clock=clock) as chain:
        assert chain.head == head
        assert chain.now_ms() == clock.ms + 5_000
        assert [wallet.free(chain, wallet.bob, at) for at in (0, 1, 2)] == balances
        chain.submit(wallet.transfer(1))
        assert len(chain.new_block().extrinsics) == 2
        for number in (1, 2, 3):
            chain.replay(number)


def test_after_kill_9_it_goes_on_with_the_last_block(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAKE_BLOCKS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline().split() for _ in range(20)]
        with pytest.raises(ChainLocked, match="another process"):
            Chain.open(tmp_path)
        os.kill(process.pid, signal.SIGKILL)
        seen += [line.split() for line in process.stdout.read().splitlines()]
    with Chain.open(tmp_path) as chain:
        assert chain.head.number >= len(seen) - 1
        for number, block_hash in seen:
            assert chain.hash(int(number)).hex() == block_hash
        chain.replay()
        chain.new_block()
        chain.replay()


def test_a_folder_is_free_after_a_failed_start(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="preset"):
        Chain.open(tmp_path, preset="none")
    Chain.open(tmp_path).close()


def test_another_genesis_is_refused(tmp_path: Path) -> None:
    Chain.open(tmp_path).close()
    with pytest.raises(BadStore, match="another genesis"):
        Chain.open(tmp_path, genesis_patch={"sudo": {"key": None}})


def _alter_state(database: sqlite3.Connection) -> None:
    database.execute("UPDATE state SET value = x'00' WHERE key = x'3a636f6465'")


def _alter_type(database: sqlite3.Connection) -> None:
    database.execute("UPDATE block SET header = substr(header, 2) WHERE number = 1")


def _raise_format(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_alter_state, "not that of block 1"),
        (_alter_type, "damaged"),
        (_raise_format, "format 99"),
    ],
)
def test_a_damaged_store_is_refused(
    tmp_path: Path, damage: Callable[[sqlite3.Connection], None], message: str
) -> None:
    with Chain.open(tmp_path) as chain:
        chain.new_block()
    database = sqlite3.connect(tmp_path / "chain.sqlite")
    with database:
        damage(database)
    database.close()
    with pytest.raises(BadStore, match=message):
        Chain.open(tmp_path)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chain.sqlite").write_bytes(b"no database, this" * 100)
    with pytest.raises(BadStore, match="holds no chain"):
        Chain.open(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadStore, match="cannot use"):
        Chain.open(tmp_path / "file")
