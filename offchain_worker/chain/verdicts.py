"""What follows for a transaction from what the chain says. Sans-IO.

Only finalized blocks decide. A transaction is signed anew only for the same nonce, and only when
its era certainly ended and the nonce is unused: then what was signed before can never be applied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from offchain_worker.chain.journal import Place, State, Transaction

# Codes of author_submitExtrinsic (sc-rpc-api, author/error.rs).
INVALID = 1010
TEMPORARILY_BANNED = 1012
ALREADY_IMPORTED = 1013
PRIORITY_TOO_LOW = 1014
IMMEDIATELY_DROPPED = 1016

# The node has it already, has another one with the nonce, or has no room now.
_UNDECIDED = frozenset(
    {TEMPORARILY_BANNED, ALREADY_IMPORTED, PRIORITY_TOO_LOW, IMMEDIATELY_DROPPED}
)
# Words of an INVALID transaction whose nonce is used: perhaps by itself.
_OUTDATED = "outdated"

MAX_SIGNINGS = 3
RESEND_BLOCKS = 4


@dataclass(frozen=True)
class Block:
    """A finalized block.

    Attributes:
        number, hash: which.
        extrinsics: hashes of what it contains, in order.
    """

    number: int
    hash: bytes
    extrinsics: tuple[bytes, ...]


def after_block(transaction: Transaction, block: Block) -> Transaction:
    """Return the transaction as it stands once a finalized block was searched for it."""
    if transaction.state is not State.PENDING or transaction.hash not in block.extrinsics:
        return transaction
    place = Place(block.hash, block.number, block.extrinsics.index(transaction.hash))
    return replace(transaction, state=State.FINALIZED, place=place)


def after_nonce(transaction: Transaction, number: int, nonce: int) -> Transaction:
    """Return the transaction as it stands when it is in no block up to a finalized one.

    Args:
        transaction: searched for in all blocks from its birth to `number`.
        number: of the finalized block.
        nonce: of the account after that block.
    """
    if transaction.state is not State.PENDING:
        return transaction
    if nonce > transaction.nonce:
        reason = f"nonce {transaction.nonce} was used by another transaction"
        return replace(transaction, state=State.NONCE_TAKEN, reason=reason)
    if number >= transaction.death - 1:
        reason = f"not applied before block {transaction.death}"
        return replace(transaction, state=State.EXPIRED, reason=reason)
    return transaction


def after_refusal(transaction: Transaction, code: int, words: str) -> Transaction:
    """Return the transaction as it stands when the node refused a submission.

    Only the refusal of the first submission says that it is nowhere. After a submission whose
    answer was lost, a refusal may mean that it was applied long ago.
    """
    if transaction.state is not State.PENDING:
        return transaction
    if transaction.attempts > 1 or code in _UNDECIDED:
        return transaction
    if code == INVALID and _OUTDATED in words:
        return transaction
    return replace(transaction, state=State.REFUSED, reason=words)


def may_be_applied(refused: Transaction, number: int, nonce: int) -> bool:
    """Whether a transaction that the node refused might still be applied by somebody who kept it.

    As long as it might, its intent must not be signed for another nonce.

    Args:
        refused: the transaction.
        number: of a finalized block.
        nonce: of the account after that block.
    """
    return nonce <= refused.nonce and number < refused.death - 1


def may_sign_again(transaction: Transaction) -> bool:
    """Whether a transaction whose era ended may be signed for a new era."""
    return transaction.state is State.EXPIRED and transaction.signings < MAX_SIGNINGS


def signed_again(transaction: Transaction, extrinsic: bytes, birth: int, death: int) -> Transaction:
    """Return the transaction, signed for a new era under its old nonce.

    Raises:
        ValueError: it must not be.
    """
    if not may_sign_again(transaction):
        raise ValueError(f"{transaction.intent} must not be signed again")
    return replace(
        transaction,
        extrinsic=extrinsic,
        birth=birth,
        death=death,
        signings=transaction.signings + 1,
        attempts=0,
        state=State.PENDING,
        reason="",
    )


def sent(transaction: Transaction) -> Transaction:
    """Return the transaction as it is journalled before it is sent."""
    return replace(transaction, attempts=transaction.attempts + 1)


def free_nonce(next_index: int, pending: Iterable[Transaction]) -> int:
    """Return the nonce for a new transaction of an account.

    Args:
        next_index: the node's, after what is in blocks and in its pool.
        pending: the account's transactions whose end is not known.
    """
    taken = {transaction.nonce for transaction in pending}
    nonce = next_index
    while nonce in taken:
        nonce += 1
    return nonce
