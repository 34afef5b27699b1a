"""The audited session (challenge.md §3.2): one attestor reads its drawn chunks from a hoster.

The hoster must not be able to tell the session from a reader's, so it goes through the ordinary
reader, with a one-time key, and asks for nothing that a reader would not ask for. What comes out
is the outcome of the report: `Served` with its proof, or `Failed` with the reason.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import (
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field

import structlog
import trio

from chain_types.report import Failure, FalseReceipt, Outcome, Reason, Served
from offchain_worker.audit.false_receipt import prove_false
from offchain_worker.audit.receipt import (
    EXTENSION,
    Receipt,
    receipt_period,
)
from offchain_worker.audit.report import (
    ReceiptExpectation,
    ReceiptOffMoment,
    ReceiptRefused,
    check_receipt,
    served_outcome,
)
from offchain_worker.coinflip.draws import MAX_MULTIPLE, SessionHabit
from offchain_worker.hypercore.errors import (
    BadProof,
    ChannelClosed,
    DecodeError,
    Disconnected,
    HandshakeFailed,
    HypercoreError,
    NoData,
    NotHosted,
    ProtocolViolation,
    ReadTimeout,
    Unreachable,
    WayOutFailed,
    WrongIdentity,
)
from offchain_worker.hypercore.feed import Head
from offchain_worker.hypercore.manifest import bare_signature, is_compat
from offchain_worker.hypercore.order import DownloadOrder
from offchain_worker.hypercore.reader import Block, ExtensionMessage, Reader, Timeouts, open_reader
from offchain_worker.hypercore.tree import Node
from offchain_worker.keys import KeyPair
from offchain_worker.measurement.session import Transfer, session_metrics

_log = structlog.get_logger()

Dial = Callable[[], Awaitable[trio.abc.Stream]]
"""Makes the transport's connection; raises `OSError` or `Unreachable` when it cannot, and
`WayOutFailed` when it could not even try."""

RETRY_PAUSE_S = 0.25
"""Pause before a lost connection is made again."""

SESSION_BYTES = 64 * 1024 * 1024
"""Bytes that a session may read, unless the draw demands more (`session_length`)."""
MIN_CHUNK_COST = 8 * 1024
"""What the smallest chunk counts for among them: it is kept with its place in the tree."""


class MomentMissed(Exception):
    """The worker could not start in time, or not get out; it has seen no failure of the hoster's,
    and reports nothing."""


class Way:
    """How the connections of a session leave this machine; this one needs no care.

    Attributes:
        pauses: when this side did not read on purpose, seconds of `trio.current_time`.
    """

    pauses: Sequence[tuple[float, float]] = ()

    async def prepare(self) -> None:
        """Do what must be done before a connection is made, and is not measured with it.

        Raises:
            WayOutFailed: there is no way out.
        """

    async def confirm(self) -> None:
        """Look whether the way still stands, after a failure that may have been its own.

        Raises:
            WayOutFailed: it does not.
        """


class ReceiptNotOfSession(ReceiptRefused):
    """The receipt passes the chain's rules, but says something else than what was served."""


class NoReceipt(Exception):
    """The hoster sent no receipt in time after it had served enough for one."""


@dataclass(frozen=True)
class AuditPlan:
    """All that is fixed before the session.

    Attributes:
        feed_key, hoster: the feed's key and the hoster's Noise key.
        audit_key: the committed one-time Noise key pair.
        fork, length: as vouched (L*).
        drawn: the drawn chunks, in the order drawn.
        habit: windowed or one by one, and m.
        chunks, proved: N and K of the timing.
        moment: t, unix milliseconds.
        end_ms: END, unix milliseconds; the session never goes beyond it.
        chunk_timeout_ms, clock_tolerance_ms: of the timing.
        session_bytes: what the session may cost beyond what the draw demands.
    """

    feed_key: bytes
    hoster: bytes
    audit_key: KeyPair
    fork: int
    length: int
    drawn: Sequence[int]
    habit: SessionHabit
    chunks: int
    proved: int
    moment: int
    end_ms: int
    chunk_timeout_ms: int
    clock_tolerance_ms: int
    session_bytes: int = SESSION_BYTES


