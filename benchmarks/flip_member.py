"""One attestor of a benchmarked coinflip: `python -m benchmarks.flip_member SIZE INDEX FOLDER`.

Its swarm, journal and sockets are the attestor's own. It is driven by lines of JSON: it writes
`{"port": …}`, then for each line `{"challenge": …, "ports": […]}` it takes part in that flip,
writes what it saw at R if it comes to that, and after any further line what it had seen until
then. With `"crowd": true` each connection seems to come from another address that the chain does
not name. It ends with the end of its input. Times are in seconds of the monotonic clock, which
all processes share.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from offchain_worker.coinflip.effects import Exit, Success
from offchain_worker.coinflip.journal import Begun, Journal
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.schedule import Schedule, Timing
from offchain_worker.coinflip.topic import Flip
from offchain_worker.hypercore.connection import wall_clock_ms
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.roster import (
    PeerAddress,
    PeerConnected,
    RunEvent,
    SessionSwarm,
    SwarmLimits,
    open_session_swarm,
)

TIMING = Timing(block_ms=6_000, join_ms=60_000, delta_ms=3_000, finality_ms=12_000, flip_ms=480_000)


def keypairs(size: int) -> list[KeyPair]:
    """The roster's session keys, ascending."""
    made = (KeyPair.from_seed(bytes([number]) * 32) for number in range(size))
    return sorted(made, key=lambda pair: pair.public)


def flip_of(pairs: Sequence[KeyPair], challenge: int) -> Flip:
    """The flip that all processes take part in."""
    return Flip(bytes(32), challenge, bytes(32), 0, tuple(pair.public for pair in pairs))


LOOPBACK = "127.0.0.1"


def source_of(stream: trio.abc.Stream) -> str | None:
    """What a stream's listener says that it comes from."""
    return stream.source if isinstance(stream, CountingStream) else None


class CountingStream(trio.abc.Stream):
    """A stream that adds what it receives to the count of its listener.

    Attributes:
        source: where it is said to come from.
    """

    def __init__(self, inner: trio.abc.Stream, listener: CountingListener) -> None:
        self._inner = inner
        self._listener = listener
        self.source = LOOPBACK if not listener.crowd else f"stranger {listener.accepted}"

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._inner.receive_some(max_bytes)
        self._listener.received += len(data)
        return data

    async def aclose(self) -> None:
        await self._inner.aclose()


class CountingListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener that knows how many bytes came on all of its connections.

    Attributes:
        crowd: whether each connection is said to come from an address of its own.
    """

    def __init__(self, inner: trio.SocketListener) -> None:
        self._inner = inner
        self.received = 0
        self.accepted = 0
        self.crowd = False

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._inner.socket.getsockname()[1]
        return port

    async def accept(self) -> trio.abc.Stream:
        stream = await self._inner.accept()
        self.accepted += 1
        return CountingStream(stream, self)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Member:
    def __init__(self, size: int, index: int, journal: Journal) -> None:
        self.pairs = keypairs(size)
        self.index = index
        self.journal = journal
        self.missing = set(range(size)) - {index}
        self.connected_at = 0.0
        self.exit_at = 0.0
        self.outcome = ""

    def hear(self, event: RunEvent) -> None:
        match event:
            case PeerConnected(peer):
                self.missing.discard(peer)
                if not self.missing and not self.connected_at:
                    self.connected_at = time.monotonic()
            case Exit(outcome):
                self.exit_at = time.monotonic()
                self.outcome = type(outcome).__name__
            case _:
                pass

    async def play(
        self, swarm: SessionSwarm, listener: CountingListener, order: dict[str, Any]
    ) -> None:
        self.missing = set(range(len(self.pairs))) - {self.index}
        self.connected_at = self.exit_at = 0.0
        self.outcome = ""
        listener.crowd = order.get("crowd", False)
        swarm.refused.clear()
        flip = flip_of(self.pairs, order["challenge"])
        now = wall_clock_ms()
        begun = await trio.to_thread.run_sync(self._begin, flip.topic, now)
        machine = CoinflipMachine(
            flip, self.pairs[self.index], begun.secrets, Schedule.first(TIMING, now)
        )
        addresses = [
            PeerAddress(pair.public, LOOPBACK, port)
            for pair, port in zip(self.pairs, order["ports"], strict=True)
        ]
        ended = trio.Event()

        def hear(event: RunEvent) -> None:
            self.hear(event)
            if isinstance(event, Exit):
                ended.set()

        cpu_begun, received = time.process_time(), listener.received
        async with trio.open_nursery() as nursery:

            async def report() -> None:
                await ended.wait()
                say(
                    connected_at=self.connected_at,
                    exit_at=self.exit_at,
                    success=self.outcome == Success.__name__,
                    cpu_s=time.process_time() - cpu_begun,
                )

            async def take_part() -> None:
                await swarm.run(machine, addresses, journal=self.journal, on_event=hear)

            nursery.start_soon(take_part)
            nursery.start_soon(report)
            await read_line()
            say(
                cpu_s=time.process_time() - cpu_begun,
                received=listener.received - received,
                refused=dict(swarm.refused),
            )
            nursery.cancel_scope.cancel()

    def _begin(self, topic: bytes, now_ms: int) -> Begun:
        return self.journal.begin(topic, started_ms=now_ms)


def say(**fields: Any) -> None:
    """Write one line of JSON."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


async def read_line() -> str:
    """The next line of the input; empty at its end."""
    return await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)


async def _main(size: int, index: int, folder: Path) -> None:
    listener = CountingListener((await trio.open_tcp_listeners(0, host=LOOPBACK))[0])
    say(port=listener.port)
    with Journal.open(folder / f"{index}.sqlite", now_ms=wall_clock_ms()) as journal:
        member = _Member(size, index, journal)
        limits = SwarmLimits(bulk_bytes=0)
        async with open_session_swarm(
            member.pairs[index],
            [listener],
            limits=limits,
            source=source_of,
        ) as swarm:
            while line := await read_line():
                await member.play(swarm, listener, json.loads(line))


if __name__ == "__main__":
    trio.run(_main, int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
