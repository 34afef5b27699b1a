"""The owner of a chain in an asynchronous process: one piece of work at a time, in a thread.

Whatever a piece of work changed (blocks, the pool) is told to the listeners before the next one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import structlog
import trio

from datdot_node.block import Block
from datdot_node.chain import Chain, Retracted
from datdot_node.errors import BadBlock
from datdot_node.executor import Runtime
from datdot_node.genesis import CODE
from datdot_node.pool import PoolEvent, Status

T = TypeVar("T")

logger = structlog.get_logger(__name__)

_RETRY_S = 1.0


class Mode(Enum):
    """When blocks are made: for each transaction, once a slot, or only when asked."""

    INSTANT = "instant"
    INTERVAL = "interval"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Update:
    """What happened: blocks taken back, new blocks with their changes, newly finalized ones, news
    of the pool.

    `runtime_version`: the new runtime's encoded version, if the runtime changed.
    `versions`: the encoded versions after the blocks that changed it, by their hashes.
    """

    retracted: list[Retracted]
    blocks: list[Block]
    changes: list[dict[bytes, bytes | None]]
    finalized: list[Block]
    pool: list[PoolEvent]
    runtime_version: bytes | None
    versions: dict[bytes, bytes]


Listener = Callable[[Update], None]


class Node:
    """A chain with its block production and its listeners."""

    def __init__(self, chain: Chain, mode: Mode) -> None:
        self._chain = chain
        self._mode = mode
        self._lock = trio.Lock()
        self._listeners: dict[int, Listener] = {}
        self._next_listener = 0
        self._ready = trio.Event()
        self._finalized = chain.finalized.number
        self._runtime: Runtime = chain.runtime(chain.state())

    async def run(self, work: Callable[[Chain], T]) -> T:
        """Runs `work` on the chain in a thread, after all that waits already, and its result.

        Work that began is finished and told of even if the caller is cancelled meanwhile.
        """
        async with self._lock:
            failure, value, update = await trio.to_thread.run_sync(self._step, work)
            self._tell(update)
        if failure is not None:
            raise failure
        return value[0]

    def _step(
        self, work: Callable[[Chain], T]
    ) -> tuple[BaseException | None, list[T], Update | None]:
        value: list[T] = []
        failure: BaseException | None = None
        try:
            value.append(work(self._chain))
        except Exception as error:
            # Raised again by `run`, in the caller's task, after the listeners were told.
            failure = error
        return failure, value, self._collect()

    def _collect(self) -> Update | None:
        """What happened since the last piece of work."""
        chain = self._chain
        retracted = chain.take_retracted()
        imported, pool = chain.take_imported(), chain.pool.take_events()
        if not imported and not pool and not retracted:
            return None
        finalized = []
        for number in range(self._finalized + 1, chain.finalized.number + 1):
            finalized.append(chain.block(number))
            self._finalized = number
        version = None
        runtime = chain.runtime(chain.state())
        if runtime is not self._runtime:
            self._runtime = runtime
            version = chain.call("Core_version")
        return Update(
            retracted,
            [block for block, _ in imported],
            [changes for _, changes in imported],
            finalized,
            pool,
            version,
            {
                block.hash: chain.call("Core_version", at=block.hash)
                for block, changes in imported
                if CODE in changes and block.number >= chain.oldest_state
            },
        )

    def _tell(self, update: Update | None) -> None:
        if update is None:
            return
        for listener in list(self._listeners.values()):
            listener(update)
        if any(event.status is Status.READY for event in update.pool):
            self._ready.set()

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Calls `listener` with every update while the block runs; it must not wait or raise."""
        key = self._next_listener
        self._next_listener += 1
        self._listeners[key] = listener
        try:
            yield
        finally:
            del self._listeners[key]

    async def produce(self) -> None:
        """Makes blocks for ever, as the mode says. Cancelled, the chain is at a whole block."""
        if self._mode is Mode.INTERVAL:
            await self._each_slot()
        elif self._mode is Mode.INSTANT:
            await self._each_transaction()

    async def _each_slot(self) -> None:
        slot_ms = await self.run(lambda chain: chain.slot_ms)
        while True:
            wait_ms = await self.run(_until_next_slot)
            if wait_ms > 2 * slot_ms:
                logger.warning("clock_behind_chain", behind_ms=wait_ms)
            await trio.sleep(max(wait_ms, 0) / 1000)
            await self._new_block(budget_s=slot_ms / 2000)

    async def _each_transaction(self) -> None:
        while True:
            self._ready = trio.Event()
            if not await self.run(lambda chain: bool(chain.pool.pending())):
                await self._ready.wait()
            await self._new_block(budget_s=None)

    async def _new_block(self, budget_s: float | None) -> None:
        try:
            await self.run(lambda chain: chain.new_block(budget_s=budget_s))
        except BadBlock as error:
            logger.exception("no_block", reason=str(error))
            await trio.sleep(_RETRY_S)


def _until_next_slot(chain: Chain) -> int:
    return chain.earliest_timestamp() - chain.now_ms()
