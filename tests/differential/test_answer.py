"""Answers to demands: both sides take or refuse them by the same rule."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from compiled_rules import CompiledRules, Head, Refused
from compiled_rules import Demanded as ChainDemanded
from compiled_rules import Feed as ChainFeed
from compiled_rules import FeedKind as ChainFeedKind
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_types.records import Feed, FeedKind
from chain_types.report import MAX_DEMANDED_CHUNK_BYTES, Chunk, Rewritten
from chain_types.report import Node as ReportNode
from offchain_worker.audit import answer as rules
from offchain_worker.audit.answer import AnswerError, Demanded, check_answer, chunk_answer
from offchain_worker.hypercore.manifest import feed_key, signable, single_signer_manifest
from offchain_worker.hypercore.tree import Node, TreeBuilder
from offchain_worker.keys import KeyPair

AUTHOR = KeyPair.from_seed(b"a" * 32)
MANIFEST = single_signer_manifest(AUTHOR.public)
FEEDS = {
    FeedKind.MANIFEST: Feed(feed_key(MANIFEST), AUTHOR.public, FeedKind.MANIFEST),
    FeedKind.COMPAT: Feed(AUTHOR.public, AUTHOR.public, FeedKind.COMPAT),
}
RULES = {
    rules.AnswerBelowVouched: {"TooShort"},
    rules.AnswerOfAnotherSize: {"WrongSize"},
    rules.AnswerUnproven: {
        "Multiproof.NotAscending",
        "Multiproof.OutOfRange",
        "Multiproof.TooFewNodes",
        "Multiproof.TooManyNodes",
        "Multiproof.Tree.TooLong",
        "Multiproof.Tree.SizeOverflow",
    },
    rules.ForkNotHigher: {"ForkNotHigher"},
    rules.AnswerNotSigned: {"WrongHeadSignature"},
}
"""The names of one rule on both sides."""


def sign(feed: Feed, fork: int, length: int, tree_hash: bytes) -> bytes:
    manifest = MANIFEST if feed.kind is FeedKind.MANIFEST else None
    return AUTHOR.sign(signable(feed.key, manifest, fork, length, tree_hash))


@dataclass(frozen=True)
class Case:
    """A demand, and the honest answer to it."""

    demanded: Demanded
    answer: Chunk
    tree_hash: bytes


@st.composite
def cases(draw: st.DrawFn) -> Case:
    feed = FEEDS[draw(st.sampled_from(FeedKind))]
    length = draw(st.integers(1, 40))
    builder, nodes = TreeBuilder(), dict[int, Node]()
    chunks = [bytes([index]) * draw(st.integers(0, 9)) for index in range(length)]
    for chunk in chunks:
        nodes |= {node.index: node for node in builder.append(chunk)}
    fork = draw(st.integers(0, 5))
    vouched = draw(st.integers(1, length))
    demanded = Demanded(feed, fork, vouched, draw(st.integers(0, vouched - 1)))
    answer = chunk_answer(
        chunks[demanded.chunk],
        demanded,
        length=length,
        head_signature=sign(feed, fork, length, builder.tree_hash()),
        tree_nodes=nodes,
    )
    return Case(demanded, answer, builder.tree_hash())


def agree(chain_rules: CompiledRules, answer: Chunk | Rewritten, demanded: Demanded) -> Head | None:
    """The head that an answer leads to, by both sides alike; None if it is refused."""
    feed = demanded.feed
    there = chain_rules.check_answer(
        answer,
        ChainDemanded(
            ChainFeed(feed.key, feed.signer, ChainFeedKind(feed.kind)),
            demanded.fork,
            demanded.length,
            demanded.chunk,
        ),
    )
    try:
        check_answer(answer, demanded)
    except AnswerError as error:
        names = RULES[type(error)]
    else:
        assert isinstance(there, Head), there
        return there
    assert isinstance(there, Refused), there
    assert there.name in names, there
    return None


@given(case=cases())
@settings(deadline=None)
def test_the_chunk_is_taken(chain_rules: CompiledRules, case: Case) -> None:
    head = agree(chain_rules, case.answer, case.demanded)
    assert head == Head(case.demanded.fork, case.answer.length, case.tree_hash)


@given(case=cases(), data=st.data())
@settings(deadline=None, max_examples=300)
def test_one_changed_thing(chain_rules: CompiledRules, case: Case, data: st.DataObject) -> None:
    answer, demanded = case.answer, case.demanded
    what = data.draw(
        st.sampled_from(["bytes", "length", "head_signature", "sizes", "nodes", "chunk", "fork"])
    )
    match what:
        case "bytes":
            answer = replace(answer, bytes=answer.bytes + b"x")
        case "length":
            answer = replace(answer, length=data.draw(st.integers(0, 2**64 - 1)))
        case "head_signature":
            answer = replace(answer, head_signature=bytes(64))
        case "sizes":
            other = data.draw(st.sampled_from([(), (*answer.sizes, 0), (answer.sizes[0] + 1,)]))
            answer = replace(answer, sizes=other)
        case "nodes":
            more = (*answer.nodes, ReportNode(bytes(32), 2**64 - 1))
            answer = replace(answer, nodes=more if data.draw(st.booleans()) else answer.nodes[1:])
        case "chunk":
            demanded = replace(demanded, chunk=data.draw(st.integers(0, 80)))
        case _:
            demanded = replace(demanded, fork=demanded.fork + 1)
    if (answer, demanded) != (case.answer, case.demanded):
        assert agree(chain_rules, answer, demanded) is None


@given(case=cases(), fork=st.integers(0, 12), length=st.integers(0, 2**64 - 1), good=st.booleans())
@settings(deadline=None)
def test_a_rewritten_feed(
    chain_rules: CompiledRules, case: Case, fork: int, length: int, *, good: bool
) -> None:
    demanded = case.demanded
    signature = sign(demanded.feed, fork, length, b"t" * 32) if good else bytes(64)
    head = agree(chain_rules, Rewritten(fork, length, b"t" * 32, signature), demanded)
    taken = good and fork > demanded.fork
    assert head == (Head(fork, length, b"t" * 32) if taken else None)


@pytest.mark.parametrize("size", [0, 1, MAX_DEMANDED_CHUNK_BYTES])
def test_chunks_of_every_size(chain_rules: CompiledRules, size: int) -> None:
    feed, builder = FEEDS[FeedKind.MANIFEST], TreeBuilder()
    data = bytes(size)
    nodes = {node.index: node for node in builder.append(data)}
    demanded = Demanded(feed, 0, 1, 0)
    answer = chunk_answer(
        data,
        demanded,
        length=1,
        head_signature=sign(feed, 0, 1, builder.tree_hash()),
        tree_nodes=nodes,
    )
    assert agree(chain_rules, answer, demanded) == Head(0, 1, builder.tree_hash())
