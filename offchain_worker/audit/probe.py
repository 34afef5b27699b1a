"""Measuring a peer outside of any challenge: what `datdot measure` is made of.

The peer sees an ordinary reader with a fresh key, as it does in an audit. Nothing that it answers
counts for a challenge: no drawn chunks, no committed key, no report.
"""

from __future__ import annotations

import math
import operator
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import trio

from offchain_worker.audit.session import Dial, connect
from offchain_worker.hypercore.connection import Connection, open_connection
from offchain_worker.hypercore.reader import MAX_STRAYS, Block, Reader, Timeouts, open_reader
from offchain_worker.keys import KeyPair
from offchain_worker.measurement.percentiles import to_microseconds
from offchain_worker.measurement.probe import (
    ROUND_TRIPS,
    Latency,
    Opening,
    Probe,
    Throughput,
    latency,
    throughput,
)
from offchain_worker.measurement.session import Transfer

MAX_SAMPLES = 100_000


@dataclass(frozen=True)
class ProbePlan:
    """What to measure.

    Attributes:
        feed_key: the feed to read; None: only connect and shake hands.
        samples: chunks for each habit, 2 … `MAX_SAMPLES`. A feed that is shorter is read again.
        one_by_one, windowed: which habits; each has a session of its own, in this order.
        longest_s: seconds after which the throughput of a distant peer is taken as it is. A
            windowed session goes on beyond `samples` until `ROUND_TRIPS` times what its first
            chunk took have passed.
        expected_remote: the peer's Noise key; None accepts any.
    """

    feed_key: bytes | None
    samples: int = 200
    one_by_one: bool = True
    windowed: bool = True
    longest_s: float = 30.0
    expected_remote: bytes | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.samples <= MAX_SAMPLES:
            raise ValueError(f"{self.samples} samples are not between 2 and {MAX_SAMPLES}")


@dataclass(frozen=True)
class _Session:
    connection: Connection
    reader: Reader | None
    opening: Opening


async def probe(
    dial: Dial, plan: ProbePlan, choices: random.Random, timeouts: Timeouts | None = None
) -> Probe:
    """Measure one peer.

    Cancelled, its connections are closed.

    Args:
        dial: connects to the peer.
        plan: what to measure.
        choices: chooses the chunks.
        timeouts: of each step.

    Raises:
        HypercoreError: the peer cannot be reached, or does not serve what is asked for.
    """
    limits = timeouts or Timeouts()
    found: Probe | None = None
    if plan.one_by_one or plan.feed_key is None or not plan.windowed:
        async with _open(dial, plan, limits) as session:
            found = _describe(session, plan)
            if session.reader is not None and plan.one_by_one:
                figures = await _one_by_one(session.reader, plan, choices)
                found = replace(found, latency=figures)
    if plan.windowed and plan.feed_key is not None:
        async with _open(dial, plan, limits) as session:
            found = found or _describe(session, plan)
            if session.reader is not None:
                rates = await _windowed(session.reader, plan, choices)
                found = replace(found, throughput=rates)
    if found is None:
        raise RuntimeError("a probe opens at least one session")
    return found


@asynccontextmanager
async def _open(dial: Dial, plan: ProbePlan, limits: Timeouts) -> AsyncIterator[_Session]:
    begun = trio.current_time()
    stream = await connect(dial, limits.handshake)
    connected = trio.current_time()
    connect_us = to_microseconds(connected - begun)
    expected, keypair = plan.expected_remote, KeyPair.generate()
    if plan.feed_key is None:
        async with open_connection(
            stream,
            keypair,
            initiator=True,
            timeout=limits.handshake,
            accept=None if expected is None else partial(operator.eq, expected),
            max_strays=MAX_STRAYS,
        ) as connection:
            handshake_us = to_microseconds(connection.handshake_s)
            yield _Session(connection, None, Opening(connect_us, handshake_us, None))
        return
    async with open_reader(
        stream,
        feed_key=plan.feed_key,
        keypair=keypair,
        expected_remote=expected,
        timeouts=limits,
    ) as reader:
        head_us = to_microseconds(trio.current_time() - connected - reader.handshake_s)
        handshake_us = to_microseconds(reader.handshake_s)
        yield _Session(reader.connection, reader, Opening(connect_us, handshake_us, head_us))


def _describe(session: _Session, plan: ProbePlan) -> Probe:
    reader = session.reader
    return Probe(
        peer_key=session.connection.remote_public_key.hex(),
        feed_key=None if plan.feed_key is None else plan.feed_key.hex(),
        fork=None if reader is None else reader.head.fork,
        length=None if reader is None else reader.head.length,
        opening=session.opening,
        latency=None,
        throughput=None,
    )


def _transfer(block: Block) -> Transfer:
    return Transfer(block.requested, block.arrived, len(block.data))


def _order(length: int, choices: random.Random) -> Iterator[int]:
    """Random positions without end; of a feed of usual size, none again before all were there."""
    while True:
        if length > 4 * MAX_SAMPLES:
            yield choices.randrange(length)
        else:
            yield from choices.sample(range(length), length)


async def _one_by_one(reader: Reader, plan: ProbePlan, choices: random.Random) -> Latency:
    order = _order(reader.head.length, choices)
    transfers = [_transfer(await reader.get(next(order))) for _ in range(plan.samples)]
    return latency(transfers)


async def _windowed(reader: Reader, plan: ProbePlan, choices: random.Random) -> Throughput:
    order = _order(reader.head.length, choices)
    before = reader.connection.bytes_in
    transfers: list[Transfer] = []
    until = math.inf

    def wanted() -> Iterator[int]:
        for count, index in enumerate(order):
            if count >= plan.samples and trio.current_time() >= until:
                return
            yield index

    async for block in reader.download(wanted()):
        if not transfers:
            wait = min(ROUND_TRIPS * (block.arrived - block.requested), plan.longest_s)
            until = block.requested + wait
        transfers.append(_transfer(block))
    return throughput(transfers, reader.connection.bytes_in - before)
