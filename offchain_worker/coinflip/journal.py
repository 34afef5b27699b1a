"""The sign journal: what a member signed, and the secrets behind it, on disk before it is sent.

coinflip.md §1. One SQLite file, WAL with synchronous=FULL, so that a commit is on disk when the
call returns; readable by its owner only. After a restart the same bytes are sent again.

A file cannot tell that it was lost and made anew, or restored from a backup. So what this process
did not see from the start is not trusted further than signatures cannot contradict each other: a
topic that began earlier and is not known stays shut (`JournalLost`), and in one that is known
`Begun.cautious` says that another echo than those on record may be out there.

Every method blocks for a disk write; an event loop calls them in a thread. They may be called
from any thread, one at a time (a lock sees to it).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from offchain_worker.coinflip.envelope import Kind, SignedEnvelope, signed_length
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.errors import OperationError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS secrets (
    topic BLOB PRIMARY KEY, x BLOB NOT NULL, salt BLOB NOT NULL,
    w BLOB NOT NULL, audit_seed BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signed (
    topic BLOB NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL, envelope BLOB NOT NULL,
    support BLOB NOT NULL, PRIMARY KEY (topic, kind)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS concluded (
    topic BLOB PRIMARY KEY, may_retry INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS evidence (
    id BLOB PRIMARY KEY, topic BLOB NOT NULL, proof BLOB NOT NULL
) WITHOUT ROWID;
"""


class JournalError(OperationError):
    """The journal cannot be used, or must not be."""


class JournalConflict(JournalError):
    """A second body for a topic and kind: signing it would be an equivocation."""


class JournalLost(JournalError):
    """The topic began before this process did: what was signed then is not known here."""


@dataclass(frozen=True)
class Record:
    """What the journal knows of one signed envelope.

    Attributes:
        envelope: the bytes as sent.
        support: what it rests on: the commits behind an echo, the echoes behind a reveal.
    """

    envelope: bytes
    support: tuple[bytes, ...]


@dataclass(frozen=True)
class Begun:
    """A topic that was begun, now or before a restart; what a machine goes on from.

    Attributes:
        secrets: of the topic, on disk.
        records: what was signed in it, by kind.
        proofs: the evidence that was kept for it.
        cautious: it began before this process opened the journal, which may have been restored
            from a backup meanwhile: more may have been signed than is on record.
    """

    secrets: FlipSecrets
    records: dict[Kind, Record]
    proofs: tuple[bytes, ...]
    cautious: bool


