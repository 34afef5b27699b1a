"""The three ways to make R from the numbers, in whole runs (coinflip.md §6)."""

from __future__ import annotations

import pytest

from offchain_worker.coinflip.commitments import Magic, hash_concat, xor, xor_hash
from offchain_worker.coinflip.effects import Success
from offchain_worker.coinflip.envelope import Kind
from offchain_worker.simulation.chain import Anchored
from offchain_worker.simulation.scenario import Scenario
from offchain_worker.simulation.world import World


@pytest.mark.parametrize("magic", [hash_concat, xor_hash, xor])
def test_a_run_gives_all_members_and_the_chain_what_the_magic_says(magic: Magic) -> None:
    world = World(Scenario(seed=3, size=4, live=True, calm=True, magic=magic))
    verdict = world.run().verdict
    assert isinstance(verdict, Anchored)
    records = [seat.disk.records(verdict.topic) for seat in world.honest_seats]
    numbers = [record[Kind.REVEAL].envelope[67:99] for record in records]
    assert verdict.result == magic(verdict.topic, verdict.root, numbers)
    assert {seat.outcomes[0] for seat in world.honest_seats} == {
        Success(verdict.result, verdict.root)
    }


def test_only_the_bare_xor_forgets_topic_and_root() -> None:
    """And in both of them equal numbers cancel: two pairs of friends decide nothing together."""
    numbers = [b"a" * 32, b"b" * 32, b"b" * 32, b"a" * 32]
    assert xor(b"t", b"r", numbers) == xor(b"u", b"s", numbers) == bytes(32)
    assert xor_hash(b"t", b"r", numbers) != xor_hash(b"u", b"s", numbers)
    assert xor_hash(b"t", b"r", numbers) == xor_hash(b"t", b"r", [])
    assert hash_concat(b"t", b"r", numbers) != hash_concat(b"t", b"r", [])
