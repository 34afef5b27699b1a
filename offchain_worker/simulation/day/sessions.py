"""Audited sessions of a day: what a hoster gives, and what the attestor makes of it.

The wire between them is left out, and so is the time that computing takes. What is drawn, read and
checked, the hoster's receipts and the attestor's verdict are those of the cores.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from chain_types.report import Failure, Outcome, Reason
from offchain_worker.audit.false_receipt import prove_false
from offchain_worker.audit.receipt import Entry, Receipt, receipt_period
from offchain_worker.audit.report import ReceiptRefused, served_outcome
from offchain_worker.audit.session import (
    Audit,
    AuditPlan,
    check_session_receipt,
    reading_order,
    session_length,
)
from offchain_worker.coinflip.hashing import blake2b_256
from offchain_worker.hoster.receipts import ReceiptCollector, SignReceipt, signer
from offchain_worker.hypercore.order import DownloadOrder
from offchain_worker.hypercore.tree import Node, leaf_node
from offchain_worker.measurement.session import Transfer, session_metrics
from offchain_worker.simulation.day.cheats import HosterCheat
from offchain_worker.simulation.day.feeds import Lossy, MemoryFeed
from offchain_worker.simulation.day.people import Attestor, Hoster

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
SESSION_BYTES = 2 * 1024 * 1024
"""What a session of a day may cost beyond what the draw demands."""
SLOW_MS = 900
SLOW_RATE = 200_000
WINDOW = 32
"""Requests that are open at once in a windowed session."""

_AT_ONCE: Mapping[HosterCheat, tuple[Reason, str]] = {
    HosterCheat.LEAVES: (Reason.UNREACHABLE, "nobody listens there"),
    HosterCheat.OTHER_KEY: (Reason.WRONG_IDENTITY, "another static key"),
    HosterCheat.SILENT: (Reason.WRONG_IDENTITY, "no handshake"),
    HosterCheat.OLD_HEAD: (Reason.NOT_HOSTED, "a head below the vouched length"),
    HosterCheat.FORGED_HEAD: (Reason.BAD_PROOF, "a head that the author did not sign"),
}
"""What a session ends with before it has shown its head."""


def served_feed(feed: MemoryFeed, cheat: HosterCheat | None) -> MemoryFeed:
    """What a hoster with that fault has left of a feed."""
    length = feed.length
    if cheat is HosterCheat.LOST_CHUNKS:
        first = int.from_bytes(blake2b_256(feed.key)[:4], "little") % length
        lost = {(first + offset) % length for offset in range(max(1, length // 20))}
        return Lossy(feed, lost.__contains__)
    if cheat is HosterCheat.PREFIX:
        return Lossy(feed, lambda index: index >= length // 2)
    return feed


def _signer(hoster: Hoster, cheat: HosterCheat | None) -> SignReceipt:
    sign = signer(hoster.noise_key)

    def faulty(receipt: Receipt) -> bytes | None:
        match cheat:
            case HosterCheat.NO_RECEIPT:
                return None
            case HosterCheat.OTHER_CLIENT:
                return sign(replace(receipt, client=blake2b_256(receipt.client)))
            case HosterCheat.OTHER_TIME:
                return sign(replace(receipt, opened=receipt.opened - HOUR_MS))
            case HosterCheat.FALSE_RECEIPT:
                entries = tuple(Entry(one.index, blake2b_256(one.leaf)) for one in receipt.entries)
                return sign(replace(receipt, entries=entries))
            case _:
                return sign(receipt)

    return faulty


@dataclass
class _Progress:
    """How far a session came."""

    asked: int | None
    transfers: list[Transfer]
    served: dict[int, Node]
    message: bytes | None = None


def hold_session(
    plan: AuditPlan,
    attestor: Attestor,
    hoster: Hoster,
    cheat: HosterCheat | None,
    opened_ms: int,
    dice: random.Random,
) -> Audit:
    """Hold one audited session.

    Args:
        plan: the attestor's.
        attestor, hoster: between whom.
        cheat: what the hoster does wrong in it.
        opened_ms: when, by everybody's clock; the plan's moment if the attestor is honest.
        dice: of this session.
    """
    if cheat is not None and cheat in _AT_ONCE:
        reason, detail = _AT_ONCE[cheat]
        return _audit(Failure(reason, None), detail, None, None, _Progress(None, [], {}))
    if cheat is HosterCheat.PART_TIME and opened_ms // MINUTE_MS % 2:
        failure = Failure(Reason.WRONG_IDENTITY, None)
        return _audit(failure, "no handshake", None, None, _Progress(None, [], {}))
    session = blake2b_256(plan.audit_key.public, opened_ms.to_bytes(8, "little"))
    progress = _Progress(None, [], {})
    stopped = _read(plan, attestor, hoster, cheat, opened_ms, session, progress, dice)
    if stopped is not None:
        reason, detail = stopped
        return _audit(Failure(reason, None), detail, progress.asked, opened_ms, progress)
    message = progress.message
    if message is None:
        failure = Failure(Reason.NO_RECEIPT, None)
        return _audit(failure, "no receipt came", None, opened_ms, progress)
    feed = hoster.feed
    head = feed.whole_head
    try:
        receipt = check_session_receipt(
            plan, message, session, {head.length: head}, progress.served
        )
    except ReceiptRefused as error:
        false = prove_false(message, plan.hoster, feed.nodes)
        failure = Failure(Reason.BAD_RECEIPT, None)
        audit = _audit(failure, str(error), None, opened_ms, progress)
        return replace(audit, false_receipt=false)
    outcome = served_outcome(
        receipt_message=message,
        receipt=receipt,
        head_signature=feed.bare_signature,
        tree_nodes=feed.nodes,
        drawn=plan.drawn,
        proved=plan.proved,
        metrics=session_metrics(
            connect_s=(attestor.delay_ms + hoster.delay_ms) / 1_000,
            handshake_s=2 * (attestor.delay_ms + hoster.delay_ms) / 1_000,
            transfers=progress.transfers,
            windowed=plan.habit.windowed,
        ),
    )
    return replace(_audit(outcome, "", None, opened_ms, progress), receipt=receipt)


def _read(
    plan: AuditPlan,
    attestor: Attestor,
    hoster: Hoster,
    cheat: HosterCheat | None,
    opened_ms: int,
    session: bytes,
    progress: _Progress,
    dice: random.Random,
) -> tuple[Reason, str] | None:
    """Read until it is enough; why it ended before, if it did."""
    feed = served_feed(hoster.feed, cheat)
    head = feed.whole_head
    collector = ReceiptCollector(
        hoster.feed,
        _signer(hoster, cheat),
        client=plan.audit_key.public,
        session=session,
        opened_ms=opened_ms,
        first_length=head.length,
    )
    collector.head_sent(head)
    clock = _Clock(attestor, hoster, cheat, windowed=plan.habit.windowed)
    order = DownloadOrder(head.length, dice)
    total = session_length(plan, head.length, head.byte_length, dice)
    held_back = total if cheat is None else dice.randrange(1, len(plan.drawn))
    for count, index in enumerate(reading_order(order, plan.drawn)):
        if count >= total:
            break
        progress.asked = index
        data = feed.block(index)
        if data is None:
            return Reason.NO_DATA, f"no data for chunk {index}"
        if count >= held_back:
            if cheat is HosterCheat.WITHHOLDS:
                return Reason.NO_DATA, f"no data for chunk {index}"
            if cheat is HosterCheat.STALLS:
                return Reason.TIMEOUT, f"chunk {index} is late"
        if cheat is HosterCheat.FLIPS_BIT:
            data = bytes([data[0] ^ 1]) + data[1:]
        leaf = leaf_node(index, data)
        if leaf != feed.node(2 * index):
            return Reason.BAD_PROOF, f"chunk {index} does not verify"
        transfer = clock.transfer(leaf.size, dice)
        order.arrive(index)
        progress.transfers.append(transfer)
        progress.served[index] = leaf
        now_ms = opened_ms + int(1_000 * transfer.arrived)
        message = collector.chunk_sent(index, leaf, now_ms)
        if count < receipt_period(head.length):
            progress.message = progress.message or message
    progress.asked = None
    return None


class _Clock:
    """When chunks arrive: after the delay of both links, at the rate of the slower one."""

    def __init__(
        self, attestor: Attestor, hoster: Hoster, cheat: HosterCheat | None, *, windowed: bool
    ) -> None:
        slow = cheat is HosterCheat.SLOW
        self._delay_s = (attestor.delay_ms + hoster.delay_ms + SLOW_MS * slow) / 1_000
        self._rate = min(attestor.rate, SLOW_RATE if slow else hoster.rate)
        self._windowed = windowed
        self._last = 0.0
        self._arrivals: list[float] = []

    def transfer(self, size: int, dice: random.Random) -> Transfer:
        """The next chunk."""
        arrivals = self._arrivals
        spent = size / self._rate * (1 + dice.random() / 10)
        if self._windowed:
            asked = arrivals[-WINDOW] if len(arrivals) >= WINDOW else 0.0
            arrived = max(asked + self._delay_s, self._last + spent)
        else:
            asked = self._last
            arrived = asked + self._delay_s * (1 + dice.random() / 10) + spent
        self._last = arrived
        arrivals.append(arrived)
        return Transfer(asked, arrived, size)


def _audit(
    outcome: Outcome,
    detail: str,
    failed_chunk: int | None,
    opened_ms: int | None,
    progress: _Progress,
) -> Audit:
    return Audit(
        outcome=outcome,
        detail=detail,
        failed_chunk=failed_chunk,
        opened_ms=opened_ms,
        chunks=len(progress.served),
        byte_length=sum(leaf.size for leaf in progress.served.values()),
        connections=1,
        receipt=None,
    )
