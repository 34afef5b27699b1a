"""Blocks with transactions on the real runtime, old states, replay, mortality, genesis."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datdot_node import Chain, PoolError, store
from datdot_node.blob import decompress
from datdot_node.chain import packaged_code
from datdot_node.errors import (
    BadBlock,
    BadGenesis,
    BadRuntime,
    RuntimeTrapped,
    UnknownBlock,
    UnknownMethod,
)
from datdot_node.scale import Reader
from datdot_node.trie import EMPTY_ROOT


def test_genesis_is_the_same_every_time(chain: Chain) -> None:
    with Chain.open() as other:
        assert other.genesis_hash == chain.genesis_hash == chain.head.hash
    assert chain.head.number == 0
    assert chain.head.parent_hash == bytes(32)
    assert chain.head.extrinsics_root == EMPTY_ROOT


def test_a_patch_changes_the_genesis(wallet: Any) -> None:
    patch = {"balances": {"balances": [[wallet.alice.ss58_address, 5 * 10**12]]}}
    with Chain.open(genesis_patch=patch) as chain:
        assert wallet.free(chain, wallet.alice) == 5 * 10**12
        assert wallet.free(chain, wallet.bob) == 0


def test_a_patch_that_the_runtime_refuses() -> None:
    with pytest.raises(BadGenesis, match="nonsense"):
        Chain.open(genesis_patch={"nonsense": 1})
    with pytest.raises(BadGenesis, match="no genesis preset 'unheard-of'"):
        Chain.open(preset="unheard-of")


def test_code_that_is_no_runtime(tmp_path: Path) -> None:
    with pytest.raises(BadRuntime, match="no WebAssembly"):
        Chain.open(code=b"nothing", cache=tmp_path)


def test_an_empty_block(chain: Chain, clock: Any) -> None:
    block = chain.new_block()
    assert block.number == chain.head.number == 1
    assert block.header.parent_hash == chain.genesis_hash
    assert chain.timestamp() == clock.ms
    assert len(block.extrinsics) == 1
    slot = (clock.ms // chain.slot_ms).to_bytes(8, "little")
    assert block.header.digest[0] == b"\x06aura\x20" + slot
    assert chain.block(1) == chain.block(block.hash) == block
    chain.replay()


def test_a_transfer(chain: Chain, wallet: Any) -> None:
    before = wallet.free(chain, wallet.bob)
    extrinsic = wallet.transfer(0)
    transaction_hash = chain.submit(extrinsic)
    assert transaction_hash in chain.pool
    block = chain.new_block()
    assert block.extrinsics[1:] == (extrinsic,)
    assert wallet.free(chain, wallet.bob) == before + 10**12
    assert len(chain.pool) == 0
    chain.replay()


def test_nonces_are_ordered_and_gaps_wait(chain: Chain, wallet: Any) -> None:
    first, second, third = (wallet.transfer(nonce) for nonce in range(3))
    chain.submit(third)
    chain.submit(second)
    assert chain.pool.pending() == []
    assert chain.next_nonce(wallet.alice.public_key) == 0
    assert len(chain.new_block().extrinsics) == 1
    chain.submit(first)
    assert chain.pool.pending() == [first, second, third]
    assert chain.next_nonce(wallet.alice.public_key) == 3
    assert chain.new_block().extrinsics[1:] == (first, second, third)


def test_a_failing_call_is_in_the_block_and_pays(chain: Chain, wallet: Any) -> None:
    before = wallet.free(chain, wallet.alice), wallet.free(chain, wallet.bob)
    chain.submit(wallet.transfer(0, amount=10**30))
    assert len(chain.new_block().extrinsics) == 2
    assert wallet.free(chain, wallet.bob) == before[1]
    assert wallet.free(chain, wallet.alice) < before[0]
    chain.replay()


def test_old_states_stay_readable(chain: Chain, wallet: Any) -> None:
    balances = [wallet.free(chain, wallet.bob)]
    for nonce in range(4):
        chain.submit(wallet.transfer(nonce))
        chain.new_block()
        balances.append(wallet.free(chain, wallet.bob))
    assert len(set(balances)) == 5
    for number, balance in enumerate(balances):
        assert wallet.free(chain, wallet.bob, number) == balance
        assert wallet.free(chain, wallet.bob, chain.hash(number)) == balance
        nonce = chain.call("AccountNonceApi_account_nonce", wallet.alice.public_key, number)
        assert Reader(nonce).u32() == number


@pytest.mark.parametrize("recent", [0, 64])
def test_old_states_have_the_keys_of_their_time(
    chain: Chain, wallet: Any, monkeypatch: pytest.MonkeyPatch, recent: int
) -> None:
    monkeypatch.setattr(store, "_RECENT", recent)

    def keys(at: int) -> list[bytes]:
        state, found, key = chain.state(at), [], b""
        while (following := state.next_key(key)) is not None:
            key = following
            found.append(key)
        return found

    seen = [keys(0)]
    for nonce in range(3):
        chain.submit(wallet.transfer(nonce))
        chain.new_block()
        seen.append(keys(nonce + 1))
    assert len(set(map(tuple, seen))) > 1
    assert [keys(number) for number in range(4)] == seen


@pytest.mark.parametrize("recent", [0, 64])
def test_every_block_replays(
    chain: Chain, wallet: Any, monkeypatch: pytest.MonkeyPatch, recent: int
) -> None:
    monkeypatch.setattr(store, "_RECENT", recent)
    for nonce in range(5):
        chain.submit(wallet.transfer(nonce))
        chain.new_block()
    for number in range(1, 6):
        chain.replay(number)


def test_a_call_changes_nothing(chain: Chain) -> None:
    root = chain.head.state_root
    header = chain.new_block().header
    chain.call("Core_initialize_block", header.encode(), 0)
    chain.new_block()
    chain.replay()
    assert chain.header(0).state_root == root


def test_unknown_things(chain: Chain) -> None:
    for at in (b"\1" * 32, 1, -1):
        with pytest.raises(UnknownBlock):
            chain.block(at)
    with pytest.raises(UnknownBlock):
        chain.storage(b"", b"\1" * 32)
    with pytest.raises(UnknownMethod, match="Nothing_here"):
        chain.call("Nothing_here")
    with pytest.raises(UnknownBlock):
        chain.replay(0)


def test_a_trap_says_why_and_leaves_the_chain_in_order(chain: Chain) -> None:
    with pytest.raises(RuntimeTrapped) as caught:
        chain.call("AccountNonceApi_account_nonce", b"\1")
    assert caught.value.method == "AccountNonceApi_account_nonce"
    assert "account_nonce" in caught.value.reason
    chain.new_block()
    chain.replay()


def test_time(chain: Chain, clock: Any) -> None:
    slot = chain.slot_ms
    chain.new_block()
    first = chain.timestamp()
    chain.new_block()
    assert chain.timestamp() // slot == first // slot + 1
    chain.travel(3_600_000)
    chain.new_block()
    assert chain.timestamp() == clock.ms + 3_600_000
    chosen = chain.timestamp() + 10 * slot
    chain.new_block(chosen)
    assert chain.timestamp() == chosen
    with pytest.raises(BadBlock, match="too early"):
        chain.new_block(chosen)
    with pytest.raises(ValueError, match="forward"):
        chain.travel(-1)
    assert chain.head.number == 4


def test_finality_may_lag(clock: Any) -> None:
    with Chain.open(clock=clock, finality_lag=2) as chain:
        for expected in (0, 0, 1, 2):
            chain.new_block()
            assert chain.finalized.number == expected


def test_mortal_transactions_die(chain: Chain, wallet_of: Callable[[Chain], Any]) -> None:
    chain.new_block()
    wallet = wallet_of(chain)
    mortal = wallet.transfer(0, era={"period": 4, "current": 1})
    late = wallet.transfer(1, era={"period": 4, "current": 1})
    chain.submit(late)
    assert chain.submit(mortal)
    assert chain.new_block().extrinsics[1:] == (mortal, late)
    waiting = wallet.transfer(3, era={"period": 4, "current": 2})
    chain.submit(waiting)
    for _ in range(6):
        chain.new_block()
    assert len(chain.pool) == 0
    with pytest.raises(PoolError) as caught:
        chain.submit(wallet.transfer(2, era={"period": 4, "current": 2}))
    assert (caught.value.code, caught.value.data) == (1010, "Transaction has a bad signature")


def test_set_code_is_followed(chain: Chain, wallet: Any) -> None:
    """The runtime in the state is the one that runs: here the same code in another packing."""
    plain = decompress(packaged_code())
    chain.submit(wallet.set_code(plain))
    before = chain.runtime(chain.state())
    chain.new_block()
    assert chain.storage(b":code") == plain
    assert chain.runtime(chain.state()) is not before
    chain.new_block()
    chain.replay(1)
    chain.replay(2)


def test_a_dry_run_changes_nothing(chain: Chain, wallet: Any) -> None:
    extrinsic = wallet.transfer(0)
    assert chain.dry_run(extrinsic) == b"\0\0"
    assert chain.dry_run(wallet.transfer(5))[:1] == b"\1"
    chain.submit(extrinsic)
    assert len(chain.new_block().extrinsics) == 2


def test_the_slot_is_that_of_the_genesis(clock: Any) -> None:
    patch = {"performance": {"timing": {"blockMs": 400}}}
    with Chain.open(genesis_patch=patch, clock=clock) as chain:
        assert chain.slot_ms == 400
        chain.new_block()
        chain.new_block()
        assert chain.timestamp(2) // 400 == chain.timestamp(1) // 400 + 1
        chain.replay(2)
