"""The compiled runtime, called through the embedded chain, for all tests of this folder."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from compiled_rules import CompiledRules

from datdot_node import Chain


@pytest.fixture(scope="session")
def chain_rules() -> Iterator[CompiledRules]:
    """The rules as the committed runtime applies them."""
    with Chain.open() as chain:
        yield CompiledRules(chain.call)
