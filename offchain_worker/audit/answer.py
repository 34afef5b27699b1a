"""Answers to demands (challenge.md §5): making one, and checking one as the chain does."""

from __future__ import annotations

from dataclasses import dataclass

from chain_types.records import Feed, FeedKind
from chain_types.report import Chunk, Rewritten
from chain_types.report import Node as ReportNode
from offchain_worker.audit.multiproof import KnownNodes, MultiproofError, build, tree_hash_of
from offchain_worker.hypercore.manifest import signable, single_signer_manifest
from offchain_worker.hypercore.tree import leaf_node
from offchain_worker.keys import verify


@dataclass(frozen=True)
class Demanded:
    """What was demanded.

    Attributes:
        feed: the feed.
        fork, length: as vouched (L*).
        chunk: its index.
    """

    feed: Feed
    fork: int
    length: int
    chunk: int


class AnswerError(Exception):
    """An answer that the chain refuses; each rule has its own subclass."""


class AnswerBelowVouched(AnswerError):
    """Under a head shorter than the vouched length."""


class AnswerOfAnotherSize(AnswerError):
    """The size in the proof is not that of the bytes."""


class AnswerUnproven(AnswerError):
    """The proof does not have the form that it must have."""


class ForkNotHigher(AnswerError):
    """Not above the vouched fork."""


class AnswerNotSigned(AnswerError):
    """The answer leads to a head that the author did not sign."""


def chunk_answer(
    data: bytes,
    demanded: Demanded,
    *,
    length: int,
    head_signature: bytes,
    tree_nodes: KnownNodes,
) -> Chunk:
    """Show a chunk under a head of the vouched fork.

    Args:
        data: the chunk.
        demanded: what was demanded.
        length: of the head.
        head_signature: the feed signer's bare signature over it, 64 bytes.
        tree_nodes: of the tree under the head, by tree index.

    Raises:
        AnswerUnproven: a node that the proof needs is not there, or the head is too short.
    """
    try:
        proof = build(tree_nodes, length, [demanded.chunk])
    except MultiproofError as error:
        raise AnswerUnproven(str(error)) from error
    return Chunk(
        bytes=data,
        length=length,
        head_signature=head_signature,
        sizes=proof.sizes,
        nodes=tuple(ReportNode(node.hash, node.size) for node in proof.nodes),
    )


def check_answer(answer: Chunk | Rewritten, demanded: Demanded) -> None:
    """Check an answer by every rule of challenge.md §5.

    Raises:
        AnswerError: the subclass names the rule that is broken.
    """
    feed = demanded.feed
    if isinstance(answer, Chunk):
        if answer.length < demanded.length:
            raise AnswerBelowVouched(f"length {answer.length}, vouched were {demanded.length}")
        if answer.sizes != (len(answer.bytes),):
            raise AnswerOfAnotherSize(f"{len(answer.bytes)} bytes, proved are {answer.sizes}")
        leaf = leaf_node(demanded.chunk, answer.bytes)
        entries = [(demanded.chunk, leaf.hash)]
        try:
            tree_hash = tree_hash_of(answer.length, entries, answer.sizes, answer.nodes)
        except MultiproofError as error:
            raise AnswerUnproven(str(error)) from error
        fork = demanded.fork
    else:
        if answer.fork <= demanded.fork:
            raise ForkNotHigher(f"fork {answer.fork}, vouched was {demanded.fork}")
        fork, tree_hash = answer.fork, answer.tree_hash
    # As with a report: the namespace in the manifest is no part of what is signed.
    manifest = None if feed.kind is FeedKind.COMPAT else single_signer_manifest(feed.signer)
    message = signable(feed.key, manifest, fork, answer.length, tree_hash)
    if not verify(feed.signer, message, answer.head_signature):
        raise AnswerNotSigned("the author did not sign the head that the answer leads to")
