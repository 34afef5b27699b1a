"""Making a report, and checking one as the chain does (challenge.md §4).

`check_report` applies the chain's rules in the chain's order, the cheap ones first. Each rule has
its own error type; a report is accepted exactly when none is raised. What only the chain's state
tells (the sender is active, has not reported, the phase is Report) is not checked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chain_types.records import Feed, FeedKind
from chain_types.report import (
    Body,
    Failure,
    Metrics,
    Outcome,
    PeerMetrics,
    Percentiles,
    Report,
    Served,
    encode_body,
)
from chain_types.report import Node as ReportNode
from offchain_worker.audit.multiproof import MultiproofError, build, tree_hash_of
from offchain_worker.audit.receipt import Receipt, ReceiptError, verify_receipt
from offchain_worker.coinflip.commitments import audit_commitment
from offchain_worker.coinflip.draws import (
    SessionHabit,
    chunk_seed,
    drawn_chunks,
    join_number,
    moment_slots,
    moment_uniform,
    session_habit,
    slot_offset,
    slot_order,
)
from offchain_worker.coinflip.hashing import blake2b_256, performance_tag
from offchain_worker.hypercore.manifest import signable, single_signer_manifest
from offchain_worker.hypercore.tree import Node
from offchain_worker.keys import KeyPair, is_valid_public_key, verify


class ReportError(Exception):
    """A report that the chain refuses; each rule has its own subclass."""


class WrongOpening(ReportError):
    """The opened w and audit key do not give the committed z."""


class WrongBinding(ReportError):
    """The audit key did not sign this body for this account."""


class WrongPeers(ReportError):
    """Figures of peers that are not ascending, not in the roster, or the reporter's own."""


class DemandNotDrawn(ReportError):
    """A demand for a chunk that was not drawn."""


class ReceiptRefused(ReportError):
    """The receipt breaks a rule; each rule has its own subclass."""


class ReceiptNotAuthentic(ReceiptRefused):
    """Malformed, or not signed by the hoster."""


class ReceiptOfAnotherFeed(ReceiptRefused):
    """For another feed."""


class ReceiptOfAnotherClient(ReceiptRefused):
    """For another client than the audit key."""


class ReceiptOfAnotherFork(ReceiptRefused):
    """For another fork than the vouched one."""


class ReceiptBelowVouched(ReceiptRefused):
    """For a head shorter than the vouched length."""


class ReceiptNotFirst(ReceiptRefused):
    """Not the session's first receipt."""


class ReceiptOffMoment(ReceiptRefused):
    """The session was not opened at the audit moment."""


class ReceiptBeforeOpening(ReceiptRefused):
    """Issued before the session was opened."""


class ReceiptRepeatsChunk(ReceiptRefused):
    """Names a chunk twice."""


class ReceiptTooShort(ReceiptRefused):
    """Names fewer chunks than were drawn."""


class ReceiptLacksDrawn(ReceiptRefused):
    """Lacks a chunk that must be proved."""


class WrongHeadSignature(ReportError):
    """The head in the receipt is not signed by the feed's author."""


class WrongMultiproof(ReportError):
    """The proof does not lead from the receipt's leaves to its tree hash."""


class WrongMetrics(ReportError):
    """Percentiles out of order, or another figure than the drawn bit names."""


@dataclass(frozen=True)
class Slots:
    """The schedule Slots, as one attestor sees it (coinflip.md §6).

    Attributes:
        numerator, denominator: the jitter.
        active: number of active attestors.
        place: this attestor's place among them.
    """

    numerator: int
    denominator: int
    active: int
    place: int


@dataclass(frozen=True)
class ReportContext:
    """What the chain knows about one attestor's part in a challenge.

    Attributes:
        topic: of the anchored attempt or of the fallback, 32 bytes.
        result: R, 32 bytes.
        account, session_key, commitment: the reporter's account id, session key and z.
        roster_size, roster_index: of the start roster, and the reporter's place in it.
        feed: the audited feed: its key, who signs its heads, and what they sign.
        hoster: the hoster's Noise key at the start.
        fork, length: as vouched (L*).
        chunks, proved: N and K of the timing.
        window_start_ms, window_ms: Tlo and W (challenge.md §3.1).
        clock_tolerance_ms: of the timing.
        slots: None under the schedule Uniform.
    """

    topic: bytes
    result: bytes
    account: bytes
    session_key: bytes
    commitment: bytes
    roster_size: int
    roster_index: int
    feed: Feed
    hoster: bytes
    fork: int
    length: int
    chunks: int
    proved: int
    window_start_ms: int
    window_ms: int
    clock_tolerance_ms: int
    slots: Slots | None = None

    def moment(self, w: bytes) -> int:
        """t, the audit moment of who committed to `w`, unix milliseconds."""
        u = join_number(self.topic, self.result, self.session_key, w)
        if self.slots is None:
            return moment_uniform(u, self.window_start_ms, self.window_ms)
        slots = self.slots
        offset = slot_offset(u, slots.numerator, slots.denominator)
        slot = slot_order(self.result, slots.active)[slots.place]
        return moment_slots(slot, offset, slots.active, self.window_start_ms, self.window_ms)

    def drawn(self, w: bytes) -> list[int]:
        """c_0 … c_{N'−1}, in the order drawn."""
        return drawn_chunks(self._seed(w), self.length, self.chunks)

    def habit(self, w: bytes) -> SessionHabit:
        """Whether the session keeps a window, and how long it goes on."""
        return session_habit(self._seed(w))

    def _seed(self, w: bytes) -> bytes:
        return chunk_seed(self.topic, self.result, self.session_key, w)


