"""Running commands in this process, as `datdot` does, with an own node where one is needed."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

sys.path.insert(0, str(Path(__file__).parent))

from ended import Datdot, Ended

from datdot_node import main as node
from datdot_node.node import Mode
from offchain_worker.chain.accounts import Account
from offchain_worker.cli import main
from offchain_worker.service.keyfiles import KeyKind, write_key
from offchain_worker.testnet.genesis import genesis_patch

NAMES = ("sponsor", "hoster", "attestor")


@pytest.fixture
def datdot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Datdot]:
    """Run a command with the given arguments."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["datdot", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return Ended(int(ended.value.code or 0), written.out, written.err)

    # The node of `url`, a thread of this process, may log before the command says where to.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield run
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Account key files, by name."""
    folder = tmp_path_factory.mktemp("keys")
    found = {}
    for number, name in enumerate(NAMES):
        found[name] = folder / f"{name}.json"
        write_key(found[name], KeyKind.ACCOUNT, bytes([number + 1]) * 32)
    return found


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """A node with a block for each transaction, in a thread; the accounts of `keys` have money."""
    accounts = [Account.from_seed(bytes([number + 1]) * 32).public for number in range(len(NAMES))]
    patch = genesis_patch(accounts, attestors=5, block_ms=500)
    started = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            found["token"], found["scope"] = (
                trio.lowlevel.current_trio_token(),
                nursery.cancel_scope,
            )
            found["port"] = await nursery.start(
                lambda **status: node.run(
                    None, port=0, mode=Mode.INSTANT, genesis_patch=patch, **status
                )
            )
            started.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        assert started.wait(60)
        yield f"ws://127.0.0.1:{found['port']}"
    finally:
        found["token"].run_sync_soon(found["scope"].cancel)
        thread.join()


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
