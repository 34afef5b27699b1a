"""The store: what it keeps, and what it refuses when the disk returns something else."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from offchain_worker.hoster.adversary import give_old_head
from offchain_worker.hoster.feeds import append, sign_head
from offchain_worker.hoster.store import FeedStore, Library, LibraryInUse, StoreError
from offchain_worker.hypercore.errors import BadProof
from offchain_worker.hypercore.manifest import feed_key, single_signer_manifest
from offchain_worker.hypercore.tree import TreeBuilder, full_roots
from offchain_worker.keys import KeyPair

AUTHOR = KeyPair.from_seed(bytes([7]) * 32)
MANIFEST = single_signer_manifest(AUTHOR.public)
CHUNKS = [bytes([n]) * (100 + n) for n in range(13)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed store with a feed of 13 chunks, whose author first signed 5."""
    store = FeedStore.create(tmp_path / "a.feed", feed_key(MANIFEST), MANIFEST)
    append(store, CHUNKS[:5], AUTHOR)
    append(store, CHUNKS[5:], AUTHOR)
    store.close()
    return tmp_path / "a.feed"


def edit(path: Path, statement: str, *arguments: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement, arguments).rowcount > 0
    connection.close()


def test_everything_survives_reopening(path):
    builder = TreeBuilder()
    nodes = [node for chunk in CHUNKS for node in builder.append(chunk)]
    store = FeedStore(path)
    assert (store.key, store.manifest) == (feed_key(MANIFEST), MANIFEST)
    head = store.head()
    assert (head.fork, head.length, head.tree_hash) == (0, 13, builder.tree_hash())
    assert [root.index for root in head.roots] == full_roots(13)
    assert [store.block(index) for index in range(13)] == CHUNKS
    assert [store.node(node.index) for node in nodes] == nodes
    assert [old.length for old in store.heads()] == [5, 13]
    assert store.contiguous_length() == 13
    assert list(store.missing()) == []
    assert store.is_complete()
    assert store.is_sound()
    assert store.block(13) is None
    assert not store.has(13)
    assert store.node(1 << 40) is None
    store.close()


def test_a_feed_with_gaps_names_them(tmp_path, path):
    full = FeedStore(path)
    part = FeedStore.create(tmp_path / "part.feed", full.key, MANIFEST)
    part.put_head(full.head())
    part.add([(index, CHUNKS[index]) for index in (0, 2, 9)], [full.node(i) for i in (0, 4, 18)])
    for _ in range(2):
        assert part.contiguous_length() == 1
        assert list(part.missing()) == [1, 3, 4, 5, 6, 7, 8, 10, 11, 12]
        assert part.has(9)
        assert not part.has(1)
        assert list(part.held_in(1, 9)) == [2]
        assert list(part.held_in(0, 20)) == [0, 2, 9]
        assert not part.is_complete()
        part.close()
        part = FeedStore(tmp_path / "part.feed")
    part.add([(1, CHUNKS[1])], [full.node(2)])
    assert part.contiguous_length() == 3
    part.close()
    full.close()


def test_a_damaged_chunk_is_missing_and_can_be_stored_again(path):
    edit(path, "UPDATE chunks SET data = zeroblob(104) WHERE chunk_index = 4")
    store = FeedStore(path)
    assert store.block(4) is None
    assert not store.has(4)
    assert list(store.missing()) == [4]
    assert store.contiguous_length() == 4
    assert not store.is_sound()
    store.add([(4, CHUNKS[4])], [])
    assert store.is_sound()
    store.close()


def test_a_damaged_node_is_not_handed_out(path):
    edit(path, "UPDATE nodes SET record = zeroblob(40) WHERE tree_index = 5")
    edit(path, "UPDATE nodes SET record = x'00' WHERE tree_index = 9")
    edit(path, "UPDATE nodes SET record = zeroblob(40) WHERE tree_index = 4")
    store = FeedStore(path)
    assert [store.node(index) for index in (4, 5, 9)] == [None, None, None]
    assert store.block(2) is None
    assert not store.is_sound()
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE heads SET signature = zeroblob(68) WHERE length = 13",
        "UPDATE heads SET fork = 1 WHERE length = 13",
        "UPDATE heads SET length = 12 WHERE length = 13",
        "UPDATE nodes SET record = zeroblob(40) WHERE tree_index = 7",
        "DELETE FROM nodes WHERE tree_index = 24",
        "UPDATE feed SET manifest = NULL",
        "UPDATE feed SET manifest = x'00'",
        "UPDATE feed SET key = zeroblob(32)",
        "DELETE FROM feed",
    ],
)
def test_a_feed_whose_head_does_not_hold_is_not_opened(path, statement):
    edit(path, statement)
    with pytest.raises(StoreError, match="cannot be opened"):
        FeedStore(path)


