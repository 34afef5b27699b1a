"""What a hoster has to answer to a demand."""

from __future__ import annotations

import pytest
import trio

from chain_types.records import Feed, FeedKind
from chain_types.report import Chunk, Rewritten
from offchain_worker.audit.answer import Demanded, check_answer
from offchain_worker.hoster.answers import Unanswerable, make_answer
from offchain_worker.hypercore.feed import Head
from offchain_worker.hypercore.manifest import (
    feed_key,
    signable,
    single_signer_manifest,
    wrap_signature,
)
from offchain_worker.hypercore.tree import Node, TreeBuilder
from offchain_worker.keys import KeyPair

AUTHOR = KeyPair.from_seed(b"a" * 32)
MANIFEST = single_signer_manifest(AUTHOR.public)
KEY = feed_key(MANIFEST)
FEED = Feed(KEY, AUTHOR.public, FeedKind.MANIFEST)
CHUNKS = [bytes([index]) * index for index in range(11)]


class Stored:
    """A feed in memory, as far as answers ask for it."""

    def __init__(self, fork: int = 0) -> None:
        builder = TreeBuilder()
        self.key = KEY
        self.chunks: dict[int, bytes] = dict(enumerate(CHUNKS))
        self.nodes: dict[int, Node] = {
            node.index: node for chunk in CHUNKS for node in builder.append(chunk)
        }
        tree_hash = builder.tree_hash()
        signature = AUTHOR.sign(signable(KEY, MANIFEST, fork, len(CHUNKS), tree_hash))
        self.newest: Head | None = Head(
            fork,
            len(CHUNKS),
            tree_hash,
            builder.roots,
            wrap_signature(signature),
            MANIFEST,
        )

    def head(self) -> Head | None:
        return self.newest

    def has(self, index: int) -> bool:
        return index in self.chunks

    def block(self, index: int) -> bytes | None:
        return self.chunks.get(index)

    def node(self, index: int) -> Node | None:
        return self.nodes.get(index)

    def held_in(self, start: int, stop: int) -> list[int]:
        return [index for index in range(start, stop) if index in self.chunks]

    def contiguous_length(self) -> int:
        return len(self.chunks)

    def next_change(self) -> trio.Event:
        return trio.Event()


def demanded(chunk: int = 4, *, fork: int = 0, length: int = 9) -> Demanded:
    return Demanded(FEED, fork, length, chunk)


@pytest.mark.parametrize("chunk", range(9))
def test_a_chunk_that_is_here_is_shown(chunk: int) -> None:
    answer = make_answer(Stored(), demanded(chunk))
    assert isinstance(answer, Chunk)
    assert answer.bytes == CHUNKS[chunk]
    check_answer(answer, demanded(chunk))


def test_a_rewritten_feed_is_shown_by_its_head() -> None:
    feed = Stored(fork=2)
    answer = make_answer(feed, demanded(fork=1))
    assert feed.newest is not None
    assert isinstance(answer, Rewritten)
    assert (answer.fork, answer.length, answer.tree_hash) == (2, 11, feed.newest.tree_hash)
    check_answer(answer, demanded(fork=1))
    # Of the fork that was vouched for, the chunk itself is asked for.
    assert isinstance(make_answer(feed, demanded(fork=2)), Chunk)


def test_what_is_not_here_cannot_be_shown() -> None:
    with pytest.raises(Unanswerable, match="the feed is not here"):
        make_answer(None, demanded())
    feed = Stored()
    del feed.chunks[4]
    with pytest.raises(Unanswerable, match="the chunk is not here"):
        make_answer(feed, demanded())
    feed = Stored()
    feed.newest = None
    with pytest.raises(Unanswerable, match="has no head"):
        make_answer(feed, demanded())


def test_what_the_chain_would_refuse_is_not_sent() -> None:
    feed = Stored()
    feed.chunks[4] = b"damaged"
    with pytest.raises(Unanswerable, match="7 bytes, proved are"):
        make_answer(feed, demanded())
    feed = Stored()
    del feed.nodes[10]
    with pytest.raises(Unanswerable, match="tree node 10 is not known"):
        make_answer(feed, demanded())
    # An older fork, a shorter head.
    with pytest.raises(Unanswerable, match="sign"):
        make_answer(Stored(), demanded(fork=1))
    with pytest.raises(Unanswerable, match="length 11, vouched were 12"):
        make_answer(Stored(), demanded(length=12))
