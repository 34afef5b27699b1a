"""The embedded chain: how fast it starts, makes blocks, and takes transactions and reports."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Aim, Figure
from benchmarks.processes import datdot
from benchmarks.world import (
    ATTESTORS,
    SPONSOR,
    Attestor,
    FeedTree,
    World,
    ready_for_reports,
    submit_report,
)
from chain_types.calls import Id, TransferKeepAlive
from chain_types.report import encode_report
from datdot_node import Chain
from datdot_node.authoring import BlockBuilder
from offchain_worker.testnet.genesis import UNIT, genesis_patch

RUNS = 7
BLOCKS = 50
TRANSFERS = 100
SUCCESS = b"\0\0"
"""The runtime's answer to an extrinsic that was applied and whose call succeeded."""


def start() -> Iterator[Figure]:
    """From starting the process to its answering, with the compiled runtime in the cache."""
    Chain.open().close()
    samples = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        with datdot("node", "--port", "0", until="node_ready"):
            samples.append(time.perf_counter() - begun)
    yield Figure("embedded chain: start", "s", samples, (Aim.AT_MOST, 1))


def blocks() -> Iterator[Figure]:
    """Blocks of a chain that is kept on disk, as `datdot testnet` keeps it."""
    patch = genesis_patch([SPONSOR.public], attestors=5, block_ms=500)
    with (
        tempfile.TemporaryDirectory(prefix="datdot-bench-") as folder,
        Chain.open(Path(folder), genesis_patch=patch) as chain,
    ):
        world = World.begin(chain)
        world.new_block()
        yield _empty_blocks(world)
        yield _transfers(world)


def _empty_blocks(world: World) -> Figure:
    samples = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        for _ in range(BLOCKS):
            world.new_block()
        samples.append((time.perf_counter() - begun) / BLOCKS * 1_000)
    return Figure("embedded chain: empty block", "ms", samples, (Aim.AT_MOST, 12))


def _transfers(world: World) -> Figure:
    """Validated into the pool, applied and sealed in one block; signed before."""
    call = TransferKeepAlive(dest=Id(bytes(31) + b"\1"), value=UNIT)
    samples = []
    for _ in range(RUNS):
        signed = [world.sign(call, SPONSOR) for _ in range(TRANSFERS)]
        begun = time.perf_counter()
        for extrinsic in signed:
            world.chain.submit(extrinsic)
        included = len(world.new_block()) - 1
        samples.append(included / (time.perf_counter() - begun))
        if included != TRANSFERS:
            raise RuntimeError(f"a block took {included} of {TRANSFERS} transfers")
    return Figure("embedded chain: transfers", "1/s", samples, (Aim.AT_LEAST, 80))


def reports() -> Iterator[Figure]:
    """`submit_report` for 100 drawn chunks, 32 proved, of 4,096, with a roster of ten.

    The last report would settle the challenge in the same call, so it is left out.
    """
    attestors = [Attestor.number(number) for number in range(ATTESTORS)]
    world, tree = ready_for_reports(attestors), FeedTree.build()
    chain, state = world.chain, world.chain.state()
    timestamp = chain.earliest_timestamp()
    builder = BlockBuilder(
        chain.runtime(state), state, chain.head, timestamp, timestamp // chain.slot_ms
    )
    durations, sizes = [], []
    for attestor in attestors[:-1]:
        call = submit_report(world, tree, attestor)
        extrinsic = world.sign(call, attestor.account)
        begun = time.perf_counter()
        answer = builder.try_apply(extrinsic)
        durations.append((time.perf_counter() - begun) * 1_000)
        if answer != SUCCESS:
            raise RuntimeError(f"the runtime refused a report: {answer.hex()}")
        sizes.append(len(encode_report(call.report)))
    chain.close()
    yield Figure("submit_report: execution", "ms", durations)
    yield Figure("submit_report: report", "bytes", sizes, (Aim.AT_MOST, 13_000))