class Journal:
    """One attestor's journal, for all its topics."""

    def __init__(self, connection: sqlite3.Connection, opened_ms: int) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._opened_ms = opened_ms

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, *, now_ms: int) -> Iterator[Journal]:
        """Open the journal at `path`, or make it; it is closed at the end of the block.

        Args:
            path: of the database; its folder exists. WAL files appear beside it.
            now_ms: ms since 1970.

        Raises:
            JournalError: the file is no journal or cannot be read and written.
        """
        try:
            # Made before SQLite does, so that the secrets are never readable by others.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"the sign journal {path} cannot be opened: {error}") from error
        with contextlib.closing(connection):
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.executescript(_SCHEMA)
            except sqlite3.Error as error:
                raise JournalError(f"{path} is no usable sign journal: {error}") from error
            journal = cls(connection, now_ms)
            try:
                yield journal
            finally:
                # A thread may still be writing: SQLite must not lose its file under it.
                with journal._lock:
                    connection.close()

    def distrust_before(self, instant_ms: int) -> None:
        """Topics that began before that instant began before this process, too.

        For the chain's time when the process starts: the machine's clock may have been set back.
        """
        self._opened_ms = max(self._opened_ms, instant_ms)

    def begin(
        self,
        topic: bytes,
        *,
        started_ms: int | None,
        generate: Callable[[], FlipSecrets] = FlipSecrets.generate,
    ) -> Begun:
        """Begin a topic, or go on with it; its secrets are on disk before this returns.

        Args:
            topic: 32 bytes.
            started_ms: when the topic began: s_a of its attempt, ms since 1970. None for the
                fallback's: nobody signs anything in it, so nothing can be contradicted.
            generate: makes the secrets of a topic that is new.

        Raises:
            JournalLost: the topic is unknown and began before this process opened the journal.
        """
        began_before = started_ms is not None and started_ms < self._opened_ms
        with self._transaction() as connection:
            secrets = self._secrets(topic)
            if secrets is None:
                if began_before:
                    raise JournalLost(
                        f"topic {topic.hex()} began before this worker did, and its sign journal "
                        "does not know it; what was signed in it is not known, so nothing more is"
                    )
                secrets = generate()
                connection.execute(
                    "INSERT INTO secrets VALUES (?, ?, ?, ?, ?)",
                    (topic, secrets.x, secrets.salt, secrets.w, secrets.audit_seed),
                )
            return Begun(
                secrets=secrets,
                records=self._records(topic),
                proofs=self._proofs(topic),
                cautious=began_before,
            )

    def conclude(self, topic: bytes, *, may_retry: bool) -> None:
        """Note down that a topic's run is over, and whether another attempt may follow it."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO concluded VALUES (?, ?)", (topic, int(may_retry))
            )

    def may_retry(self, topic: bytes) -> bool:
        """Whether another attempt may follow a topic; False as well when its run was cut short,
        since what was seen in it is not known any more."""
        with self._locked() as connection:
            row = connection.execute(
                "SELECT may_retry FROM concluded WHERE topic = ?", (topic,)
            ).fetchone()
        return row is not None and bool(row[0])

    def secrets(self, topic: bytes) -> FlipSecrets | None:
        """The secrets of a topic that was begun, for its audit; None for another."""
        with self._locked():
            return self._secrets(topic)

    def record(self, envelope: SignedEnvelope, support: Sequence[bytes] = ()) -> None:
        """Write down an envelope before it is sent; the same body again changes nothing.

        Raises:
            JournalConflict: another body is on record for its topic and kind.
            JournalError: the topic was never begun here.
        """
        with self._transaction() as connection:
            if self._secrets(envelope.topic) is None:
                raise JournalError(f"topic {envelope.topic.hex()} was not begun in this journal")
            row = connection.execute(
                "SELECT body FROM signed WHERE topic = ? AND kind = ?",
                (envelope.topic, envelope.kind),
            ).fetchone()
            if row is None:
                connection.execute(
                    "INSERT INTO signed VALUES (?, ?, ?, ?, ?)",
                    (
                        envelope.topic,
                        envelope.kind,
                        envelope.body,
                        envelope.raw,
                        b"".join(support),
                    ),
                )
            elif row[0] != envelope.body:
                raise JournalConflict(
                    f"another {envelope.kind.name.lower()} is on record for topic "
                    f"{envelope.topic.hex()}"
                )

    def records(self, topic: bytes) -> dict[Kind, Record]:
        """What was signed in a topic, by kind."""
        with self._locked():
            return self._records(topic)

    def keep_evidence(self, identifier: bytes, topic: bytes, proof: bytes) -> None:
        """Keep a verified proof; a second one of the same id changes nothing."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO evidence VALUES (?, ?, ?)", (identifier, topic, proof)
            )

    def _secrets(self, topic: bytes) -> FlipSecrets | None:
        row = self._connection.execute(
            "SELECT x, salt, w, audit_seed FROM secrets WHERE topic = ?", (topic,)
        ).fetchone()
        return None if row is None else FlipSecrets(*row)

    def _records(self, topic: bytes) -> dict[Kind, Record]:
        rows = self._connection.execute(
            "SELECT kind, envelope, support FROM signed WHERE topic = ?", (topic,)
        )
        return {
            Kind(kind): Record(envelope, _split(Kind(kind), support))
            for kind, envelope, support in rows
        }

    def _proofs(self, topic: bytes) -> tuple[bytes, ...]:
        rows = self._connection.execute(
            "SELECT proof FROM evidence WHERE topic = ? ORDER BY id", (topic,)
        )
        return tuple(proof for (proof,) in rows)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        """One caller at a time; what the database reports is a JournalError."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise JournalError(f"the sign journal cannot be used: {error}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the body is on disk at its end, or nothing of it."""
        with self._locked() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def _split(kind: Kind, support: bytes) -> tuple[bytes, ...]:
    length = signed_length(Kind.COMMIT if kind is Kind.ECHO else Kind.ECHO)
    return tuple(support[at : at + length] for at in range(0, len(support), length))
