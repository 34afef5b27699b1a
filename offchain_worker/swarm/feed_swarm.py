"""The swarm of one feed: connections to its other peers, who read and serve, on Trio.

Peers are those that the owner joins, those that call, and those that others told of
(`peer_exchange`). All of them share one `SparseFeed`: what one gave, any other may ask for.
"""

from __future__ import annotations

import operator
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import structlog
import trio

from chain_types.records import Endpoint
from offchain_worker.audit.session import connect
from offchain_worker.hypercore.connection import Connection, open_connection
from offchain_worker.hypercore.errors import HypercoreError, NoData, Unreachable
from offchain_worker.hypercore.peer import Peer, PeerEvents, accept_feed, join_feed
from offchain_worker.hypercore.reader import Block, Timeouts
from offchain_worker.hypercore.sparse import SparseFeed
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.admission import TokenBucket
from offchain_worker.swarm.peer_exchange import (
    ANSWERS,
    ASK_S,
    EXTENSION,
    AddressBook,
    Listening,
    Peers,
    PeersError,
)

_log = structlog.get_logger()

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Connects to an IP address and port; raises `OSError`, `Unreachable`, or `ValueError`."""

MAX_CALLERS = 32
MAX_TOLD = 8
"""Connections at a time to peers that others told of."""
LOOK_S = 5.0
"""So often the address book is asked whether another connection is allowed."""


@dataclass(eq=False)
class Member:
    """A peer that is connected.

    Attributes:
        peer: reads from it and serves it.
        connection: to it.
        host: its address.
        endpoint: where it was dialled; None: it called.
        busy: how many blocks are being read from it.
        refused: what was refused of it, by the swarm's counters.
    """

    peer: Peer
    connection: Connection
    host: str
    endpoint: Endpoint | None
    busy: int = 0
    refused: set[str] = field(default_factory=set)


class FeedSwarm:
    """The peers of one feed; made by `open_feed_swarm`.

    Attributes:
        feed: what this side holds.
        members: who is connected.
        counters: how often what happened: `joined`, `called`, `refused_full`, `failed`,
            `told` (addresses that peers named), `told_refused` (of them, not taken),
            `messages_refused`, and those that came too soon after others: `asked_too_often`,
            `told_too_often`.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        feed: SparseFeed,
        dial: Dial,
        *,
        port: int,
        choices: random.Random,
        timeouts: Timeouts,
        max_told: int,
        events: Callable[[Connection], PeerEvents],
    ) -> None:
        """Made by `open_feed_swarm` only."""
        self.feed = feed
        self.members: set[Member] = set()
        self.counters: Counter[str] = Counter()
        self._nursery = nursery
        self._dial = dial
        self._port = port
        self._choices = choices
        self._timeouts = timeouts
        self._max_told = max_told
        self._events = events
        self._book = AddressBook()
        self._listening = Listening()
        self._told = 0
        self._callers = 0
        self._changed = trio.Event()
        self._keypair = KeyPair.generate()

    async def join(self, host: str, port: int, expected_remote: bytes | None = None) -> Member:
        """Connect to a peer with a key of its own, and stay; returns it once its head is verified.

        Args:
            host, port: where it listens.
            expected_remote: its 32-byte Noise key; None accepts any.

        Raises:
            HypercoreError: as `open_connection` and `join_feed`; or it cannot be reached.
        """
        member: Member = await self._nursery.start(self._stay, host, port, expected_remote)
        return member

    def visit(self, endpoint: Endpoint) -> None:
        """Connect in the background and stay; a failure is counted and logged."""
        self._nursery.start_soon(self._visit, endpoint)

    async def welcome(self, stream: trio.abc.Stream, host: str) -> None:
        """Take a caller from the address `host`; comes back when it has ended.

        Raises nothing that comes from the caller. The stream is closed, also when cancelled.
        """
        if self._callers >= MAX_CALLERS:
            self.counters["refused_full"] += 1
            _log.info("swarm.refused_full", callers=self._callers)
            await trio.aclose_forcefully(stream)
            return
        self._callers += 1
        try:
            opened = open_connection(
                stream, self._keypair, initiator=False, timeout=self._timeouts.handshake
            )
            async with (
                opened as connection,
                accept_feed(
                    connection,
                    self.feed,
                    timeouts=self._timeouts,
                    events=self._events_of(connection),
                ) as peer,
            ):
                self.counters["called"] += 1
                await self._keep(Member(peer, connection, host, None))
        except HypercoreError as error:
            self._failed(host, error)
        finally:
            self._callers -= 1

    async def get(self, index: int, *, timeout: float) -> Block:
        """Read a block from whoever has it and has least to do, another one if that fails.

        Raises:
            NoData: nobody gave it in `timeout` seconds.
        """
        tried: dict[Member, bool] = {}
        with trio.move_on_after(timeout):
            while True:
                changed = self._changed
                member = self._choose(index, tried)
                if member is None:
                    await changed.wait()
                    continue
                # One that did not have it is asked again once it announces it.
                tried[member] = member.peer.announces(index)
                member.busy += 1
                try:
                    return await member.peer.get(index)
                except HypercoreError as error:
                    self._failed(member.host, error)
                finally:
                    member.busy -= 1
        raise NoData(f"nobody gave block {index} in {timeout:g} s")

    def _choose(self, index: int, tried: Mapping[Member, bool]) -> Member | None:
        there = [member for member in self.members if member.peer.error is None]
        found = [
            member for member in there if member.peer.announces(index) and not tried.get(member)
        ]
        if not found:
            # Who was joined is asked all the same: a sparse hoster says what it has only when it
            # is asked.
            found = [one for one in there if one.endpoint is not None and one not in tried]
        self._choices.shuffle(found)
        return min(found, key=lambda member: member.busy, default=None)

    # --- inside ---------------------------------------------------------------------------------

    async def _stay(
        self,
        host: str,
        port: int,
        expected_remote: bytes | None,
        task_status: trio.TaskStatus[Member] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        joined = False
        accept = None if expected_remote is None else partial(operator.eq, expected_remote)
        try:
            stream = await connect(partial(self._reach, host, port), self._timeouts.handshake)
            opened = open_connection(
                stream,
                KeyPair.generate(),
                initiator=True,
                timeout=self._timeouts.handshake,
                accept=accept,
            )
            async with (
                opened as connection,
                join_feed(
                    connection,
                    self.feed,
                    timeouts=self._timeouts,
                    events=self._events_of(connection),
                ) as peer,
            ):
                joined = True
                self.counters["joined"] += 1
                member = Member(peer, connection, host, Endpoint.of(host, port))
                await self._keep(member, task_status)
        except HypercoreError as error:
            if not joined:
                raise
            self._failed(host, error)

    async def _reach(self, host: str, port: int) -> trio.abc.Stream:
        try:
            return await self._dial(host, port)
        except ValueError as error:
            raise Unreachable(f"{host} port {port} cannot be dialled: {error}") from error

    async def _keep(
        self, member: Member, task_status: trio.TaskStatus[Member] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be connected until it ends."""
        with self._counted(member):
            task_status.started(member)
            async with trio.open_nursery() as nursery:
                if member.endpoint is not None:
                    nursery.start_soon(self._ask, member)
                await self._listen(member)
                nursery.cancel_scope.cancel()

    @contextmanager
    def _counted(self, member: Member) -> Iterator[None]:
        self.members.add(member)
        self._notify()
        try:
            yield
        finally:
            self.members.discard(member)
            self._listening.forget(member)
            self._notify()

    def _events_of(self, connection: Connection) -> PeerEvents:
        return replace(self._events(connection), announced=self._notify)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _ask(self, member: Member) -> None:
        question = Peers(self._port).encode()
        while True:
            try:
                await member.peer.send_extension(EXTENSION, question)
            except HypercoreError:
                return
            await trio.sleep(ASK_S)

    async def _listen(self, member: Member) -> None:
        """Take the peer's extension messages until it ends."""
        answers = TokenBucket(ANSWERS, trio.current_time())
        async for message in member.peer.reader.extensions:
            if message.name != EXTENSION:
                continue
            try:
                peers = Peers.decode(message.payload)
            except PeersError as error:
                self._refuse(member, "messages_refused", str(error))
                continue
            now = trio.current_time()
            if member.endpoint is None:
                others = self._listening.asked(member, member.host, peers.port, now, self._choices)
                if others is None:
                    self._refuse(member, "asked_too_often", "it got its answers")
                else:
                    await self._answer(member, Peers(self._port, others))
            elif answers.take(now):
                self.counters["told"] += len(peers.others)
                refused = self._book.heard(peers.others, member.host)
                if refused:
                    reason = "too many, or none of its business"
                    self._refuse(member, "told_refused", reason, refused)
                self._dial_told()
            else:
                self._refuse(member, "told_too_often", "it was asked seldom")

    def _refuse(self, member: Member, counter: str, reason: str, count: int = 1) -> None:
        """Count what is refused, and log it once for each peer, which may do it many times."""
        self.counters[counter] += count
        if counter not in member.refused:
            member.refused.add(counter)
            _log.info(f"swarm.{counter}", host=member.host, reason=reason)

    async def _answer(self, member: Member, peers: Peers) -> None:
        try:
            await member.peer.send_extension(EXTENSION, peers.encode())
        except HypercoreError as error:
            self._failed(member.host, error)

    def _dial_told(self) -> None:
        connected = {member.endpoint for member in self.members} | self._listening.endpoints
        while self._told < self._max_told:
            endpoint = self._book.to_dial(trio.current_time())
            if endpoint is None:
                return
            if endpoint not in connected:
                self._told += 1
                self._nursery.start_soon(self._visit_told, endpoint)

    async def _visit_told(self, endpoint: Endpoint) -> None:
        try:
            await self._visit(endpoint)
        finally:
            self._told -= 1

    async def _visit(self, endpoint: Endpoint) -> None:
        try:
            await self._stay(endpoint.host, endpoint.port, None)
        except HypercoreError as error:
            self._failed(endpoint.host, error)

    async def _look_around(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            self._dial_told()

    def _failed(self, host: str, error: HypercoreError) -> None:
        self.counters["failed"] += 1
        _log.info("swarm.peer_failed", host=host, reason=f"{type(error).__name__}: {error}")


@asynccontextmanager
async def open_feed_swarm(
    feed: SparseFeed,
    dial: Dial,
    *,
    port: int = 0,
    choices: random.Random | None = None,
    timeouts: Timeouts | None = None,
    max_told: int = MAX_TOLD,
    events: Callable[[Connection], PeerEvents] = lambda _connection: PeerEvents(),
) -> AsyncIterator[FeedSwarm]:
    """Hold a swarm for the body; at the end, however it comes, all connections are closed.

    An error of the body leaves as it is.

    Args:
        feed: what this side holds, shared by all connections.
        dial: connects to peers.
        port: where this side listens, for peers to pass on; 0: nowhere.
        choices: for what is chosen at random.
        timeouts: of each step.
        max_told: connections at a time to peers that others told of.
        events: called with the connection to each peer; what its owner wants to know of it.
    """
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        swarm = FeedSwarm(
            nursery,
            feed,
            dial,
            port=port,
            choices=choices or random.SystemRandom(),
            timeouts=timeouts or Timeouts(),
            max_told=max_told,
            events=events,
        )
        nursery.start_soon(swarm._look_around)
        try:
            yield swarm
        except BaseException as error:
            # Raised again below, outside the nursery, which would wrap it in a group.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure
