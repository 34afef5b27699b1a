"""A chain's folder: blocks, the newest state and what each block changed, in one SQLite database.

Every block is one transaction, so a killed process goes on with the last complete block. For each
key that a block changed the value *before* it is kept: a value at block n is the one before the
first change after n, or else the newest.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from datdot_node.block import Block, Header, decode_body, encode_body
from datdot_node.errors import BadStore, ChainLocked
from datdot_node.overlay import Overlay, StateView
from datdot_node.state import State

FORMAT = 1
_OLDEST_STATE = "oldest_state"
_RECENT = 64
"""For so many blocks back, going through all changes since is quicker than through the history."""
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE block (
    number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, header BLOB NOT NULL, body BLOB NOT NULL
);
CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE history (
    key BLOB, number INTEGER, before BLOB, PRIMARY KEY (key, number)
) WITHOUT ROWID;
CREATE INDEX history_by_number ON history (number);
"""


class Store:
    """Owns the database and the folder's lock. For one thread at a time."""

    def __init__(self, directory: Path | None) -> None:
        """Opens or makes the chain in `directory`; None keeps everything in memory.

        Raises `ChainLocked` and `BadStore`.
        """
        self._lock: int | None = None
        database = ":memory:"
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                self._lock = _lock(directory / "lock")
            except OSError as error:
                raise BadStore(f"cannot use {directory}: {error.strerror}") from error
            database = str(directory / "chain.sqlite")
        self._where = directory
        try:
            self._db = self._connect(database)
        except BaseException:
            self._unlock()
            raise

    def _connect(self, database: str) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={FORMAT};COMMIT;")
        except sqlite3.DatabaseError as error:
            raise BadStore(f"{self._where} holds no chain: {error}") from error
        if version not in (0, FORMAT):
            db.close()
            raise BadStore(f"{self._where} holds a chain of format {version}, not {FORMAT}")
        return db

    @contextmanager
    def written_together(self) -> Iterator[None]:
        """Blocks that are added inside reach the disk for certain only at the end, all at once.

        A process that is killed meanwhile loses none of them. A machine that loses its power may
        lose the last ones, never a part of one.
        """
        self._db.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA wal_checkpoint(FULL)").fetchall()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def close(self) -> None:
        """Closes the database and gives the lock back."""
        self._db.close()
        self._unlock()

    def meta(self, name: str) -> bytes | None:
        """A value kept beside the chain, or None."""
        return self._value("SELECT value FROM meta WHERE name = ?", name)

    def set_meta(self, name: str, value: bytes) -> None:
        """Keeps a value beside the chain."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def _value(self, query: str, *arguments: object) -> bytes | None:
        row = self._db.execute(query, arguments).fetchone()
        return None if row is None else row[0]

    def begin_chain(
        self, genesis: Header, items: Mapping[bytes, bytes], meta: Mapping[str, bytes]
    ) -> None:
        """Writes block 0 and its state."""
        with self._db:
            self._db.execute("BEGIN")
            self._insert(Block(genesis, ()))
            self._db.executemany("INSERT INTO state VALUES (?, ?)", items.items())
            for name, value in meta.items():
                self.set_meta(name, value)

    def add(
        self, block: Block, changes: Iterable[tuple[bytes, bytes | None]], state: State
    ) -> None:
        """Writes a block with its changes; `state` is still that of its parent."""
        history, values, gone = [], [], []
        for key, value in changes:
            before = state.get(key)
            if before == value:
                continue
            history.append((key, block.number, before))
            if value is None:
                gone.append((key,))
            else:
                values.append((key, value))
        with self._db:
            self._db.execute("BEGIN")
            self._insert(block)
            self._db.executemany("INSERT INTO history VALUES (?, ?, ?)", history)
            self._db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", values)
            self._db.executemany("DELETE FROM state WHERE key = ?", gone)

    def take_back(self, number: int) -> dict[bytes, bytes | None]:
        """Removes the blocks after `number`; the changes that give its state back.

        The states that these need must not have been pruned.
        """
        undo = self.changed_since(number)
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT OR REPLACE INTO state VALUES (?, ?)",
                [(key, value) for key, value in undo.items() if value is not None],
            )
            self._db.executemany(
                "DELETE FROM state WHERE key = ?",
                [(key,) for key, value in undo.items() if value is None],
            )
            self._db.execute("DELETE FROM history WHERE number > ?", (number,))
            self._db.execute("DELETE FROM block WHERE number > ?", (number,))
        return undo

    def prune(self, number: int) -> None:
        """Forgets the states before block `number`; the blocks stay."""
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM history WHERE number <= ?", (number,))
            self.set_meta(_OLDEST_STATE, str(number).encode())

    def oldest_state(self) -> int:
        """The first block whose state can be read."""
        return int(self.meta(_OLDEST_STATE) or 0)

    def _insert(self, block: Block) -> None:
        self._db.execute(
            "INSERT INTO block VALUES (?, ?, ?, ?)",
            (block.number, block.hash, block.header.encode(), encode_body(block.extrinsics)),
        )

    def head(self) -> Header | None:
        """The newest block's header; None before genesis."""
        encoded = self._value("SELECT header FROM block ORDER BY number DESC LIMIT 1")
        return None if encoded is None else Header.decode(encoded)

    def hash_of(self, number: int) -> bytes | None:
        """The hash of a block, or None."""
        return self._value("SELECT hash FROM block WHERE number = ?", number)

    def number_of(self, block_hash: bytes) -> int | None:
        """The number of a block, or None."""
        row = self._db.execute("SELECT number FROM block WHERE hash = ?", (block_hash,)).fetchone()
        return None if row is None else int(row[0])

    def header(self, number: int) -> Header | None:
        """A block's header, or None."""
        encoded = self._value("SELECT header FROM block WHERE number = ?", number)
        return None if encoded is None else Header.decode(encoded)

    def block(self, number: int) -> Block | None:
        """A block, or None."""
        row = self._db.execute(
            "SELECT header, body FROM block WHERE number = ?", (number,)
        ).fetchone()
        return None if row is None else Block(Header.decode(row[0]), decode_body(row[1]))

    def state(self) -> dict[bytes, bytes]:
        """The newest state, whole."""
        return dict(self._db.execute("SELECT key, value FROM state"))

    def changed_since(self, number: int) -> dict[bytes, bytes | None]:
        """All keys that blocks after `number` changed, with their values at that block."""
        return dict(
            self._db.execute(
                "SELECT key, before FROM history WHERE number > ? ORDER BY number DESC", (number,)
            )
        )

    def changes_by_block(
        self, number: int, newest: StateView
    ) -> dict[int, dict[bytes, bytes | None]]:
        """What each block after `number` changed, when `newest` is the newest state."""
        changes: dict[int, dict[bytes, bytes | None]] = {}
        after: dict[bytes, bytes | None] = {}
        for key, changed_at, before in self._db.execute(
            "SELECT key, number, before FROM history WHERE number > ? ORDER BY number DESC",
            (number,),
        ):
            value = after[key] if key in after else newest.get(key)
            changes.setdefault(changed_at, {})[key] = value
            after[key] = before
        return changes

    def changes_of(self, key: bytes, number: int) -> list[int]:
        """The blocks after `number` that changed `key`, in ascending order."""
        rows = self._db.execute(
            "SELECT number FROM history WHERE key = ? AND number > ? ORDER BY number", (key, number)
        )
        return [row[0] for row in rows]

    def before_change_after(self, key: bytes, number: int) -> tuple[bool, bytes | None]:
        """Whether a block after `number` changed `key`, and its value before the first that did."""
        row = self._db.execute(
            "SELECT before FROM history WHERE key = ? AND number > ? ORDER BY number LIMIT 1",
            (key, number),
        ).fetchone()
        return (False, None) if row is None else (True, row[0])

    def next_changed_after(self, key: bytes, number: int) -> bytes | None:
        """The first key after `key` that a block after `number` changed, or None."""
        return self._value(
            "SELECT key FROM history WHERE key > ? AND number > ? ORDER BY key LIMIT 1", key, number
        )


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ChainLocked(f"another process runs the chain in {path.parent}") from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def past_state(store: Store, state: State, number: int, head: int) -> StateView:
    """The state at block `number`, when `state` is that of the newest block, `head`.

    To be read before the next block is made.
    """
    if head - number > _RECENT:
        return PastState(store, state, number)
    return undone(store, state, number)


def undone(store: Store, state: State, number: int) -> Overlay:
    """The same as all that was changed since, over the newest state: the more, the longer ago."""
    overlay = Overlay(state)
    for key, value in store.changed_since(number).items():
        overlay.set(key, value)
    return overlay


class PastState:
    """The state at an old block, looked up in the history key by key."""

    def __init__(self, store: Store, state: State, number: int) -> None:
        self._store = store
        self._state = state
        self._number = number

    def get(self, key: bytes) -> bytes | None:
        """The value under `key` at that block, or None."""
        changed, before = self._store.before_change_after(key, self._number)
        return before if changed else self._state.get(key)

    def next_key(self, key: bytes) -> bytes | None:
        """The first key after `key` that had a value at that block, or None."""
        candidate: bytes | None = key
        while candidate is not None:
            following = self._state.next_key(candidate)
            changed = self._store.next_changed_after(candidate, self._number)
            both = [each for each in (following, changed) if each is not None]
            candidate = min(both, default=None)
            if candidate is not None and self.get(candidate) is not None:
                return candidate
        return None
