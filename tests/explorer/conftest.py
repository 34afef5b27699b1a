"""Histories of whole challenges, made once by the harness."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from challenge_world import open_world, run_world

from chain_types.records import ReportRecord
from offchain_worker.chain.client import Snapshot
from offchain_worker.explorer.history import History, read_history


@dataclass(frozen=True)
class Told:
    """What the explorer reads of one challenge."""

    history: History
    snapshot: Snapshot
    reports: dict[bytes, ReportRecord]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """Three settled challenges: a Void one, and one that failed and one that passed.

    The latter two are drawn in one block out of seven attestors, five and two of which have room
    for both. In the one that passes an attestor does not report, and a fellow closes it.
    """

    async def tell() -> dict[str, Told]:
        found = {}
        async with open_world(tmp_path_factory.mktemp("world"), attestors=7) as world:
            # Who is full after the first challenge is not in the list for the second.
            world.attestors[5].capacity = world.attestors[6].capacity = 1
            await world.hire(hosters=2)
            rosters = [
                {member.account for member in (await world.started(challenge)).challenge.roster}
                for challenge in (0, 1)
            ]
            missing = world.by_account(min(rosters[0] & rosters[1]))
            missing.stop()
            await world.settled(1)
            await missing.start()
            await world.anchored(2)
            snapshot = await world.anchored(3)
            # The later of the two, which have been drawn in one block, passes.
            (failing,) = (
                hoster
                for hoster in world.hosters
                if hoster.account.public != snapshot.challenge.hoster
            )
            failing.stop()
            world.by_account(snapshot.challenge.roster[0].account).stop()
            for challenge, name in ((1, "void"), (2, "failed"), (3, "passed")):
                settled = await world.settled(challenge)
                history = await read_history(world.client, challenge)
                reports = await world.client.reports(challenge)
                found[name] = Told(history, settled, reports)
        return found

    result: dict[str, Told] = run_world(tell)
    return result


@pytest.fixture(scope="session")
def passed(told: dict[str, Told]) -> History:
    return told["passed"].history


@pytest.fixture(scope="session")
def failed(told: dict[str, Told]) -> History:
    return told["failed"].history


@pytest.fixture(scope="session")
def void(told: dict[str, Told]) -> History:
    return told["void"].history
