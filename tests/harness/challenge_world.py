"""Whole challenges in one process: the real runtime, attestors and hosters on a mock clock.

Everything is as in production but for sockets, threads and time: the chain is `datdot_node.Chain`
in memory behind its own JSON-RPC server, clients reach it, attestors each other and hosters over
memory streams, and what would run in a thread runs in place, for a mock clock waits for no thread.
Time is Trio's and jumps from one instant at which something happens to the next.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from memory_listener import MemoryListener

from chain_types.calls import OpenHosting, PublishFeed
from chain_types.records import Auditing, Closed, Committing, Endpoint, Flipping, Sla, Terms
from chain_types.words import Call
from datdot_node import Chain
from datdot_node.node import Mode, Node
from datdot_node.transport import Incoming, serve_connection
from offchain_worker.attestor.adversary import Fault as AttestorFault
from offchain_worker.attestor.adversary import faulty_machine
from offchain_worker.attestor.attestor import run_attestor
from offchain_worker.attestor.machines import honest_machine
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient, Snapshot, open_chain
from offchain_worker.chain.heads import Head
from offchain_worker.hoster.acceptance import accept_offers
from offchain_worker.hoster.adversary import Fault, faulty_hoster
from offchain_worker.hoster.answers import answer_demands
from offchain_worker.hoster.feeds import import_path
from offchain_worker.hoster.store import FeedStore, Library
from offchain_worker.hypercore.manifest import encode_manifest
from offchain_worker.keys import KeyPair
from offchain_worker.service.registration import attestor_registration, hoster_registration
from offchain_worker.swarm.proxy import Proxy
from offchain_worker.swarm.roster import PeerAddress
from offchain_worker.testnet.genesis import UNIT, genesis_patch

START_MS = 1_800_000_000_000
BLOCK_MS = 500
CHUNKS, CHUNK_BYTES = 260, 64
HOSTER_REWARD, ATTESTOR_REWARD = 10 * UNIT + 3, UNIT + 1
"""Odd ones, so that rounding shows."""
AUTHOR = KeyPair.from_seed(b"author".ljust(32))
URL = "ws://chain.invalid"
WORKER: ContextVar[str | None] = ContextVar("WORKER", default=None)
"""Whose task this is."""


async def in_place(work: Callable[..., Any], *arguments: Any, **_options: Any) -> Any:
    """What `trio.to_thread.run_sync` is on a mock clock."""
    await trio.lowlevel.checkpoint()
    return work(*arguments)


@dataclass(frozen=True)
class Line:
    """One line of the processes' logs: when, whose (None: nobody's in particular), and what."""

    at_ms: int
    worker: str | None
    event: str
    values: dict[str, Any]


@dataclass
class Worker(ABC):
    """One account's process: it can be ended and started again on the same folder.

    Attributes:
        offset_ms: by how much its wall clock is ahead.
        links: its connections to the chain.
        unreachable: whether it cannot connect to the chain.
        seed: of its key, when that is another than its usual one.
    """

    world: World
    name: str
    endpoint: Endpoint
    state: Path
    offset_ms: int = 0
    links: list[trio.abc.Stream] = field(default_factory=list)
    unreachable: bool = False
    seed: bytes = b""
    _scope: trio.CancelScope | None = None
    _ended: trio.Event | None = None

    @property
    def account(self) -> Account:
        return Account.from_uri(f"//{self.name}")

    @property
    def key(self) -> KeyPair:
        return KeyPair.from_seed(self.seed or self.name.encode().ljust(32))

    def clock_ms(self) -> int:
        return self.world.clock_ms() + self.offset_ms

    async def start(self) -> None:
        """Start it; one that was stopped ends first."""
        if self._ended is not None:
            await self._ended.wait()
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        await self.world.nursery.start(self.run, self._scope, self._ended)

    def stop(self) -> None:
        """End it at once, as a crash does."""
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None

    async def run(
        self,
        scope: trio.CancelScope,
        ended: trio.Event,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        WORKER.set(self.name)
        try:
            with scope:
                async with open_chain(
                    URL,
                    journal=self.state / "transactions.sqlite",
                    clock=lambda: self.clock_ms() / 1_000,
                    open_stream=self.open_chain_stream,
                ) as client:
                    await self.work(client, task_status)
        finally:
            ended.set()

    @abstractmethod
    async def work(self, client: ChainClient, task_status: trio.TaskStatus[None]) -> None:
        """Do its work until it is cancelled; `task_status` is told once it is at it."""

    async def open_chain_stream(self) -> trio.abc.Stream:
        if self.unreachable:
            raise ConnectionRefusedError("the chain cannot be reached")
        stream = self.world.chain_stream()
        self.links.append(stream)
        return stream

    async def lose_chain(self) -> None:
        """Break the connection to the chain; it is made again unless `unreachable` is set."""
        for stream in self.links:
            await trio.aclose_forcefully(stream)
        self.links.clear()


@dataclass
class AttestorWorker(Worker):
    """An attestor as `datdot attestor run` runs it.

    Attributes:
        capacity: in how many challenges at a time it registers to be.
        fault: what it does wrong.
        isolated: whether no connection to or from its fellows comes about.
        proxies: through which it goes to hosters; over real sockets, where there is nobody.
    """

    capacity: int = 4
    fault: AttestorFault | None = None
    isolated: bool = False
    proxies: tuple[Proxy, ...] = ()

    async def work(self, client: ChainClient, task_status: trio.TaskStatus[None]) -> None:
        listener = MemoryListener()
        place = self.place
        self.world.places[place] = listener.push.send
        try:
            await run_attestor(
                client,
                self.account,
                self.key,
                [listener],
                self.state,
                dial=self.world.dial,
                proxies=self.proxies,
                dial_peer=self.dial_peer,
                clock_ms=self.clock_ms,
                make_machine=honest_machine if self.fault is None else faulty_machine(self.fault),
                task_status=task_status,
            )
        finally:
            del self.world.places[place]

    async def dial_peer(self, address: PeerAddress) -> trio.abc.Stream:
        endpoint = address.host, address.port
        ends = [self, *(w for w in self.world.attestors if endpoint == w.place)]
        if any(worker.isolated for worker in ends):
            await trio.sleep(0.001)
            raise ConnectionRefusedError("it is cut off from its fellows")
        return await self.world.dial(*endpoint)

    @property
    def place(self) -> tuple[str, int]:
        return self.endpoint.host, self.endpoint.port


@dataclass
class HosterWorker(Worker):
    """A hoster as `datdot hoster run` runs it, with the feed in its library already."""

    fault: Fault | None = None
    feed: FeedStore | None = None
    library: Library | None = None

    async def work(self, client: ChainClient, task_status: trio.TaskStatus[None]) -> None:
        assert self.library is not None
        other = self.world.hosters[0]
        hoster = faulty_hoster(
            self.library,
            self.key,
            self.fault,
            clock_ms=self.clock_ms,
            upstream=[partial(self.world.dial, other.endpoint.host, other.endpoint.port)],
        )
        place = (self.endpoint.host, self.endpoint.port)
        async with trio.open_nursery() as sessions:

            async def welcome(stream: trio.abc.Stream) -> None:
                sessions.start_soon(hoster.serve_stream, stream)

            self.world.places[place] = welcome
            task_status.started()
            sessions.start_soon(answer_demands, client, self.account, hoster)
            try:
                await accept_offers(client, self.account, self.library, 0)
            finally:
                del self.world.places[place]


class World:
    """A chain and all who work on it; made by `open_world`.

    Attributes:
        chain, node: the chain, and the node around it.
        client: a client of the sponsor's.
        attestors, hosters: the workers, by number.
        places: who listens where.
        log: what all processes logged.
        crashes: (worker, event) pairs: it crashes as it logs that, once, and is started again.
        ends: the same, but it is not started again.
    """

    def __init__(self, root: Path, chain: Chain, nursery: trio.Nursery, attestors: int) -> None:
        self.chain = chain
        self.node = Node(chain, Mode.MANUAL)
        self.nursery = nursery
        self.log: list[Line] = []
        self.places: dict[tuple[str, int], Callable[[trio.abc.Stream], Awaitable[None]]] = {}
        self.crashes: set[tuple[str, str]] = set()
        self.ends: set[tuple[str, str]] = set()
        self.client: ChainClient
        self.sponsor = Account.from_uri("//Sponsor")
        self.attestors = [
            AttestorWorker(self, name, Endpoint.of("10.0.0.1", 4_000 + i), folder(root / name))
            for i, name in enumerate(ATTESTORS[:attestors])
        ]
        self.hosters = [
            HosterWorker(self, name, Endpoint.of("10.0.0.2", 4_000 + i), folder(root / name))
            for i, name in enumerate(HOSTERS)
        ]

    @staticmethod
    def clock_ms() -> int:
        return START_MS + round(trio.current_time() * 1_000)

    # The network.

    def chain_stream(self) -> trio.abc.Stream:
        near, far = trio.testing.memory_stream_pair()
        self.nursery.start_soon(serve_connection, far, self.node, Incoming())
        return near

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        await trio.sleep(0.001)
        welcome = self.places.get((host, port))
        if welcome is None:
            raise ConnectionRefusedError("nobody listens there")
        near, far = trio.testing.memory_stream_pair()
        await welcome(far)
        return near

    # The chain.

    async def make_blocks(self) -> None:
        """A block in each slot, as the node itself makes them, but with no regard to real time."""
        while True:
            wait_ms = await self.node.run(lambda chain: chain.earliest_timestamp() - chain.now_ms())
            await trio.sleep(max(wait_ms, 0) / 1_000)
            await self.node.run(lambda chain: chain.new_block())

    async def submit(self, call: Call, account: Account) -> None:
        done = await self.client.submit(call, account)
        assert done.error is None, f"{call.name}: {done.error}"

    async def hire(self, hosters: int = 1, sla: Sla | None = None) -> None:
        """Start and register everybody, and open the hostings; the hosters accept by themselves."""
        async with trio.open_nursery() as nursery:
            for worker in [*self.attestors, *self.hosters[:hosters]]:
                nursery.start_soon(worker.start)
            for attestor in self.attestors:
                call: Call = attestor_registration(
                    self.client.genesis,
                    attestor.account,
                    attestor.key,
                    attestor.endpoint,
                    attestor.capacity,
                )
                nursery.start_soon(self.submit, call, attestor.account)
            for hoster in self.hosters[:hosters]:
                call = hoster_registration(
                    self.client.genesis, hoster.account, hoster.key, hoster.endpoint
                )
                nursery.start_soon(self.submit, call, hoster.account)
            feed = self.hosters[0].feed
            assert feed is not None
            assert feed.manifest is not None
            publish = PublishFeed(key=feed.key, manifest=encode_manifest(feed.manifest))
            nursery.start_soon(self.submit, publish, self.sponsor)
        await self.until_block(await self.number() + 2)
        async with trio.open_nursery() as nursery:
            for hoster in self.hosters[:hosters]:
                offer = OpenHosting(
                    feed=feed.key,
                    hoster=hoster.account.public,
                    escrow=1_000 * UNIT,
                    terms=Terms(HOSTER_REWARD, ATTESTOR_REWARD, CHUNKS, sla),
                )
                nursery.start_soon(self.submit, offer, self.sponsor)

    async def number(self) -> int:
        return (await self.client.finalized()).number

    async def until(self, condition: Callable[[Head], Awaitable[bool]]) -> Head:
        """Wait for the first finalized block after which a condition holds; not for ever."""
        heads = self.client.heads()
        try:
            with trio.fail_after(120):
                while True:
                    head = await anext(heads)
                    if await condition(head):
                        return head
        finally:
            heads.close()

    async def until_block(self, number: int) -> None:
        async def reached(head: Head) -> bool:
            return head.number >= number

        await self.until(reached)

    async def started(self, challenge: int = 0) -> Snapshot:
        return await self._snapshot(challenge, lambda stage: isinstance(stage, Flipping))

    async def fallen_back(self, challenge: int = 0) -> Snapshot:
        return await self._snapshot(challenge, lambda stage: isinstance(stage, Committing))

    async def anchored(self, challenge: int = 0) -> Snapshot:
        return await self._snapshot(challenge, lambda stage: isinstance(stage, Auditing))

    async def settled(self, challenge: int = 0) -> Snapshot:
        return await self._snapshot(challenge, lambda stage: isinstance(stage, Closed))

    async def _snapshot(self, challenge: int, fits: Callable[[Any], bool]) -> Snapshot:
        found: list[Snapshot] = []

        async def there(head: Head) -> bool:
            snapshot = await self.client.challenge(challenge, at=head.hash)
            if snapshot is None or not fits(snapshot.challenge.stage):
                return False
            found.append(snapshot)
            return True

        await self.until(there)
        return found[0]

    async def money(self) -> dict[str, int]:
        """What each worker has, free and held."""
        found = {}
        for worker in [*self.attestors, *self.hosters]:
            data = (await self.client.account(worker.account.public)).data
            found[worker.name] = data.free + data.reserved
        return found

    # What was logged.

    def events(self, name: str, **values: Any) -> list[Line]:
        return [
            line
            for line in self.log
            if line.event == name and all(line.values.get(k) == v for k, v in values.items())
        ]

    def hear(self, line: Line) -> None:
        """Take a line of the log."""
        self.log.append(line)
        crash = (line.worker or "", line.event)
        for crashes in (self.crashes, self.ends):
            if crash in crashes:
                crashes.remove(crash)
                (worker,) = (one for one in self.attestors if one.name == line.worker)
                worker.stop()
                if crashes is self.crashes:
                    self.nursery.start_soon(worker.start)

    def by_account(self, account: bytes) -> AttestorWorker:
        (found,) = (a for a in self.attestors if a.account.public == account)
        return found


ATTESTORS = ("Anna", "Boris", "Clara", "Dora", "Emil", "Ida", "Jakob")
HOSTERS = ("Frida", "Georg")


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def fill(root: Path, hoster: HosterWorker) -> None:
    """Put the feed into a hoster's library."""
    noise = random.Random(5)
    source = root / "content"
    source.write_bytes(noise.randbytes(CHUNKS * CHUNK_BYTES))
    hoster.library = Library(hoster.state / "feeds")
    hoster.feed = import_path(hoster.library, source, AUTHOR, chunk_size=CHUNK_BYTES)


