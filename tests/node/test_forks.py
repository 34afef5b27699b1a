"""Blocks taken back, forks, finality, time put forward, states discarded."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from datdot_node import Chain
from datdot_node.errors import BadBlock, StateDiscarded, UnknownBlock
from datdot_node.pool import Status


@pytest.fixture
def forking(clock: Any) -> Any:
    with Chain.open(clock=clock, finality_lag=5) as opened:
        yield opened


def grow(chain: Chain, clock: Any, count: int) -> None:
    for _ in range(count):
        clock.ms += chain.slot_ms
        chain.new_block()


def test_a_rewound_chain_is_as_it_was(forking: Chain, clock: Any, wallet: Any) -> None:
    grow(forking, clock, 2)
    before = forking.head
    forking.submit(wallet.transfer(0))
    grow(forking, clock, 3)
    gone = [forking.hash(number) for number in (3, 4, 5)]
    forking.rewind(2)
    assert forking.head == before
    assert forking.number(None) == 2
    for block_hash in gone:
        with pytest.raises(UnknownBlock):
            forking.block(block_hash)
    assert forking.verify() == 2


def test_transactions_of_blocks_taken_back_come_again(
    forking: Chain, clock: Any, wallet: Any
) -> None:
    grow(forking, clock, 1)
    first, second = wallet.transfer(0), wallet.transfer(1)
    forking.submit(first)
    grow(forking, clock, 1)
    forking.submit(second)
    forking.pool.take_events()
    forking.rewind(1)
    assert forking.pool.pending() == [first, second]
    assert Status.READY in {event.status for event in forking.pool.take_events()}
    grow(forking, clock, 1)
    assert forking.block().extrinsics[1:] == (first, second)
    assert forking.verify() == 2


def test_a_fork_is_another_block_even_at_the_same_time(forking: Chain, clock: Any) -> None:
    clock.ms += forking.slot_ms
    forking.new_block()
    forking.new_block()
    replaced = forking.head_hash
    newest = forking.reorganise(1)
    assert forking.head.number == newest.number == 3
    assert forking.hash(2) != replaced
    [retracted] = forking.take_retracted()
    assert [block.hash for block in retracted.blocks] == [replaced]
    assert retracted.head == forking.header(1)
    assert forking.verify() == 3


def test_what_is_final_stays(clock: Any, tmp_path: Path) -> None:
    with Chain.open(tmp_path, clock=clock, finality_lag=2) as chain:
        grow(chain, clock, 6)
        assert chain.finalized.number == 4
        with pytest.raises(BadBlock, match="block 4 is final"):
            chain.rewind(3)
        chain.rewind(4)
        assert chain.finalized.number == 4, "finality never goes back"
        with pytest.raises(BadBlock, match="final"):
            chain.reorganise(1)
    with Chain.open(tmp_path, clock=clock, finality_lag=2) as again:
        assert again.finalized.number == 4
        grow(again, clock, 1)
        assert again.finalized.number == 4
    with Chain.open(clock=clock) as chain:
        grow(chain, clock, 2)
        with pytest.raises(BadBlock, match="final"):
            chain.reorganise(1)


def test_a_fork_deeper_than_the_chain(forking: Chain, clock: Any) -> None:
    grow(forking, clock, 2)
    with pytest.raises(UnknownBlock):
        forking.reorganise(3)
    with pytest.raises(ValueError, match="replaces blocks"):
        forking.reorganise(0)


def test_fast_forward_begins_a_new_chain(chain: Chain, clock: Any) -> None:
    assert chain.fast_forward(clock.ms + 4 * chain.slot_ms) == 5
    assert chain.timestamp(1) == clock.ms


def test_fast_forward_fills_every_slot(chain: Chain, clock: Any) -> None:
    chain.new_block()
    start = chain.timestamp()
    assert chain.fast_forward(start + 10 * chain.slot_ms) == 10
    assert chain.head.number == 11
    assert chain.timestamp() == start + 10 * chain.slot_ms
    assert chain.now_ms() >= chain.timestamp()
    chain.new_block()
    assert chain.head.number == 12
    with pytest.raises(ValueError, match="more than"):
        chain.fast_forward(chain.now_ms() + 10**9 * chain.slot_ms)
    assert chain.verify() == 12


def test_old_states_are_discarded_and_new_ones_kept(
    clock: Any, wallet: Any, tmp_path: Path
) -> None:
    with Chain.open(tmp_path, clock=clock, kept_states=3) as chain:
        chain.submit(wallet.transfer(0))
        grow(chain, clock, 8)
        balances = [wallet.free(chain, wallet.bob, number) for number in (5, 6, 7, 8)]
        assert len(set(balances)) == 1
        for number in (0, 1, 4):
            with pytest.raises(StateDiscarded):
                chain.state(number)
            assert chain.block(number).number == number, "the blocks stay"
        assert chain.verify() == 3
    with Chain.open(tmp_path, clock=clock) as chain:
        grow(chain, clock, 2)
        assert chain.verify() == 5, "what is kept from now on"


def test_states_that_a_fork_may_need_are_kept(clock: Any) -> None:
    with Chain.open(clock=clock, finality_lag=6, kept_states=1) as chain:
        grow(chain, clock, 10)
        chain.rewind(4)
        grow(chain, clock, 2)
        assert chain.verify() == 2


def test_a_chain_that_was_altered_does_not_hold(clock: Any, wallet: Any, tmp_path: Path) -> None:
    with Chain.open(tmp_path, clock=clock) as chain:
        chain.submit(wallet.transfer(0))
        grow(chain, clock, 3)
        number = next(n for n in (1, 2, 3) if len(chain.block(n).extrinsics) > 1)
    with sqlite3.connect(tmp_path / "chain.sqlite") as db:
        (body,) = db.execute("SELECT body FROM block WHERE number = ?", (number,)).fetchone()
        altered = body[:-1] + bytes([body[-1] ^ 1])
        db.execute("UPDATE block SET body = ? WHERE number = ?", (altered, number))
    db.close()
    with Chain.open(tmp_path, clock=clock) as chain, pytest.raises(BadBlock, match=f"{number}"):
        chain.verify()
