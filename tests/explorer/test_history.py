"""What the chain tells of a challenge while it runs, and what of one that is read as a whole."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from scripted import Script

from chain_types.records import Committing, OpenChallenge, Stage
from offchain_worker.chain.client import ChainClient, Snapshot
from offchain_worker.errors import OperationError
from offchain_worker.explorer.history import History, read_history
from offchain_worker.explorer.show import stage_name


async def look(client: ChainClient, account: bytes) -> tuple[Snapshot, tuple[OpenChallenge, ...]]:
    snapshot = await client.challenge(0)
    assert snapshot is not None
    return snapshot, await client.open_challenges(account)


def test_a_fallback_while_commitments_are_taken() -> None:
    script = Script.begin()
    script.expel(4)
    snapshot, _ = script.read(partial(look, account=script.members[0].account.public))
    assert [expulsion.place for expulsion in snapshot.expulsions] == [4]
    (fraud,) = snapshot.frauds.values()
    assert fraud.offender == script.members[4].account.public
    assert (snapshot.fallback, snapshot.flip) == (None, None)
    script.until(script.challenge.flip_end_ms)
    opened, opened_ms = script.world.chain.head.number, script.world.chain.timestamp()
    script.commit((2,))
    snapshot, open_ones = script.read(partial(look, account=script.members[2].account.public))
    stage: Stage = Committing(since=opened, opened_ms=opened_ms)
    assert open_ones == (OpenChallenge(0, 2, stage, reported=False),)
    assert snapshot.challenge.stage == stage
    assert stage_name(stage) == "Commit"
    assert snapshot.fallback is not None
    assert snapshot.fallback.places == (0, 1, 2, 3)
    assert snapshot.fallback.missing == (0, 1, 3)
    with pytest.raises(OperationError, match="Challenge 0 is still open"):
        script.read(partial(read_history, challenge_id=0))
    with pytest.raises(OperationError, match="no challenge 7"):
        script.read(partial(read_history, challenge_id=7))


def test_a_history_has_what_happened_in_its_order(told: dict[str, Any]) -> None:
    retried: History = told["retried"].history
    order = [(one.block, one.position) for one in retried.accusations]
    assert order == sorted(order)
    assert [one.bond > 0 for one in retried.accusations] == [True, False, True, True]
    assert retried.accusations[2].block < retried.closing.block < retried.accusations[3].block
    fell_back: History = told["fell_back"].history
    assert fell_back.falling_back is not None
    assert fell_back.anchoring is None
    blocks = [one.block for one in fell_back.falling_back.commitments]
    assert blocks == sorted(blocks)
    assert fell_back.falling_back.opened_block < blocks[0]
    assert fell_back.falling_back.opened_ms >= fell_back.snapshot.challenge.flip_end_ms
    assert told["dissolved"].history.falling_back is None
