"""Fetching a feed from peers through the ordinary reader, and following its growth.

Each batch of chunks is on disk, with the tree nodes that prove them, before the next one is
written, so a restart goes on where it was. While it runs, the feed is served already as far as
it has come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import islice, takewhile

import structlog
import trio

from offchain_worker.hoster.store import FeedStore, Library, StoreError
from offchain_worker.hypercore.errors import HypercoreError, NoData, Unreachable
from offchain_worker.hypercore.manifest import is_compat
from offchain_worker.hypercore.reader import Block, Reader, Timeouts, open_reader
from offchain_worker.hypercore.tree import Node, parent, sibling
from offchain_worker.keys import KeyPair

_log = structlog.get_logger()

DialPeer = Callable[[], Awaitable[trio.abc.Stream]]
"""Connects to a peer; raises `OSError` or `Unreachable` when it cannot."""

BATCH_CHUNKS = 64
BATCH_BYTES = 4 * 1024 * 1024
CHUNKS_PER_CONNECTION = 16_384
"""After so many chunks the connection is made anew, since a reader keeps all nodes it verified."""
DIAL_S = 10.0
MIN_PAUSE_S = 0.5
MAX_PAUSE_S = 30.0


class Replication:
    """Keeps one feed of a library complete, from any of several peers."""

    def __init__(
        self,
        library: Library,
        key: bytes,
        peers: Sequence[DialPeer],
        *,
        timeouts: Timeouts | None = None,
        progress: Callable[[FeedStore], None] | None = None,
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            library: gets the feed when a peer has shown its head, if it is not there yet.
            key: the feed's key.
            peers: tried in turn.
            timeouts: of the reader.
            progress: called after each batch that is on disk.
        """
        self._library = library
        self._key = key
        self._peers = peers
        self._timeouts = timeouts or Timeouts()
        self._progress = progress

    async def run(self) -> None:
        """Fetch and follow until cancelled; what is on disk then is consistent.

        Failures of peers and of the disk are logged, and tried again with growing pauses.
        """
        pause = MIN_PAUSE_S
        while True:
            for dial in self._peers:
                before = self._state()
                try:
                    await self._fetch(dial, follow=True)
                except (HypercoreError, StoreError) as error:
                    _log.warning("replicate.interrupted", feed=self._key, reason=str(error))
                if self._state() != before:
                    pause = MIN_PAUSE_S
            await trio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_S)

    async def clone(self) -> FeedStore:
        """Fetch the feed as the first peer has it now; returns the complete store.

        Cancelled or failed, what has been fetched stays and the next call goes on from there.

        Raises:
            HypercoreError: the peer cannot be reached, or does not serve the feed whole.
            StoreError: the disk fails.
        """
        while True:
            before = self._state()
            await self._fetch(self._peers[0], follow=False)
            store = self._library.get(self._key)
            if store is not None and store.is_complete():
                return store
            if self._state() == before:
                raise NoData("the peer has a shorter feed, or another fork, than is here already")

    def _state(self) -> tuple[int, int]:
        store = self._library.get(self._key)
        head = None if store is None else store.head()
        if store is None or head is None:
            return 0, 0
        return head.length, store.contiguous_length()

    async def _fetch(self, dial: DialPeer, *, follow: bool) -> None:
        """Fetch over one connection, until there is nothing more or it is time for another."""
        opened = open_reader(
            await _connect(dial),
            feed_key=self._key,
            keypair=KeyPair.generate(),
            expected_remote=None,
            timeouts=self._timeouts,
            paced=False,
        )
        async with opened as reader:
            store = self._library.get(self._key)
            if store is None:
                shown = reader.head.manifest
                manifest = None if is_compat(self._key, shown) else shown
                store = self._library.create(self._key, manifest)
            budget = CHUNKS_PER_CONNECTION
            while budget > 0:
                await self._take_head(store, reader)
                budget -= await self._fetch_missing(store, reader, budget)
                head = store.head()
                if not follow or head is None or not store.is_complete():
                    return
                # The reader's head may have grown while the last chunks were fetched.
                if not await reader.wait_moved_on(head.length):
                    return

    async def _take_head(self, store: FeedStore, reader: Reader) -> None:
        head, current = reader.head, store.head()
        if current is not None and (head.fork, head.length) <= (current.fork, current.length):
            return
        nodes: dict[int, Node] = {}
        if current is not None and current.fork == head.fork:
            for root in current.roots:
                _collect_path(reader.nodes, root.index, nodes)
        await self._write(store, partial(store.put_head, head, list(nodes.values())))
        _log.info("replicate.head", feed=self._key, fork=head.fork, length=head.length)

    async def _fetch_missing(self, store: FeedStore, reader: Reader, limit: int) -> int:
        """Fetch what is missing and below the peer's head, at most `limit` chunks."""
        current = store.head()
        if current is None or current.fork != reader.head.fork:
            return 0
        end = reader.head.length
        missing = islice(takewhile(lambda index: index < end, store.missing()), limit)
        fetched = 0
        batch: list[Block] = []
        try:
            async for block in reader.download(missing):
                batch.append(block)
                if _is_full(batch):
                    full, batch = batch, []
                    await self._store(store, reader, full)
                    fetched += len(full)
        except HypercoreError:
            await self._store(store, reader, batch)
            raise
        await self._store(store, reader, batch)
        if store.is_complete() and fetched + len(batch):
            _log.info("replicate.complete", feed=self._key, length=current.length)
        return fetched + len(batch)

    async def _store(self, store: FeedStore, reader: Reader, blocks: Sequence[Block]) -> None:
        if not blocks:
            return
        nodes: dict[int, Node] = {}
        for block in blocks:
            nodes[block.leaf.index] = block.leaf
            _collect_path(reader.nodes, block.leaf.index, nodes)
        chunks = [(block.index, block.data) for block in blocks]
        await self._write(store, partial(store.add, chunks, list(nodes.values())))

    async def _write(self, store: FeedStore, write: Callable[[], None]) -> None:
        await trio.to_thread.run_sync(write)
        store.notify()
        if self._progress is not None:
            self._progress(store)


async def _connect(dial: DialPeer) -> trio.abc.Stream:
    try:
        with trio.fail_after(DIAL_S):
            return await dial()
    except trio.TooSlowError:
        raise Unreachable(f"no connection in {DIAL_S:g} s") from None
    except OSError as error:
        raise Unreachable(f"no connection: {error.strerror or error}") from error


def _is_full(batch: Sequence[Block]) -> bool:
    return len(batch) >= BATCH_CHUNKS or sum(len(block.data) for block in batch) >= BATCH_BYTES


def _collect_path(known: Mapping[int, Node], index: int, collected: dict[int, Node]) -> None:
    """Put into `collected` the nodes that lead from `index` to its root, with their siblings."""
    while True:
        above, beside = known.get(parent(index)), known.get(sibling(index))
        if above is None or beside is None:
            return
        collected[beside.index] = beside
        if above.index in collected:
            # Whoever put it there went on to the root.
            return
        collected[above.index] = above
        index = above.index
