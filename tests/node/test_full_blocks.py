"""Blocks that are filled up by remarks: to the limit of length, and to that of weight."""

from typing import Any

import pytest
from node_client import connected, serving

from datdot_node import Chain, filler
from datdot_node.errors import BadBlock
from datdot_node.hashing import storage_key
from datdot_node.scale import Reader

SMALLEST = 300
"""Most bytes that a remark of 32 bytes with its signature takes."""


def length(chain: Chain) -> int:
    return sum(map(len, chain.block().extrinsics))


def normal_weight(chain: Chain) -> int:
    """The reference time that normal extrinsics of the newest block have used."""
    return Reader(chain.storage(storage_key("System", "BlockWeight")) or b"").compact()


def test_full_by_length(chain: Chain, wallet: Any) -> None:
    limit = wallet.substrate.get_constant("System", "BlockLength").value["max"]["normal"]
    transfer = wallet.transfer(0)
    chain.submit(transfer)
    block = chain.new_block(fill_bytes=1 << 20)
    assert limit - SMALLEST < length(chain) <= limit
    assert block.extrinsics[1] == transfer, "the pool comes first"
    chain.new_block(fill_bytes=1 << 16)
    assert limit - SMALLEST < length(chain) <= limit
    assert len(chain.block().extrinsics) > 50
    assert chain.verify() == 2
    assert len(chain.new_block().extrinsics) == 1, "the next one is as ever"
    alice = chain.call("AccountNonceApi_account_nonce", wallet.alice.public_key)
    sent = sum(len(chain.block(number).extrinsics) - 1 for number in (1, 2))
    assert Reader(alice).u32() == sent


def test_full_by_weight(chain: Chain, wallet: Any) -> None:
    weights = wallet.substrate.get_constant("System", "BlockWeights").value
    limit = weights["per_class"]["normal"]["max_total"]["ref_time"]
    # Two transactions that claim most of it, so that some dozens of remarks do the rest.
    remark = wallet.substrate.compose_call("System", "remark", {"remark": "0x"})
    claimed = (limit * 8 // 10, limit * 16 // 100)
    for nonce, ref_time in enumerate(claimed):
        weight = {"ref_time": ref_time, "proof_size": 0}
        sudo = ("Sudo", "sudo_unchecked_weight", {"call": remark, "weight": weight})
        chain.submit(wallet.sign(sudo, wallet.alice, nonce))
    block = chain.new_block(fill_bytes=1)
    remarks = len(block.extrinsics) - 3
    assert remarks > 20
    used = normal_weight(chain)
    each = (used - sum(claimed)) / remarks
    assert limit - 2 * each < used <= limit
    assert length(chain) < 100_000
    chain.replay()


def test_a_chain_that_does_not_take_the_remarks(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filler, "_ALICE", bytes(32))
    with pytest.raises(BadBlock, match="Inability to pay"):
        chain.new_block(fill_bytes=100)
    assert chain.head.number == 0


async def test_by_rpc() -> None:
    async with serving() as running, connected(running) as client:
        follower = await client.call("chainHead_v1_follow", False)
        for _ in range(2):
            await client.notified()
        head = await client.call("dev_fullBlocks", {"count": 2, "size": 1 << 19})
        assert await client.call("chain_getBlockHash", 2) == head
        block = await client.call("chain_getBlock", head)
        for _ in range(4):
            await client.notified()
        await client.call("chainHead_v1_body", follower, head)
        body = (await client.notified())["params"]["result"]["value"]
        assert body == block["block"]["extrinsics"]
        assert sum(len(each) - 2 for each in body) // 2 > 3_900_000
        for bad in (0, 101, {"size": 0}, {"size": (1 << 20) + 1}):
            assert (await client.refused("dev_fullBlocks", bad))["code"] == -32602
