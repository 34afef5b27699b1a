"""Transactions that are sent once, whatever happens to the connection or to this process.

`Transactions.submit` journals the signed bytes before it sends them, and returns when they are in
a finalized block. `Transactions.run` follows the finalized blocks, finds what is there, sends
again what may have been lost, and signs again what expired; after a restart it goes on with what
the journal has. The decisions are in `verdicts`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import structlog
import trio

from chain_types.extrinsic import Era, Terms, extrinsic_hash, sign_extrinsic
from chain_types.runtime import DispatchError, EventRecord, OtherEvent, Runtime
from chain_types.scale import DecodeError
from chain_types.storage import ACCOUNTS, EVENTS_KEY
from chain_types.words import Call, Event
from offchain_worker.chain import verdicts
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.errors import (
    ConnectionLost,
    IntentReused,
    MalformedAnswer,
    NonceTaken,
    RpcError,
    RpcTimeout,
    RuntimeUpgraded,
    TransactionExpired,
    TransactionRefused,
)
from offchain_worker.chain.heads import Head, Header, Heads, from_bytes, read_header, to_bytes
from offchain_worker.chain.journal import Journal, Place, State, Transaction
from offchain_worker.chain.rpc import Rpc

_log = structlog.get_logger(__name__)

T = TypeVar("T")

ERA_BLOCKS = 64
"""How many blocks a transaction is valid: 32 s in development, 6 min 24 s in production."""

MAX_BLOCK_EXTRINSICS = 2**16


@dataclass(frozen=True)
class Finalized:
    """A transaction in a finalized block.

    Attributes:
        intent: the caller's name for it.
        extrinsic_hash: 32 bytes.
        block_hash, block_number: where it is.
        index: of the extrinsic in the block.
        error: why the call was undone; None if it was not.
        events: what it caused.
    """

    intent: str
    extrinsic_hash: bytes
    block_hash: bytes
    block_number: int
    index: int
    error: DispatchError | None
    events: tuple[Event | OtherEvent, ...]


@dataclass
class _Waiting:
    """A transaction in memory, and who waits for its end."""

    transaction: Transaction
    searched: int
    send_again_at: int
    sending: bool = False
    ended: trio.Event = field(default_factory=trio.Event)


class Transactions:
    """The transactions of this process on one chain.

    Args:
        rpc: the node.
        runtime: of the chain.
        genesis: 32 bytes, hash of its first block.
        journal: where they are kept.
    """

    def __init__(self, rpc: Rpc, runtime: Runtime, genesis: bytes, journal: Journal) -> None:
        self._rpc = rpc
        self._runtime = runtime
        self._genesis = genesis
        self._journal = journal
        self._journal_lock = trio.Lock()
        self._signing = trio.Lock()
        self._accounts: dict[bytes, Account] = {}
        self._waiting: dict[str, _Waiting] = {}

    async def load(self) -> None:
        """Take up what the journal has; before `run` and `submit`."""
        for transaction in await self._in_journal(self._journal.pending):
            self._enlist(transaction)

    async def submit(self, call: Call, account: Account, intent: str | None = None) -> Finalized:
        """Send a call, and wait until it is in a finalized block.

        An intent that the journal knows is not sent a second time: its fate is awaited, or
        returned if it is known. After a transaction that is certain never to be applied, the
        same intent may be submitted anew.

        Args:
            call: what to do.
            account: who signs and pays.
            intent: names what shall happen once, for example `report/17`; None: a fresh name.

        Raises:
            TransactionRefused, NonceTaken, TransactionExpired: it is certain never to be applied.
            IntentReused: the journal has the intent for another call or account.
            EncodeError: an argument of the call is out of bounds.
            RpcError, RpcTimeout: before it was signed, so nothing was sent; or its events could
                not be read: submit the same intent again.

        Cancelling neither takes the transaction back nor stops `run` from sending it; submitting
        the same intent again waits for it.
        """
        name = uuid.uuid4().hex if intent is None else intent
        encoded = self._runtime.encode_call(call)
        self._accounts[account.public] = account
        async with self._signing:
            transaction = await self._in_journal(lambda: self._journal.find(name))
            if transaction is not None and transaction.state in (State.PENDING, State.FINALIZED):
                if (transaction.account, transaction.call) != (account.public, encoded):
                    raise IntentReused(name, "the journal has it with another call or account")
            else:
                transaction = await self._sign(name, account, encoded, refused=transaction)
                await self._write(transaction)
                self._enlist(transaction, transaction.birth + verdicts.RESEND_BLOCKS)
        waiting = self._waiting.get(name)
        if waiting is not None:
            if waiting.transaction.attempts == 0:
                await self._send(waiting, waiting.transaction.birth)
            await waiting.ended.wait()
            transaction = waiting.transaction
        return await self._result(transaction)

    async def run(self) -> None:
        """Follow the finalized blocks until cancelled.

        Raises:
            ChainReverted: finalized blocks were replaced.
            RuntimeUpgraded: the runtime is no longer the one that was checked.
        """
        heads = Heads(self._rpc)
        try:
            while True:
                try:
                    head = await anext(heads)
                    if self._waiting:
                        await self._examine(head)
                    if head.upgraded:
                        raise RuntimeUpgraded(f"block {head.number} changed the chain's runtime")
                except (RpcError, RpcTimeout, MalformedAnswer, DecodeError) as error:
                    # What was not examined now is examined with the next head.
                    _log.warning("chain.transactions_delayed", reason=str(error))
        finally:
            heads.close()

    def _enlist(self, transaction: Transaction, send_again_at: int = 0) -> None:
        self._waiting[transaction.intent] = _Waiting(
            transaction, searched=transaction.birth, send_again_at=send_again_at
        )

    async def _sign(
        self, intent: str, account: Account, call: bytes, refused: Transaction | None
    ) -> Transaction:
        next_index = await self._rpc.request("system_accountNextIndex", account.address)
        if not isinstance(next_index, int):
            raise MalformedAnswer("system_accountNextIndex returned no number")
        head = await self._finalized_header()
        pending = [
            waiting.transaction
            for waiting in self._waiting.values()
            if waiting.transaction.account == account.public
        ]
        nonce = verdicts.free_nonce(next_index, pending)
        if refused is not None and refused.account == account.public:
            used = await self._nonce(account.public, head.hash)
            if verdicts.may_be_applied(refused, head.number, used):
                nonce = refused.nonce
                if nonce in {transaction.nonce for transaction in pending}:
                    reason = f"nonce {nonce} is in use, try again after block {refused.death}"
                    raise TransactionRefused(intent, reason)
        extrinsic, era = self._sign_call(account, call, nonce, head)
        return Transaction(intent, account.public, nonce, call, extrinsic, era.birth, era.death)

    def _sign_call(
        self, account: Account, call: bytes, nonce: int, head: Header
    ) -> tuple[bytes, Era]:
        era = Era.starting(head.number, ERA_BLOCKS)
        terms = Terms(self._genesis, era, head.hash, nonce)
        return sign_extrinsic(self._runtime, call, account.public, account.sign, terms), era

    async def _finalized_header(self) -> Header:
        newest = await self._rpc.request("chain_getFinalizedHead")
        return read_header(await self._rpc.request("chain_getHeader", newest))

    async def _send(self, waiting: _Waiting, head: int) -> None:
        """Send what is journalled; that it may have been sent is on disk before."""
        if waiting.sending:
            return
        waiting.sending = True
        waiting.send_again_at = head + verdicts.RESEND_BLOCKS
        try:
            await self._change(waiting, verdicts.sent)
            transaction = waiting.transaction
            extrinsic = from_bytes(transaction.extrinsic)
            try:
                await self._rpc.request("author_submitExtrinsic", extrinsic, again=False)
            except RpcError as error:
                words = error.message if error.data is None else f"{error.message}: {error.data}"
                _log.warning(
                    "chain.transaction_refused",
                    intent=transaction.intent,
                    code=error.code,
                    reason=words,
                )
                judge = partial(verdicts.after_refusal, code=error.code, words=words)
                # Meanwhile it may have been found in a block, or signed again.
                await self._change(waiting, lambda now: judge(now) if now == transaction else now)
            except (ConnectionLost, RpcTimeout) as error:
                waiting.send_again_at = 0
                _log.warning(
                    "chain.transaction_unanswered", intent=transaction.intent, reason=str(error)
                )
        finally:
            waiting.sending = False

    async def _change(
        self, waiting: _Waiting, change: Callable[[Transaction], Transaction]
    ) -> None:
        """Change a transaction, in the journal first; one change after the other."""
        async with self._journal_lock:
            changed = change(waiting.transaction)
            if changed == waiting.transaction:
                return
            await trio.to_thread.run_sync(self._journal.write, changed)
            waiting.transaction = changed
        if changed.state is not State.PENDING:
            self._waiting.pop(changed.intent, None)
            waiting.ended.set()

    async def _examine(self, head: Head) -> None:
        """Search the blocks up to a finalized head for all that waits."""
        await self._search(head)
        nonces: dict[bytes, int] = {}
        for waiting in list(self._waiting.values()):
            if waiting.searched < head.number:
                continue
            account = waiting.transaction.account
            if account not in nonces:
                nonces[account] = await self._nonce(account, head.hash)
            judge = partial(verdicts.after_nonce, number=head.number, nonce=nonces[account])
            if verdicts.may_sign_again(judge(waiting.transaction)) and account in self._accounts:
                await self._sign_again(waiting, judge)
            else:
                await self._change(waiting, judge)
            pending = waiting.transaction.state is State.PENDING
            if pending and head.number >= waiting.send_again_at:
                # A node may have lost its pool, or the connection a transaction.
                await self._send(waiting, head.number)

    async def _search(self, head: Head) -> None:
        first = min((waiting.searched for waiting in self._waiting.values()), default=head.number)
        for number in range(first + 1, head.number + 1):
            if not self._waiting:
                return
            block = await self._block(number, head)
            for waiting in list(self._waiting.values()):
                if waiting.searched == number - 1:
                    await self._change(waiting, partial(verdicts.after_block, block=block))
                    waiting.searched = number

    async def _block(self, number: int, head: Head) -> verdicts.Block:
        if number == head.number:
            block_hash = from_bytes(head.hash)
        else:
            block_hash = await self._rpc.request("chain_getBlockHash", number)
        answer = await self._rpc.request("chain_getBlock", block_hash)
        try:
            extrinsics = answer["block"]["extrinsics"]
        except (KeyError, TypeError) as error:
            raise MalformedAnswer(f"block {number} has no extrinsics") from error
        if not isinstance(extrinsics, list) or len(extrinsics) > MAX_BLOCK_EXTRINSICS:
            raise MalformedAnswer(f"block {number} has no list of extrinsics")
        hashes = tuple(extrinsic_hash(to_bytes(item, "an extrinsic")) for item in extrinsics)
        return verdicts.Block(number, to_bytes(block_hash, "a block's hash"), hashes)

    async def _nonce(self, account: bytes, block: bytes) -> int:
        key, at = from_bytes(ACCOUNTS.key(account)), from_bytes(block)
        value = await self._rpc.request("state_getStorage", key, at)
        if value is None:
            return 0
        nonce: int = ACCOUNTS.value.decode(to_bytes(value, "the account")).nonce
        return nonce

    async def _sign_again(
        self, waiting: _Waiting, judge: Callable[[Transaction], Transaction]
    ) -> None:
        old = waiting.transaction
        head = await self._finalized_header()
        account = self._accounts[old.account]
        extrinsic, era = self._sign_call(account, old.call, old.nonce, head)

        def sign(now: Transaction) -> Transaction:
            judged = judge(now)
            if not verdicts.may_sign_again(judged):
                return judged
            return verdicts.signed_again(judged, extrinsic, era.birth, era.death)

        await self._change(waiting, sign)
        waiting.searched = era.birth
        waiting.send_again_at = 0
        _log.info("chain.transaction_signed_again", intent=old.intent, nonce=old.nonce)

    async def _result(self, transaction: Transaction) -> Finalized:
        match transaction.state:
            case State.FINALIZED if transaction.place is not None:
                return await self._finalized(transaction, transaction.place)
            case State.REFUSED:
                raise TransactionRefused(transaction.intent, transaction.reason)
            case State.NONCE_TAKEN:
                raise NonceTaken(transaction.intent, transaction.reason)
            case _:
                raise TransactionExpired(transaction.intent, transaction.reason)

    async def _finalized(self, transaction: Transaction, place: Place) -> Finalized:
        at = from_bytes(place.block_hash)
        value = await self._rpc.request("state_getStorage", from_bytes(EVENTS_KEY), at)
        records = self._runtime.decode_events(to_bytes(value, "the events"))
        return Finalized(
            intent=transaction.intent,
            extrinsic_hash=transaction.hash,
            block_hash=place.block_hash,
            block_number=place.block_number,
            index=place.index,
            error=self._runtime.outcome(records, place.index),
            events=_of_extrinsic(records, place.index),
        )

    async def _write(self, transaction: Transaction) -> None:
        await self._in_journal(lambda: self._journal.write(transaction))

    async def _in_journal(self, work: Callable[[], T]) -> T:
        """Use the journal in a thread; cancelling waits until it is done."""
        async with self._journal_lock:
            return await trio.to_thread.run_sync(work)


def _of_extrinsic(records: tuple[EventRecord, ...], index: int) -> tuple[Event | OtherEvent, ...]:
    return tuple(record.event for record in records if record.extrinsic == index)