def test_other_files_are_not_opened(tmp_path):
    with pytest.raises(StoreError):
        FeedStore(tmp_path / "missing.feed")
    assert not (tmp_path / "missing.feed").exists()
    (tmp_path / "text.feed").write_text("not a database, but long enough to be looked at")
    with pytest.raises(StoreError):
        FeedStore(tmp_path / "text.feed")
    sqlite3.connect(tmp_path / "other.feed").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(StoreError, match="not a feed's database"):
        FeedStore(tmp_path / "other.feed")


def test_only_newer_heads_of_the_author_are_taken(path):
    store = FeedStore(path)
    old, new = store.heads()
    for head in (old, new):
        with pytest.raises(StoreError, match="not newer"):
            store.put_head(head)
    with pytest.raises(BadProof):
        store.put_head(replace(new, fork=1))
    with pytest.raises(BadProof):
        store.put_head(replace(new, signature=bytes(68)))
    assert store.head() == new
    store.close()


def test_a_rewritten_feed_has_its_new_nodes_only(path):
    store = FeedStore(path)
    old = [store.node(index) for index in range(25)]
    builder = TreeBuilder()
    nodes = [node for chunk in (b"new", b"words") for node in builder.append(chunk)]
    store.put_head(sign_head(store, AUTHOR, 1, builder.roots))
    assert store.node(1) == builder.roots[0] != old[1]
    assert [store.node(index) for index in (0, 2, 3)] == [None, None, None]
    store.add(list(enumerate((b"new", b"words"))), nodes)
    assert [store.node(index) for index in (0, 1, 2)] == sorted(nodes)
    assert store.is_sound()
    store.close()


def test_a_node_that_is_damaged_while_the_store_is_open_is_noticed(path):
    store = FeedStore(path)
    assert store.is_sound()
    edit(path, "UPDATE nodes SET checksum = checksum + 1 WHERE tree_index = 5")
    assert not store.is_sound()
    store.close()


def test_a_chunk_that_is_written_again_is_checked_again(path):
    store = FeedStore(path)
    assert store.block(3) == CHUNKS[3]
    store.add([(3, b"something else")], [])
    assert store.block(3) is None
    assert list(store.missing()) == [3]
    store.close()


def test_an_older_head_can_be_kept_besides_the_newest(path):
    store = FeedStore(path)
    newest = store.head()
    give_old_head(store, AUTHOR, 9)
    assert [head.length for head in store.heads()] == [5, 9, 13]
    assert store.head() == newest
    for length in (13, 14):
        with pytest.raises(StoreError, match=r"older|not all"):
            give_old_head(store, AUTHOR, length)
    with pytest.raises(BadProof):
        give_old_head(store, KeyPair.generate(), 8)
    store.close()
    store = FeedStore(path)
    assert [head.length for head in store.heads()] == [5, 9, 13]
    store.close()


def test_a_write_that_fails_changes_nothing(path):
    store = FeedStore(path)
    with pytest.raises(StoreError, match="cannot be written"):
        store.add([(20, b"good"), (21, object())], [])
    assert not store.has(20)
    store.close()


def test_an_existing_file_is_not_overwritten(path):
    with pytest.raises(StoreError, match="cannot be made"):
        FeedStore.create(path, feed_key(MANIFEST), MANIFEST)
    assert FeedStore(path).is_sound()


def test_a_library_is_opened_once(tmp_path):
    with Library(tmp_path / "feeds"), pytest.raises(LibraryInUse):
        Library(tmp_path / "feeds")
    Library(tmp_path / "feeds").close()
