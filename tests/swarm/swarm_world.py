"""Swarms that meet in memory, for tests on a mock clock: nothing waits for real time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing
from memory_listener import MemoryListener

from offchain_worker.coinflip.envelope import Kind, SignedEnvelope, encode
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.journal import JournalConflict, Record
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.schedule import Schedule, Timing
from offchain_worker.coinflip.topic import Flip
from offchain_worker.hypercore.connection import Channel, open_connection
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.roster import (
    ENVELOPE,
    PROTOCOL,
    Attended,
    Dial,
    PeerAddress,
    SessionSwarm,
    SwarmLimits,
    open_session_swarm,
)

TIMING = Timing(block_ms=500, join_ms=1_500, delta_ms=200, finality_ms=0, flip_ms=5_000)


def keypairs(size: int) -> list[KeyPair]:
    made = [KeyPair.from_seed(bytes([i + 1]) * 32) for i in range(size)]
    return sorted(made, key=lambda pair: pair.public)


def flip_for(pairs: Sequence[KeyPair], challenge_id: int = 1) -> Flip:
    roster = tuple(pair.public for pair in pairs)
    return Flip(bytes(32), challenge_id, bytes(32), 0, roster)


@dataclass
class Disk:
    """A journal in memory; refuses a second body as the real one does."""

    records: dict[Kind, Record] = field(default_factory=dict)
    proofs: list[bytes] = field(default_factory=list)

    def record(self, envelope: SignedEnvelope, support: Sequence[bytes] = ()) -> None:
        known = self.records.get(envelope.kind)
        if known is not None and known.envelope != envelope.raw:
            raise JournalConflict("another body is on record")
        self.records[envelope.kind] = Record(envelope.raw, tuple(support))

    def keep_evidence(self, _identifier: bytes, _topic: bytes, proof: bytes) -> None:
        self.proofs.append(proof)


class Labelled(trio.abc.HalfCloseableStream):
    """A stream from a stated source address; it can stop taking what is written to it."""

    def __init__(self, inner: Any, source: str = "") -> None:
        self.inner = inner
        self.source = source
        self.stuck = False
        self.closed = False

    async def send_all(self, data: Any) -> None:
        if self.stuck:
            await trio.sleep_forever()
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> Any:
        return await self.inner.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self.inner.send_eof()

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


def source_of_label(stream: trio.abc.Stream) -> str | None:
    """The source of a `Labelled` stream; others are not limited."""
    return (stream.source or None) if isinstance(stream, Labelled) else None


async def in_place(call: Callable[..., None], *arguments: object) -> None:
    call(*arguments)
    await trio.lowlevel.checkpoint()


class World:
    """Swarms that reach each other in memory; ports are positions in the roster."""

    def __init__(self, size: int) -> None:
        self.pairs = keypairs(size)
        self.flip = flip_for(self.pairs)
        self.addresses = [
            PeerAddress(pair.public, "memory", port) for port, pair in enumerate(self.pairs)
        ]
        self.listeners: dict[int, MemoryListener] = {}
        self.disks = [Disk() for _ in self.pairs]
        source = random.Random(7)
        self.secrets = [FlipSecrets.generate(source.randbytes) for _ in self.pairs]
        self.events: list[list[Any]] = [[] for _ in self.pairs]
        self.dialled = 0
        self.streams: list[Labelled] = []
        self.swarms: dict[int, SessionSwarm] = {}

    def clock_ms(self) -> int:
        return int(trio.current_time() * 1_000)

    def dialler(self, index: int) -> Dial:
        """How a member reaches others."""
        del index
        return self.dial

    async def dial(self, address: PeerAddress) -> trio.abc.Stream:
        self.dialled += 1
        await trio.sleep(0.001)
        listener = self.listeners.get(address.port)
        if listener is None:
            raise ConnectionRefusedError("nobody listens there")
        return self.connect(address.port)

    def connect(self, index: int, source: str = "", *, lockstep: bool = False) -> Labelled:
        """A connection to a member, from a source address. In lockstep nothing is buffered."""
        pair = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
        near, far = (Labelled(stream, source) for stream in pair())
        self.listeners[index].push.send_nowait(far)
        self.streams += [near, far]
        return near

    @asynccontextmanager
    async def swarm(self, index: int, **changes: Any) -> AsyncIterator[SessionSwarm]:
        listener = self.listeners[index] = MemoryListener()
        try:
            async with open_session_swarm(
                self.pairs[index],
                [listener],
                dial_peer=self.dialler(index),
                limits=SwarmLimits(**changes),
                clock_ms=self.clock_ms,
                blocking=in_place,
                source=source_of_label,
            ) as swarm:
                self.swarms[index] = swarm
                yield swarm
        finally:
            self.listeners.pop(index, None)

    def machine(self, index: int, start_ms: int = 0) -> CoinflipMachine:
        return CoinflipMachine(
            self.flip,
            self.pairs[index],
            self.secrets[index],
            Schedule.first(TIMING, start_ms),
            records=dict(self.disks[index].records),
        )

    async def attend(self, swarm: SessionSwarm, index: int, start_ms: int = 0) -> Attended:
        return await swarm.run(
            self.machine(index, start_ms),
            self.addresses,
            journal=self.disks[index],
            on_event=self.events[index].append,
        )

    def of_type(self, index: int, kind: type) -> list[Any]:
        return [event for event in self.events[index] if isinstance(event, kind)]


async def run_all(world: World, members: Sequence[int], **changes: Any) -> dict[int, Attended]:
    results: dict[int, Attended] = {}

    async def one(swarm: SessionSwarm, index: int) -> None:
        results[index] = await world.attend(swarm, index)

    async with AsyncExitStack() as stack:
        swarms = {i: await stack.enter_async_context(world.swarm(i, **changes)) for i in members}
        async with trio.open_nursery() as nursery:
            for index, swarm in swarms.items():
                nursery.start_soon(one, swarm, index)
    return results


@asynccontextmanager
async def intruder(
    world: World, index: int, target: int, **changes: Any
) -> AsyncIterator[tuple[Channel, Callable[[Any], bytes]]]:
    """A roster key in foreign hands: a raw channel of the run to member `target`."""
    stream = world.connect(target, **changes)
    async with open_connection(stream, world.pairs[index], initiator=True, timeout=1) as connection:
        channel = await connection.open_channel(PROTOCOL, world.flip.topic, b"", timeout=1)
        yield channel, lambda message: encode(message, world.flip, index)


async def pour(channel: Any, messages: Sequence[bytes]) -> None:
    for message in messages:
        await channel.send(ENVELOPE, message)
