"""What the worker relies on in a node's answers, whichever node it is."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from bank import ALICE, UNIT, Bank

from chain_types.calls import Id, TransferKeepAlive
from chain_types.extrinsic import Era, Terms, sign_extrinsic
from datdot_node.scale import sized
from offchain_worker.chain import verdicts
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient
from offchain_worker.chain.errors import RpcError
from offchain_worker.chain.heads import Head, from_bytes
from offchain_worker.chain.rpc import Rpc, open_rpc

SECONDS = 120
HEADS = 5
METHOD_NOT_FOUND, INVALID_PARAMS = -32_601, -32_602
UNDECODABLE, BAD_FORMAT, VERIFICATION = 1_040, 1_001, 1_002
NOT_EXECUTED, NOT_DECODED = 1, 2
POOR = "Inability to pay some fees (e.g. account balance too low)"
TO_ALICE = TransferKeepAlive(Id(ALICE.public), UNIT)
IN_BLOCK, FINALIZED = "inBlock", "finalized"


@pytest.fixture
async def rpc(url: str) -> AsyncIterator[Rpc]:
    async with open_rpc(url) as opened:
        yield opened


async def signed(chain: ChainClient, account: Account, nonce: int) -> bytes:
    """A transfer of a token to //Alice."""
    head = await chain.finalized()
    terms = Terms(chain.genesis, Era.starting(head.number, 64), head.hash, nonce)
    call = chain.runtime.encode_call(TO_ALICE)
    return sign_extrinsic(chain.runtime, call, account.public, account.sign, terms)


async def refusal(rpc: Rpc, extrinsic: bytes) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await rpc.request("author_submitExtrinsic", from_bytes(extrinsic))
    return caught.value


async def test_each_finalized_block_comes_once_as_the_child_of_the_one_before(
    chain: ChainClient,
) -> None:
    heads = chain.heads()
    seen: list[Head] = []
    with trio.fail_after(SECONDS):
        async for head in heads:
            seen.append(head)
            if len(seen) == HEADS:
                break
    heads.close()
    for before, after in itertools.pairwise(seen):
        assert (after.number, after.parent) == (before.number + 1, before.hash)
        assert after.timestamp_ms > before.timestamp_ms
    for head in seen:
        assert await chain.block_hash(head.number) == head.hash
        assert (await chain.header(head.hash)).parent == head.parent


async def test_the_best_block_is_not_behind_the_finalized_one(chain: ChainClient) -> None:
    finalized = await chain.finalized()
    assert (await chain.header()).number >= finalized.number
    assert await chain.block_hash(2**31) is None


async def test_a_transaction_is_watched_into_a_finalized_block(
    chain: ChainClient, rpc: Rpc, bank: Bank
) -> None:
    (account,) = await bank.accounts(1, amount=10 * UNIT)
    extrinsic = await signed(chain, account, nonce=0)
    watched = await rpc.subscribe("author_submitAndWatchExtrinsic", from_bytes(extrinsic))
    states: list[Any] = []
    with trio.fail_after(SECONDS):
        async for state in watched:
            states.append(state)
            if isinstance(state, dict) and FINALIZED in state:
                break
    watched.close("author_unwatchExtrinsic")
    assert states[0] == "ready"
    blocks = [state[IN_BLOCK] for state in states if isinstance(state, dict) and IN_BLOCK in state]
    # It may have been in a block that was replaced before.
    assert states[-1][FINALIZED] in blocks
    answer = await rpc.request("chain_getBlock", states[-1][FINALIZED])
    assert from_bytes(extrinsic) in answer["block"]["extrinsics"]

    again = await refusal(rpc, extrinsic)
    assert again.code in {verdicts.INVALID, verdicts.TEMPORARILY_BANNED}
    other = await refusal(rpc, await signed(chain, account, nonce=0))
    assert (other.code, other.data) == (verdicts.INVALID, "Transaction is outdated")


async def test_transactions_that_cannot_be_applied_are_refused_with_the_reason(
    chain: ChainClient, rpc: Rpc
) -> None:
    nobody = Account.generate()[0]
    poor = await refusal(rpc, await signed(chain, nobody, nonce=0))
    assert (poor.code, poor.data) == (verdicts.INVALID, POOR)

    extrinsic = bytearray(await signed(chain, nobody, nonce=0))
    extrinsic[60] ^= 1
    forged = await refusal(rpc, bytes(extrinsic))
    assert (forged.code, forged.data) == (verdicts.INVALID, "Transaction has a bad signature")


