"""A whole network on one machine: started as operators would, watched through the chain."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from chain_types import storage
from chain_types.calls import OpenHosting, PublishFeed, Undrain
from chain_types.records import Closed, Endpoint, Hosting, Role, Terms
from chain_types.words import Call
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient, Snapshot, open_chain
from offchain_worker.chain.heads import Head
from offchain_worker.errors import OperationError
from offchain_worker.hoster.adversary import Fault, give_old_head
from offchain_worker.hoster.feeds import import_path
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.manifest import encode_manifest
from offchain_worker.service.attestor import load_attestor
from offchain_worker.service.hoster import load_hoster
from offchain_worker.service.keyfiles import KeyKind, read_key_pair
from offchain_worker.service.registration import attestor_registration, hoster_registration
from offchain_worker.testnet.genesis import UNIT, genesis_patch
from offchain_worker.testnet.layout import Layout, write_hoster_config
from offchain_worker.testnet.model import ChallengeState, Network
from offchain_worker.testnet.native import NativeChain, finality_ms
from offchain_worker.testnet.processes import Child, Processes, open_processes

DEMO_BYTES = 64 * 1024 * 1024
HOSTER_REWARD = 10 * UNIT
ATTESTOR_REWARD = UNIT
READER_RATE = 16
"""Chunks a second that each reader reads: a megabyte, as a film has."""
CHALLENGES_PAID = 1_000
NODE_SECONDS = 30.0
PIECE = 1024 * 1024


@dataclass(frozen=True)
class FeedInfo:
    """The hosted feed: its key, chunks and bytes, and its manifest (None: compat)."""

    key: bytes
    length: int
    byte_length: int
    manifest: bytes | None


@dataclass
class Settled:
    """The first settled challenge of each hosting since the start, by hosting."""

    challenges: dict[int, Snapshot] = field(default_factory=dict)


class Testnet:
    """A running testnet; made by `open_testnet`.

    Attributes:
        layout: its folder.
        processes: its children, by name: node or validator-1 …, author, hoster-1 …, attestor-1 …,
            reader-1 …
        client: a connection of its own to the chain.
        feed: what is hosted.
        network: what is known now, for views.
        names: names of the accounts.
        settled: first settled challenges.
        validators: starts them again; None: the chain is the embedded one.
    """

    def __init__(
        self,
        layout: Layout,
        processes: Processes,
        client: ChainClient,
        feed: FeedInfo,
        network: Network,
        validators: NativeChain | None = None,
    ) -> None:
        self.layout = layout
        self.processes = processes
        self.client = client
        self.feed = feed
        self.network = network
        self.validators = validators
        self.settled = Settled()
        self.accounts = layout.accounts()
        self.names = {account.public: name for name, account in self.accounts.items()}
        self._first_challenge = 0

    # Setting up: what the owners of the accounts would do with commands.

    async def register_all(self) -> None:
        """Register who is not registered yet, and publish the feed."""
        self._first_challenge = await self.client.read(storage.NEXT_CHALLENGE)
        self.network.before = await self.balances()
        async with trio.open_nursery() as nursery:
            for folder in self.layout.hosters:
                nursery.start_soon(self._register_hoster, folder)
            for folder in self.layout.attestors:
                nursery.start_soon(self._register_attestor, folder)
            nursery.start_soon(self._publish)

    async def _register_hoster(self, folder: Path) -> None:
        settings = load_hoster(folder / "hoster.toml")
        if await self._is_registered(Role.HOSTER, settings.account):
            return
        endpoint = Endpoint.of(settings.endpoint.host, settings.endpoint.port)
        call = hoster_registration(
            self.client.genesis, settings.account, settings.noise_key, endpoint
        )
        await self._submit(call, settings.account)

    async def _register_attestor(self, folder: Path) -> None:
        settings = load_attestor(folder / "attestor.toml")
        if await self._is_registered(Role.ATTESTOR, settings.account):
            return
        endpoint = Endpoint.of(settings.endpoint.host, settings.endpoint.port)
        call = attestor_registration(
            self.client.genesis,
            settings.account,
            settings.session_key,
            endpoint,
            settings.capacity,
        )
        await self._submit(call, settings.account)

    async def _is_registered(self, role: Role, account: Account) -> bool:
        return await self.client.read(storage.PROVIDERS, role, account.public) is not None

    async def _publish(self) -> None:
        if await self.client.read(storage.FEEDS, self.feed.key) is None:
            call = PublishFeed(key=self.feed.key, manifest=self.feed.manifest)
            await self._submit(call, self.accounts["sponsor"])

    async def open_hostings(self) -> None:
        """Offer the feed to each hoster that does not host it yet; they accept by themselves."""
        known = await self.client.entries(storage.HOSTINGS)
        hosted = {
            hosting.hoster
            for _keys, hosting in known
            if hosting is not None and hosting.feed == self.feed.key
        }
        escrow = CHALLENGES_PAID * (HOSTER_REWARD + self.layout.choices.attestors * ATTESTOR_REWARD)
        async with trio.open_nursery() as nursery:
            for folder in self.layout.hosters:
                hoster = self.accounts[folder.name].public
                if hoster in hosted:
                    continue
                call = OpenHosting(
                    feed=self.feed.key,
                    hoster=hoster,
                    escrow=escrow,
                    terms=Terms(
                        hoster_reward=HOSTER_REWARD,
                        attestor_reward=ATTESTOR_REWARD,
                        length=self.feed.length,
                        sla=None,
                    ),
                )
                nursery.start_soon(self._submit, call, self.accounts["sponsor"])

    async def take_up(self) -> None:
        """Let attestors work again that were drained because the network had ended meanwhile.

        Nobody audits in challenges that were open then, and the second absence in a row drains an
        attestor. One that was expelled, too, is given a bond and another chance. Comes back when
        the chain has settled those challenges.
        """
        heads = self.client.heads()
        try:
            async for head in heads:
                running = await self.client.entries(storage.RUNNING, at=head.hash)
                found = {identifier for _hosting, identifier in running if identifier is not None}
                if all(identifier >= self._first_challenge for identifier in found):
                    break
        finally:
            heads.close()
        for folder in self.layout.attestors:
            account = self.accounts[folder.name]
            provider = await self.client.read(storage.PROVIDERS, Role.ATTESTOR, account.public)
            if provider is not None and not provider.wants_work:
                await self._submit(Undrain(Role.ATTESTOR), account)

    async def _submit(self, call: Call, account: Account) -> None:
        done = await self.client.submit(call, account)
        if done.error is not None:
            name = self.names[account.public]
            raise OperationError(f"The chain refused {call.name} of {name}: {done.error}.")

    # Children that come and go.

    async def start_hoster(self, folder: Path, fault: str | None = None) -> Child:
        """Start a hoster's process, again if need be; `fault` is what it does wrong."""
        config = str(folder / "hoster.toml")
        cheating = [] if fault is None else ["--adversary", fault]
        return await self.processes.start(
            folder.name, ["hoster", "run", "--config", config, "--log", "json", *cheating]
        )

    async def start_attestor(self, folder: Path, fault: str | None = None) -> Child:
        """Start an attestor's process again; `fault` is what it does wrong."""
        return await self.processes.start(folder.name, _attestor_arguments(folder, fault))

    async def start_reader(self, name: str) -> Child:
        """Start a reader: it reads the feed from one of the hosters, again and again."""
        number = list(self.layout.readers).index(name)
        hosters, address = self.layout.hosters, self.layout.address
        return await self.processes.start(
            name,
            [
                *("get", self.feed.key.hex(), "--watch", "--again", "--rate", str(READER_RATE)),
                *("--from", address(self.layout.port_of(hosters[number % len(hosters)]))),
                *("--listen", address(self.layout.readers[name]), "--log", "json"),
            ],
        )

    # Watching.

    async def balances(self) -> dict[str, int]:
        """What each account has, free and held, in the smallest unit."""
        found = {}
        for name, account in self.accounts.items():
            data = (await self.client.account(account.public)).data
            found[name] = data.free + data.reserved
        return found

    async def hostings(self) -> dict[int, Hosting]:
        """The hostings on chain."""
        found = await self.client.entries(storage.HOSTINGS)
        return {keys[0]: hosting for keys, hosting in found if hosting is not None}

    async def watch(
        self, tell: Callable[[str], None], *, refresh: Callable[[], None], once: bool
    ) -> None:
        """Follow the finalized blocks; with `once`, until each hosting has a settled challenge.

        An expulsion may leave too few attestors for another challenge: then `once` is over when
        those that run are settled.

        Args:
            tell: called with each line that a person should read.
            refresh: called when something changed.
            once: whether to come back at all.

        Raises:
            ChainError: the node does not answer.
        """
        heads = self.client.heads()
        stuck = False
        try:
            async for head in heads:
                await self._take(head, tell)
                refresh()
                if once and len(self.settled.challenges) >= self.layout.choices.hosters:
                    return
                if not stuck and (line := await self.too_few(head.hash)) is not None:
                    stuck = True
                    tell(line)
                if once and stuck:
                    return
        finally:
            heads.close()

    async def _take(self, head: Head, tell: Callable[[str], None]) -> None:
        network = self.network
        network.block, network.timestamp_ms = head.number, head.timestamp_ms
        following = await self.client.read(storage.NEXT_CHALLENGE, at=head.hash)
        for identifier in range(self._first_challenge, following):
            known = network.challenges.get(identifier)
            if known is not None and known.outcome is not None:
                continue
            snapshot = await self.client.challenge(identifier, at=head.hash)
            if snapshot is not None:
                self._take_challenge(snapshot, tell)
        network.balances = await self.balances()

    async def too_few(self, at: bytes) -> str | None:
        """A line once nothing runs and expulsions left fewer attestors than a challenge takes.

        Args:
            at: hash of the block that was taken in last.
        """
        challenges = self.network.challenges.values()
        if any(challenge.outcome is None for challenge in challenges):
            return None
        if not any(challenge.frauds for challenge in challenges):
            return None
        timing = await self.client.read(storage.TIMING, at=at)
        left = await self.client.read(storage.ELIGIBLE_COUNT, at=at)
        needed = timing.attestors * timing.pool_factor
        if left >= needed:
            return None
        return f"no further challenge: {left} attestors are left, and it takes {needed}"

    def _take_challenge(self, snapshot: Snapshot, tell: Callable[[str], None]) -> None:
        challenge = snapshot.challenge
        state = self.network.challenges.get(snapshot.id)
        if state is None:
            members = [self.names[member.account] for member in challenge.roster]
            state = ChallengeState.drawn(
                snapshot.id, challenge.hosting, self.names[challenge.hoster], members
            )
            self.network.challenges[snapshot.id] = state
            tell(f"challenge {snapshot.id}: {state.hoster} is audited by {', '.join(members)}")
        reported = snapshot.tally.served + snapshot.tally.failed
        news = [
            *state.prove(snapshot.frauds, self.names),
            state.fix(snapshot.flip),
            state.update(challenge.stage, reported),
        ]
        for line in filter(None, news):
            tell(line)
        if isinstance(challenge.stage, Closed) and snapshot.settlement is not None:
            for payment in snapshot.settlement.paid:
                name = self.names.get(payment.account, payment.account.hex())
                state.paid[name] = state.paid.get(name, 0) + payment.amount
            for absence in snapshot.settlement.absent:
                tell(f"challenge {snapshot.id}: {self.names[absence.account]} was absent")
            if state.paid:
                paid = ", ".join(f"{name} {amount / UNIT:g}" for name, amount in state.paid.items())
                tell(f"challenge {snapshot.id}: paid {paid}")
            self.settled.challenges.setdefault(challenge.hosting, snapshot)


