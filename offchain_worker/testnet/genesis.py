"""The genesis of a local testnet: who has money, and how long everything takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chain_types.ss58 import ss58_encode

UNIT = 10**12
ENDOWMENT = 1_000_000 * UNIT
ROSTER = 5
JOIN_MS = 1_000
DELTA_MS = 200
HOSTERS_AT_ONCE = 2
TAIL_MS = 3_000
STALL_MS = 90_000
"""How long finality may stall, where it takes time, without a report or an answer coming late."""


def genesis_patch(
    accounts: Iterable[bytes],
    *,
    attestors: int,
    hosters: int = 2,
    block_ms: int,
    finality_ms: int = 0,
) -> dict[str, Any]:
    """What is merged into the runtime's development genesis.

    Args:
        accounts: 32-byte ids; each gets the endowment.
        attestors: how many there are; a roster has at most five.
        hosters: how many there are, each with a challenge at the same time.
        block_ms: time between two blocks.
        finality_ms: from a block to its finality, at most.
    """
    return {
        "balances": {"balances": [[ss58_encode(account), ENDOWMENT] for account in accounts]},
        "providers": {"allowPrivateEndpoints": True},
        "performance": {
            "timing": timing(
                attestors=attestors, hosters=hosters, block_ms=block_ms, finality_ms=finality_ms
            )
        },
    }


def timing(
    *, attestors: int, hosters: int = 2, block_ms: int, finality_ms: int = 0
) -> dict[str, Any]:
    """The development values of challenge.md §2.2, stretched where there is more to do.

    At 500 ms and two hosters they are exactly those of the specification. More hosters have as many
    coinflips at once, all on one machine, so each step of them gets more time. Workers hear of a
    block when it is final, so each step that begins with a block gets the time until then: joining
    a coinflip, auditing after R was fixed, committing to a fallback.
    """
    roster = min(attestors, ROSTER)
    load = max(1, -(-hosters // HOSTERS_AT_ONCE))
    join_ms = JOIN_MS * load + block_ms + finality_ms
    delta_ms = DELTA_MS * load
    flip_ms = join_ms + 12 * delta_ms + 2 * block_ms + 100 + finality_ms
    commit_blocks = 4 + -(-finality_ms // block_ms)
    # Room for a fallback flip (commits, and five blocks around them) and two seconds of moments.
    grace_blocks = 12 + (-(-STALL_MS // block_ms) if finality_ms else 0)
    window_ms = flip_ms + (commit_blocks + 5) * block_ms + TAIL_MS + 2_500
    return {
        "blockMs": block_ms,
        "joinMs": join_ms,
        "deltaMs": delta_ms,
        "finalityMs": finality_ms,
        "flipMs": flip_ms,
        "commitMs": commit_blocks * block_ms,
        "commitBlocks": commit_blocks,
        "windowMs": window_ms,
        "tailMs": TAIL_MS,
        "chunkTimeoutMs": 1_000,
        "graceBlocks": grace_blocks,
        "demandBlocks": grace_blocks,
        "attestors": roster,
        "minActive": max(1, roster - 1),
        "chunks": 100,
        "proved": 32,
        # Moments that a fallback puts right after its own block are not late for it.
        "clockToleranceMs": 2_000 + finality_ms,
        "poolFactor": 1,
        "minAge": 1,
        "schedule": "uniform",
    }
