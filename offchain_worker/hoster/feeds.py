"""Making feeds: a file's bytes, or a folder as a tar stream, cut into chunks and signed.

The same folder gives the same bytes everywhere: entries by ascending name, no owners, no times,
of the modes only whether a file can be executed. Nothing is held in memory but one batch.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from offchain_worker.errors import UsageError
from offchain_worker.hoster.store import FeedStore, Library, StoreError
from offchain_worker.hypercore.feed import Head
from offchain_worker.hypercore.manifest import (
    feed_key,
    signable,
    single_signer_manifest,
    wrap_signature,
)
from offchain_worker.hypercore.tree import Node, TreeBuilder, length_of, tree_hash
from offchain_worker.keys import KeyPair

DEFAULT_CHUNK_SIZE = 64 * 1024
MAX_CHUNK_SIZE = 128 * 1024
"""The largest chunk that a hoster may vouch for (challenge.md §2.1)."""

_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_CHUNKS = 4_096
_READ_BYTES = 256 * 1024
_TAR_BLOCK = 512


def import_path(
    library: Library,
    source: Path,
    author: KeyPair,
    *,
    compat: bool = False,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
    progress: Callable[[int], None] | None = None,
) -> FeedStore:
    """Make a signed feed from a file or a folder.

    Args:
        library: where it is put; nothing is left there when the import fails or is interrupted.
        source: a file, or a folder, which becomes a tar stream.
        author: signs the head; together with `compat` it determines the feed's key.
        compat: the author's key is the feed's key, without a manifest (hypercore.md §6).
        chunk_size: bytes of each chunk but the last, at most `MAX_CHUNK_SIZE`.
        progress: called with the number of bytes imported so far.

    Raises:
        UsageError: the source is missing, unreadable, empty or changes meanwhile; the size of a
            chunk is out of range; this author's feed is in the library already.
        StoreError: the library's disk fails.
    """
    if not 1 <= chunk_size <= MAX_CHUNK_SIZE:
        raise UsageError(f"A chunk has 1 to {MAX_CHUNK_SIZE} bytes, not {chunk_size}.")
    manifest = None if compat else single_signer_manifest(author.public)
    key = author.public if manifest is None else feed_key(manifest)
    if library.get(key) is not None:
        raise UsageError(f"The feed {key.hex()} of this author is already in {library.folder}.")
    pieces = read_source(source)
    try:
        with library.building(key, manifest) as building:
            append(building, cut(pieces, chunk_size), author, progress=progress)
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}.") from error
    store = library.get(key)
    if store is None:
        raise StoreError(f"The feed {key.hex()} did not come into the library.")
    return store


def append(
    store: FeedStore,
    chunks: Iterable[bytes],
    author: KeyPair,
    *,
    progress: Callable[[int], None] | None = None,
) -> Head:
    """Append chunks to a complete feed and sign the new head.

    The head is signed when all chunks are on disk; interrupted before, the feed is as it was.

    Args:
        store: a feed of which `author` is the one signer.
        chunks: at least one.
        author: the signer.
        progress: called with the number of bytes appended so far.

    Raises:
        UsageError: there is nothing to append, the feed is incomplete, or not the author's.
        StoreError: the disk fails.
    """
    signers = (
        (store.key,)
        if store.manifest is None
        else tuple(signer.public_key for signer in store.manifest.signers)
    )
    if signers != (author.public,):
        raise UsageError(f"The feed {store.key.hex()} has another author than this key.")
    current = store.head()
    if current is not None and not store.is_complete():
        raise UsageError(f"The feed {store.key.hex()} is incomplete and cannot be appended to.")
    fork = 0 if current is None else current.fork
    builder = TreeBuilder(() if current is None else current.roots)
    start_length, start_bytes = builder.length, builder.byte_length
    for batch in _batches(chunks):
        first = builder.length
        nodes = [node for chunk in batch for node in builder.append(chunk)]
        store.add(list(enumerate(batch, first)), nodes)
        if progress is not None:
            progress(builder.byte_length - start_bytes)
    if builder.length == start_length:
        raise UsageError("There is nothing to append.")
    head = sign_head(store, author, fork, builder.roots)
    store.put_head(head)
    return head


def sign_head(store: FeedStore, author: KeyPair, fork: int, roots: Sequence[Node]) -> Head:
    """The head over `roots`, signed by the feed's one author; it is not stored."""
    length = length_of(root.index for root in roots)
    hashed = tree_hash(roots)
    bare = author.sign(signable(store.key, store.manifest, fork, length, hashed))
    return Head(
        fork=fork,
        length=length,
        tree_hash=hashed,
        roots=tuple(roots),
        signature=bare if store.manifest is None else wrap_signature(bare),
        manifest=store.manifest,
    )


