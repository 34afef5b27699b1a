"""The chain as the workers see it: typed reads at a block, finalized heads, transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import trio

from chain_types import storage
from chain_types.check import check_words
from chain_types.constants import Constants, read_constants
from chain_types.extrinsic import SignedExtrinsic, read_extrinsic
from chain_types.metadata import decode_metadata
from chain_types.records import (
    MAX_PAGE,
    AccountInfo,
    Challenge,
    Demand,
    Duty,
    Endpoint,
    Expulsion,
    Fallback,
    Flip,
    Fraud,
    HosterPage,
    HosterSummary,
    OpenChallenge,
    Rank,
    ReportRecord,
    Role,
    Settlement,
    Sla,
    Tally,
)
from chain_types.runtime import EventRecord, Runtime, RuntimeVersion
from chain_types.scale import Codec, DecodeError, Limit, codec_of, struct
from chain_types.storage_keys import Item, Map
from chain_types.words import Call
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.background import running
from offchain_worker.chain.errors import MalformedAnswer, TooMuch
from offchain_worker.chain.heads import (
    Head,
    Header,
    Heads,
    from_bytes,
    read_header,
    to_bytes,
)
from offchain_worker.chain.journal import Journal
from offchain_worker.chain.rpc import DEFAULT_LIMITS, Limits, OpenStream, Rpc, open_rpc
from offchain_worker.chain.transactions import Finalized, Transactions
from offchain_worker.errors import OperationError

T = TypeVar("T")

PAGE = 256
MAX_ENTRIES = 10_000
MAX_OPEN = 4_096

_OPEN_CHALLENGES: Codec[tuple[OpenChallenge, ...]] = codec_of(
    Annotated[tuple[OpenChallenge, ...], Limit(MAX_OPEN)]
)
_FLAG: Codec[bool] = codec_of(bool)
_DUTIES: Codec[tuple[Duty, ...]] = codec_of(Annotated[tuple[Duty, ...], Limit(MAX_OPEN)])
_SUMMARY: Codec[HosterSummary | None] = codec_of(HosterSummary | None)
_SLA: Codec[Sla] = struct(Sla)
_RANK: Codec[Rank | None] = codec_of(Rank | None)
_HOSTER_PAGE: Codec[HosterPage] = struct(HosterPage)


@dataclass(frozen=True)
class Snapshot:
    """What the chain holds about one challenge after one block.

    Attributes:
        id: which.
        challenge: the challenge itself.
        start_hash: hash of its start block; None in that block itself.
        expulsions: who was expelled, the first one first.
        frauds: what was proven, by the evidence's id.
        fallback: the flip on the chain; None as long as it is not needed.
        flip: its shared randomness, anchored or by the fallback.
        tally: who has reported.
        demands: what is demanded, by attestor.
        settlement: how it was settled.
    """

    id: int
    challenge: Challenge
    start_hash: bytes | None
    expulsions: tuple[Expulsion, ...]
    frauds: dict[bytes, Fraud]
    fallback: Fallback | None
    flip: Flip | None
    tally: Tally
    demands: dict[bytes, Demand]
    settlement: Settlement | None


class ChainClient:
    """A connection to a chain whose runtime was checked; made by `open_chain`.

    Blocks are named by their hashes; `at=None` means the newest block, finalized or not. Reads
    raise RpcError, RpcTimeout and MalformedAnswer, and DecodeError for values that are not what
    the runtime's metadata promised.

    Attributes:
        runtime: of the chain.
        genesis: 32 bytes, hash of its first block.
        constants: of the runtime.
    """

    def __init__(
        self,
        rpc: Rpc,
        runtime: Runtime,
        genesis: bytes,
        transactions: Transactions,
        clock: Callable[[], float],
    ) -> None:
        self.runtime = runtime
        self.genesis = genesis
        self.constants: Constants = read_constants(runtime)
        self._rpc = rpc
        self._transactions = transactions
        self._clock = clock

    # Blocks.

    def heads(self, after: Head | None = None) -> Heads:
        """Return an iterator over the finalized blocks after one, or from the newest on.

        The caller closes it.
        """
        return Heads(self._rpc, after)

    async def finalized(self) -> Header:
        """Return the header of the newest finalized block."""
        return await self.header(to_bytes(await self._rpc.request("chain_getFinalizedHead"), "it"))

    async def header(self, block: bytes | None = None) -> Header:
        """Return the header of a block, of the newest one if None."""
        parameters = [] if block is None else [from_bytes(block)]
        return read_header(await self._rpc.request("chain_getHeader", *parameters))

    async def block_hash(self, number: int) -> bytes | None:
        """Return the hash of a block of the best chain; None if it does not exist yet."""
        value = await self._rpc.request("chain_getBlockHash", number)
        return None if value is None else to_bytes(value, "a block's hash")

    async def timestamp(self, at: bytes | None = None) -> int:
        """Return the timestamp of a block, ms since 1970."""
        return await self.read(storage.NOW, at=at)

    async def events(self, at: bytes) -> tuple[EventRecord, ...]:
        """Return the events of a block, in their order."""
        value = await self._raw(storage.EVENTS_KEY, at)
        return () if value is None else self.runtime.decode_events(value)

    async def extrinsics(self, at: bytes) -> tuple[bytes, ...]:
        """Return the extrinsics of a block with their length prefixes, in their order."""
        answer = await self._rpc.request("chain_getBlock", from_bytes(at))
        try:
            values = answer["block"]["extrinsics"]
        except (KeyError, TypeError) as error:
            raise MalformedAnswer("a block has no extrinsics") from error
        if not isinstance(values, list):
            raise MalformedAnswer("a block has no list of extrinsics")
        return tuple(to_bytes(value, "an extrinsic") for value in values)

    async def signed_extrinsic(self, at: bytes, index: int) -> tuple[SignedExtrinsic, Call]:
        """Return a signed extrinsic of a block with its call.

        Raises:
            MalformedAnswer: the block has none there.
        """
        extrinsics = await self.extrinsics(at)
        if index >= len(extrinsics):
            raise MalformedAnswer(f"the block has no extrinsic {index}")
        extrinsic = read_extrinsic(self.runtime, extrinsics[index])
        if extrinsic is None:
            raise MalformedAnswer(f"extrinsic {index} is not signed")
        return extrinsic, self.runtime.decode_call(extrinsic.call)

    # Storage.

    async def read(self, entry: Item[T] | Map[T], *keys: Any, at: bytes | None = None) -> T:
        """Return a value of storage; an absent one is None or the runtime's default."""
        raw_key = entry.key() if isinstance(entry, Item) else entry.key(*keys)
        return self._decode(entry, await self._raw(raw_key, at))

    async def entries(
        self, entry: Map[T], *keys: Any, at: bytes | None = None, limit: int = MAX_ENTRIES
    ) -> list[tuple[tuple[Any, ...], T]]:
        """Return the entries of a map whose first keys are given, with all of their keys.

        Raises:
            TooMuch: there are more than `limit`.
        """
        found: list[tuple[tuple[Any, ...], T]] = []
        async with aclosing(self.pages(entry, *keys, at=at)) as pages:
            async for page in pages:
                if len(found) + len(page) > limit:
                    raise TooMuch(f"{entry.pallet}.{entry.name} has more than {limit} entries")
                found += page
        return found

    async def pages(
        self, entry: Map[T], *keys: Any, at: bytes | None = None
    ) -> AsyncGenerator[list[tuple[tuple[Any, ...], T]], None]:
        """Iterate over such entries, however many, in lists of at most 256, all of one block."""
        block = (await self.header(at)).hash
        prefix = entry.key(*keys)
        last: bytes | None = None
        while True:
            page = await self._keys(prefix, last, block)
            yield [
                (entry.split(raw_key), self._decode(entry, value))
                for raw_key, value in await self._values(page, block)
            ]
            if len(page) < PAGE:
                return
            last = page[-1]

    async def _keys(self, prefix: bytes, after: bytes | None, at: bytes) -> list[bytes]:
        start = None if after is None else from_bytes(after)
        values = await self._rpc.request(
            "state_getKeysPaged", from_bytes(prefix), PAGE, start, from_bytes(at)
        )
        if not isinstance(values, list) or len(values) > PAGE:
            raise MalformedAnswer("state_getKeysPaged returned no page")
        keys = [to_bytes(value, "a key") for value in values]
        if any(not key.startswith(prefix) or (after and key <= after) for key in keys):
            raise MalformedAnswer("state_getKeysPaged returned other keys")
        return keys

    async def _values(self, keys: Sequence[bytes], at: bytes) -> list[tuple[bytes, bytes | None]]:
        if not keys:
            return []
        answer = await self._rpc.request(
            "state_queryStorageAt", [from_bytes(key) for key in keys], from_bytes(at)
        )
        try:
            changes = {
                to_bytes(key, "a key"): None if value is None else to_bytes(value, "a value")
                for key, value in answer[0]["changes"]
            }
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise MalformedAnswer("state_queryStorageAt returned no values") from error
        return [(key, changes.get(key)) for key in keys]

    async def _raw(self, key: bytes, at: bytes | None) -> bytes | None:
        parameters = [from_bytes(key)] if at is None else [from_bytes(key), from_bytes(at)]
        value = await self._rpc.request("state_getStorage", *parameters)
        return None if value is None else to_bytes(value, "a value")

    def _decode(self, entry: Item[T] | Map[T], value: bytes | None) -> T:
        if value is None:
            default: T = self.runtime.default(entry)
            return default
        try:
            decoded: T = entry.value.decode(value)
        except DecodeError as error:
            raise error.within(f"{entry.pallet}.{entry.name}") from None
        return decoded

    async def _ask_runtime(
        self, method: str, arguments: bytes, answer: Codec[T], at: bytes | None
    ) -> T:
        parameters = [method, from_bytes(arguments)]
        if at is not None:
            parameters.append(from_bytes(at))
        return answer.decode(to_bytes(await self._rpc.request("state_call", *parameters), method))

    # What attestors, hosters and commands ask for.

    async def account(self, account: bytes, at: bytes | None = None) -> AccountInfo:
        """Return nonce and money of an account (32 bytes)."""
        return await self.read(storage.ACCOUNTS, account, at=at)

    async def open_challenges(
        self, account: bytes, at: bytes | None = None
    ) -> tuple[OpenChallenge, ...]:
        """Return the challenges that are not settled and that an account audits or is hoster of."""
        return await self._ask_runtime(
            "PerformanceApi_open_challenges", account, _OPEN_CHALLENGES, at
        )

    async def is_closable(self, challenge: int, at: bytes | None = None) -> bool:
        """Whether `CloseChallenge` would succeed."""
        arguments = challenge.to_bytes(8, "little")
        return await self._ask_runtime("PerformanceApi_is_closable", arguments, _FLAG, at)

    async def duties(self, account: bytes, at: bytes | None = None) -> tuple[Duty, ...]:
        """Return what an account has to do next for each of its open challenges, by id."""
        return await self._ask_runtime("PerformanceApi_duties", account, _DUTIES, at)

    async def hoster_summary(self, hoster: bytes, at: bytes | None = None) -> HosterSummary | None:
        """Return how a hoster did in its challenges; None before the first was settled."""
        return await self._ask_runtime("PerformanceApi_hoster_summary", hoster, _SUMMARY, at)

    async def find_hosters(
        self,
        sla: Sla,
        after: Rank | None = None,
        limit: int = MAX_PAGE,
        at: bytes | None = None,
    ) -> HosterPage:
        """Return some of the hosters that take hostings and meet an SLA, the fastest first.

        Args:
            sla: its bounds; without any, all that passed more than half of their challenges.
            after: `next` of the page before; None: from the fastest on.
            limit: at most so many.
        """
        question = _SLA.encode(sla) + _RANK.encode(after) + limit.to_bytes(4, "little")
        return await self._ask_runtime("PerformanceApi_find_hosters", question, _HOSTER_PAGE, at)

    async def challenge(self, challenge: int, at: bytes | None = None) -> Snapshot | None:
        """Return all about a challenge after one block, except its reports; None if unknown."""
        block = (await self.header(at)).hash
        record = await self.read(storage.CHALLENGES, challenge, at=block)
        if record is None:
            return None
        return Snapshot(
            id=challenge,
            challenge=record,
            start_hash=await self.read(storage.START_HASHES, challenge, at=block),
            expulsions=await self.read(storage.EXPULSIONS, challenge, at=block),
            frauds=await self.frauds(challenge, at=block),
            fallback=await self.read(storage.FALLBACKS, challenge, at=block),
            flip=await self.read(storage.FLIPS, challenge, at=block),
            tally=await self.read(storage.TALLIES, challenge, at=block),
            demands=await self.demands(challenge, at=block),
            settlement=await self.read(storage.SETTLEMENTS, challenge, at=block),
        )

    async def frauds(self, challenge: int, at: bytes | None = None) -> dict[bytes, Fraud]:
        """Return what was proven in a challenge, by the evidence's id (coinflip.md §1)."""
        found = await self.entries(storage.FRAUDS, challenge, at=at)
        return {keys[1]: fraud for keys, fraud in found if fraud is not None}

    async def reports(self, challenge: int, at: bytes | None = None) -> dict[bytes, ReportRecord]:
        """Return what is kept of a challenge's reports, by account."""
        found = await self.entries(storage.REPORTS, challenge, at=at)
        return {keys[1]: record for keys, record in found if record is not None}

    async def demands(self, challenge: int, at: bytes | None = None) -> dict[bytes, Demand]:
        """Return what attestors demand, or demanded, in a challenge, by account."""
        found = await self.entries(storage.DEMANDS, challenge, at=at)
        return {keys[1]: demand for keys, demand in found if demand is not None}

    async def endpoints(
        self, role: Role, accounts: Sequence[bytes], at: bytes | None = None
    ) -> dict[bytes, Endpoint]:
        """Return where the registered ones of some accounts listen."""
        block = (await self.header(at)).hash
        found = {}
        for account in accounts:
            provider = await self.read(storage.PROVIDERS, role, account, at=block)
            if provider is not None:
                found[account] = provider.endpoint
        return found

    # Transactions and the clock.

    async def submit(self, call: Call, account: Account, intent: str | None = None) -> Finalized:
        """Send a call once, and wait until it is in a finalized block: `Transactions.submit`."""
        return await self._transactions.submit(call, account, intent)

    async def clock_offset(self, timeout: float = 30.0) -> float | None:
        """Return by how many seconds the local clock is ahead of the chain's next block.

        Up to a block's execution and transmission, so small positive values are normal. None if
        no block came in time.
        """
        first = (await self.header()).number
        with trio.move_on_after(timeout):
            subscription = await self._rpc.subscribe("chain_subscribeNewHeads")
            try:
                async for value in subscription:
                    arrived = self._clock()
                    header = read_header(value)
                    if header.number > first:
                        return arrived - await self.timestamp(header.hash) / 1_000
            finally:
                subscription.close("chain_unsubscribeNewHeads")
        return None


