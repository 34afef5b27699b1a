"""Import: the same source gives the same feed, everywhere and in bounded memory."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.errors import UsageError
from offchain_worker.hoster.feeds import append, cut, import_path, read_source
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.manifest import feed_key, single_signer_manifest
from offchain_worker.keys import KeyPair

AUTHOR = KeyPair.from_seed(bytes([9]) * 32)


@pytest.fixture
def library(tmp_path):
    with Library(tmp_path / "library") as opened:
        yield opened


def fill(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 700)
    (folder / "empty").mkdir()
    (folder / "run").write_bytes(b"#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("a/b")


NAMES = ["a/b", "a.txt", "ä/ü", "x" * 120 + "/" + "y" * 120, "z"]


def content(store) -> bytes:
    return b"".join(store.block(index) for index in range(store.head().length))


@pytest.mark.parametrize("compat", [False, True])
def test_a_file(library, tmp_path, compat):
    data = bytes(range(256)) * 1000
    (tmp_path / "file").write_bytes(data)
    seen = []
    store = import_path(
        library, tmp_path / "file", AUTHOR, compat=compat, chunk_size=1_000, progress=seen.append
    )
    manifest = single_signer_manifest(AUTHOR.public)
    assert store.key == (AUTHOR.public if compat else feed_key(manifest))
    assert store.manifest == (None if compat else manifest)
    assert store.head().length == 256
    assert content(store) == data
    assert store.is_sound()
    assert seen[-1] == len(data)
    assert library.get(store.key) is store


def test_a_folder_is_a_tar_stream_that_unpacks_to_it(library, tmp_path):
    fill(tmp_path / "source", NAMES)
    store = import_path(library, tmp_path / "source", AUTHOR)
    with tarfile.open(fileobj=io.BytesIO(content(store))) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == sorted(
            (member.name for member in members), key=str.encode
        )
        assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {
            (0, 0, "", 0)
        }
        archive.extractall(tmp_path / "out", filter="data")
    for name in NAMES:
        assert (tmp_path / "out" / name).read_bytes() == name.encode() * 700
    assert (tmp_path / "out" / "empty").is_dir()
    assert os.access(tmp_path / "out" / "run", os.X_OK)
    assert (tmp_path / "out" / "link").readlink() == Path("a/b")


def test_equal_folders_give_equal_streams(tmp_path):
    fill(tmp_path / "one", NAMES)
    fill(tmp_path / "two", NAMES[::-1])
    os.utime(tmp_path / "two" / "z", (1, 1))
    (tmp_path / "two" / "z").chmod(0o600)
    assert b"".join(read_source(tmp_path / "one")) == b"".join(read_source(tmp_path / "two"))
    (tmp_path / "two" / "z").chmod(0o700)
    assert b"".join(read_source(tmp_path / "one")) != b"".join(read_source(tmp_path / "two"))


@given(st.lists(st.binary(max_size=50)), st.integers(1, 60))
def test_cut(pieces, size):
    chunks = list(cut(pieces, size))
    assert b"".join(chunks) == b"".join(pieces)
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert all(0 < len(chunk) <= size for chunk in chunks)


def make_unusable(source: Path, kind: str) -> None:
    if kind == "empty file":
        source.touch()
    elif kind == "empty folder":
        source.mkdir()
    elif kind == "pipe":
        os.mkfifo(source)
    elif kind == "pipe in a folder":
        source.mkdir()
        (source / "a").write_text("a")
        os.mkfifo(source / "b")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "does not exist"),
        ("empty file", "is empty"),
        ("empty folder", "is empty"),
        ("pipe", "neither a file nor a folder"),
        ("pipe in a folder", "cannot be imported"),
    ],
)
def test_an_unusable_source_is_one_sentence_and_leaves_nothing(library, tmp_path, kind, words):
    make_unusable(tmp_path / "source", kind)
    with pytest.raises(UsageError, match=words):
        import_path(library, tmp_path / "source", AUTHOR)
    assert [entry.name for entry in library.folder.iterdir()] == ["lock"]
    assert list(library) == []


def test_a_file_that_changes_while_it_is_read_is_refused(library, tmp_path):
    (tmp_path / "source").mkdir()
    growing = tmp_path / "source" / "growing"
    growing.write_bytes(bytes(10_000_000))

    def grow(_bytes: int) -> None:
        with growing.open("ab") as file:
            file.write(b"more")

    with pytest.raises(UsageError, match="changed while it was read"):
        import_path(library, tmp_path / "source", AUTHOR, progress=grow)
    assert [entry.name for entry in library.folder.iterdir()] == ["lock"]


@pytest.mark.parametrize("size", [0, -1, 128 * 1024 + 1])
def test_chunk_sizes_out_of_range(library, tmp_path, size):
    (tmp_path / "file").write_bytes(b"data")
    with pytest.raises(UsageError, match="A chunk has"):
        import_path(library, tmp_path / "file", AUTHOR, chunk_size=size)


def test_the_same_author_twice_is_refused(library, tmp_path):
    (tmp_path / "file").write_bytes(b"data")
    store = import_path(library, tmp_path / "file", AUTHOR)
    with pytest.raises(UsageError, match="already in"):
        import_path(library, tmp_path / "file", AUTHOR)
    assert content(store) == b"data"


def test_a_feed_grows_by_its_author_only(library, tmp_path):
    (tmp_path / "file").write_bytes(b"data")
    store = import_path(library, tmp_path / "file", AUTHOR)
    head = append(store, [b"more", b"and more"], AUTHOR)
    assert (head.length, store.head()) == (3, head)
    assert content(store) == b"datamoreand more"
    assert store.is_sound()
    with pytest.raises(UsageError, match="another author"):
        append(store, [b"more"], KeyPair.generate())
    with pytest.raises(UsageError, match="nothing to append"):
        append(store, [], AUTHOR)


IMPORT = """
import sys
from pathlib import Path
from offchain_worker.hoster.feeds import import_path
from offchain_worker.hoster.store import Library
from offchain_worker.keys import KeyPair

def peak():
    # Not `ru_maxrss`: that one survives `exec`, so it would be the test runner's.
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

def grown(name):
    before = peak()
    with Library(Path(sys.argv[1]) / name) as library:
        import_path(library, Path(sys.argv[1]) / (name + ".bin"), KeyPair.generate())
    return peak() - before

grown("small")
print(grown("large"))
"""


def test_memory_does_not_grow_with_the_feed(tmp_path):
    for name, size in (("small", 16 << 20), ("large", 128 << 20)):
        with (tmp_path / f"{name}.bin").open("wb") as file:
            file.truncate(size)
    result = subprocess.run(
        [sys.executable, "-c", IMPORT, str(tmp_path)], capture_output=True, check=True, text=True
    )
    assert int(result.stdout) < 16 << 20