def read_source(source: Path) -> Iterator[bytes]:
    """The bytes of a file, or of a folder as a tar stream, in pieces of any length.

    The source is looked at before the first piece is asked for.

    Raises:
        UsageError: missing, unreadable, empty, or neither file nor folder; while iterating, when
            a file in a folder changes its length.
        OSError: while iterating, when reading fails.
    """
    try:
        mode = source.stat().st_mode
        if stat.S_ISDIR(mode):
            entries = _tar_entries(source)
            if not entries:
                raise UsageError(f"The folder {source} is empty; there is nothing to host.")
            return _tar(source, entries)
        if not stat.S_ISREG(mode):
            raise UsageError(f"{source} is neither a file nor a folder.")
        file = source.open("rb")
    except FileNotFoundError as error:
        raise UsageError(f"{source} does not exist.") from error
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}.") from error
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        raise UsageError(f"The file {source} is empty; there is nothing to host.")
    return _whole_file(file)


def check_source(source: Path) -> None:
    """Refuse what cannot be imported, without reading it whole.

    Raises:
        UsageError: missing, unreadable, empty, or something in it is neither file, folder nor link.
    """
    try:
        for _piece in read_source(source):
            break
        for path in _tar_entries(source) if source.is_dir() else ():
            if _kind(path) == stat.S_IFREG:
                path.open("rb").close()
    except OSError as error:
        raise UsageError(f"{error.filename or source} cannot be read: {error.strerror}.") from error


def cut(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Cut a stream of pieces into chunks of `size` bytes; the last one may be shorter."""
    pending = bytearray()
    for piece in pieces:
        pending += piece
        whole = len(pending) - len(pending) % size
        for start in range(0, whole, size):
            yield bytes(pending[start : start + size])
        del pending[:whole]
    if pending:
        yield bytes(pending)


def _batches(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for chunk in chunks:
        batch.append(chunk)
        size += len(chunk)
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_CHUNKS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _whole_file(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_READ_BYTES):
            yield piece


def _tar_entries(folder: Path) -> list[Path]:
    """All paths below a folder, in the order of the tar stream, symbolic links not followed."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=_raise):
        found += [Path(parent, name) for name in (*folders, *files)]
    return sorted(found, key=lambda path: os.fsencode(path.relative_to(folder)))


def _raise(error: OSError) -> None:
    raise error


def _tar(folder: Path, entries: list[Path]) -> Iterator[bytes]:
    written = 0
    for path in entries:
        for piece in _tar_entry(path, path.relative_to(folder).as_posix()):
            written += len(piece)
            yield piece
    end = 2 * _TAR_BLOCK
    yield bytes(end + -(written + end) % tarfile.RECORDSIZE)


def _kind(path: Path) -> int:
    """The kind of what is at a path, of those that a tar stream takes: S_IFREG, S_IFDIR, S_IFLNK.

    Raises:
        UsageError: it is of another kind.
    """
    kind = stat.S_IFMT(path.lstat().st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise UsageError(f"{path} is neither a file, a folder nor a link, and cannot be imported.")
    return kind


def _tar_entry(path: Path, name: str) -> Iterator[bytes]:
    kind, status = _kind(path), path.lstat()
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
    if kind == stat.S_IFDIR:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        yield _header(info)
    elif kind == stat.S_IFLNK:
        info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, os.readlink(path)
        yield _header(info)
    else:
        with path.open("rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            yield _header(info)
            yield from _exactly(file, info.size, path)
        yield bytes(-info.size % _TAR_BLOCK)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _exactly(file: BinaryIO, size: int, path: Path) -> Iterator[bytes]:
    remaining = size
    while remaining:
        piece = file.read(min(_READ_BYTES, remaining))
        if not piece:
            break
        remaining -= len(piece)
        yield piece
    if remaining or file.read(1):
        raise UsageError(f"{path} changed while it was read.")
