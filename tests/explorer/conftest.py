"""Histories of whole challenges, made once by the harness."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from challenge_world import open_world, run_world
from scripted import SCRIPTS

from chain_types.records import ReportRecord
from offchain_worker.chain.client import ChainClient, Snapshot
from offchain_worker.explorer.history import History, read_history


@dataclass(frozen=True)
class Told:
    """What the explorer reads of one challenge."""

    history: History
    snapshot: Snapshot
    reports: dict[bytes, ReportRecord]


async def read(client: ChainClient, challenge: int) -> Told:
    snapshot = await client.challenge(challenge)
    assert snapshot is not None
    history = await read_history(client, challenge)
    return Told(history, snapshot, await client.reports(challenge))


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """Settled challenges by name: two of real attestors, and one for each script.

    The former, one that failed and one that passed, are drawn in one block out of seven attestors,
    five and two of which have room for both. In the one that passes an attestor does not report,
    and a fellow closes it.
    """

    async def tell() -> dict[str, Told]:
        found = {}
        async with open_world(tmp_path_factory.mktemp("world"), attestors=7) as world:
            # Who is full after the first challenge is not in the list for the second.
            world.attestors[5].capacity = world.attestors[6].capacity = 1
            await world.hire(hosters=2)
            await world.anchored(0)
            snapshot = await world.anchored(1)
            # The later of the two, which have been drawn in one block, passes.
            (failing,) = (
                hoster
                for hoster in world.hosters
                if hoster.account.public != snapshot.challenge.hoster
            )
            failing.stop()
            world.by_account(snapshot.challenge.roster[0].account).stop()
            for challenge, name in ((0, "failed"), (1, "passed")):
                await world.settled(challenge)
                found[name] = await read(world.client, challenge)
        return found

    result: dict[str, Told] = run_world(tell)
    for name, script in SCRIPTS.items():
        result[name] = script().read(partial(read, challenge=0))
    return result


@pytest.fixture(scope="session")
def passed(told: dict[str, Told]) -> History:
    return told["passed"].history


@pytest.fixture(scope="session")
def failed(told: dict[str, Told]) -> History:
    return told["failed"].history
