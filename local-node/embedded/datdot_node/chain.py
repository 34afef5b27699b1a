"""A chain in this process: blocks made on demand, every old state readable, no network.

Everything here is synchronous and for one thread at a time; `datdot_node.server` puts JSON-RPC
around it.
"""

import json
import sqlite3
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from datdot_node import blob, filler, genesis, pool
from datdot_node.authoring import BlockBuilder, replay
from datdot_node.block import Block, Header
from datdot_node.errors import (
    BadBlock,
    BadRuntime,
    BadStore,
    RuntimeTrapped,
    StateDiscarded,
    UnknownBlock,
)
from datdot_node.executor import Runtime
from datdot_node.forks import Forks, Pins, TakenBack
from datdot_node.hashing import blake2_256, storage_key
from datdot_node.overlay import EmptyState, Overlay, StateView
from datdot_node.pool import Broadcast, Pool, PoolError
from datdot_node.scale import Reader, ScaleError
from datdot_node.state import State, read_all, trie_of
from datdot_node.store import Store, past_state, undone
from datdot_node.trie import Trie
from datdot_node.validity import (
    TransactionInvalid,
    TransactionUnknown,
    Valid,
    decode_validity,
)

_NOW = storage_key("Timestamp", "Now")
_EXTERNAL = b"\2"
"""The source of transactions that come from outside of the node."""
_RUNTIMES = 3
"""How many compiled runtimes are kept: those of blocks around an upgrade."""
_RECHECKED_PER_BLOCK = 8
_REMEMBERED = 1024
_FINALIZED = "finalized"
_HELD_BACK = 512
"""A block that a reader holds keeps its state for so many blocks at least."""
_MOST_MS = 1 << 48
"""The clock shows no later time: the runtime's own arithmetic is in 64 bits."""
MAX_FORWARD = 20_000
"""Most blocks that are made in one go to put the clock forward."""

At = bytes | int | None
"""Names a block: its hash, its number, or None for the newest."""


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def packaged_code() -> bytes:
    """The runtime that comes with this package, as it goes into `:code`. Raises `BadRuntime`."""
    packaged = files("datdot_node").joinpath("runtime", "datdot_runtime.compact.compressed.wasm")
    try:
        return packaged.read_bytes()
    except FileNotFoundError as error:
        raise BadRuntime(
            "this installation has no compiled runtime; `make wasm` makes it"
        ) from error


@dataclass(frozen=True, slots=True)
class Retracted:
    """Blocks that are no more of the chain.

    Attributes:
        blocks: in ascending order.
        head: the header of the block that was the newest then.
        changes: what this made of the state; None is a removal.
    """

    blocks: tuple[Block, ...]
    head: Header
    changes: dict[bytes, bytes | None]