@dataclass(frozen=True)
class Audit:
    """What an audited session found.

    Attributes:
        outcome: for the report; `Failure.demand` is left to the attestor.
        detail: the failure in words, empty when served.
        failed_chunk: the chunk that the failure is about, or else the first that was asked for and
            did not come.
        opened_ms: when the session had shown its head, by the own clock; None when it did not.
        chunks: how many chunks were read and verified.
        byte_length: bytes of these chunks.
        connections: how many were made; more than one when the first was lost.
        receipt: the hoster's first receipt when it passed the checks.
        false_receipt: the proof against the hoster, when that receipt contradicts its own tree.
    """

    outcome: Outcome
    detail: str
    failed_chunk: int | None
    opened_ms: int | None
    chunks: int
    byte_length: int
    connections: int
    receipt: Receipt | None
    false_receipt: FalseReceipt | None = None


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What is kept of a chunk that arrived and was verified: not its bytes."""

    index: int
    leaf: bytes
    transfer: Transfer


@dataclass
class _Attempt:
    """How far one connection came.

    `heads` are those that the session was shown, by length: a receipt refers to the newest one
    that there was when the hoster signed.
    """

    opened_ms: int | None = None
    asked: list[int] = field(default_factory=list)
    arrived: list[_Chunk] = field(default_factory=list)
    heads: dict[int, Head] = field(default_factory=dict)
    receipt: Receipt | None = None
    false_receipt: FalseReceipt | None = None


async def audit(
    plan: AuditPlan,
    dial: Dial,
    *,
    clock_ms: Callable[[], int],
    choices: random.Random,
    way: Way | None = None,
) -> Audit:
    """Wait for the audit moment, hold the session, and judge it.

    A lost connection is made again with the same key as long as that is within
    `clock_tolerance_ms` of the moment. At END everything stops. Cancellation closes the
    connection and leaves nothing behind.

    Args:
        plan: what to read and what to expect.
        dial: connects to the hoster.
        clock_ms: the wall clock, unix milliseconds.
        choices: chooses the chunks beyond the drawn ones; unpredictable to the hoster.
        way: that the connections take.

    Raises:
        MomentMissed: it is too late to start, or the way out failed.
    """
    way = way or Way()
    await _sleep_until(plan.moment, clock_ms)
    tolerated_until = plan.moment + plan.clock_tolerance_ms
    if clock_ms() > min(tolerated_until, plan.end_ms):
        raise MomentMissed(f"{clock_ms() - plan.moment} ms after the audit moment")
    connections = 0
    attempt = _Attempt()
    result: Audit | None = None
    with trio.move_on_after((plan.end_ms - clock_ms()) / 1_000):
        while result is None:
            attempt = _Attempt()
            connections += 1
            outcome: Outcome
            try:
                await way.prepare()
                outcome = await _hold_session(plan, dial, attempt, clock_ms, choices, way)
                result = _audit(attempt, outcome, connections, "")
            except (HypercoreError, ReceiptRefused, NoReceipt) as error:
                again_at = clock_ms() + 1_000 * RETRY_PAUSE_S
                if _is_lost(error) and again_at <= tolerated_until:
                    _log.info("audit.connection_lost", feed=plan.feed_key, error=str(error))
                    await trio.sleep(RETRY_PAUSE_S)
                    continue
                if isinstance(error, WayOutFailed):
                    raise MomentMissed(str(error)) from error
                if _may_be_ours(error):
                    await _confirm(way)
                outcome = Failure(reason=reason_of(error), demand=None)
                block = error.block if isinstance(error, HypercoreError) else None
                result = _audit(attempt, outcome, connections, str(error), block)
    if result is None:
        await _confirm(way)
        outcome = Failure(reason=Reason.TIMEOUT, demand=None)
        result = _audit(attempt, outcome, connections, "the session went past END")
    _log.info(
        "audit.done",
        feed=plan.feed_key,
        reason="Served" if isinstance(result.outcome, Served) else result.outcome.reason.name,
        detail=result.detail,
        chunks=result.chunks,
    )
    return result


_REASONS: tuple[tuple[type[Exception], Reason], ...] = (
    (Unreachable, Reason.UNREACHABLE),
    (HandshakeFailed, Reason.WRONG_IDENTITY),
    (WrongIdentity, Reason.WRONG_IDENTITY),
    (NotHosted, Reason.NOT_HOSTED),
    (NoData, Reason.NO_DATA),
    (Disconnected, Reason.NO_DATA),
    (ChannelClosed, Reason.NO_DATA),
    (BadProof, Reason.BAD_PROOF),
    (DecodeError, Reason.BAD_PROOF),
    (ReadTimeout, Reason.TIMEOUT),
    (NoReceipt, Reason.NO_RECEIPT),
    (ReceiptRefused, Reason.BAD_RECEIPT),
)


def _is_lost(error: Exception) -> bool:
    """Whether the connection failed, rather than the hoster."""
    cause = error.__cause__ if isinstance(error, NoData | NoReceipt) else error
    if isinstance(cause, ProtocolViolation):
        return False
    return isinstance(cause, Unreachable | WayOutFailed | HandshakeFailed | Disconnected)


def _may_be_ours(error: Exception) -> bool:
    """Whether the way out, or pauses of our own, can be why: it broke, or something came late."""
    late = isinstance(error, ReadTimeout | NoReceipt | ReceiptOffMoment)
    return _is_lost(error) or late or isinstance(error.__cause__, ReadTimeout | trio.TooSlowError)


async def _confirm(way: Way) -> None:
    """Raise `MomentMissed` if a failure was the way's."""
    try:
        await way.confirm()
    except WayOutFailed as error:
        raise MomentMissed(str(error)) from error