@asynccontextmanager
async def open_chain(
    url: str,
    *,
    journal: Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
    clock: Callable[[], float] = time.time,
    open_stream: OpenStream | None = None,
) -> AsyncIterator[ChainClient]:
    """Connect to a chain, check its runtime, and take up the journal's transactions.

    Args:
        url: WebSocket URL of a node.
        journal: file for transactions; None: they are forgotten with the process.
        limits: of the connection.
        clock: seconds since 1970.
        open_stream: as `open_rpc`.

    Raises:
        WrongRuntimeError: the runtime is another one; the message names the difference.
        RpcTimeout: the node could not be reached in time.
        RpcError, MalformedAnswer: it is no such node.
        OperationError: the journal cannot be used.
        UsageError: the URL is no WebSocket URL.
    """
    async with open_rpc(url, limits, open_stream) as rpc:
        runtime = await load_runtime(rpc)
        await trio.to_thread.run_sync(check_words, runtime)
        genesis = to_bytes(await rpc.request("chain_getBlockHash", 0), "the first block's hash")
        path = ":memory:" if journal is None else journal
        try:
            rows = await trio.to_thread.run_sync(Journal, path, genesis)
        except sqlite3.Error as error:
            raise OperationError(
                f"The journal of transactions {path} cannot be used: {error}."
            ) from error
        try:
            transactions = Transactions(rpc, runtime, genesis, rows)
            await transactions.load()
            async with running(transactions.run):
                yield ChainClient(rpc, runtime, genesis, transactions, clock)
        finally:
            rows.close()


async def load_runtime(rpc: Rpc) -> Runtime:
    """Fetch and decode version and metadata of the chain's runtime, in a thread.

    Raises:
        MalformedAnswer: they are not what they should be.
    """
    version = await rpc.request("state_getRuntimeVersion")
    data = to_bytes(await rpc.request("state_getMetadata"), "the metadata")
    try:
        metadata = await trio.to_thread.run_sync(decode_metadata, data)
        return Runtime(
            metadata,
            RuntimeVersion(
                str(version["specName"]),
                int(version["specVersion"]),
                int(version["transactionVersion"]),
            ),
        )
    except (DecodeError, KeyError, TypeError, ValueError) as error:
        raise MalformedAnswer(f"the runtime cannot be read: {error}") from error
