"""A testnet inside a test: processes that come and go, and what the chain says meanwhile."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from e2e_commands import FEED_BYTES, make_feed

from chain_types import storage
from chain_types.records import Challenge, Closed, FailedRecord, Settlement, Verdict
from chain_types.report import Reason
from offchain_worker.attestor.context import report_context
from offchain_worker.chain.client import Snapshot
from offchain_worker.coinflip.journal import Journal
from offchain_worker.explorer.history import read_history
from offchain_worker.explorer.verify import verify_history
from offchain_worker.testnet.layout import Layout, open_layout
from offchain_worker.testnet.testnet import Testnet as Network
from offchain_worker.testnet.testnet import open_testnet

START_SECONDS = 90.0
STEP_SECONDS = 90.0
"""More than a whole challenge on a busy machine."""


@asynccontextmanager
async def open_network(
    folder: Path,
    *,
    hosters: int,
    faults: Mapping[str, str] | None = None,
    feed_bytes: int = FEED_BYTES,
    ipv6: bool = False,
    native: Path | None = None,
    configure: Callable[[Layout], None] = lambda _: None,
) -> AsyncIterator[Network]:
    """A testnet of five attestors in a new folder, with its hostings offered; without readers.

    On validators, if the program `datdot-node` is given.
    """
    layout = open_layout(
        folder / "net",
        attestors=5,
        hosters=hosters,
        block_ms=None,
        port=0,
        readers=0,
        ipv6=ipv6,
        native=native is not None,
    )
    configure(layout)
    feed = make_feed(folder / "feed", feed_bytes)
    with trio.fail_after(START_SECONDS) as starting:
        async with open_testnet(layout, feed, hear=print, faults=faults, native=native) as network:
            starting.deadline = float("inf")
            yield network


async def until(
    network: Network, hoster: str, nth: int, holds: Callable[[Snapshot], bool]
) -> Snapshot:
    """Wait until the n-th challenge of a hoster, from 0, is as it should be; returns it.

    One whose coinflip was too slow for a busy machine does not count; the next takes its place.
    """
    account = network.accounts[hoster].public
    heads = network.client.heads()
    try:
        with trio.fail_after(STEP_SECONDS):
            async for head in heads:
                numbers = await challenges_of(network, account, head.hash)
                if len(numbers) > nth:
                    snapshot = await network.client.challenge(numbers[nth], at=head.hash)
                    if snapshot is not None and holds(snapshot):
                        return snapshot
    finally:
        heads.close()
    raise AssertionError("the heads ended")


async def challenges_of(network: Network, hoster: bytes, at: bytes) -> list[int]:
    """The challenges of a hoster that are not void, in their order."""
    found = []
    for number in range(await network.client.read(storage.NEXT_CHALLENGE, at=at)):
        challenge = await network.client.read(storage.CHALLENGES, number, at=at)
        if challenge is not None and challenge.hoster == hoster:
            stage = challenge.stage
            if not (isinstance(stage, Closed) and stage.outcome is Verdict.VOID):
                found.append(number)
    return found


def anchored(snapshot: Snapshot) -> bool:
    """Its randomness is fixed."""
    return snapshot.flip is not None


def closed(snapshot: Snapshot) -> bool:
    """It is settled."""
    return isinstance(snapshot.challenge.stage, Closed)


def settlement_of(snapshot: Snapshot) -> Settlement:
    """How it was settled."""
    assert snapshot.settlement is not None
    return snapshot.settlement


async def reasons(network: Network, snapshot: Snapshot) -> dict[str, Reason | None]:
    """What the attestors reported, by name: why it failed, None where it was served."""
    return {
        network.names[account]: record.outcome.reason
        if isinstance(record.outcome, FailedRecord)
        else None
        for account, record in (await network.client.reports(snapshot.id)).items()
    }


async def holds(network: Network, snapshot: Snapshot) -> None:
    """Recompute a settled challenge from chain data."""
    assert list(verify_history(await read_history(network.client, snapshot.id)))


def moment(network: Network, snapshot: Snapshot, attestor: str) -> int:
    """The audit moment of an attestor, by the secrets in its journal, ms since 1970."""
    challenge, flip = snapshot.challenge, snapshot.flip
    assert flip is not None
    account = network.accounts[attestor].public
    index = index_of(challenge, account)
    journal = network.layout.root / attestor / "state" / "journal.sqlite"
    with Journal.open(journal, now_ms=0) as opened:
        secrets = opened.secrets(flip.topic)
    assert secrets is not None
    return report_context(challenge, flip, account, index).moment(secrets.w)


def index_of(challenge: Challenge, account: bytes) -> int:
    """The place of an account in the roster."""
    index = challenge.index_of(account)
    assert index is not None
    return index


def log_of(network: Network, process: str) -> list[dict[str, Any]]:
    """The log of a process, from its first start on."""
    lines = (network.layout.logs / f"{process}.log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def events_of(network: Network, process: str, challenge: int) -> list[str]:
    """The log's events about a challenge, with the starts of the process."""
    return [
        entry["event"]
        for entry in log_of(network, process)
        if entry.get("challenge") == challenge or entry["event"] == "attestor.listening"
    ]