def reason_of(error: Exception) -> Reason:
    """The reason of challenge.md §4 that an error of a session stands for.

    Raises:
        TypeError: no session raises such an error.
    """
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    raise TypeError(f"no reason is defined for {type(error).__name__}")


def least_length(plan: AuditPlan, length: int) -> int:
    """How many chunks a session must read (challenge.md §3.2) of a feed of `length`.

    The drawn ones, on to m·N, and in any case enough for the hoster's first receipt: that is due
    after as many as the length allows that it announced first.
    """
    wanted = max(len(plan.drawn), plan.habit.multiple * plan.chunks, receipt_period(length))
    return min(wanted, length)


def session_length(plan: AuditPlan, length: int, byte_length: int, choices: random.Random) -> int:
    """How many chunks a session reads in all.

    Distributed as the lengths of readers are of whom half read everything and half stop at a
    uniformly random point, among those of them who read enough for a receipt: never fewer than
    `least_length`, and no more than `session_bytes` pay for unless that demands it. Of a feed
    that is too large to be read whole, all points up to there are as likely. m chooses the part of
    this distribution from which the length comes: a greater m a longer session. So lengths keep
    the distribution, and do not step at the multiples of N.

    Args:
        plan: the session's.
        length: of the head that the hoster showed, in chunks; above 0.
        byte_length: of the feed up to there, as that head says.
        choices: the rest of the chance; unpredictable to the hoster.
    """
    start = min(length, max(len(plan.drawn), receipt_period(length)))
    cost = max(byte_length // length, MIN_CHUNK_COST)
    end = min(length, max(start, plan.session_bytes // cost))
    points = end - start + 1
    partly = points / (points + length) if end == length else 1.0
    multiple = plan.habit.multiple
    low = 1.0 - 0.5 ** (multiple - 1)
    high = 1.0 if multiple == MAX_MULTIPLE else 1.0 - 0.5**multiple
    place = low + (high - low) * choices.random()
    stop = start + int(points * place / partly) if place < partly else length
    return max(min(stop, length), least_length(plan, length))


def reading_order(order: DownloadOrder, drawn: Sequence[int]) -> Iterator[int]:
    """The drawn chunks, then others as the stock client's download of the whole feed takes them.

    The drawn ones are chosen in the same way (`coinflip.draws.drawn_chunks`).
    """
    for index in drawn:
        order.ask(index)
        yield index
    yield from order


async def _sleep_until(moment_ms: int, clock_ms: Callable[[], int]) -> None:
    """Sleep until the wall clock shows `moment_ms`; it may be set while we sleep."""
    while (remaining := moment_ms - clock_ms()) > 0:  # noqa: ASYNC110 - no event tells the time
        await trio.sleep(min(remaining / 1_000, 10.0))


async def connect(dial: Dial, timeout: float) -> trio.abc.Stream:
    """Make the transport's connection within `timeout` seconds.

    Raises:
        Unreachable: it could not be made.
        WayOutFailed: it could not be tried.
    """
    try:
        with trio.fail_after(timeout):
            return await dial()
    except trio.TooSlowError:
        raise Unreachable(f"no connection in {timeout:g} s") from None
    except OSError as error:
        raise Unreachable(f"no connection: {error.strerror or error}") from error


async def _hold_session(
    plan: AuditPlan,
    dial: Dial,
    attempt: _Attempt,
    clock_ms: Callable[[], int],
    choices: random.Random,
    way: Way,
) -> Served:
    timeout = plan.chunk_timeout_ms / 1_000
    started = trio.current_time()
    stream = await connect(dial, timeout)
    connect_s = trio.current_time() - started
    async with open_reader(
        stream,
        feed_key=plan.feed_key,
        keypair=plan.audit_key,
        expected_remote=plan.hoster,
        timeouts=Timeouts(handshake=timeout, head=timeout, block=timeout),
    ) as reader:
        attempt.opened_ms = clock_ms()
        head = reader.head
        if head.fork != plan.fork:
            raise NotHosted(f"fork {head.fork} instead of the vouched {plan.fork}")
        if head.length < plan.length:
            raise NotHosted(f"length {head.length}, vouched were {plan.length}")
        attempt.heads[head.length] = head
        byte_length = sum(root.size for root in head.roots)
        total = session_length(plan, head.length, byte_length, choices)
        first = _FirstReceipt(reader, receipt_period(head.length), timeout, attempt)
        late_ms = plan.end_ms - plan.chunk_timeout_ms

        def enough() -> bool:
            """Whether a reader would leave now: what must be there is, and the rest is luck."""
            read = len(attempt.arrived)
            if read >= total and first.settled():
                return True
            # Late in the window the session gets along with what it must have.
            return read >= least_length(plan, head.length) and clock_ms() > late_ms

        order = DownloadOrder(head.length, choices)
        await _read(reader, order, plan, attempt, enough)
        message = await first.wait()
        attempt.heads[reader.head.length] = reader.head
    # Judged only now, so that the session ends as a reader's does.
    try:
        receipt = _check(plan, message, reader.connection.session_id, attempt)
    except ReceiptRefused:
        attempt.false_receipt = prove_false(message, plan.hoster, reader.nodes)
        raise
    attempt.receipt = receipt
    return served_outcome(
        receipt_message=message,
        receipt=receipt,
        head_signature=_bare_signature(plan.feed_key, attempt.heads[receipt.length]),
        tree_nodes=reader.nodes,
        drawn=plan.drawn,
        proved=plan.proved,
        metrics=session_metrics(
            connect_s=connect_s,
            handshake_s=reader.handshake_s,
            transfers=[chunk.transfer for chunk in attempt.arrived],
            windowed=plan.habit.windowed,
            pauses=way.pauses,
        ),
    )


async def _read(
    reader: Reader,
    order: DownloadOrder,
    plan: AuditPlan,
    attempt: _Attempt,
    enough: Callable[[], bool],
) -> None:
    """Read chunks into `attempt`, with a full window or one after the other, until `enough`.

    With a window, what is in flight then is left behind, as by any reader that stops.
    """

    def noting() -> Iterator[int]:
        for index in reading_order(order, plan.drawn):
            attempt.asked.append(index)
            yield index

    def note(block: Block) -> None:
        order.arrive(block.index)
        transfer = Transfer(block.requested, block.arrived, block.leaf.size)
        attempt.arrived.append(_Chunk(block.index, block.leaf.hash, transfer))
        attempt.heads[reader.head.length] = reader.head

    if plan.habit.windowed:
        async for block in reader.download(noting()):
            note(block)
            if enough():
                break
    else:
        for index in noting():
            note(await reader.get(index))
            if enough():
                break
    # Nobody waits for the others any more.
    attempt.asked = [chunk.index for chunk in attempt.arrived]


class _FirstReceipt:
    """The hoster's first receipt of a session.

    It is due within `timeout` seconds of the chunk that completes it. What counts is when it
    arrived, not when it is looked at: a long session is still reading then.

    Args:
        reader: of the session.
        period: chunks that complete it.
        timeout: seconds.
        attempt: what has arrived.
    """

    def __init__(self, reader: Reader, period: int, timeout: float, attempt: _Attempt) -> None:
        self._reader = reader
        self._period = period
        self._timeout = timeout
        self._attempt = attempt
        self._found: ExtensionMessage | None = None

    def settled(self) -> bool:
        """Whether it is here, or cannot come in time any more; at least `period` are here."""
        return self._look() or trio.current_time() > self._deadline

    async def wait(self) -> bytes:
        """Wait for it; returns its bytes.

        Raises:
            NoReceipt: it did not come in time.
        """
        if not self._look():
            with trio.move_on_at(self._deadline):
                async for message in self._reader.extensions:
                    if self._take(message):
                        break
        if self._found is None or self._found.arrived > self._deadline:
            error = "the hoster sent no receipt for what it served"
            raise NoReceipt(error) from self._reader.error
        return self._found.payload

    @property
    def _deadline(self) -> float:
        return self._attempt.arrived[self._period - 1].transfer.arrived + self._timeout

    def _look(self) -> bool:
        # Looked at often: the queue keeps the newest messages only.
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while self._found is None:
                self._take(self._reader.extensions.receive_nowait())
        return self._found is not None

    def _take(self, message: ExtensionMessage) -> bool:
        if message.name == EXTENSION:
            self._found = message
        return self._found is not None


def _bare_signature(feed_key: bytes, head: Head) -> bytes:
    # A hoster may show a manifest for a compat feed too; its heads are signed without one.
    manifest = None if is_compat(feed_key, head.manifest) else head.manifest
    try:
        return bare_signature(head.signature, manifest)
    except DecodeError as error:
        raise BadProof(f"the head's signature is not that of one signer: {error}") from error


def _check(plan: AuditPlan, message: bytes, session_id: bytes, attempt: _Attempt) -> Receipt:
    served = {
        chunk.index: Node(2 * chunk.index, chunk.transfer.size, chunk.leaf)
        for chunk in attempt.arrived
    }
    return check_session_receipt(plan, message, session_id, attempt.heads, served)


def check_session_receipt(
    plan: AuditPlan,
    message: bytes,
    session_id: bytes,
    heads: Mapping[int, Head],
    served: Mapping[int, Node],
) -> Receipt:
    """Check the receipt by the chain's rules and against what the session itself has seen.

    Args:
        plan: the session's.
        message: the receipt, as it came.
        session_id: 32 bytes.
        heads: that the session was shown, by length.
        served: the leaves of the chunks that came, by chunk.

    Raises:
        ReceiptRefused: the subclass names the rule.
    """
    expected = ReceiptExpectation(
        hoster=plan.hoster,
        feed_key=plan.feed_key,
        client=plan.audit_key.public,
        fork=plan.fork,
        length=plan.length,
        moment=plan.moment,
        clock_tolerance_ms=plan.clock_tolerance_ms,
        drawn=plan.drawn,
        proved=plan.proved,
    )
    receipt = check_receipt(message, expected)
    if receipt.session != session_id:
        raise ReceiptNotOfSession("the receipt is for another session of the same client")
    head = heads.get(receipt.length)
    if head is None or head.tree_hash != receipt.tree_hash:
        raise ReceiptNotOfSession("the receipt is for a head that the session was not shown")
    for entry in receipt.entries:
        leaf = served.get(entry.index)
        if leaf is None or leaf.hash != entry.leaf:
            raise ReceiptNotOfSession(f"chunk {entry.index} in the receipt is not what was served")
    if receipt.byte_length != sum(served[entry.index].size for entry in receipt.entries):
        raise ReceiptNotOfSession("the receipt's bytes are not those that were served")
    return receipt


def _audit(
    attempt: _Attempt, outcome: Outcome, connections: int, detail: str, failed: int | None = None
) -> Audit:
    arrived = {chunk.index for chunk in attempt.arrived}
    open_chunks = (index for index in attempt.asked if index not in arrived)
    return Audit(
        outcome=outcome,
        detail=detail,
        failed_chunk=next(open_chunks, None) if failed is None else failed,
        opened_ms=attempt.opened_ms,
        chunks=len(attempt.arrived),
        byte_length=sum(chunk.transfer.size for chunk in attempt.arrived),
        connections=connections,
        receipt=attempt.receipt,
        false_receipt=attempt.false_receipt,
    )
