"""When a hoster signs a receipt, and what it never signs (challenge.md §3.4)."""

from dataclasses import replace

import pytest

from offchain_worker.audit.receipt import verify_receipt
from offchain_worker.hoster.feeds import append
from offchain_worker.hoster.receipts import ReceiptCollector, signer
from offchain_worker.hoster.store import FeedStore
from offchain_worker.hypercore.manifest import signable
from offchain_worker.hypercore.tree import Node, TreeBuilder
from offchain_worker.keys import KeyPair

AUTHOR = KeyPair.from_seed(bytes([7]) * 32)
HOSTER = KeyPair.from_seed(bytes([8]) * 32)


@pytest.fixture
def store(tmp_path):
    opened = FeedStore.create(tmp_path / "a.feed", AUTHOR.public, None)
    append(opened, [bytes([n]) * n for n in range(1, 131)], AUTHOR)
    yield opened
    opened.close()


def collector(store, first_length=None, opened_ms=1_000):
    head = store.head()
    made = ReceiptCollector(
        store,
        signer(HOSTER),
        client=b"c" * 32,
        session=b"s" * 32,
        opened_ms=opened_ms,
        first_length=head.length if first_length is None else first_length,
    )
    made.head_sent(head)
    return made


def send(made, store, indices, now_ms=2_000):
    messages = [made.chunk_sent(index, store.node(2 * index), now_ms) for index in indices]
    return [message for message in messages if message is not None]


def test_a_receipt_after_each_hundred_distinct_chunks(store):
    made = collector(store)
    order = [*range(120, 30, -1), *range(120, 30, -1)]
    assert send(made, store, order) == []
    (message,) = send(made, store, range(30, 20, -1))
    receipt = verify_receipt(message, HOSTER.public)
    assert [entry.index for entry in receipt.entries] == list(range(120, 20, -1))
    assert [entry.leaf for entry in receipt.entries] == [
        store.node(2 * index).hash for index in range(120, 20, -1)
    ]
    assert receipt.byte_length == sum(range(22, 122))
    assert (receipt.sequence, receipt.opened, receipt.issued) == (0, 1_000, 2_000)
    assert (receipt.client, receipt.session) == (b"c" * 32, b"s" * 32)
    head = store.head()
    assert (receipt.feed_key, receipt.fork, receipt.length, receipt.tree_hash) == (
        store.key,
        head.fork,
        head.length,
        head.tree_hash,
    )
    (second,) = send(made, store, range(100))
    assert verify_receipt(second, HOSTER.public).sequence == 1


@pytest.mark.parametrize(("length", "period"), [(0, 1), (1, 1), (7, 7), (130, 100)])
def test_the_first_sync_sets_the_period(store, length, period):
    made = collector(store, first_length=length)
    assert send(made, store, range(period - 1)) == []
    assert len(send(made, store, [period - 1])) == 1


def test_no_receipt_without_a_head(store):
    made = ReceiptCollector(
        store, signer(HOSTER), client=b"", session=b"", opened_ms=0, first_length=1
    )
    assert send(made, store, range(10)) == []


def test_a_clock_that_was_set_back_does_not_make_a_receipt_older_than_its_session(store):
    (message,) = send(collector(store, first_length=1, opened_ms=5_000), store, [0], now_ms=4_000)
    assert verify_receipt(message, HOSTER.public).issued == 5_000


def test_growth_keeps_what_was_collected(store):
    made = collector(store)
    assert send(made, store, range(60)) == []
    append(store, [b"more"], AUTHOR)
    made.head_sent(store.head())
    (message,) = send(made, store, range(91, 131))
    assert verify_receipt(message, HOSTER.public).length == 131


def test_a_chunk_beyond_the_head_that_was_sent_is_never_signed(store):
    made = collector(store, first_length=2)
    append(store, [b"more"], AUTHOR)
    assert send(made, store, [0, 130]) == []
    assert len(send(made, store, [0, 1])) == 1


def test_a_leaf_that_is_not_in_the_tree_is_never_signed(store):
    made = collector(store, first_length=2)
    assert made.chunk_sent(0, store.node(0), 0) is None
    assert made.chunk_sent(1, Node(2, store.node(2).size, bytes(32)), 0) is None
    assert len(send(made, store, [0, 1])) == 1


def test_a_rewritten_feed_discards_what_was_collected(store):
    made = collector(store, first_length=3)
    assert send(made, store, [0, 1]) == []
    builder = TreeBuilder()
    nodes = [node for chunk in (b"x", b"y", b"z") for node in builder.append(chunk)]
    message = signable(store.key, None, 1, 3, builder.tree_hash())
    rewritten = replace(
        store.head(),
        fork=1,
        length=3,
        tree_hash=builder.tree_hash(),
        roots=tuple(builder.roots),
        signature=AUTHOR.sign(message),
    )
    store.put_head(rewritten, nodes)
    assert store.contiguous_length() == 0
    assert send(made, store, [2]) == []
    assert send(made, store, [0, 1]) == []
    made.head_sent(rewritten)
    assert send(made, store, [0, 1]) == []
    (receipt,) = send(made, store, [2])
    assert verify_receipt(receipt, HOSTER.public).fork == 1