@pytest.mark.parametrize(
    ("kind", "submitted", "watched", "asked"),
    [
        ("empty", UNDECODABLE, BAD_FORMAT, NOT_DECODED),
        ("shorter than announced", UNDECODABLE, BAD_FORMAT, NOT_DECODED),
        ("an endless length", UNDECODABLE, BAD_FORMAT, NOT_DECODED),
        ("no extrinsic", VERIFICATION, VERIFICATION, NOT_EXECUTED),
        ("cut off inside", VERIFICATION, VERIFICATION, NOT_EXECUTED),
        ("trailing bytes inside", VERIFICATION, VERIFICATION, NOT_EXECUTED),
        ("of an unknown version", VERIFICATION, VERIFICATION, NOT_EXECUTED),
        ("of an unknown pallet", VERIFICATION, VERIFICATION, NOT_EXECUTED),
    ],
)
async def test_bytes_that_are_no_extrinsic_are_refused(
    chain: ChainClient, rpc: Rpc, kind: str, submitted: int, watched: int, asked: int
) -> None:
    """Each way to hand them over has a code of its own: to submit, to watch, to ask about."""
    nobody = Account.generate()[0]
    call = chain.runtime.encode_call(TO_ALICE)

    def broken(good: bytes) -> bytes:
        inside = good[2:]
        assert good == sized(inside)
        return {
            "empty": b"",
            "shorter than announced": good[:-1],
            "an endless length": b"\xff" * 68,
            "no extrinsic": sized(b"\xff" * 100 + inside),
            "cut off inside": sized(inside[:-1]),
            "trailing bytes inside": sized(inside + b"\0"),
            "of an unknown version": sized(b"\x81" + inside[1:]),
            "of an unknown pallet": sized(inside.removesuffix(call) + b"\xfe" * len(call)),
        }[kind]

    # Not the same bytes twice: nodes of the SDK ban what the runtime could not decode.
    first, second = [await signed(chain, nobody, nonce) for nonce in range(2)]
    refused = await refusal(rpc, broken(first))
    assert refused.code == submitted
    words = {UNDECODABLE: "Client error: ", VERIFICATION: "Verification Error: "}
    assert refused.message.startswith(words[submitted])
    encoded = from_bytes(broken(second))
    with pytest.raises(RpcError) as caught:
        await rpc.subscribe("author_submitAndWatchExtrinsic", encoded)
    assert caught.value.code == watched
    for method in ("payment_queryInfo", "payment_queryFeeDetails", "system_dryRun"):
        with pytest.raises(RpcError) as caught:
            await rpc.request(method, encoded)
        assert caught.value.code == asked, method
    assert encoded not in await rpc.request("author_pendingExtrinsics")
    # What they are made of is an extrinsic.
    assert (await refusal(rpc, first)).data == POOR


async def test_bytes_after_an_extrinsic_are_refused_or_dropped(
    chain: ChainClient, rpc: Rpc
) -> None:
    """Nodes of the SDK read an extrinsic and overlook what follows; there is no code for that.

    The embedded chain refuses it with the codes of other bytes whose length is wrong.
    """
    good = await signed(chain, Account.generate()[0], nonce=0)
    refused = await refusal(rpc, good + b"\0")
    if await rpc.request("system_name") == "datdot-embedded":
        assert refused.code == UNDECODABLE
        with pytest.raises(RpcError) as caught:
            await rpc.request("payment_queryInfo", from_bytes(good + b"\0"))
        assert caught.value.code == NOT_DECODED
    else:
        assert (refused.code, refused.data) == (verdicts.INVALID, POOR)
        assert await rpc.request("payment_queryInfo", from_bytes(good + b"\0"))


async def test_a_future_transaction_waits_in_the_pool(
    chain: ChainClient, rpc: Rpc, bank: Bank
) -> None:
    (account,) = await bank.accounts(1, amount=10 * UNIT)
    with trio.fail_after(SECONDS):
        later = await rpc.subscribe(
            "author_submitAndWatchExtrinsic", from_bytes(await signed(chain, account, nonce=1))
        )
        assert await anext(later) == "future"
        assert await rpc.request("system_accountNextIndex", account.address) == 0
        await rpc.request("author_submitExtrinsic", from_bytes(await signed(chain, account, 0)))
        async for state in later:
            if isinstance(state, dict) and FINALIZED in state:
                break
    later.close("author_unwatchExtrinsic")
    assert await rpc.request("system_accountNextIndex", account.address) == 2


async def test_what_other_clients_use_is_there(rpc: Rpc) -> None:
    methods = set((await rpc.request("rpc_methods"))["methods"])
    assert methods >= {
        "author_submitAndWatchExtrinsic",
        "chainHead_v1_follow",
        "chainSpec_v1_genesisHash",
        "payment_queryInfo",
        "state_subscribeStorage",
        "system_accountNextIndex",
        "transaction_v1_broadcast",
    }


async def test_requests_that_make_no_sense_are_refused(rpc: Rpc) -> None:
    for method, parameters, code in (
        ("datdot_nothing", [], METHOD_NOT_FOUND),
        ("chain_getBlockHash", ["now"], INVALID_PARAMS),
        ("state_getStorage", ["0xzz"], INVALID_PARAMS),
    ):
        with pytest.raises(RpcError) as caught:
            await rpc.request(method, *parameters)
        assert caught.value.code == code