@asynccontextmanager
async def open_world(
    root: Path, *, attestors: int = 5, timing: dict[str, Any] | None = None
) -> AsyncIterator[World]:
    """A world with a running chain, in which nobody works yet. Needs a mock clock.

    Args:
        root: for the workers' folders.
        attestors: how many there are; five are drawn for each challenge.
        timing: what differs from the local testnet's.
    """
    worlds: list[World] = []

    def keep(
        _logger: Any, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        name = str(event.pop("event"))
        for world in worlds:
            world.hear(Line(World.clock_ms(), WORKER.get(), name, dict(event)))
        raise structlog.DropEvent

    names = [*ATTESTORS, *HOSTERS, "Sponsor"]
    accounts = [Account.from_uri(f"//{name}").public for name in names]
    patch = genesis_patch(accounts, attestors=attestors, hosters=len(HOSTERS), block_ms=BLOCK_MS)
    patch["performance"]["timing"] |= timing or {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(trio.to_thread, "run_sync", in_place)
        structlog.configure(processors=[structlog.processors.format_exc_info, keep])
        try:
            with Chain.open(clock=World.clock_ms, genesis_patch=patch) as chain:
                async with trio.open_nursery() as nursery:
                    world = World(root, chain, nursery, attestors)
                    worlds.append(world)
                    for hoster in world.hosters:
                        fill(root, hoster)
                    nursery.start_soon(world.make_blocks)

                    async def stream() -> trio.abc.Stream:
                        return world.chain_stream()

                    async with open_chain(URL, open_stream=stream) as world.client:
                        yield world
                        nursery.cancel_scope.cancel()
                for hoster in world.hosters:
                    if hoster.library is not None:
                        hoster.library.close()
        finally:
            structlog.reset_defaults()


def run_world(work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Run `work` on a mock clock that jumps; for fixtures, which cannot be asynchronous."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(partial(work, *arguments), clock=clock)