@dataclass(frozen=True)
class ReceiptExpectation:
    """What a receipt must be to prove an audited session (challenge.md §4, rule 4).

    Attributes:
        hoster, feed_key, client: keys of 32 bytes.
        fork, length: as vouched.
        moment, clock_tolerance_ms: when the session was to be opened, and how exactly.
        drawn: the drawn chunks in the order drawn.
        proved: K.
    """

    hoster: bytes
    feed_key: bytes
    client: bytes
    fork: int
    length: int
    moment: int
    clock_tolerance_ms: int
    drawn: Sequence[int]
    proved: int


def proved_chunks(drawn: Sequence[int], proved: int) -> list[int]:
    """The chunks that a report proves: the first K drawn ones, ascending."""
    return sorted(drawn[:proved])


def sign_report(
    *,
    w: bytes,
    audit_key: KeyPair,
    topic: bytes,
    account: bytes,
    outcome: Outcome,
    peers: Sequence[PeerMetrics] = (),
) -> Report:
    """Put a report together and bind it to topic and account with the audit key.

    Raises:
        chain_types.scale.EncodeError: the outcome or the figures do not fit their bounds.
    """
    body = Body(outcome=outcome, peers=tuple(peers))
    binding = audit_key.sign(_binding_message(topic, account, body))
    return Report(w=w, audit_key=audit_key.public, binding=binding, body=body)


def served_outcome(
    *,
    receipt_message: bytes,
    receipt: Receipt,
    head_signature: bytes,
    tree_nodes: Mapping[int, Node],
    drawn: Sequence[int],
    proved: int,
    metrics: Metrics,
) -> Served:
    """Prove the first K drawn chunks under the receipt's head.

    Args:
        receipt_message: the receipt's bytes as received.
        receipt: the same, decoded.
        head_signature: the feed signer's bare signature over the receipt's head, 64 bytes.
        tree_nodes: verified nodes of the feed's tree, by tree index.
        drawn, proved: the drawn chunks in the order drawn, and K.
        metrics: the session's figures.

    Raises:
        MultiproofError: a node that the proof needs is not among `tree_nodes`.
    """
    proof = build(tree_nodes, receipt.length, proved_chunks(drawn, proved))
    return Served(
        receipt=receipt_message,
        head_signature=head_signature,
        sizes=proof.sizes,
        nodes=tuple(ReportNode(hash=node.hash, size=node.size) for node in proof.nodes),
        metrics=metrics,
    )


def check_receipt(message: bytes, expected: ReceiptExpectation) -> Receipt:
    """Check a receipt by rule 4, all but the head's signature.

    Raises:
        ReceiptRefused: the subclass names the rule.
    """
    try:
        receipt = verify_receipt(message, expected.hoster)
    except ReceiptError as error:
        raise ReceiptNotAuthentic(str(error)) from error
    if receipt.feed_key != expected.feed_key:
        raise ReceiptOfAnotherFeed(f"the receipt is for feed {receipt.feed_key.hex()}")
    if receipt.client != expected.client:
        raise ReceiptOfAnotherClient(f"the receipt is for client {receipt.client.hex()}")
    if receipt.fork != expected.fork:
        raise ReceiptOfAnotherFork(f"fork {receipt.fork} instead of {expected.fork}")
    if receipt.length < expected.length:
        raise ReceiptBelowVouched(f"length {receipt.length}, vouched were {expected.length}")
    if receipt.sequence != 0:
        raise ReceiptNotFirst(f"receipt number {receipt.sequence} of the session")
    if abs(receipt.opened - expected.moment) > expected.clock_tolerance_ms:
        raise ReceiptOffMoment(
            f"opened {receipt.opened - expected.moment} ms from the audit moment"
        )
    if receipt.issued < receipt.opened:
        raise ReceiptBeforeOpening("issued before the session was opened")
    named = {entry.index for entry in receipt.entries}
    if len(named) != len(receipt.entries):
        raise ReceiptRepeatsChunk("a chunk is named twice")
    if len(named) < len(expected.drawn):
        raise ReceiptTooShort(f"{len(named)} chunks instead of {len(expected.drawn)}")
    missing = [index for index in expected.drawn[: expected.proved] if index not in named]
    if missing:
        raise ReceiptLacksDrawn(f"the drawn chunk {missing[0]} is not in the receipt")
    return receipt


