"""A reader that stays: it reads a feed in order, follows its growth, and serves what it holds.

It is an ordinary peer of the feed: it keeps a few requests open ahead of what it hands out, asks
whoever has a block, and is asked by others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from chain_types.records import Endpoint
from offchain_worker.hypercore.errors import HypercoreError, NoData, NotHosted
from offchain_worker.hypercore.feed import Head
from offchain_worker.hypercore.reader import Timeouts
from offchain_worker.hypercore.sparse import SparseFeed
from offchain_worker.swarm.feed_swarm import Dial, FeedSwarm, Member, open_feed_swarm
from offchain_worker.swarm.listen import remote_host

_log = structlog.get_logger()

READ_AHEAD = 8
"""Blocks that are asked for ahead of the one that is handed out next."""
HELD_BYTES = 32 * 1024 * 1024
"""What is kept for others, the latest blocks."""
BLOCK_S = 20.0
MIN_PAUSE_S = 0.5
MAX_PAUSE_S = 30.0
FORK_CHECK_S = 10.0
STATUS_S = 5.0

Sink = Callable[[int, bytes], None]
"""Gets each block with its number, in ascending order; it must not wait."""


@dataclass(frozen=True)
class WatchPlan:
    """What to read, and how.

    Attributes:
        feed_key: 32 bytes.
        origin: a peer that is joined at once, and again whenever it is lost.
        origin_key: its 32-byte Noise key; None accepts any.
        rate: blocks a second at most; None: as they come.
        again: whether to forget everything at the end and begin anew, for lasting traffic.
    """

    feed_key: bytes
    origin: Endpoint
    origin_key: bytes | None = None
    rate: float | None = None
    again: bool = False


async def watch(
    plan: WatchPlan,
    dial: Dial,
    sink: Sink,
    *,
    listeners: Sequence[trio.SocketListener] = (),
    choices: random.Random | None = None,
    timeouts: Timeouts | None = None,
) -> None:
    """Read and serve until cancelled, which closes all connections.

    Args:
        plan: what to read.
        dial: connects to peers.
        sink: gets the blocks.
        listeners: where others may call; the port of the first is told to peers. Closed at the
            end.
        choices: for what is chosen at random.
        timeouts: of each step that waits for a peer.

    Raises:
        ExceptionGroup: of NotHosted, when the author has rewritten the feed; of what `sink` raises.
    """
    feed = SparseFeed(plan.feed_key, capacity=HELD_BYTES)
    port = listeners[0].socket.getsockname()[1] if listeners else 0
    async with (
        open_feed_swarm(feed, dial, port=port, choices=choices, timeouts=timeouts) as swarm,
        trio.open_nursery() as nursery,
    ):
        if listeners:
            nursery.start_soon(trio.serve_listeners, partial(_welcome, swarm), list(listeners))
        nursery.start_soon(_stay_with_origin, plan, swarm)
        watcher = _Watcher(plan, feed, swarm, sink)
        nursery.start_soon(watcher.tell_status)
        await watcher.read(nursery)


async def _welcome(swarm: FeedSwarm, stream: trio.SocketStream) -> None:
    host = remote_host(stream)
    if host is None:
        await trio.aclose_forcefully(stream)
        return
    await swarm.welcome(stream, host)


async def _stay_with_origin(plan: WatchPlan, swarm: FeedSwarm) -> None:
    pause = MIN_PAUSE_S
    while True:
        try:
            member = await swarm.join(plan.origin.host, plan.origin.port, plan.origin_key)
        except HypercoreError as error:
            _log.info("reader.interrupted", peer=str(plan.origin), reason=str(error))
        else:
            pause = MIN_PAUSE_S
            await _until_ended(member, swarm)
        await trio.sleep(pause)
        pause = min(2 * pause, MAX_PAUSE_S)


async def _until_ended(member: Member, swarm: FeedSwarm) -> None:
    while member.peer.error is None:
        with trio.move_on_after(FORK_CHECK_S):
            await member.connection.wait_closed()
        fork, head = member.peer.reader.remote_fork, swarm.feed.head()
        if fork is not None and head is not None and fork > head.fork:
            raise NotHosted(f"its author has rewritten the feed (fork {fork}); start again")


class _Watcher:
    """Hands out blocks in order, with some asked for ahead."""

    def __init__(self, plan: WatchPlan, feed: SparseFeed, swarm: FeedSwarm, sink: Sink) -> None:
        self._plan = plan
        self._feed = feed
        self._swarm = swarm
        self._sink = sink
        self._window = trio.Semaphore(READ_AHEAD, max_value=READ_AHEAD)
        self._ready: dict[int, bytes] = {}
        self._next = 0
        self._read = 0
        self._all_read = trio.Event()

    async def read(self, nursery: trio.Nursery) -> None:
        """Read from the first block on, and go on as the feed grows."""
        index = 0
        while True:
            head = await self._longer_than(index)
            while index < head.length:
                # Waits for room first: the pause between requests is not used up by waiting.
                await self._window.acquire()
                nursery.start_soon(self._fetch, index)
                index += 1
                if self._plan.rate is not None:
                    await trio.sleep(1 / self._plan.rate)
            if self._plan.again:
                while self._next < index:
                    await self._all_read.wait()
                self._feed.forget()
                self._next = index = 0

    async def _longer_than(self, length: int) -> Head:
        while True:
            changed = self._feed.next_change()
            head = self._feed.head()
            if head is not None and head.length > length:
                return head
            await changed.wait()

    async def _fetch(self, index: int) -> None:
        """Read a block, however long it takes, and hand out what is next."""
        while True:
            try:
                block = await self._swarm.get(index, timeout=BLOCK_S)
                break
            except NoData as error:
                _log.info("reader.interrupted", chunk=index, reason=str(error))
                await trio.sleep(MIN_PAUSE_S)
        self._ready[index] = block.data
        self._read += 1
        while (data := self._ready.pop(self._next, None)) is not None:
            self._sink(self._next, data)
            self._next += 1
            self._window.release()
        head = self._feed.head()
        if head is not None and self._next == head.length:
            _log.info("reader.caught_up", length=head.length, peers=len(self._swarm.members))
        self._all_read.set()
        self._all_read = trio.Event()

    async def tell_status(self) -> None:
        """Log how far it is, once in a while."""
        while True:
            await trio.sleep(STATUS_S)
            _log.info(
                "reader.status",
                chunks=self._read,
                peers=len(self._swarm.members),
                told=self._swarm.counters["told"],
                failed=self._swarm.counters["failed"],
            )
