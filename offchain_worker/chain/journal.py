"""The journal of transactions: what was signed is on disk before a byte of it is sent.

One row per intent. Its nonce never changes: whatever is signed for an intent is signed for that
nonce, so at most one of it is ever applied.
"""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chain_types.extrinsic import extrinsic_hash

KEPT = 10_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS transactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    genesis BLOB NOT NULL,
    intent TEXT NOT NULL,
    account BLOB NOT NULL,
    nonce INTEGER NOT NULL,
    call BLOB NOT NULL,
    extrinsic BLOB NOT NULL,
    birth INTEGER NOT NULL,
    death INTEGER NOT NULL,
    signings INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    block_hash BLOB,
    block_number INTEGER,
    place INTEGER,
    UNIQUE (genesis, intent)
) STRICT
"""
_PENDING = "CREATE INDEX IF NOT EXISTS pending ON transactions (genesis, state)"


class State(enum.StrEnum):
    """What is known of a transaction."""

    PENDING = "pending"
    """It may be applied yet, or may have been in a block that was not examined."""
    FINALIZED = "finalized"
    """It is in a finalized block."""
    REFUSED = "refused"
    """The node refused its first submission, so it is nowhere."""
    NONCE_TAKEN = "nonce taken"
    """Another transaction with its nonce is in a finalized block."""
    EXPIRED = "expired"
    """Its era ended in a finalized block and its nonce is unused."""


@dataclass(frozen=True)
class Place:
    """Where in the chain a transaction was applied.

    Attributes:
        block_hash, block_number: the finalized block.
        index: of the extrinsic in it.
    """

    block_hash: bytes
    block_number: int
    index: int


@dataclass(frozen=True)
class Transaction:
    """A row of the journal.

    Attributes:
        intent: the caller's name for what it wants to happen once.
        account: 32 bytes, who signs.
        nonce: of the account; fixed for the intent.
        call: bytes of the call.
        extrinsic: what was signed last, with its length prefix.
        birth, death: numbers of blocks between which (exclusively) it can be applied.
        signings: how many times it was signed.
        attempts: how many times `extrinsic` may have been sent.
        state, reason: what is known of it.
        place: where it was applied, if it is known.
    """

    intent: str
    account: bytes
    nonce: int
    call: bytes
    extrinsic: bytes
    birth: int
    death: int
    signings: int = 1
    attempts: int = 0
    state: State = State.PENDING
    reason: str = ""
    place: Place | None = None

    @property
    def hash(self) -> bytes:
        """32 bytes, the hash by which blocks have it."""
        return extrinsic_hash(self.extrinsic)


_COLUMNS = (
    "intent, account, nonce, call, extrinsic, birth, death, signings, attempts, state, reason,"
    " block_hash, block_number, place"
)


class Journal:
    """The transactions of one chain in a SQLite file; every write is on disk when it returns.

    Args:
        path: of the file; `:memory:` for a process that ends with its transactions.
        genesis: 32 bytes, hash of the chain's first block. Other chains' rows stay untouched.

    The methods block; call them in a thread, one at a time.
    """

    def __init__(self, path: Path | str, genesis: bytes) -> None:
        self._genesis = genesis
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute(_SCHEMA)
        self._database.execute(_PENDING)
        self._database.execute(
            "DELETE FROM transactions WHERE state != ?"
            " AND id <= (SELECT max(id) FROM transactions) - ?",
            (State.PENDING, KEPT),
        )

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def find(self, intent: str) -> Transaction | None:
        """Return the transaction of an intent."""
        rows = self._select("intent = ?", intent)
        return next(rows, None)

    def pending(self) -> list[Transaction]:
        """Return all transactions whose end is not known, oldest first."""
        return list(self._select("state = ?", State.PENDING))

    def _select(self, condition: str, *values: object) -> Iterator[Transaction]:
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM transactions WHERE genesis = ? AND {condition} ORDER BY id",  # noqa: S608
            (self._genesis, *values),
        )
        for row in rows:
            state, reason, block_hash, block_number, index = row[9:]
            place = None if index is None else Place(block_hash, block_number, index)
            intent, account, nonce, call, extrinsic, birth, death, signings, attempts = row[:9]
            yield Transaction(
                intent,
                account,
                nonce,
                call,
                extrinsic,
                birth,
                death,
                signings,
                attempts,
                State(state),
                reason,
                place,
            )

    def write(self, transaction: Transaction) -> None:
        """Write a transaction, replacing what the journal had of its intent.

        Raises:
            ValueError: the journal has the intent under another nonce, account or call, and may
                have sent it.
        """
        with self._atomic():
            before = self.find(transaction.intent)
            if before is not None and before.state is State.PENDING:
                same = (before.account, before.nonce, before.call)
                if same != (transaction.account, transaction.nonce, transaction.call):
                    raise ValueError(f"intent {transaction.intent} is pending under another nonce")
            place = transaction.place
            self._database.execute(
                f"INSERT INTO transactions (genesis, {_COLUMNS})"  # noqa: S608
                f" VALUES ({', '.join('?' * 15)})"
                " ON CONFLICT (genesis, intent) DO UPDATE SET account = excluded.account,"
                " nonce = excluded.nonce, call = excluded.call, extrinsic = excluded.extrinsic,"
                " birth = excluded.birth, death = excluded.death, signings = excluded.signings,"
                " attempts = excluded.attempts, state = excluded.state, reason = excluded.reason,"
                " block_hash = excluded.block_hash, block_number = excluded.block_number,"
                " place = excluded.place",
                (
                    self._genesis,
                    transaction.intent,
                    transaction.account,
                    transaction.nonce,
                    transaction.call,
                    transaction.extrinsic,
                    transaction.birth,
                    transaction.death,
                    transaction.signings,
                    transaction.attempts,
                    transaction.state,
                    transaction.reason,
                    place.block_hash if place else None,
                    place.block_number if place else None,
                    place.index if place else None,
                ),
            )

    @contextmanager
    def _atomic(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