def check_report(report: Report, context: ReportContext) -> Receipt | None:
    """Check a report by every rule of challenge.md §4.

    Returns:
        The receipt of a `Served` report, None for a `Failed` one.

    Raises:
        ReportError: the subclass names the rule that is broken.
    """
    commitment = audit_commitment(context.topic, context.session_key, report.w, report.audit_key)
    if commitment != context.commitment:
        raise WrongOpening("w and audit key do not open the commitment")
    message = _binding_message(context.topic, context.account, report.body)
    if not is_valid_public_key(report.audit_key) or not verify(
        report.audit_key, message, report.binding
    ):
        raise WrongBinding("the audit key did not sign this report for this account")
    _check_peers(report.body.peers, context)
    outcome = report.body.outcome
    drawn = context.drawn(report.w)
    if isinstance(outcome, Failure):
        if outcome.demand is not None and outcome.demand not in drawn:
            raise DemandNotDrawn(f"chunk {outcome.demand} was not drawn")
        return None
    expected = ReceiptExpectation(
        hoster=context.hoster,
        feed_key=context.feed.key,
        client=report.audit_key,
        fork=context.fork,
        length=context.length,
        moment=context.moment(report.w),
        clock_tolerance_ms=context.clock_tolerance_ms,
        drawn=drawn,
        proved=context.proved,
    )
    receipt = check_receipt(outcome.receipt, expected)
    _check_head(receipt, outcome.head_signature, context)
    _check_proof(receipt, outcome, proved_chunks(drawn, context.proved))
    _check_metrics(outcome.metrics, windowed=context.habit(report.w).windowed)
    return receipt


def _binding_message(topic: bytes, account: bytes, body: Body) -> bytes:
    return performance_tag("report") + topic + account + blake2b_256(encode_body(body))


def _check_peers(peers: Sequence[PeerMetrics], context: ReportContext) -> None:
    previous = -1
    for peer in peers:
        if not previous < peer.index < context.roster_size:
            raise WrongPeers(f"peer {peer.index} is out of order or not in the roster")
        if peer.index == context.roster_index:
            raise WrongPeers("the reporter is not its own peer")
        previous = peer.index


def _check_head(receipt: Receipt, bare: bytes, context: ReportContext) -> None:
    feed = context.feed
    # A version 1 head is signed with the feed's key; the namespace in the manifest, which the
    # chain does not keep with a challenge, is no part of it (hypercore.md §6).
    manifest = None if feed.kind is FeedKind.COMPAT else single_signer_manifest(feed.signer)
    message = signable(feed.key, manifest, receipt.fork, receipt.length, receipt.tree_hash)
    if not verify(feed.signer, message, bare):
        raise WrongHeadSignature("the head in the receipt is not signed by the feed's author")


def _check_proof(receipt: Receipt, outcome: Served, indices: Sequence[int]) -> None:
    leaves = {entry.index: entry.leaf for entry in receipt.entries}
    entries = [(index, leaves[index]) for index in indices]
    try:
        computed = tree_hash_of(receipt.length, entries, outcome.sizes, outcome.nodes)
    except MultiproofError as error:
        raise WrongMultiproof(str(error)) from error
    if computed != receipt.tree_hash:
        raise WrongMultiproof("the proof leads to another tree hash than the receipt's")


def _check_metrics(metrics: Metrics, *, windowed: bool) -> None:
    latency, throughput = metrics.latency_us, metrics.throughput
    if windowed:
        if latency is not None or not throughput:
            raise WrongMetrics("a windowed session has a throughput, and no latency")
    elif latency is None or latency.p50 == 0 or throughput is not None:
        raise WrongMetrics("a sequential session has latencies, and no throughput")
    if latency is not None and not _ordered(latency):
        raise WrongMetrics("the percentiles are not in order")


def _ordered(latency: Percentiles) -> bool:
    return latency.p50 <= latency.p90 <= latency.p99 <= latency.max
