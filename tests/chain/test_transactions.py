"""Transactions against a real runtime behind a connection that breaks: each is applied once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chain_types import storage
from chain_types.calls import Id, TransferKeepAlive
from chain_types.extrinsic import Era, Terms, sign_extrinsic
from chain_types.runtime import OtherEvent, Runtime
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.errors import (
    IntentReused,
    NonceTaken,
    TransactionExpired,
    TransactionRefused,
)
from offchain_worker.chain.journal import Journal, State
from offchain_worker.chain.rpc import Limits, open_rpc
from offchain_worker.chain.transactions import ERA_BLOCKS, Finalized, Transactions
from offchain_worker.chain.verdicts import MAX_SIGNINGS

ALICE, BOB, POOR = (Account.from_uri(uri) for uri in ("//Alice", "//Bob", "//Poor"))
SUBMIT = "author_submitExtrinsic"
UNIT = 10**12


def transfer(amount: int = UNIT) -> TransferKeepAlive:
    return TransferKeepAlive(Id(BOB.public), amount)


def nonce_of(node: Any, account: Account) -> int:
    value = node.chain.storage(storage.ACCOUNTS.key(account.public))
    nonce: int = storage.ACCOUNTS.value.decode(value).nonce
    return nonce


def sent(node: Any) -> list[str]:
    return [params[0] for method, params in node.requests if method == SUBMIT]


class Worker:
    """A process: its transactions, and what they came to."""

    def __init__(self, transactions: Transactions, nursery: trio.Nursery) -> None:
        self.transactions = transactions
        self.results: dict[str, Finalized | Exception] = {}
        self._nursery = nursery
        self._done = trio.Condition()

    def start(self, intent: str, call: TransferKeepAlive, account: Account = ALICE) -> None:
        self._nursery.start_soon(self._submit, intent, call, account)

    async def _submit(self, intent: str, call: TransferKeepAlive, account: Account) -> None:
        try:
            self.results[intent] = await self.transactions.submit(call, account, intent)
        except Exception as error:
            self.results[intent] = error
        async with self._done:
            self._done.notify_all()

    async def result(self, intent: str) -> Finalized | Exception:
        with trio.fail_after(10):
            async with self._done:
                while intent not in self.results:
                    await self._done.wait()
        return self.results[intent]


@pytest.fixture
def process(node: Any, runtime: Runtime, limits: Limits, tmp_path: Path) -> Callable[[], Any]:
    """Start a process; leaving the context kills it. All have the same journal."""

    @asynccontextmanager
    async def start() -> AsyncIterator[Worker]:
        journal = Journal(tmp_path / "transactions.sqlite", node.chain.genesis_hash)
        try:
            async with open_rpc(node.url, limits) as rpc, trio.open_nursery() as nursery:
                transactions = Transactions(rpc, runtime, node.chain.genesis_hash, journal)
                await transactions.load()
                nursery.start_soon(transactions.run)
                yield Worker(transactions, nursery)
                nursery.cancel_scope.cancel()
        finally:
            journal.close()

    return start


async def until_sent(node: Any, count: int = 1) -> None:
    await node.wait_for(lambda: node.count(SUBMIT) >= count)


async def blocks_until(node: Any, worker: Worker, intent: str, most: int = 300) -> None:
    """Make blocks, each examined before the next, until an intent is decided."""
    for _ in range(most):
        if intent in worker.results:
            return
        seen = node.count("chain_getBlock")
        await node.new_block()
        with trio.move_on_after(0.25):
            await node.wait_for(
                lambda seen=seen: node.count("chain_getBlock") > seen or intent in worker.results
            )
    raise AssertionError(f"{intent} was not decided within {most} blocks")


async def test_a_transaction_is_applied_and_its_events_are_returned(
    node: Any, process: Any
) -> None:
    async with process() as worker:
        worker.start("pay", transfer())
        await until_sent(node)
        await node.new_block()
        result = await worker.result("pay")
    assert isinstance(result, Finalized)
    assert (result.block_number, result.index, result.error) == (1, 1, None)
    assert result.block_hash == node.chain.hash(1)
    names = [event.name for event in result.events if isinstance(event, OtherEvent)]
    assert "Transfer" in names


async def test_a_dispatch_error_is_returned_with_its_name(node: Any, process: Any) -> None:
    async with process() as worker:
        worker.start("too much", transfer(10**30))
        await until_sent(node)
        await node.new_block()
        result = await worker.result("too much")
    assert isinstance(result, Finalized)
    assert result.error is not None
    assert str(result.error) == "Arithmetic.Underflow"


async def test_several_at_once_get_consecutive_nonces(node: Any, process: Any) -> None:
    async with process() as worker:
        for number in range(3):
            worker.start(str(number), transfer(UNIT + number))
        await until_sent(node, 3)
        await node.new_block()
        results = [await worker.result(str(number)) for number in range(3)]
    assert sorted(result.index for result in results) == [1, 2, 3]
    assert nonce_of(node, ALICE) == 3


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_lost_connection_sends_the_same_bytes_again(
    node: Any, process: Any, moment: str
) -> None:
    node.fault(SUBMIT, moment)
    async with process() as worker:
        worker.start("pay", transfer())
        await blocks_until(node, worker, "pay")
        assert isinstance(await worker.result("pay"), Finalized)
    assert len(set(sent(node))) == 1
    assert nonce_of(node, ALICE) == 1


@pytest.mark.parametrize("timeout", [0.2])
async def test_no_answer_at_all_is_no_second_transaction(node: Any, process: Any) -> None:
    node.fault(SUBMIT, "silent")
    async with process() as worker:
        worker.start("pay", transfer())
        await until_sent(node)
        await blocks_until_sent_again(node, 2)
        await blocks_until(node, worker, "pay")
        assert isinstance(await worker.result("pay"), Finalized)
    assert len(set(sent(node))) == 1
    assert nonce_of(node, ALICE) == 1


async def test_blocks_that_come_twice_change_nothing(node: Any, process: Any) -> None:
    async with process() as worker:
        worker.start("pay", transfer())
        await until_sent(node)
        await node.new_block(notify=3)
        assert isinstance(await worker.result("pay"), Finalized)
        worker.start("pay", transfer())
        assert isinstance(await worker.result("pay"), Finalized)
    assert node.count(SUBMIT) == 1


async def test_killed_before_the_answer_it_goes_on_with_the_same_bytes(
    node: Any, process: Any
) -> None:
    node.fault(SUBMIT, "silent")
    async with process() as worker:
        worker.start("pay", transfer())
        await until_sent(node)
    async with process() as worker:
        await blocks_until_sent_again(node, 2)
        worker.start("pay", transfer())
        await blocks_until(node, worker, "pay")
        assert isinstance(await worker.result("pay"), Finalized)
    assert len(set(sent(node))) == 1
    assert nonce_of(node, ALICE) == 1


async def blocks_until_sent_again(node: Any, count: int) -> None:
    for _ in range(20):
        if node.count(SUBMIT) >= count:
            return
        await node.new_block()
        with trio.move_on_after(0.3):
            await node.wait_for(lambda: node.count(SUBMIT) >= count)
    raise AssertionError("it was not sent again")


async def test_killed_after_it_was_accepted_it_finds_it_in_the_chain(
    node: Any, process: Any
) -> None:
    async with process() as worker:
        worker.start("pay", transfer())
        await until_sent(node)
    for _ in range(3):
        await node.new_block()
    async with process() as worker:
        worker.start("pay", transfer())
        await blocks_until(node, worker, "pay")
        result = await worker.result("pay")
    assert isinstance(result, Finalized)
    assert result.block_number == 1
    assert nonce_of(node, ALICE) == 1


async def test_killed_after_it_was_finalized_it_is_only_looked_up(node: Any, process: Any) -> None:
    async with process() as worker:
        worker.start("pay", transfer())
        await until_sent(node)
        await node.new_block()
        first = await worker.result("pay")
    async with process() as worker:
        worker.start("pay", transfer())
        assert await worker.result("pay") == first
    assert node.count(SUBMIT) == 1


async def test_an_intent_is_one_call_of_one_account(node: Any, process: Any) -> None:
    async with process() as worker:
        worker.start("pay", transfer())
        await until_sent(node)
        with pytest.raises(IntentReused):
            await worker.transactions.submit(transfer(2 * UNIT), ALICE, "pay")
        with pytest.raises(IntentReused):
            await worker.transactions.submit(transfer(), BOB, "pay")


async def test_a_refusal_has_the_nodes_words(node: Any, process: Any) -> None:
    async with process() as worker:
        worker.start("poor", transfer(), POOR)
        result = await worker.result("poor")
    assert isinstance(result, TransactionRefused)
    assert "Invalid Transaction" in str(result)
    assert node.count(SUBMIT) == 1


async def test_a_refused_intent_is_tried_again_only_under_its_nonce(
    node: Any, process: Any
) -> None:
    async with process() as worker:
        worker.start("poor", transfer(), POOR)
        assert isinstance(await worker.result("poor"), TransactionRefused)
        worker.results.clear()
        worker.start("fund", TransferKeepAlive(Id(POOR.public), 100 * UNIT))
        await blocks_until(node, worker, "fund")
        worker.start("poor", transfer(), POOR)
        await blocks_until(node, worker, "poor")
        assert isinstance(await worker.result("poor"), Finalized)
    assert nonce_of(node, POOR) == 1


async def test_a_nonce_that_somebody_else_used_is_reported(
    node: Any, process: Any, runtime: Runtime
) -> None:
    node.fault(SUBMIT, "before")
    async with process() as worker:
        worker.start("pay", transfer())
        await until_sent(node)
        genesis = node.chain.genesis_hash
        terms = Terms(genesis, Era.starting(0, 64), genesis, nonce=0)
        call = runtime.encode_call(transfer(7))
        node.chain.submit(sign_extrinsic(runtime, call, ALICE.public, ALICE.sign, terms))
        await blocks_until(node, worker, "pay")
        assert isinstance(await worker.result("pay"), NonceTaken)
    assert nonce_of(node, ALICE) == 1


async def test_after_its_era_it_is_signed_again_for_the_same_nonce(node: Any, process: Any) -> None:
    """The node loses its pool again and again, until the second signature's turn."""
    node.fault(SUBMIT, *[{"result": "0x00"}] * (ERA_BLOCKS // 4 + 1))
    async with process() as worker:
        worker.start("pay", transfer())
        await until_sent(node)
        await blocks_until(node, worker, "pay")
        result = await worker.result("pay")
    assert isinstance(result, Finalized)
    assert result.block_number >= ERA_BLOCKS
    assert len(set(sent(node))) == 2
    assert nonce_of(node, ALICE) == 1


async def test_it_expires_after_so_many_signatures(node: Any, process: Any, tmp_path: Path) -> None:
    node.fault(SUBMIT, *[{"result": "0x00"}] * (MAX_SIGNINGS * ERA_BLOCKS))
    async with process() as worker:
        worker.start("pay", transfer())
        await until_sent(node)
        await blocks_until(node, worker, "pay", most=MAX_SIGNINGS * ERA_BLOCKS + 10)
        assert isinstance(await worker.result("pay"), TransactionExpired)
    assert len(set(sent(node))) == MAX_SIGNINGS
    journal = Journal(tmp_path / "transactions.sqlite", node.chain.genesis_hash)
    row = journal.find("pay")
    journal.close()
    assert row is not None
    assert (row.state, row.nonce) == (State.EXPIRED, 0)


@pytest.mark.parametrize("finality_lag", [2])
async def test_what_is_not_final_decides_nothing(node: Any, process: Any) -> None:
    """A block that holds the transaction does not count before it is finalized."""
    async with process() as worker:
        worker.start("pay", transfer())
        await until_sent(node)
        for _ in range(2):
            await node.new_block()
            await wait_all_tasks_blocked(0.05)
        assert nonce_of(node, ALICE) == 1
        assert worker.results == {}
        await node.new_block()
        assert isinstance(await worker.result("pay"), Finalized)
