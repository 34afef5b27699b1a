"""Account keys: the well-known development accounts, signatures, and what stays secret."""

from __future__ import annotations

import pytest
import sr25519
from hypothesis import given
from hypothesis import strategies as st
from substrateinterface import Keypair

from offchain_worker.chain.accounts import Account, ss58_decode, ss58_encode

# Printed by `subkey inspect`.
KNOWN = {
    "//Alice": "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
    "//Bob": "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty",
    "//Alice//stash": "5GNJqTPyNqANBkUVMN1LPPrxXnFouWXoe2wNSmmEoLctxiZY",
}


@pytest.mark.parametrize("uri", KNOWN)
def test_development_accounts_have_their_known_addresses(uri: str) -> None:
    account = Account.from_uri(uri)
    assert account.address == KNOWN[uri]
    assert ss58_decode(KNOWN[uri]) == account.public


@pytest.mark.parametrize("uri", ["//0", "//17//x", "//" + "long" * 20])
def test_derivation_is_that_of_other_tools(uri: str) -> None:
    assert Account.from_uri(uri).address == Keypair.create_from_uri(uri).ss58_address


def test_a_seed_is_an_account_without_path() -> None:
    seed = bytes(range(32))
    assert Account.from_uri("0x" + seed.hex()) == Account.from_seed(seed)


def test_a_signature_is_the_accounts() -> None:
    account = Account.from_uri("//Alice")
    signature = account.sign(b"message")
    assert sr25519.verify(signature, b"message", account.public)
    assert not sr25519.verify(signature, b"other", account.public)


def test_secrets_are_not_shown() -> None:
    account, seed = Account.generate()
    assert account == Account.from_seed(seed)
    assert account._secret.hex()[:16] not in repr(account).replace("\\x", "")
    assert "_secret" not in repr(account)


@pytest.mark.parametrize(
    "uri", ["", "Alice", "/Alice", "0x12", "//", "word " * 12, "0x" + "g" * 64]
)
def test_other_texts_are_refused_without_repeating_them(uri: str) -> None:
    with pytest.raises(ValueError, match="a key is given as") as caught:
        Account.from_uri(uri)
    assert not uri or uri not in str(caught.value) or uri == "//"


@given(st.binary(min_size=32, max_size=32))
def test_addresses_round_trip(public: bytes) -> None:
    assert ss58_decode(ss58_encode(public)) == public


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", "another chain"),
        ("5", "another chain"),
        ("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ", "mistyped"),
        ("15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5", "another chain"),
        ("0GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY", "does not occur"),
        ("5" * 65, "not so long"),
        ("1" + KNOWN["//Alice"], "mistyped"),
    ],
)
def test_other_addresses_are_refused(address: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ss58_decode(address)


def test_seeds_and_accounts_have_32_bytes() -> None:
    with pytest.raises(ValueError, match="32"):
        Account.from_seed(b"short")
    with pytest.raises(ValueError, match="32"):
        ss58_encode(b"short")