@contextmanager
def kept_or_temporary(directory: Path | None) -> Iterator[Path]:
    """The testnet's folder, which may be missing yet; a temporary one is removed at the end."""
    if directory is not None:
        yield directory
        return
    made = Path(tempfile.mkdtemp(prefix="datdot-testnet-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@asynccontextmanager
async def open_testnet(
    layout: Layout,
    source: Path | None,
    *,
    hear: Callable[[str], None],
    faults: Mapping[str, str] | None = None,
    native: Path | None = None,
) -> AsyncIterator[Testnet]:
    """Start everything; at the end of the block, or cancelled, every process has ended.

    Args:
        layout: the folder, with keys and configuration.
        source: what to host; None makes 64 MiB of noise.
        hear: called with each line that a person should read.
        faults: what a process does wrong, by its name; for adversaries.
        native: the program `datdot-node`, for a layout with validators; None: the embedded chain.

    Raises:
        OperationError: a process ended, or the chain refused a transaction.
        UsageError: the source cannot be hosted.
    """
    network = Network()
    node_ready = trio.Event()

    def on_line(process: str, entry: Mapping[str, Any]) -> None:
        if process == "node" and entry.get("event") == "node_ready":
            node_ready.set()
        line = network.hear(process, entry)
        if line is not None:
            hear(line)

    faults = faults or {}
    validators = None if native is None else NativeChain(native, layout)
    async with AsyncExitStack() as stack:
        if validators is not None:
            await trio.to_thread.run_sync(validators.make, _genesis(layout))
        processes = await stack.enter_async_context(open_processes(layout.logs, on_line))
        if validators is None:
            await processes.start("node", _node_arguments(layout))
        else:
            for name in layout.validators:
                await validators.start(processes, name)
            await validators.started()
        for folder in layout.attestors:
            arguments = _attestor_arguments(folder, faults.get(folder.name))
            await processes.start(folder.name, arguments)
        feed = await trio.to_thread.run_sync(_make_feed, layout, source)
        hear(f"feed {feed.key.hex()}: {feed.length} chunks, {feed.byte_length} bytes")
        for folder in layout.hosters:
            write_hoster_config(layout, folder, [feed.key])
            if faults.get(folder.name) == Fault.OLD_HEAD:
                await trio.to_thread.run_sync(_give_old_head, layout, folder)
        await processes.start("author", _author_arguments(layout))
        if validators is None:
            with trio.move_on_after(NODE_SECONDS) as waiting:
                await node_ready.wait()
            if waiting.cancelled_caught:
                raise OperationError(f"The chain did not start; see {layout.logs / 'node.log'}.")
        client = await stack.enter_async_context(open_chain(layout.url))
        testnet = Testnet(layout, processes, client, feed, network, validators)
        for folder in layout.hosters:
            await testnet.start_hoster(folder, faults.get(folder.name))
        for name in layout.readers:
            await testnet.start_reader(name)
        await testnet.register_all()
        await testnet.open_hostings()
        await testnet.take_up()
        yield testnet


def _genesis(layout: Layout) -> dict[str, Any]:
    """What is merged into the runtime's development genesis."""
    choices = layout.choices
    return genesis_patch(
        [account.public for account in layout.accounts().values()],
        attestors=choices.attestors,
        hosters=choices.hosters,
        block_ms=choices.block_ms,
        finality_ms=finality_ms(choices.block_ms) if choices.native else 0,
    )


def _node_arguments(layout: Layout) -> list[str]:
    """Of the embedded chain, whose genesis is written to a file."""
    patch = layout.root / "genesis.json"
    patch.write_bytes(msgspec.json.encode(_genesis(layout)))
    return [
        "node",
        "--dir",
        str(layout.chain),
        "--port",
        str(layout.rpc_port),
        "--genesis-patch",
        str(patch),
        "--log",
        "json",
    ]


def _attestor_arguments(folder: Path, fault: str | None) -> list[str]:
    cheating = [] if fault is None else ["--adversary", fault]
    config = str(folder / "attestor.toml")
    return ["attestor", "run", "--config", config, "--log", "json", *cheating]


def _author_arguments(layout: Layout) -> list[str]:
    return [
        "feed",
        "serve",
        "--store",
        str(layout.author_store),
        "--listen",
        layout.address(layout.author_port),
        "--key",
        str(layout.author_noise_key),
        "--log",
        "json",
    ]


def _make_feed(layout: Layout, source: Path | None) -> FeedInfo:
    """The author's feed; a second start finds it made."""
    layout.author_store.mkdir(parents=True, exist_ok=True)
    with Library(layout.author_store) as library:
        stores = list(library)
        if stores:
            store = stores[0]
        else:
            author = read_key_pair(layout.author_key, KeyKind.FEED)
            # An interrupted start leaves the import at its next batch.
            store = import_path(
                library,
                source or _demo(layout),
                author,
                progress=lambda _bytes: trio.from_thread.check_cancelled(),
            )
        head = store.head()
        if head is None:
            raise OperationError(f"The feed in {layout.author_store} has no head.")
        return FeedInfo(
            key=store.key,
            length=head.length,
            byte_length=sum(root.size for root in head.roots),
            manifest=None if store.manifest is None else encode_manifest(store.manifest),
        )


def _give_old_head(layout: Layout, folder: Path) -> None:
    """Let a hoster that will show an old head have the feed, and such a head, from the start.

    The author's store is copied while nobody serves it.
    """
    store = folder / "store"
    if not store.exists():
        shutil.copytree(layout.author_store, store)
    author = read_key_pair(layout.author_key, KeyKind.FEED)
    with Library(store) as library:
        for feed in library:
            head = feed.head()
            if head is not None and head.length > 1:
                give_old_head(feed, author, head.length - 1)


def _demo(layout: Layout) -> Path:
    """A file of noise, always the same: nothing in it compresses, nothing in it is anybody's."""
    path = layout.root / "author" / "demo.bin"
    noise = random.Random(0)  # noqa: S311 - content of a demonstration, not a secret
    with path.open("wb") as file:
        for _ in range(DEMO_BYTES // PIECE):
            file.write(noise.randbytes(PIECE))
    return path
