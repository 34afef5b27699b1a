"""The packaged runtime, executed by the embedded chain."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chain_types.metadata import Metadata, decode_metadata
from chain_types.runtime import Runtime, RuntimeVersion
from chain_types.scale import Bytes
from datdot_node import Chain
from datdot_node.rpc import views

# Makes the modules that only tests use importable by name.
sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))


@pytest.fixture(scope="session")
def chain() -> Iterator[Chain]:
    with Chain.open() as opened:
        yield opened


@pytest.fixture(scope="session")
def metadata(chain: Chain) -> Metadata:
    return decode_metadata(Bytes(2**24).decode(chain.call("Metadata_metadata")))


@pytest.fixture(scope="session")
def runtime(chain: Chain, metadata: Metadata) -> Runtime:
    version = views.runtime_version(chain.call("Core_version"))
    words = RuntimeVersion(
        version["specName"], version["specVersion"], version["transactionVersion"]
    )
    return Runtime(metadata, words)
