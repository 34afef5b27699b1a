"""Feeds on disk: one SQLite database for each, in one folder.

A database holds the chunks, the nodes of the Merkle tree, the newest signed heads and the
manifest. Nothing that is read back is trusted: a store is opened only when its head is signed by
the feed's author and fits the roots, and a chunk or node that no longer has its checksum counts
as not held, so that it is fetched again and never served.

Reading happens on the thread that opened the store, and raises `StoreError` when the disk fails.
Writing may happen on any thread, one transaction at a time, each on disk (`synchronous=FULL`)
before the call returns.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import structlog
import trio

from offchain_worker.errors import OperationError
from offchain_worker.hypercore.errors import HypercoreError
from offchain_worker.hypercore.feed import ChangeSignal, Head
from offchain_worker.hypercore.manifest import (
    Manifest,
    check_manifest,
    decode_manifest,
    discovery_key,
    encode_manifest,
    verify_head,
)
from offchain_worker.hypercore.tree import Node, TreeBuilder, full_roots, leaf_hash, tree_hash

_log = structlog.get_logger()

_APPLICATION_ID = 0x44444F54
_FORMAT = 1
_KEPT_HEADS = 8
_NODES_IN_MEMORY = 4_096
_SUFFIX = ".feed"
_NODE = struct.Struct("<Q32s")
_CHECKSUM = struct.Struct("<QQ32s")
_SCHEMA = """
CREATE TABLE feed (key BLOB NOT NULL, manifest BLOB);
CREATE TABLE heads (
    fork INTEGER NOT NULL, length INTEGER NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (fork, length)
) WITHOUT ROWID;
CREATE TABLE nodes (
    tree_index INTEGER PRIMARY KEY, record BLOB NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE chunks (chunk_index INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""


class StoreError(OperationError):
    """A feed's database cannot be used: damaged, of another format, or not what was asked for."""


class _NotHeldError(Exception):
    """A tree node is not there, or is damaged."""


class LibraryInUse(StoreError):
    """Another process has the folder open."""


class FeedStore:
    """One feed's chunks, tree and head.

    Attributes:
        path: the database.
        key: the feed's key, 32 bytes.
        discovery_key: 32 bytes.
        manifest: who may sign; None for a compat feed.
    """

    def __init__(self, path: Path) -> None:
        """Open an existing database; use `open` or `create`.

        Raises:
            StoreError: see `open`.
        """
        self.path = path
        self._writing = threading.Lock()
        self._changes = ChangeSignal()
        self._checked = bytearray()
        self._forget_nodes()
        try:
            with ExitStack() as undo:
                self._reader = undo.enter_context(closing(_connect(path)))
                self._writer = undo.enter_context(closing(_connect(path)))
                self._load()
                undo.pop_all()
        except (sqlite3.Error, HypercoreError, ValueError) as error:
            raise StoreError(f"The feed in {path} cannot be opened: {error}.") from error

    def _load(self) -> None:
        (identity,) = self._reader.execute("PRAGMA application_id").fetchone()
        (version,) = self._reader.execute("PRAGMA user_version").fetchone()
        if (identity, version) != (_APPLICATION_ID, _FORMAT):
            raise ValueError("it is not a feed's database of this version")
        row = self._reader.execute("SELECT key, manifest FROM feed").fetchone()
        if row is None:
            raise ValueError("it does not say which feed it holds")
        key, manifest = row
        self.key: bytes = key
        self.manifest = None if manifest is None else decode_manifest(manifest)
        check_manifest(self.key, self.manifest)
        self.discovery_key = discovery_key(self.key)
        heads = self.heads()
        self._head = heads[-1] if heads else None
        self._contiguous = _first_gap(self._reader, 0)

    @classmethod
    def create(cls, path: Path, key: bytes, manifest: Manifest | None) -> FeedStore:
        """Make an empty database.

        Raises:
            StoreError: the file exists or cannot be written, or the manifest is another feed's.
        """
        try:
            check_manifest(key, manifest)
            with open(path, "xb"):
                pass
            connection = _connect(path)
            try:
                connection.executescript(
                    f"PRAGMA application_id = {_APPLICATION_ID};"
                    f"PRAGMA user_version = {_FORMAT}; {_SCHEMA}"
                )
                encoded = None if manifest is None else encode_manifest(manifest)
                connection.execute("INSERT INTO feed VALUES (?, ?)", (key, encoded))
            finally:
                connection.close()
        except (OSError, sqlite3.Error, HypercoreError) as error:
            raise StoreError(f"The feed's database {path} cannot be made: {error}.") from error
        return cls(path)

    def next_change(self) -> trio.Event:
        """An event that is set at the next `notify`."""
        return self._changes.next_change()

    def notify(self) -> None:
        """Tell sessions that serve the feed that it changed; on Trio's thread, after writing."""
        self._changes.notify()

    def close(self) -> None:
        """Close both connections; the write-ahead log is merged into the database."""
        with self._writing:
            self._reader.close()
            self._writer.close()

    # --- reading -------------------------------------------------------------------------------

    def head(self) -> Head | None:
        """The newest signed head, None before the first."""
        return self._head

    def heads(self) -> list[Head]:
        """The newest heads, oldest first, each verified again.

        Raises:
            HypercoreError: a head is not its author's, or does not fit the stored roots.
        """
        rows = self._reader.execute(
            "SELECT fork, length, signature FROM heads ORDER BY fork, length"
        )
        return [self._verified_head(*row) for row in rows.fetchall()]

    def _verified_head(self, fork: int, length: int, signature: bytes) -> Head:
        found = [self.node(index) for index in full_roots(length)]
        roots = tuple(node for node in found if node is not None)
        if len(roots) != len(found):
            raise ValueError(f"roots of the head of length {length} are missing")
        hashed = tree_hash(roots)
        verify_head(self.key, self.manifest, fork, length, hashed, signature, roots)
        return Head(
            fork=fork,
            length=length,
            tree_hash=hashed,
            roots=roots,
            signature=signature,
            manifest=self.manifest,
        )

    def _row(self, query: str, index: int) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = self._reader.execute(query, (index,)).fetchone()
        except sqlite3.Error as error:
            raise StoreError(f"The feed in {self.path} cannot be read: {error}.") from error
        return row

    def node(self, index: int) -> Node | None:
        """A stored tree node; None when it is not held or its checksum does not fit."""
        try:
            return self._cached_node(index)
        except _NotHeldError:
            return None

    def _forget_nodes(self) -> None:
        """Begin to keep nodes in memory, or begin anew when they are others now.

        A proof climbs through the same upper nodes as the one before: an answer with six nodes
        takes 45 µs instead of 100. What is not held is looked for again each time. One who still
        reads while the nodes are replaced on another thread leaves what it found in the old
        memory.
        """
        self._cached_node = lru_cache(_NODES_IN_MEMORY)(self._read_node)

    def _read_node(self, index: int) -> Node:
        row = self._row("SELECT record, checksum FROM nodes WHERE tree_index = ?", index)
        if row is None:
            raise _NotHeldError
        record, checksum = row
        if len(record) != _NODE.size or _node_checksum(index, *_NODE.unpack(record)) != checksum:
            _log.error("store.node_damaged", feed=self.key, tree_index=index)
            raise _NotHeldError
        size, hashed = _NODE.unpack(record)
        return Node(index, size, hashed)

    def block(self, index: int) -> bytes | None:
        """A chunk's bytes; None when it is not held or no longer has its leaf's hash.

        The hash is computed the first time that a chunk is read after opening: afterwards the
        disk is trusted, since the peer checks every chunk anyway.
        """
        row = self._row("SELECT data FROM chunks WHERE chunk_index = ?", index)
        if row is None:
            return None
        data: bytes = row[0]
        if not self._is_checked(index):
            leaf = self.node(2 * index)
            if leaf is None or leaf_hash(data) != leaf.hash:
                self._forget(index)
                return None
            self._checked[index // 8] |= 1 << index % 8
        return data

    def _is_checked(self, index: int) -> bool:
        """Whether the chunk was checked since the store was opened; a bit each is kept."""
        missing = index // 8 + 1 - len(self._checked)
        if missing > 0:
            self._checked.extend(bytes(missing))
        return bool(self._checked[index // 8] & 1 << index % 8)

    def has(self, index: int) -> bool:
        """Whether a chunk is stored; its bytes are looked at by `block` only."""
        if index < self._contiguous:
            return True
        return self._row("SELECT 1 FROM chunks WHERE chunk_index = ?", index) is not None

    def held_in(self, start: int, stop: int) -> Iterator[int]:
        """The chunks from `start` to before `stop` that are stored, ascending."""
        try:
            rows = self._reader.execute(
                "SELECT chunk_index FROM chunks WHERE chunk_index >= ? AND chunk_index < ? "
                "ORDER BY chunk_index",
                (start, stop),
            )
            for (index,) in rows:
                yield index
        except sqlite3.Error as error:
            raise StoreError(f"The feed in {self.path} cannot be read: {error}.") from error

    def contiguous_length(self) -> int:
        """How many chunks from the beginning on are stored without a gap, up to the head."""
        return 0 if self._head is None else min(self._contiguous, self._head.length)

    def missing(self) -> Iterator[int]:
        """The chunks below the head that are not stored, ascending; found as they are asked for."""
        length = 0 if self._head is None else self._head.length
        for index in range(self._contiguous, length):
            if not self.has(index):
                yield index

    def is_complete(self) -> bool:
        """Whether there is a head and every chunk below it is stored."""
        return self._head is not None and self._contiguous >= self._head.length

    def is_sound(self) -> bool:
        """Read everything below the head: whether each chunk and each tree node is as it must be.

        For a large feed this takes as long as reading it from disk.
        """
        if self._head is None:
            return True
        self._forget_nodes()
        builder = TreeBuilder()
        for index in range(self._head.length):
            data = self.block(index)
            if data is None or any(self.node(new.index) != new for new in builder.append(data)):
                return False
        return builder.tree_hash() == self._head.tree_hash

    # --- writing -------------------------------------------------------------------------------

    def add(self, chunks: Sequence[tuple[int, bytes]], nodes: Iterable[Node]) -> None:
        """Store verified chunks and the tree nodes that prove them, all or nothing.

        The caller has verified them, or made them as the author.

        Raises:
            StoreError: the disk is full or fails; nothing of the call is stored.
        """
        with self._transaction() as connection:
            _put_nodes(connection, nodes)
            connection.executemany("INSERT OR REPLACE INTO chunks VALUES (?, ?)", chunks)
        self._contiguous = _first_gap(self._writer, self._contiguous)
        for index, _data in chunks:
            self._uncheck(index)

    def put_head(self, head: Head, nodes: Iterable[Node] = ()) -> None:
        """Take a newer head: longer on the same fork, or any on a higher fork.

        A higher fork discards all chunks and nodes: the author has rewritten the feed.

        Args:
            head: with its roots.
            nodes: other verified nodes to store with it.

        Raises:
            HypercoreError: the head is not the author's.
            StoreError: it is not newer, or the disk fails; nothing has changed then.
        """
        verify_head(
            self.key,
            self.manifest,
            head.fork,
            head.length,
            head.tree_hash,
            head.signature,
            head.roots,
        )
        current = self._head
        rewritten = current is not None and head.fork > current.fork
        if (
            current is not None
            and not rewritten
            and (head.fork < current.fork or head.length <= current.length)
        ):
            raise StoreError(
                f"The head {head.fork}/{head.length} is not newer than "
                f"{current.fork}/{current.length}."
            )
        with self._transaction() as connection:
            if rewritten:
                connection.execute("DELETE FROM chunks")
                connection.execute("DELETE FROM nodes")
                connection.execute("DELETE FROM heads")
            _put_nodes(connection, (*nodes, *head.roots))
            connection.execute(
                "INSERT INTO heads VALUES (?, ?, ?)", (head.fork, head.length, head.signature)
            )
            connection.execute(
                "DELETE FROM heads WHERE (fork, length) NOT IN "
                "(SELECT fork, length FROM heads ORDER BY fork DESC, length DESC LIMIT ?)",
                (_KEPT_HEADS,),
            )
        self._head = head
        if rewritten:
            self._contiguous = 0
            self._checked.clear()
            self._forget_nodes()

    def _forget(self, index: int) -> None:
        """Drop a chunk that is damaged on disk, so that it is missing and can be fetched again."""
        _log.error("store.chunk_damaged", feed=self.key, chunk=index)
        with self._transaction() as connection:
            connection.execute("DELETE FROM chunks WHERE chunk_index = ?", (index,))
        self._contiguous = min(self._contiguous, index)
        self._uncheck(index)

    def _uncheck(self, index: int) -> None:
        if index // 8 < len(self._checked):
            self._checked[index // 8] &= ~(1 << index % 8)

    def keep_older_head(self, head: Head) -> None:
        """Keep another head that the author signed besides the newest one.

        `heads` returns it as long as it is among the newest eight. Its roots must be stored.

        Raises:
            HypercoreError: the head is not the author's.
            StoreError: it is not older than the newest one of the same fork, or the disk fails.
        """
        current = self._head
        if current is None or head.fork != current.fork or head.length >= current.length:
            raise StoreError(f"The head of length {head.length} is not an older one of the fork.")
        self._verified_head(head.fork, head.length, head.signature)
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO heads VALUES (?, ?, ?)",
                (head.fork, head.length, head.signature),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            try:
                with self._writer:
                    self._writer.execute("BEGIN IMMEDIATE")
                    yield self._writer
            except sqlite3.Error as error:
                raise StoreError(f"The feed in {self.path} cannot be written: {error}.") from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.executescript(
        "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
    )
    return connection


def _first_gap(connection: sqlite3.Connection, start: int) -> int:
    """The first chunk index from `start` on that is not stored."""
    rows = connection.execute(
        "SELECT chunk_index FROM chunks WHERE chunk_index >= ? ORDER BY chunk_index", (start,)
    )
    for (index,) in rows:
        if index != start:
            break
        start += 1
    rows.close()
    return start


def _put_nodes(connection: sqlite3.Connection, nodes: Iterable[Node]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)",
        (
            (
                node.index,
                _NODE.pack(node.size, node.hash),
                _node_checksum(node.index, node.size, node.hash),
            )
            for node in nodes
        ),
    )


def _node_checksum(index: int, size: int, hashed: bytes) -> int:
    return zlib.crc32(_CHECKSUM.pack(index, size, hashed))


class Library:
    """The feeds in one folder, by key; only one process has the folder open at a time.

    Use as a context manager, or call `close`.
    """

    def __init__(self, folder: Path) -> None:
        """Open a folder and all feeds in it; the folder is made when it does not exist.

        Raises:
            StoreError: a feed cannot be opened, or the folder cannot be used.
            LibraryInUse: another process has it open.
        """
        self.folder = folder
        self._stores: dict[bytes, FeedStore] = {}
        self._by_discovery_key: dict[bytes, FeedStore] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"The folder {folder} cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise LibraryInUse(f"Another process has the feeds in {folder} open.") from error
        try:
            for path in sorted(folder.glob(f"*{_SUFFIX}")):
                self._enter(FeedStore(path))
        except StoreError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[FeedStore]:
        return iter(list(self._stores.values()))

    def get(self, key: bytes) -> FeedStore | None:
        """The feed with that key, None when there is none here."""
        return self._stores.get(key)

    def find(self, discovery_key: bytes) -> FeedStore | None:
        """The feed with that discovery key, None when there is none here."""
        return self._by_discovery_key.get(discovery_key)

    def create(self, key: bytes, manifest: Manifest | None) -> FeedStore:
        """Make an empty feed.

        Raises:
            StoreError: it is here already, or cannot be made.
        """
        return self._enter(FeedStore.create(self._path(key), key, manifest))

    @contextmanager
    def building(self, key: bytes, manifest: Manifest | None) -> Iterator[FeedStore]:
        """Make a feed that appears in the library only when the block ends without an error.

        Otherwise nothing of it is left behind.

        Raises:
            StoreError: it is here already, or cannot be made.
        """
        if key in self._stores:
            raise StoreError(f"The feed {key.hex()} is already in {self.folder}.")
        partial = self._path(key).with_suffix(".partial")
        _remove(partial)
        try:
            store = FeedStore.create(partial, key, manifest)
            try:
                yield store
            finally:
                store.close()
            partial.rename(self._path(key))
        except BaseException:
            _remove(partial)
            raise
        self._enter(FeedStore(self._path(key)))

    def close(self) -> None:
        """Close all feeds and give the folder free."""
        for store in self._stores.values():
            store.close()
        self._stores.clear()
        self._by_discovery_key.clear()
        os.close(self._lock)

    def _enter(self, store: FeedStore) -> FeedStore:
        self._stores[store.key] = store
        self._by_discovery_key[store.discovery_key] = store
        return store

    def _path(self, key: bytes) -> Path:
        return self.folder / f"{key.hex()}{_SUFFIX}"


def _remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
