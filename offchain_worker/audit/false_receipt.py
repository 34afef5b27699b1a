"""E6: a receipt that its own tree contradicts (challenge.md §5), found and checked.

A hoster looks each entry of a receipt up in the tree whose hash it signs, so an honest one never
signs another leaf than that tree has. Whoever was served a chunk that the receipt has another leaf
of, and knows the tree, can prove it.
"""

from __future__ import annotations

from collections.abc import Mapping

from chain_types.records import FraudKind
from chain_types.report import FalseReceipt
from chain_types.report import Node as ReportNode
from offchain_worker.audit.multiproof import MultiproofError, build, tree_hash_of
from offchain_worker.audit.receipt import Receipt, ReceiptError, verify_receipt
from offchain_worker.coinflip.hashing import blake2b_256
from offchain_worker.hypercore.tree import Node


class NotFalse(Exception):
    """What was brought does not prove a receipt false; the message says why."""


def prove_false(
    message: bytes, hoster: bytes, tree_nodes: Mapping[int, Node]
) -> FalseReceipt | None:
    """Prove a receipt false by the tree that it names, if that can be done.

    Args:
        message: the receipt's bytes, as received.
        hoster: the Noise key of the session's hoster, 32 bytes.
        tree_nodes: verified nodes of the feed's tree, by tree index; those of another head than
            the receipt's do no harm.

    Returns:
        The proof; None when the receipt is not the hoster's, or nothing we know contradicts it.
    """
    try:
        receipt = verify_receipt(message, hoster)
    except ReceiptError:
        return None
    for entry in receipt.entries:
        known = tree_nodes.get(2 * entry.index)
        if known is None or known.hash == entry.leaf:
            continue
        try:
            proof = build(tree_nodes, receipt.length, [entry.index])
        except MultiproofError:
            continue
        found = FalseReceipt(
            hoster=hoster,
            receipt=message,
            index=entry.index,
            leaf=known.hash,
            sizes=proof.sizes,
            nodes=tuple(ReportNode(node.hash, node.size) for node in proof.nodes),
        )
        try:
            check_false(found)
        except NotFalse:
            # The nodes are those of another head.
            continue
        return found
    return None


def check_false(proof: FalseReceipt) -> Receipt:
    """Check a proof as the chain does, but for its age.

    Raises:
        NotFalse: it proves nothing.
    """
    try:
        receipt = verify_receipt(proof.receipt, proof.hoster)
    except ReceiptError as error:
        raise NotFalse(f"the receipt cannot be used: {error}") from error
    leaves = [entry.leaf for entry in receipt.entries if entry.index == proof.index]
    if not leaves:
        raise NotFalse(f"the receipt does not name chunk {proof.index}")
    if all(leaf == proof.leaf for leaf in leaves):
        raise NotFalse("the receipt has the proven leaf")
    try:
        found = tree_hash_of(receipt.length, [(proof.index, proof.leaf)], proof.sizes, proof.nodes)
    except MultiproofError as error:
        raise NotFalse(str(error)) from error
    if found != receipt.tree_hash:
        raise NotFalse("the proof leads to another tree hash than the receipt's")
    return receipt


def evidence_id(hoster: bytes, session: bytes) -> bytes:
    """Under which id the chain keeps a false receipt: `H(hoster ‖ session ‖ 2)`, 32 bytes."""
    return blake2b_256(hoster, session, bytes([FraudKind.FALSE_RECEIPT]))
