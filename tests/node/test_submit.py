"""Submitting to a chain: each refusal has the code and the words of a native node."""

from typing import Any

import pytest
from substrateinterface import Keypair, KeypairType

from datdot_node import Chain, PoolError


def refusal(chain: Chain, extrinsic: bytes) -> tuple[int, str | None]:
    with pytest.raises(PoolError) as caught:
        chain.submit(extrinsic)
    return caught.value.code, caught.value.data


def test_bytes_that_are_no_extrinsic(chain: Chain) -> None:
    assert refusal(chain, b"")[0] == 1001
    assert refusal(chain, b"\x10\1")[0] == 1001
    assert refusal(chain, b"\4\1\1")[0] == 1001


def test_bytes_that_the_runtime_cannot_decode(chain: Chain) -> None:
    code, data = refusal(chain, b"\x0c\xff\xff\xff")
    assert code == 1002
    assert "validate_transaction" in str(data)


def test_a_nonce_that_was_used(chain: Chain, wallet: Any) -> None:
    chain.submit(wallet.transfer(0))
    chain.new_block()
    assert refusal(chain, wallet.transfer(0, amount=7)) == (1010, "Transaction is outdated")


def test_a_changed_signature(chain: Chain, wallet: Any) -> None:
    extrinsic = bytearray(wallet.transfer(0))
    extrinsic[60] ^= 1
    assert refusal(chain, bytes(extrinsic)) == (1010, "Transaction has a bad signature")


def test_an_account_without_money(chain: Chain, wallet: Any) -> None:
    poor = Keypair.create_from_uri("//Nobody")
    code, data = refusal(chain, wallet.transfer(0, signer=poor))
    assert (code, data) == (1010, "Inability to pay some fees (e.g. account balance too low)")


def test_the_same_again(chain: Chain, wallet: Any) -> None:
    extrinsic = wallet.transfer(0)
    transaction_hash = chain.submit(extrinsic)
    assert refusal(chain, extrinsic) == (1013, f'"0x{transaction_hash.hex()}"')


def test_another_for_the_same_nonce(chain: Chain, wallet: Any) -> None:
    chain.submit(wallet.transfer(0))
    assert refusal(chain, wallet.transfer(0, amount=7))[0] == 1014
    chain.submit(wallet.transfer(0, amount=8, tip=10**12))
    assert len(chain.pool.pending()) == 1


def test_an_unsigned_call(chain: Chain, wallet: Any) -> None:
    call = wallet.substrate.compose_call("System", "remark", {"remark": "0x00"})
    unsigned = wallet.substrate.create_unsigned_extrinsic(call)
    code, _ = refusal(chain, bytes(unsigned.data.data))
    assert code in (1010, 1011)


def test_a_transaction_that_became_invalid_is_dropped(chain: Chain, wallet: Any) -> None:
    everything = wallet.free(chain, wallet.charlie)
    first = wallet.transfer(0, amount=everything - 10**11, signer=wallet.charlie)
    second = wallet.transfer(1, amount=1, signer=wallet.charlie, tip=10**12)
    chain.submit(first)
    chain.submit(second)
    assert chain.new_block().extrinsics[1:] == (first,)
    assert len(chain.pool) == 0
    assert refusal(chain, second)[0] == 1012


def test_an_ed25519_account_can_sign(chain: Chain, wallet: Any) -> None:
    keypair = Keypair.create_from_seed("0x" + "17" * 32, crypto_type=KeypairType.ED25519)
    call = ("Balances", "transfer_keep_alive", {"dest": keypair.ss58_address, "value": 10**13})
    chain.submit(wallet.sign(call, wallet.alice, 0))
    chain.new_block()
    chain.submit(wallet.transfer(0, signer=keypair))
    assert len(chain.new_block().extrinsics) == 2
