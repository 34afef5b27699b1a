"""The testnet's timing: the specification's at 500 ms, workable at every block time."""

from __future__ import annotations

import pytest

from offchain_worker.testnet.genesis import timing
from offchain_worker.testnet.native import finality_ms

SPECIFIED = {
    "blockMs": 500,
    "joinMs": 1_500,
    "deltaMs": 200,
    "finalityMs": 0,
    "flipMs": 5_000,
    "commitMs": 2_000,
    "commitBlocks": 4,
    "windowMs": 15_000,
    "tailMs": 3_000,
    "chunkTimeoutMs": 1_000,
    "graceBlocks": 12,
    "demandBlocks": 12,
    "attestors": 5,
    "minActive": 4,
    "chunks": 100,
    "proved": 32,
    "clockToleranceMs": 2_000,
    "poolFactor": 1,
    "minAge": 1,
    "schedule": "uniform",
}


def test_at_500_ms_it_is_that_of_the_specification() -> None:
    assert timing(attestors=5, hosters=2, block_ms=500) == SPECIFIED


@pytest.mark.parametrize("hosters", [1, 2, 3, 64])
@pytest.mark.parametrize("block_ms", [200, 500, 1_000, 2_000, 6_000])
def test_there_is_room_for_flip_fallback_and_audits(block_ms: int, hosters: int) -> None:
    values = timing(attestors=4, hosters=hosters, block_ms=block_ms)
    assert values["flipMs"] >= values["joinMs"] + 12 * values["deltaMs"] + 2 * block_ms
    moments_from = values["flipMs"] + values["commitMs"] + 5 * block_ms
    assert values["windowMs"] >= moments_from + values["tailMs"] + 500


@pytest.mark.parametrize("block_ms", [500, 1_000, 2_000])
def test_what_begins_with_a_block_begins_when_it_is_final(block_ms: int) -> None:
    late = finality_ms(block_ms)
    at_once = timing(attestors=5, block_ms=block_ms)
    values = timing(attestors=5, block_ms=block_ms, finality_ms=late)
    assert values["finalityMs"] == late
    assert values["joinMs"] == at_once["joinMs"] + late
    # R, anchored in time, is final before the first moment.
    assert values["flipMs"] >= values["joinMs"] + 12 * values["deltaMs"] + 2 * block_ms + late
    # Commits to a fallback begin when its block is final, and have as long as without.
    assert values["commitBlocks"] * block_ms >= at_once["commitMs"] + late
    assert values["commitMs"] == values["commitBlocks"] * block_ms
    assert values["clockToleranceMs"] >= late
    moments_from = values["flipMs"] + values["commitMs"] + 5 * block_ms
    assert values["windowMs"] >= moments_from + values["tailMs"] + 500
    # Reports still come in time after a minute without finality.
    assert (values["graceBlocks"] - at_once["graceBlocks"]) * block_ms >= 60_000
    assert values["demandBlocks"] == values["graceBlocks"]
