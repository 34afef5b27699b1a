"""Whole networks on three validators, two thirds of whose votes are not enough for finality."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from e2e_commands import datdot, make_feed
from e2e_network import Network, anchored, closed, holds, open_network, settlement_of, until

from chain_types.calls import TopUp
from chain_types.records import Verdict
from offchain_worker.chain.heads import Header, read_header
from offchain_worker.chain.rpc import open_rpc

RUN_SECONDS = 300.0
PARTITION_SECONDS = 60.0
STALLED_BLOCKS = 10
RECOVERY_SECONDS = 90.0
UNFINALIZED = 5
"""So many blocks may become final after validators are gone: votes for them were on their way."""


def test_a_whole_testnet(datdot_node: Path, tmp_path: Path) -> None:
    feed = make_feed(tmp_path / "feed")
    status, output, log = datdot(
        *("testnet", "--once", "--json", "--port", "0", "--feed", feed, "--native", datdot_node),
        timeout=RUN_SECONDS,
    )
    assert status == 0, log
    result = json.loads(output)
    assert [challenge["outcome"] for challenge in result["challenges"]] == ["Passed", "Passed"]


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


async def kill_one(network: Network) -> None:
    """Kill the third validator, and start it again once the others have made blocks without it."""
    child = network.processes.children["validator-3"]
    child.kill()
    await child.ended.wait()
    await best_blocks(network.layout.url, STALLED_BLOCKS)


async def start_again(network: Network) -> None:
    assert network.validators is not None
    await network.validators.start(network.processes, "validator-3")


async def stop_two(network: Network) -> None:
    """Cut the second and the third validator off for a minute: they neither hear nor say anything.

    The first one makes blocks in its own slots meanwhile.
    """
    for name in ("validator-2", "validator-3"):
        network.processes.children[name].process.send_signal(signal.SIGSTOP)
    with trio.move_on_after(PARTITION_SECONDS):
        await best_blocks(network.layout.url, 10 * STALLED_BLOCKS)


async def go_on(network: Network) -> None:
    for name in ("validator-2", "validator-3"):
        network.processes.children[name].process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("stall", "recover"),
    [(kill_one, start_again), (stop_two, go_on)],
    ids=["killed", "partitioned"],
)
async def test_finality_stalls_and_nothing_is_lost(
    datdot_node: Path,
    tmp_path: Path,
    stall: Callable[[Network], Awaitable[None]],
    recover: Callable[[Network], Awaitable[None]],
) -> None:
    async with open_network(tmp_path, hosters=1, native=datdot_node) as network:
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

            await stall(network)
            nursery.start_soon(submit)
            stalled = watched.finalized[-1]
            assert stalled <= before + UNFINALIZED
            best = (await network.client.header()).number
            assert best >= stalled + STALLED_BLOCKS
            assert not done.is_set()

            await recover(network)
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