class Chain:
    """A chain, in a folder or in memory. Use it as a context manager, or `close` it."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], int],
        cache: Path | None,
        finality_lag: int,
        kept_states: int | None,
    ) -> None:
        """For `Chain.open`."""
        head, genesis_hash = store.head(), store.hash_of(0)
        if head is None or genesis_hash is None:
            raise BadStore("the store has no genesis")
        self._store = store
        self._clock = clock
        self._cache = cache
        self._finality_lag = finality_lag
        self._kept_states = kept_states
        self._head = head
        self._head_hash = head.hash
        self._genesis_hash = genesis_hash
        self._runtimes: OrderedDict[bytes, Runtime] = OrderedDict()
        self._newest_code: bytes | None = None
        self._newest_runtime: Runtime | None = None
        self._slot_ms: int | None = None
        self._travelled_ms = int(store.meta("travelled_ms") or 0)
        self._state = State(store.state(), int(store.meta("state_version") or 1))
        if self._state.trie.root != head.state_root:
            raise BadStore(f"the stored state is not that of block {head.number}")
        self._finalized = max(int(store.meta(_FINALIZED) or 0), head.number - finality_lag, 0)
        self._imported: deque[tuple[Block, dict[bytes, bytes | None]]] = deque(maxlen=_REMEMBERED)
        self._retracted: deque[Retracted] = deque(maxlen=_REMEMBERED)
        self._forks = Forks()
        self._oldest_state = store.oldest_state()
        self._broadcasts: list[Broadcast] = []
        self.pool = Pool()

    @classmethod
    def open(
        cls,
        directory: Path | None = None,
        *,
        code: bytes | None = None,
        preset: str | None = None,
        genesis_patch: Mapping[str, Any] | None = None,
        clock: Callable[[], int] = wall_clock_ms,
        cache: Path | None = None,
        finality_lag: int = 0,
        kept_states: int | None = None,
    ) -> Self:
        """Opens the chain in `directory`, or begins it there; None begins one in memory.

        `code` is the runtime of a new chain, by default the packaged one; a chain goes on with
        the runtime in its own state. `genesis_patch` is a JSON merge patch over the default
        configuration and the preset (None: "development"); an old chain goes on with its own
        genesis, and where one of the two is given it must have been begun with the same.
        `clock` gives Unix milliseconds; `cache` is where compiled code is kept (None: the user's
        cache folder); the finalized block is `finality_lag` blocks behind the newest. Of the
        states of blocks before the newest only the last `kept_states` stay readable (None: all),
        and always those of blocks that are not final.
        Raises `ChainLocked`, `BadStore`, `BadGenesis`, `BadRuntime`, `UnknownImport`.
        """
        cache = blob.default_cache() if cache is None else cache
        asked = preset is not None or genesis_patch is not None
        preset = preset or "development"
        begun_with = json.dumps([preset, genesis_patch or {}], sort_keys=True).encode()
        store = Store(directory)
        try:
            if store.head() is None:
                code = packaged_code() if code is None else code
                _begin(store, Runtime(code, cache=cache), code, preset, genesis_patch, begun_with)
            elif asked and store.meta("begun_with") != begun_with:
                raise BadStore(f"the chain in {directory} was begun with another genesis")
            return cls(
                store,
                clock=clock,
                cache=cache,
                finality_lag=finality_lag,
                kept_states=kept_states,
            )
        except (sqlite3.Error, ScaleError) as error:
            store.close()
            raise BadStore(f"the chain in {directory} is damaged: {error}") from error
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Closes the store. Nothing else may be called afterwards."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What there is

    @property
    def head(self) -> Header:
        """The newest block's header."""
        return self._head

    @property
    def head_hash(self) -> bytes:
        """The newest block's hash."""
        return self._head_hash

    @property
    def finalized(self) -> Header:
        """The newest finalized block's header."""
        return self.header(self._finalized)

    @property
    def genesis_hash(self) -> bytes:
        """The hash of block 0."""
        return self._genesis_hash

    def number(self, at: At) -> int:
        """The number of a block. Raises `UnknownBlock`."""
        if at is None or at == self._head_hash:
            return self._head.number
        if isinstance(at, bytes):
            number = self._store.number_of(at)
            if number is None:
                raise UnknownBlock(f"no block 0x{at.hex()}")
            return number
        if not 0 <= at <= self._head.number:
            raise UnknownBlock(f"no block {at}")
        return at

    def hash(self, number: int) -> bytes:
        """The hash of a block. Raises `UnknownBlock`."""
        found = self._store.hash_of(self.number(number))
        if found is None:
            raise UnknownBlock(f"no block {number}")
        return found

    def header(self, at: At = None) -> Header:
        """A block's header. Raises `UnknownBlock`."""
        number = self.number(at)
        found = self._head if number == self._head.number else self._store.header(number)
        if found is None:
            raise UnknownBlock(f"no block {number}")
        return found

    def block(self, at: At = None) -> Block:
        """A block with its body. Raises `UnknownBlock`."""
        number = self.number(at)
        found = self._store.block(number)
        if found is None:
            raise UnknownBlock(f"no block {number}")
        return found

    def state(self, at: At = None) -> StateView:
        """The state after a block, to be read before the next block is made.

        Raises `UnknownBlock`, `StateDiscarded`.
        """
        number = self.number(at)
        if number == self._head.number:
            return self._state
        if number < self._oldest_state:
            raise StateDiscarded(f"the state of block {number} was discarded")
        return past_state(self._store, self._state, number, self._head.number)

    @property
    def oldest_state(self) -> int:
        """The number of the first block whose state can be read."""
        return self._oldest_state

    def hold(self) -> Pins:
        """Pins of a new reader: what it puts into `Pins.hashes` stays readable.

        That is for `_HELD_BACK` blocks at least with a pruned chain, and as long as it likes
        otherwise, even when the block is taken back. `Pins.lost` says when it could not be.
        """
        return self._forks.hold()

    def held_block(self, block_hash: bytes) -> Block:
        """A block of the chain, or one taken back that is held. Raises `UnknownBlock`."""
        taken_back = self._forks.get(block_hash)
        return self.block(block_hash) if taken_back is None else taken_back.block

    def held_state(self, block_hash: bytes) -> StateView:
        """The state after a block of the chain, or after one taken back that is held.

        Raises `UnknownBlock`, `StateDiscarded`.
        """
        if self._forks.get(block_hash) is None:
            return self.state(block_hash)
        return self._forks.on(block_hash, lambda base: Overlay(self.state(base)))

    def held_trie(self, block_hash: bytes) -> Trie:
        """The trie of that state. Raises `UnknownBlock`, `StateDiscarded`."""

        def undone_to(base: bytes) -> Overlay:
            self.state(base)  # Raises when it was discarded.
            return undone(self._store, self._state, self.number(base))

        return trie_of(self._forks.on(block_hash, undone_to), self._state.trie.version)

    def code_changes(self, after: int) -> list[int]:
        """The numbers of the blocks after `after` that changed the runtime."""
        return self._store.changes_of(genesis.CODE, after)

    def storage(self, key: bytes, at: At = None) -> bytes | None:
        """The value under `key` after a block, or None. Raises `UnknownBlock`."""
        return self.state(at).get(key)

    def call(self, method: str, arguments: bytes = b"", at: At = None) -> bytes:
        """Calls the runtime on the state after a block; what it changes is forgotten.

        Arguments and result are SCALE. Raises `UnknownBlock`, `UnknownMethod`, `RuntimeTrapped`.
        """
        state = self.state(at)
        return self.runtime(state).call(method, arguments, Overlay(state))

    def runtime(self, state: StateView) -> Runtime:
        """The compiled runtime of a state."""
        code = state.get(genesis.CODE) or b""
        if self._newest_code is not code or self._newest_runtime is None:
            # Hashing the code takes longer than many a call, so the last one is known by identity.
            key = blake2_256(code)
            if key not in self._runtimes:
                self._runtimes[key] = Runtime(code, cache=self._cache)
                if len(self._runtimes) > _RUNTIMES:
                    self._runtimes.popitem(last=False)
            self._runtimes.move_to_end(key)
            self._newest_code, self._newest_runtime = code, self._runtimes[key]
        return self._newest_runtime

    # Time

    def now_ms(self) -> int:
        """The chain's clock: wall time and what was travelled."""
        return self._clock() + self._travelled_ms

    def travel(self, forward_ms: int) -> None:
        """Puts the clock of future blocks forward, for good. Raises `ValueError` for backward."""
        if forward_ms < 0:
            raise ValueError("time travels forward only")
        if self.now_ms() + forward_ms > _MOST_MS:
            raise ValueError(f"the clock ends at {_MOST_MS} ms")
        self._travelled_ms += forward_ms
        self._store.set_meta("travelled_ms", str(self._travelled_ms).encode())

    def timestamp(self, at: At = None) -> int:
        """The timestamp of a block in milliseconds; 0 for genesis."""
        return int.from_bytes(self.storage(_NOW, at) or b"", "little")

    @property
    def slot_ms(self) -> int:
        """The length of a slot in milliseconds, fixed at genesis."""
        if self._slot_ms is None:
            self._slot_ms = Reader(self.call("AuraApi_slot_duration")).u64()
        return self._slot_ms

    def earliest_timestamp(self) -> int:
        """The earliest that the next block can be: in a later slot and half a slot after."""
        before = self.timestamp()
        slot = self.slot_ms
        return max((before // slot + 1) * slot, before + (slot + 1) // 2) if before else 0

    # Transactions

    def validate(self, extrinsic: bytes) -> Valid:
        """What the runtime says of an extrinsic now. Raises `PoolError` 1001, 1002, 1010, 1011."""
        check_format(extrinsic)
        arguments = _EXTERNAL + extrinsic + self._head_hash
        try:
            return decode_validity(
                self.call("TaggedTransactionQueue_validate_transaction", arguments)
            )
        except RuntimeTrapped as error:
            raise pool.verification_failed(str(error)) from error
        except TransactionInvalid as error:
            raise pool.invalid(error.reason) from error
        except TransactionUnknown as error:
            raise pool.unknown(error.reason) from error

    def submit(self, extrinsic: bytes) -> bytes:
        """Puts an extrinsic (with its length prefix) into the pool; its hash.

        Raises `PoolError` with the code of a native node.
        """
        transaction_hash = self.pool.check_new(extrinsic, self.now_ms())
        self.pool.add(extrinsic, self.validate(extrinsic), self._head.number)
        return transaction_hash

    def broadcast(self, extrinsic: bytes) -> Broadcast:
        """Submits an extrinsic now, and again after a block as long as that may help.

        Nobody is told when it is refused. Goes on until it is final, refused for good or stopped.
        """
        broadcast = Broadcast(extrinsic, blake2_256(extrinsic))
        self._broadcasts.append(broadcast)
        self._go_on_broadcasting()
        return broadcast

    def stop_broadcast(self, broadcast: Broadcast) -> None:
        """Submits it no more, and takes it out of the pool."""
        broadcast.stopped = True
        self.pool.withdraw(broadcast.hash)
        self._go_on_broadcasting()

    def _go_on_broadcasting(self) -> None:
        for each in self._broadcasts:
            if each.included is not None:
                each.done = each.included <= self._finalized
            elif not each.stopped and each.hash not in self.pool:
                try:
                    self.submit(each.extrinsic)
                except PoolError as error:
                    each.done = not error.passing
        self._broadcasts = [each for each in self._broadcasts if not each.done | each.stopped]

    def next_nonce(self, account: bytes) -> int:
        """The nonce of an account's next transaction, after those that are ready in the pool."""
        nonce = Reader(self.call("AccountNonceApi_account_nonce", account)).u32()
        while self.pool.provides(account + nonce.to_bytes(4, "little")):
            nonce += 1
        return nonce

    def dry_run(self, extrinsic: bytes, at: At = None) -> bytes:
        """The runtime's encoded answer to applying an extrinsic after a block, then forgotten.

        Raises `PoolError` 1001, 1002, `BadBlock`.
        """
        check_format(extrinsic)
        state, parent = self.state(at), self.header(at)
        slot_ms = self.slot_ms
        timestamp = (self.timestamp(at) // slot_ms + 1) * slot_ms
        builder = BlockBuilder(self.runtime(state), state, parent, timestamp, timestamp // slot_ms)
        try:
            return builder.try_apply(extrinsic)
        except RuntimeTrapped as error:
            raise pool.verification_failed(str(error)) from error

    # Blocks

    def new_block(
        self,
        timestamp_ms: int | None = None,
        *,
        budget_s: float | None = None,
        fill_bytes: int | None = None,
    ) -> Block:
        """Makes the next block from the pool, and keeps it.

        Its timestamp is given or that of the clock, in either case not before
        `earliest_timestamp`. After `budget_s` seconds of work no further transaction is begun.
        With `fill_bytes` it is filled up to the runtime's limits by remarks of that size.
        Raises `BadBlock`, and then the chain is as before.
        """
        earliest = self.earliest_timestamp()
        if timestamp_ms is None:
            timestamp_ms = max(self.now_ms(), earliest)
        elif timestamp_ms < earliest:
            raise BadBlock(f"a block at {timestamp_ms} is too early, {earliest} is possible")
        if timestamp_ms > _MOST_MS:
            raise BadBlock(f"a block at {timestamp_ms} is too late, {_MOST_MS} is possible")
        runtime = self.runtime(self._state)
        builder = BlockBuilder(
            runtime, self._state, self._head, timestamp_ms, timestamp_ms // self.slot_ms
        )
        end = None if budget_s is None else time.monotonic() + budget_s
        included: list[bytes] = []
        refused: list[bytes] = []
        for transaction in self.pool.best() if builder.takes_transactions else ():
            if end is not None and time.monotonic() >= end:
                break
            try:
                builder.apply(transaction.extrinsic)
            except TransactionInvalid as error:
                if error.exhausts:
                    break
                refused.append(transaction.hash)
            except (TransactionUnknown, RuntimeTrapped, ScaleError):
                refused.append(transaction.hash)
            else:
                included.append(transaction.hash)
        if fill_bytes is not None and builder.takes_transactions:
            filler.fill(builder, self._genesis_hash, fill_bytes)
        block, changes = builder.seal()
        self._import(block, changes.items())
        self._tidy_pool(included, refused)
        self._go_on_broadcasting()
        return block

    def _import(self, block: Block, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        changes = list(changes)
        self._store.add(block, changes, self._state)
        self._state.apply(changes)
        self._head, self._head_hash = block.header, block.hash
        self._finalized = max(self._finalized, block.number - self._finality_lag)
        self._imported.append((block, dict(changes)))
        if self._broadcasts:
            hashes = {blake2_256(each) for each in block.extrinsics}
            for broadcast in self._broadcasts:
                if broadcast.hash in hashes:
                    broadcast.included = block.number
        self._forks.tidy()
        self._prune()

    def _prune(self) -> None:
        if self._kept_states is None:
            return
        oldest = min(self._head.number - self._kept_states, self._finalized)
        if oldest <= self._oldest_state:
            return
        if self._forks.held:
            needed = min(map(self._number_below, self._forks.bases()), default=oldest)
            oldest = min(oldest, max(needed, self._head.number - _HELD_BACK))
        if oldest > self._oldest_state:
            self._store.prune(oldest)
            self._oldest_state = oldest
            self._forks.tidy(lambda block_hash: self._number_below(block_hash) < oldest)

    def _number_below(self, block_hash: bytes) -> int:
        """A block's number; that of the newest for one that is nowhere any more."""
        number = self._store.number_of(block_hash)
        return self._head.number if number is None else number

    def fast_forward(self, until_ms: int) -> int:
        """Makes block after block, a slot each, until the clock shows `until_ms`; how many.

        The clock of later blocks goes on from there. Raises `ValueError` for more than
        `MAX_FORWARD` blocks, and as `new_block`.
        """
        # A new chain has no time yet: it begins with the clock's.
        timestamp = self.earliest_timestamp() or min(self.now_ms(), until_ms)
        count = (until_ms - timestamp) // self.slot_ms
        if count > MAX_FORWARD:
            raise ValueError(f"{count} blocks are more than {MAX_FORWARD} at once")
        made = 0
        with self._store.written_together():
            while timestamp <= until_ms:
                self.new_block(timestamp)
                made += 1
                timestamp = self.earliest_timestamp()
        self.travel(max(0, until_ms - self.now_ms()))
        return made

    # Forks

    def rewind(self, at: At) -> None:
        """Takes the blocks after `at` back, so that the next one begins a fork there.

        Their transactions go back into the pool as far as they are valid there. Raises
        `BadBlock` when one of the blocks is final, `UnknownBlock`.
        """
        number = self.number(at)
        if number < self._finalized:
            raise BadBlock(f"block {self._finalized} is final: nothing before it can be the head")
        dropped = [self.block(each) for each in range(number + 1, self._head.number + 1)]
        if not dropped:
            return
        if self._store.meta(_FINALIZED) != (known := str(self._finalized).encode()):
            self._store.set_meta(_FINALIZED, known)
        if self._forks.held:
            changes = self._store.changes_by_block(number, self._state)
            for block in dropped:
                self._forks.add(TakenBack(block, changes.get(block.number, {})))
        undo = self._store.take_back(number)
        self._state.apply(undo.items())
        head = self._store.head()
        if head is None or self._state.trie.root != head.state_root:
            raise BadStore(f"the state of block {number} cannot be restored")
        self._head, self._head_hash = head, head.hash
        self._newest_code = None
        self._imported = deque(
            (each for each in self._imported if each[0].number <= number), maxlen=_REMEMBERED
        )
        self._retracted.append(Retracted(tuple(dropped), head, undo))
        for broadcast in self._broadcasts:
            if broadcast.included is not None and broadcast.included > number:
                broadcast.included = None
        waiting = self.pool.clear()
        back = [extrinsic for block in dropped for extrinsic in block.extrinsics]
        for extrinsic in (*back, *waiting):
            try:
                self.pool.add(extrinsic, self.validate(extrinsic), number)
            except PoolError:
                # What this fork has made invalid; inherents too, of which nobody is told.
                self.pool.note_invalid(blake2_256(extrinsic))

    def reorganise(self, depth: int, count: int | None = None) -> Block:
        """Replaces the newest `depth` blocks by `count` others (default: one more); the newest.

        Raises `BadBlock` when one of them is final, `UnknownBlock` for more than there are.
        """
        if depth < 1 or (count is not None and count < 1):
            raise ValueError("a reorganisation replaces blocks by blocks")
        fork = self._head.number - depth
        # In another slot than the block that is replaced, or it could be the same block again.
        first = self.timestamp(self.number(fork + 1)) + self.slot_ms
        self.rewind(fork)
        block = self.new_block(max(self.now_ms(), first))
        for _ in range((depth + 1 if count is None else count) - 1):
            block = self.new_block()
        return block

    def take_retracted(self) -> "list[Retracted]":
        """What was taken back since this was last called."""
        retracted = list(self._retracted)
        self._retracted.clear()
        return retracted

    def verify(self, progress: Callable[[int], None] | None = None) -> int:
        """Executes every block again, from the oldest state that there is; how many.

        Each must follow from the one before by the runtime of its parent's state, give the state
        root in its header, and the last one the state that is stored. `progress` is called with
        the number of each. Raises `BadBlock`.
        """
        first = self._oldest_state
        items = dict(read_all(self.state(first)))
        state = State(items, self._state.trie.version)
        parent = self.header(first)
        if state.trie.root != parent.state_root:
            raise BadBlock(f"the state of block {first} is not that of its header")
        for number in range(first + 1, self._head.number + 1):
            block = self.block(number)
            if block.header.parent_hash != parent.hash or block.hash != self.hash(number):
                raise BadBlock(f"block {number} does not follow block {number - 1}")
            state.apply(replay(self.runtime(state), state, block).items())
            if state.trie.root != block.header.state_root:
                raise BadBlock(f"block {number} gives another state than its header says")
            parent = block.header
            if progress is not None:
                progress(number)
        if state.trie.root != self._state.trie.root:
            raise BadBlock("the stored state is not that of the newest block")
        return self._head.number - first

    def take_imported(self) -> list[tuple[Block, dict[bytes, bytes | None]]]:
        """The blocks made since this was last called, with their changes; the last few if many."""
        imported = list(self._imported)
        self._imported.clear()
        return imported

    def _tidy_pool(self, included: list[bytes], refused: list[bytes]) -> None:
        now = self.now_ms()
        self.pool.included(included)
        for transaction_hash in refused:
            self.pool.remove_invalid(transaction_hash, now)
        for transaction in self.pool.to_recheck(self._head.number, _RECHECKED_PER_BLOCK):
            try:
                validity = self.validate(transaction.extrinsic)
            except PoolError:
                self.pool.remove_invalid(transaction.hash, now)
            else:
                self.pool.rechecked(transaction.hash, validity, self._head.number)

    def replay(self, at: At = None) -> None:
        """Executes a block again on its parent's state, as an importing node would.

        Raises `BadBlock` if the runtime refuses it, `UnknownBlock`.
        """
        block = self.block(at)
        if block.number == 0:
            raise UnknownBlock("genesis has no parent to be replayed on")
        state = self.state(block.number - 1)
        replay(self.runtime(state), state, block)


def _begin(
    store: Store,
    runtime: Runtime,
    code: bytes,
    preset: str,
    genesis_patch: Mapping[str, Any] | None,
    begun_with: bytes,
) -> None:
    items = genesis.build(runtime, code, preset, genesis_patch or {})
    version = _state_version(runtime)
    header = genesis.header(State(items, version).trie.root)
    store.begin_chain(
        header, items, {"state_version": str(version).encode(), "begun_with": begun_with}
    )


def _state_version(runtime: Runtime) -> int:
    """The version of the trie that the runtime wants: the last byte of its encoded version."""
    return min(runtime.call("Core_version", b"", Overlay(EmptyState()))[-1], 1)


def check_format(extrinsic: bytes) -> None:
    """Raises `pool.BadFormat` unless the length in front is that of the rest."""
    reader = Reader(extrinsic)
    try:
        reader.sized()
        reader.end()
    except ScaleError as error:
        raise pool.BadFormat(str(error)) from error
