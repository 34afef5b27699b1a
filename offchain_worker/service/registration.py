"""Becoming a provider: the calls that bind a key to an account (challenge.md §2.1)."""

from __future__ import annotations

from chain_types.calls import RegisterAttestor, RegisterHoster
from chain_types.records import Endpoint, Role
from offchain_worker.chain.accounts import Account
from offchain_worker.coinflip.hashing import performance_tag
from offchain_worker.keys import KeyPair


def registration_proof(key: KeyPair, genesis: bytes, role: Role, account: bytes) -> bytes:
    """The key's signature (64 bytes) that says it belongs to that account in that role.

    Args:
        key: session key of an attestor, Noise key of a hoster.
        genesis: hash of the chain's first block, 32 bytes.
        role: as what.
        account: account id, 32 bytes.
    """
    return key.sign(performance_tag("register") + genesis + bytes([role]) + account)


def attestor_registration(
    genesis: bytes, account: Account, session_key: KeyPair, endpoint: Endpoint, capacity: int
) -> RegisterAttestor:
    """The call that makes `account` an attestor in at most `capacity` challenges at a time."""
    return RegisterAttestor(
        session_key=session_key.public,
        endpoint=endpoint,
        capacity=capacity,
        proof=registration_proof(session_key, genesis, Role.ATTESTOR, account.public),
    )


def hoster_registration(
    genesis: bytes, account: Account, noise_key: KeyPair, endpoint: Endpoint
) -> RegisterHoster:
    """The call that makes `account` a hoster."""
    return RegisterHoster(
        noise_key=noise_key.public,
        endpoint=endpoint,
        proof=registration_proof(noise_key, genesis, Role.HOSTER, account.public),
    )
