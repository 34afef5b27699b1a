"""The embedded chain as a day uses it: signs for its people, makes blocks, tells what happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from chain_types import storage
from chain_types.constants import Constants, read_constants
from chain_types.extrinsic import SIGNATURE_ED25519, Era, Terms, extrinsic_hash, sign_extrinsic
from chain_types.metadata import decode_metadata
from chain_types.runtime import DispatchError, EventRecord, OtherEvent, Runtime, RuntimeVersion
from chain_types.scale import Bytes
from chain_types.storage_keys import Item, Map
from chain_types.words import Call
from datdot_node import Chain
from datdot_node.pool import PoolError
from datdot_node.rpc.methods import METHODS
from datdot_node.rpc.params import Params
from offchain_worker.chain.client import ChainClient
from offchain_worker.chain.journal import Journal
from offchain_worker.chain.rpc import DEFAULT_LIMITS, Rpc
from offchain_worker.chain.transactions import Transactions
from offchain_worker.simulation.day.people import Person

T = TypeVar("T")

Ended = Callable[[DispatchError | None], None]
"""Told once a call is in a block: why it was undone, or None."""

PERIOD = 256
"""Blocks for which an extrinsic is valid."""
MAX_METADATA_BYTES = 2**24


class DayChain:
    """A chain in memory whose blocks are made when the day says so.

    Attributes:
        chain: the chain itself.
        runtime, constants: its words.
        pending: calls that are in no block yet.
    """

    def __init__(self, genesis_patch: Mapping[str, Any], clock_ms: Callable[[], int]) -> None:
        self.chain = Chain.open(genesis_patch=genesis_patch, clock=clock_ms)
        version = METHODS["state_getRuntimeVersion"](self.chain, Params([]))
        metadata = Bytes(MAX_METADATA_BYTES).decode(self.chain.call("Metadata_metadata"))
        words = RuntimeVersion(
            version["specName"], version["specVersion"], version["transactionVersion"]
        )
        self.runtime = Runtime(decode_metadata(metadata), words)
        self.constants: Constants = read_constants(self.runtime)
        self._waiting: dict[bytes, Ended | None] = {}

    @property
    def pending(self) -> int:
        """How many calls are in no block yet."""
        return len(self._waiting)

    def submit(self, call: Call, person: Person, ended: Ended | None = None) -> None:
        """Put a call into the pool.

        Raises:
            RuntimeError: the pool does not take it: nobody in a day sends what cannot be paid.
        """
        chain = self.chain
        era = Era.starting(chain.head.number, PERIOD)
        terms = Terms(
            genesis=chain.genesis_hash,
            era=era,
            checkpoint=chain.hash(era.birth),
            nonce=person.nonce,
        )
        encoded = self.runtime.encode_call(call)
        extrinsic = sign_extrinsic(
            self.runtime, encoded, person.account, person.key.sign, terms, SIGNATURE_ED25519
        )
        try:
            chain.submit(extrinsic)
        except PoolError as error:
            raise RuntimeError(f"{call.name} of {person.name} is not taken: {error}") from error
        person.nonce += 1
        self._waiting[extrinsic_hash(extrinsic)] = ended

    def make_block(self, timestamp_ms: int) -> tuple[EventRecord, ...]:
        """Make the next block, tell who waits for a call in it, and return its events."""
        block = self.chain.new_block(timestamp_ms)
        raw = self.chain.storage(storage.EVENTS_KEY)
        events = () if raw is None else self.runtime.decode_events(raw)
        outcomes = self._outcomes(events)
        for place, extrinsic in enumerate(block.extrinsics):
            identifier = extrinsic_hash(extrinsic)
            if identifier in self._waiting:
                ended = self._waiting.pop(identifier)
                if ended is not None:
                    ended(outcomes[place])
        return events

    def _outcomes(self, events: tuple[EventRecord, ...]) -> dict[int, DispatchError | None]:
        """Why each extrinsic of a block was undone; None if it was not."""
        found: dict[int, DispatchError | None] = {}
        for record in events:
            event = record.event
            if (
                record.extrinsic is not None
                and isinstance(event, OtherEvent)
                and event.pallet == "System"
            ):
                if event.name == "ExtrinsicSuccess":
                    found[record.extrinsic] = None
                elif event.name == "ExtrinsicFailed":
                    found[record.extrinsic] = self.runtime.dispatch_error(
                        event.fields["dispatch_error"]
                    )
        return found

    def read(self, entry: Item[T] | Map[T], *keys: Any) -> T:
        """A value of storage after the newest block; an absent one is None or the default."""
        raw = self.chain.storage(entry.key() if isinstance(entry, Item) else entry.key(*keys))
        value: T = self.runtime.default(entry) if raw is None else entry.value.decode(raw)
        return value

    def client(self) -> ChainClient:
        """A client of this chain, as workers and commands have one, but without a connection."""
        rpc = _Direct(self.chain)
        genesis = self.chain.genesis_hash
        transactions = Transactions(rpc, self.runtime, genesis, Journal(":memory:", genesis))
        return ChainClient(rpc, self.runtime, genesis, transactions, lambda: 0.0)


class _Direct(Rpc):
    """Calls the node's methods in place."""

    def __init__(self, chain: Chain) -> None:
        super().__init__("ws://chain.invalid", DEFAULT_LIMITS)
        self._chain = chain

    async def request(
        self, method: str, *params: Any, timeout: float | None = None, again: bool = True
    ) -> Any:
        """What a node answers to the same request."""
        del timeout, again
        return METHODS[method](self._chain, Params(list(params)))
