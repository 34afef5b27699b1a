"""Whole networks on three validators, two thirds of whose votes are not enough for finality."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from e2e_commands import datdot, make_feed
from e2e_network import Network, anchored, closed, holds, open_network, settlement_of, until
from roads import NAMES, Roads, open_roads

from chain_types.calls import TopUp
from chain_types.records import Verdict
from offchain_worker.chain.heads import Header, read_header
from offchain_worker.chain.rpc import open_rpc
from offchain_worker.testnet.layout import HOST

RUN_SECONDS = 300.0
STALLED_BLOCKS = 10
PARTITION_BLOCKS = 20
"""A validator on its own makes so many in a minute: in its own slots, each third."""
STALL_SECONDS = 120.0
RECOVERY_SECONDS = 90.0
UNFINALIZED = 5
"""So many blocks may become final after validators are gone: votes for them were on their way."""


def test_a_whole_testnet_goes_on_when_its_folder_is_started_again(
    datdot_node: Path, tmp_path: Path
) -> None:
    feed = make_feed(tmp_path / "feed")
    results = []
    for _ in range(2):
        status, output, log = datdot(
            *("testnet", "--once", "--json", "--port", "0", "--feed", feed),
            *("--native", datdot_node, "--dir", tmp_path / "net"),
            timeout=RUN_SECONDS,
        )
        assert status == 0, log
        results.append(json.loads(output))
        outcomes = [challenge["outcome"] for challenge in results[-1]["challenges"]]
        assert outcomes == ["Passed", "Passed"]
    first, second = results
    assert second["feeds"] == first["feeds"]
    assert set(second["balances"]) == set(first["balances"])
    assert second["chain"]["blocks"] > first["chain"]["blocks"]
    last = max(int(challenge["id"]) for challenge in first["challenges"])
    assert all(int(challenge["id"]) > last for challenge in second["challenges"])


@dataclass
class Watched:
    """The finalized blocks that a worker's client has seen, in order."""

    finalized: list[int] = field(default_factory=list)
    news: trio.Condition = field(default_factory=trio.Condition)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with self.news:
            while not holds():
                await self.news.wait()


@asynccontextmanager
async def watching(network: Network) -> AsyncIterator[Watched]:
    watched = Watched()

    async def follow() -> None:
        heads = network.client.heads()
        try:
            async for head in heads:
                watched.finalized.append(head.number)
                async with watched.news:
                    watched.news.notify_all()
        finally:
            heads.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await watched.until(lambda: bool(watched.finalized))
        yield watched
        nursery.cancel_scope.cancel()


async def best_blocks(url: str, count: int) -> Header:
    """Wait until a node's best chain has grown by so many blocks; returns its head then."""
    async with open_rpc(url) as rpc:
        subscription = await rpc.subscribe("chain_subscribeNewHeads")
        first: Header | None = None
        async for value in subscription:
            header = read_header(value)
            first = first or header
            if header.number >= first.number + count:
                return header
    raise AssertionError("the subscription ended")


class Stall:
    """What keeps three validators from agreeing, and what ends that."""

    def __init__(self, network: Network, roads: Roads) -> None:
        self.network = network
        self.roads = roads

    @property
    def first_url(self) -> str:
        """Of the validator that the test asks."""
        return self.network.layout.url

    @property
    def third_url(self) -> str:
        """Of one that is on its own in a partition."""
        return f"ws://{HOST}:{self.network.layout.validators[NAMES[2]].rpc}"

    async def begin(self) -> None:
        """Comes back when blocks were made meanwhile."""
        raise NotImplementedError

    async def end(self) -> None:
        """Let them agree again."""
        raise NotImplementedError


class Killed(Stall):
    """The third one is killed, and started again once the others have made blocks without it."""

    async def begin(self) -> None:
        child = self.network.processes.children[NAMES[2]]
        child.kill()
        await child.ended.wait()
        await best_blocks(self.first_url, STALLED_BLOCKS)

    async def end(self) -> None:
        assert self.network.validators is not None
        await self.network.validators.start(self.network.processes, NAMES[2])


class Stopped(Stall):
    """The second and the third one stand still; the first one makes blocks in its own slots."""

    async def begin(self) -> None:
        self._signal(signal.SIGSTOP)
        await best_blocks(self.first_url, PARTITION_BLOCKS)

    async def end(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for name in NAMES[1:]:
            self.network.processes.children[name].process.send_signal(number)


class CutOff(Stall):
    """All go on, but the third one reaches no other, and none reaches it: the chain forks."""

    alone = NAMES[2:]

    async def begin(self) -> None:
        self.roads.cut_off(*self.alone)
        forked = await best_blocks(self.third_url, PARTITION_BLOCKS)
        async with open_rpc(self.third_url) as rpc:
            assert (await rpc.request("system_health"))["peers"] == 0
        assert await self.network.client.block_hash(forked.number) != forked.hash

    async def end(self) -> None:
        self.roads.heal()


class Apart(CutOff):
    """All go on, and none reaches another one: there are three chains."""

    alone = NAMES


@pytest.mark.parametrize("kind", [Killed, Stopped, CutOff, Apart])
async def test_finality_stalls_and_nothing_is_lost(
    datdot_node: Path, tmp_path: Path, kind: type[Stall]
) -> None:
    async with (
        open_roads() as roads,
        open_network(
            tmp_path,
            hosters=1,
            native=roads.program(datdot_node, tmp_path),
            configure=roads.lead,
        ) as network,
    ):
        stall = kind(network, roads)
        # All attestors are about to audit when the validators go.
        running = await until(network, "hoster-1", 0, anchored)
        async with watching(network) as watched, trio.open_nursery() as nursery:
            before = watched.finalized[-1]
            done = trio.Event()

            async def submit() -> None:
                call = TopUp(id=running.challenge.hosting, amount=1)
                result = await network.client.submit(call, network.accounts["sponsor"])
                assert result.error is None
                done.set()

            with trio.fail_after(STALL_SECONDS):
                await stall.begin()
            nursery.start_soon(submit)
            stalled = watched.finalized[-1]
            assert stalled <= before + UNFINALIZED
            best = (await network.client.header()).number
            assert best >= stalled + STALLED_BLOCKS
            assert not done.is_set()

            await stall.end()
            with trio.fail_after(RECOVERY_SECONDS):
                await watched.until(lambda: watched.finalized[-1] > best)
                await done.wait()
            # Each finalized block once, none left out, those of the stall among them.
            first = watched.finalized[0]
            assert watched.finalized == list(range(first, first + len(watched.finalized)))

        settled = await until(network, "hoster-1", 0, closed)
        assert settled.id == running.id
        assert settlement_of(settled).outcome is Verdict.PASSED
        assert settlement_of(settled).absent == ()
        assert settlement_of(settled).served == 5
        await holds(network, settled)
        following = await until(network, "hoster-1", 1, closed)
        assert settlement_of(following).outcome is Verdict.PASSED
        await holds(network, following)
