"""The chain to test against: that of `DATDOT_NODE=ws://…`, or an embedded one in this process.

Any development chain will do on which //Alice has money; what a test registers there is its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

sys.path.insert(0, str(Path(__file__).parent))

from bank import Bank

from datdot_node import main
from offchain_worker.chain.client import ChainClient, open_chain


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The JSON-RPC address of the chain."""
    given = os.environ.get("DATDOT_NODE")
    if given:
        yield given
        return
    async with trio.open_nursery() as nursery:
        port = await nursery.start(lambda **status: main.run(None, port=0, **status))
        yield f"ws://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


@pytest.fixture
async def chain(url: str, tmp_path: Path) -> AsyncIterator[ChainClient]:
    """A client of the chain."""
    async with open_chain(url, journal=tmp_path / "transactions.sqlite") as client:
        yield client


@pytest.fixture
def bank(chain: ChainClient) -> Bank:
    """Gives money to new accounts."""
    return Bank(chain)
