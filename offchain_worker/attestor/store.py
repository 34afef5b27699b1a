"""What an attestor must not forget between the coinflip and the report.

One SQLite file beside the sign journal, WAL with synchronous=FULL, readable by its owner only:
an audit's outcome is on disk before the report is made, so a restart in between costs nothing.
Methods block for a disk write; an event loop calls them in a thread.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from chain_types.report import MAX_PEERS, OUTCOME, FalseReceipt, Observed, Outcome, PeerMetrics
from chain_types.scale import Codec, DecodeError, Limit, codec_of, struct
from offchain_worker.errors import OperationError

_PEERS: Codec[tuple[PeerMetrics, ...]] = codec_of(
    Annotated[tuple[PeerMetrics, ...], Limit(MAX_PEERS)]
)
_OBSERVED: Codec[Observed] = codec_of(Observed)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS work (
    topic BLOB PRIMARY KEY, peers BLOB, outcome BLOB, missed TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS observed (topic BLOB PRIMARY KEY, figures BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS egress (
    hoster BLOB, challenge INTEGER, address TEXT, PRIMARY KEY (hoster, challenge, address)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS false_receipts (topic BLOB PRIMARY KEY, proof BLOB) WITHOUT ROWID;
"""
_FALSE_RECEIPT: Codec[FalseReceipt] = struct(FalseReceipt)


@dataclass(frozen=True)
class Work:
    """What is known of one topic.

    Attributes:
        peers: figures of fellow attestors, empty without a coinflip.
        outcome: of the audit; None before it.
        missed: why there is no audit, None when there is or may be one.
        observed: figures of the observed session; None without one.
        false_receipt: what the audit found to prove against the hoster.
    """

    peers: tuple[PeerMetrics, ...] = ()
    outcome: Outcome | None = None
    missed: str | None = None
    observed: Observed | None = None
    false_receipt: FalseReceipt | None = None


class WorkStore:
    """One attestor's work in all its challenges. Writing raises OperationError when it fails."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[WorkStore]:
        """Open the store at `path`, or make it; it is closed at the end of the block.

        Raises:
            OperationError: the file cannot be used.
        """
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise OperationError(
                f"The attestor's store {path} cannot be opened: {error}."
            ) from error
        with contextlib.closing(connection):
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.executescript(_SCHEMA)
            except sqlite3.Error as error:
                raise OperationError(f"{path} is not an attestor's store: {error}.") from error
            yield cls(connection)

    def load(self, topic: bytes) -> Work:
        """What is known of a topic.

        Raises:
            OperationError: the store is damaged, or cannot be read.
        """
        with self._used() as connection:
            row = connection.execute(
                "SELECT peers, outcome, missed FROM work WHERE topic = ?", (topic,)
            ).fetchone()
            figures = connection.execute(
                "SELECT figures FROM observed WHERE topic = ?", (topic,)
            ).fetchone()
            proof = connection.execute(
                "SELECT proof FROM false_receipts WHERE topic = ?", (topic,)
            ).fetchone()
        peers, outcome, missed = row or (None, None, None)
        try:
            return Work(
                peers=() if peers is None else _PEERS.decode(peers),
                outcome=None if outcome is None else OUTCOME.decode(outcome),
                missed=missed,
                observed=None if figures is None else _OBSERVED.decode(figures[0]),
                false_receipt=None if proof is None else _FALSE_RECEIPT.decode(proof[0]),
            )
        except DecodeError as error:
            raise OperationError(f"The attestor's store is damaged: {error}.") from error

    def save_peers(self, topic: bytes, peers: tuple[PeerMetrics, ...]) -> None:
        """Keep the figures of fellow attestors."""
        self._set(topic, "peers", _PEERS.encode(peers))

    def save_outcome(self, topic: bytes, outcome: Outcome) -> None:
        """Keep an audit's outcome."""
        self._set(topic, "outcome", OUTCOME.encode(outcome))

    def save_false_receipt(self, topic: bytes, proof: FalseReceipt) -> None:
        """Keep what proves a fraud of the hoster; before the outcome, with which it is loaded."""
        with self._used() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO false_receipts VALUES (?, ?)",
                (topic, _FALSE_RECEIPT.encode(proof)),
            )

    def save_missed(self, topic: bytes, reason: str) -> None:
        """Note down that there will be no audit, and why."""
        self._set(topic, "missed", reason)

    def save_observed(self, topic: bytes, observed: Observed) -> None:
        """Keep the figures of the observed session."""
        with self._used() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO observed (topic, figures) VALUES (?, ?)",
                (topic, _OBSERVED.encode(observed)),
            )

    def egresses(self, hoster: bytes, challenges: int) -> dict[str, int]:
        """The addresses from which a hoster was visited in its last `challenges` here.

        Args:
            hoster: its Noise key, 32 bytes.
            challenges: those with a visit count.

        Returns:
            For each address the last challenge in which it was used.
        """
        with self._used() as connection:
            return dict(
                connection.execute(
                    "SELECT address, MAX(challenge) FROM egress WHERE hoster = ?1 AND challenge IN "
                    "(SELECT DISTINCT challenge FROM egress WHERE hoster = ?1 "
                    "ORDER BY challenge DESC LIMIT ?2) GROUP BY address",
                    (hoster, challenges),
                ).fetchall()
            )

    def save_egress(self, hoster: bytes, challenge: int, address: str) -> None:
        """Note down from which address a hoster is visited in a challenge."""
        with self._used() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO egress VALUES (?, ?, ?)", (hoster, challenge, address)
            )

    def _set(self, topic: bytes, column: str, value: bytes | str) -> None:
        # `column` is one of three names above, never input.
        statement = (
            f"INSERT INTO work (topic, {column}) VALUES (?, ?) "  # noqa: S608
            f"ON CONFLICT (topic) DO UPDATE SET {column} = excluded.{column}"
        )
        with self._used() as connection:
            connection.execute(statement, (topic, value))

    @contextlib.contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        """One caller at a time; what the database reports is an OperationError."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise OperationError(f"The attestor's store cannot be used: {error}.") from error
