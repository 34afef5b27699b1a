"""Coinflips over real connections: one listening port, any number of runs at the same time.

A roster's members meet over secret-stream connections with their session keys as static keys: for
each run and pair the member with the lower key dials one connection and opens the protomux
channel `datdot/coinflip/1` with the topic as id (coinflip.md §2.1, hypercore.md §7). One message
of that channel, of type 0, is one envelope. Strangers are refused by their key in the handshake,
and get no more handshakes than `admission` allows.

The protocol is `coinflip.machine`'s; here are only sockets, time-outs, queues and tasks:

- inputs reach a machine one at a time, and its effects are carried out in order before the next;
- an own envelope is on disk before anything that follows it is queued;
- sending never waits: each connection has a bounded queue, and who does not read loses it;
- a lost connection is dialled again, with back-off, until Tx.

What a flood costs. Whatever a fellow sends, its machine stops listening when the peer's credit is
used up (`coinflip.credit`: some fifty refused messages at n = 10), and a connection ends that
carries more than `MAX_STRAYS` messages for no channel. Nothing is read after that cut, so that a
flood has one price however long it is: a few milliseconds of a core beyond decrypting what was
read, at most 1 ms for each megabyte (10⁶ bytes) of a flood of ten. No more than `INCOMING_BYTES`,
one frame and one read wait in memory for each connection. Then the peer is barred for `BAR_S`,
doubling up to `MAX_BAR_S`: one that floods again and again is cut a dozen times in a flip of eight
minutes. What was refused is counted by peer and reason (`Attended.statistics`) and told once for
each (`Refused`).
"""

from __future__ import annotations

import math
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import trio

from chain_types.report import PeerMetrics
from offchain_worker.coinflip.effects import (
    BulkAsked,
    BulkHeard,
    Disconnect,
    Effect,
    Exit,
    Found,
    Journal,
    Outcome,
    PongHeard,
    Send,
)
from offchain_worker.coinflip.envelope import (
    MAX_MESSAGE_BYTES,
    NONCE_BYTES,
    BulkData,
    SignedEnvelope,
    encode,
)
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.hypercore.connection import (
    Channel,
    Connection,
    Offer,
    open_connection,
    wall_clock_ms,
)
from offchain_worker.hypercore.errors import HypercoreError, TooManyStrays, Unreachable
from offchain_worker.keys import KeyPair
from offchain_worker.measurement.pings import PeerMeter, peer_metrics
from offchain_worker.measurement.turns import Turns
from offchain_worker.swarm.admission import Admission, source_of
from offchain_worker.swarm.dial import dial
from offchain_worker.swarm.statistics import RunLedger, RunStatistics

PROTOCOL = "datdot/coinflip/1"
ENVELOPE = 0
"""The one message type of the channel."""

QUEUE_MESSAGES = 256
MAX_FRAME = MAX_MESSAGE_BYTES + 1_024
"""Of a secret-stream frame: one envelope and what protomux and encryption add."""

INCOMING_BYTES = 128 * 1_024
"""What waits at most on a connection for its machine; then nothing is read from it."""
MAX_STRAYS = 256
"""Keep-alives and messages for no channel on one connection: the former for twenty minutes."""
BULK_FRAME = 16 * 1_024
"""Of a bulk transfer; small, since what arrives with the first of them is not counted."""
MAX_LATE = 0.2
"""Which part of a slot may pass until its transfer begins; how much of it is drawn."""
BAR_S = 1.0
MAX_BAR_S = 60.0
"""How long a peer that was cut off is kept out: first, and at most."""


@dataclass(frozen=True)
class PeerAddress:
    """Where a roster member listens: its session key, and the endpoint that the chain names."""

    public_key: bytes
    host: str
    port: int


@dataclass(frozen=True)
class SwarmLimits:
    """Time-outs in seconds, and bounds.

    Attributes:
        connect_s: for TCP to stand.
        handshake_s: for Noise and headers.
        open_s: until the channel is open on both sides.
        idle_s: without a byte from the peer, or without one taken by it.
        retry_s: first pause before dialling again; doubles up to `max_retry_s`.
        max_retry_s: longest pause.
        newcomers: incoming connections that have not opened a channel yet, at most; one more
            displaces the oldest.
        ping_s: between pings to a peer, on the average: each pause is between half and one and
            a half of that, so that members do not ping in step.
        bulk_bytes: of the one transfer asked of each peer, at most 1 MiB; 0 for none.
        bulk_s: for that transfer; then others have their turn, whether it is complete or not.
    """

    connect_s: float = 5.0
    handshake_s: float = 5.0
    open_s: float = 5.0
    idle_s: float = 15.0
    retry_s: float = 0.05
    max_retry_s: float = 1.0
    newcomers: int = 64
    ping_s: float = 0.25
    bulk_bytes: int = 256 * 1024
    bulk_s: float = 2.0


@dataclass(frozen=True)
class PeerConnected:
    """A connection for this run stands."""

    peer: int


@dataclass(frozen=True)
class PeerLost:
    """A connection, or the attempt to make one, ended; `reason` is for people."""

    peer: int
    reason: str


RunEvent = Effect | PeerConnected | PeerLost
Dial = Callable[[PeerAddress], Awaitable[trio.abc.Stream]]
Blocking = Callable[..., Awaitable[None]]
Source = Callable[[trio.abc.Stream], str | None]


class SignJournal(Protocol):
    """What a run needs of `coinflip.journal.Journal`; both calls block until it is on disk."""

    def record(self, envelope: SignedEnvelope, support: Sequence[bytes] = ()) -> None:
        """Write down an own envelope; raises JournalError."""

    def keep_evidence(self, identifier: bytes, topic: bytes, proof: bytes) -> None:
        """Keep a proof; raises JournalError."""


@dataclass(frozen=True)
class Attended:
    """What a run came to.

    Attributes:
        outcome: the machine's exit.
        peers: round trips and throughput of the fellow attestors, for the report.
        statistics: what happened with whom, for operators.
    """

    outcome: Outcome
    peers: tuple[PeerMetrics, ...]
    statistics: RunStatistics


async def dial_tcp(address: PeerAddress) -> trio.abc.Stream:
    """Connect to a peer by TCP.

    Raises:
        Unreachable: it did not come about, or the endpoint is no address.
    """
    try:
        return await dial(address.host, address.port, timeout=math.inf)
    except ValueError as error:
        raise Unreachable(str(error)) from error


def source_address(stream: trio.abc.Stream) -> str | None:
    """The source of an incoming connection, as `admission` counts it; None if it has none.

    Raises:
        OSError: the connection is gone already.
    """
    if isinstance(stream, trio.SocketStream):
        return source_of(str(stream.socket.getpeername()[0]))
    return None


def _ignore(_event: RunEvent) -> None:
    pass


def _ignore_reason(_reason: str) -> None:
    pass


class _Line:
    """A peer's connection as one run uses it: a bounded queue in front of the channel."""

    def __init__(self, channel: Channel, on_sent: Callable[[int], None]) -> None:
        self.channel = channel
        self.lost = ""
        self.cut_off = False
        self._on_sent = on_sent
        self._bulk_left = self._bulk_due = 0
        self._bulk_asked = trio.Event()
        self._bulk_sent = trio.Event()
        self._send, self._queue = trio.open_memory_channel[bytes](QUEUE_MESSAGES)
        self._scope = trio.CancelScope()

    def send(self, data: bytes) -> None:
        """Queue a message, or give the line up when the peer does not read."""
        try:
            self._send.send_nowait(data)
        except trio.WouldBlock:
            self.close("it does not read")

    def ask_bulk(self, size: int) -> None:
        """The peer asked for that many bytes; they follow when it is our turn."""
        self._bulk_left = size
        self._bulk_asked.set()

    def close(self, reason: str, *, cut_off: bool = False) -> None:
        """End it; what is queued is lost. With `cut_off` for what the peer did."""
        self.lost = self.lost or reason
        self.cut_off = self.cut_off or cut_off
        self._scope.cancel()

    async def serve(
        self,
        receive: Callable[[bytes, float], Awaitable[None]],
        bulk_frame: bytes,
        take_turn: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        """Read and write until the line ends, by either side. Cancellation ends it as well.

        Args:
            receive: called with each envelope and its time.
            bulk_frame: an envelope of `BULK_FRAME` bytes of bulk.
            take_turn: held while the bulk that the peer asked for is sent.
        """
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, bulk_frame)
                nursery.start_soon(self._serve_bulk, take_turn)
                async for incoming in self.channel:
                    if incoming.type != ENVELOPE:
                        self.close("it sent a message of an unknown type", cut_off=True)
                        break
                    await receive(incoming.body, incoming.arrived)
                    if self._scope.cancel_called:
                        break
                nursery.cancel_scope.cancel()
        error = self.channel.error
        if error is not None:
            self.close(str(error), cut_off=isinstance(error, TooManyStrays))

    async def _serve_bulk(self, take_turn: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        """Let what the peer asked for follow whenever nothing else waits; a peer asks once."""
        await self._bulk_asked.wait()
        async with take_turn():
            self._bulk_due = self._bulk_left
            # An empty message wakes the writer and is not sent.
            self.send(b"")
            await self._bulk_sent.wait()

    async def _write(self, bulk_frame: bytes) -> None:
        overhead = len(bulk_frame) - BULK_FRAME
        try:
            async for data in self._queue:
                if data:
                    await self.channel.send(ENVELOPE, data)
                    self._on_sent(len(data))
                while self._bulk_due and not self._queue.statistics().current_buffer_used:
                    size = min(self._bulk_due, BULK_FRAME)
                    self._bulk_due -= size
                    await self.channel.send(ENVELOPE, bulk_frame[: overhead + size])
                    self._on_sent(overhead + size)
                    # One frame at a time, so that what is urgent never queues behind many.
                    await self.channel.connection.flush()
                    if not self._bulk_due:
                        self._bulk_sent.set()
        except HypercoreError as error:
            self.close(str(error), cut_off=isinstance(error, TooManyStrays))


class _Turn:
    """One bulk transfer of this worker at a time, whichever run it belongs to, in or out."""

    def __init__(self, longest_s: float, on_taken: Callable[[], None]) -> None:
        self._longest_s = longest_s
        self._on_taken = on_taken
        self._lock = trio.Lock()

    @property
    def taken(self) -> bool:
        """Whether one is going on."""
        return self._lock.locked()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for the turn, and hold it for the body, which is cut off when it takes too long."""
        async with self._lock:
            self._on_taken()
            with trio.move_on_after(self._longest_s):
                yield


@dataclass
class _Bar:
    """A peer that was cut off: until when it is kept out, and how long the next time."""

    until: float
    next_s: float


class _Meeting:
    """One machine with its lines; the lock makes its inputs and effects one sequence."""

    def __init__(
        self,
        machine: CoinflipMachine,
        journal: SignJournal,
        on_event: Callable[[RunEvent], None],
        clock_ms: Callable[[], int],
        blocking: Blocking,
        turn: _Turn,
    ) -> None:
        self.machine = machine
        self.topic = machine.flip.topic
        self.failure: Exception | None = None
        self.scope = trio.CancelScope()
        self.exited = trio.Event()
        self.meters: dict[int, PeerMeter] = {}
        self.ledger = RunLedger(
            machine.flip.size, machine.index, machine.schedule.start_ms, clock_ms
        )
        self._on_event = on_event
        self._journal = journal
        self._clock_ms = clock_ms
        self._blocking = blocking
        self._lock = trio.Lock()
        self._lines: dict[int, _Line] = {}
        self._bars: dict[int, _Bar] = {}
        self._bulk_done: dict[int, trio.Event] = {}
        self._closed = False
        self._bulk_frame = encode(BulkData(bytes(BULK_FRAME)), machine.flip, machine.index)
        self._turn = turn
        # Not a secret: members shall only not do the same at the same moment.
        self._dice = random.Random(self.topic + machine.flip.roster[machine.index])  # noqa: S311

    def meter(self, peer: int) -> PeerMeter:
        return self.meters.setdefault(peer, PeerMeter())

    @property
    def connected(self) -> list[int]:
        return sorted(self._lines)

    def tell(self, event: RunEvent) -> None:
        """Count an event, then pass it on."""
        match event:
            case PeerConnected(peer):
                self.ledger.connected(peer)
            case PeerLost(peer, reason):
                self.ledger.lost(peer, reason)
            case _:
                self.ledger.happened(event)
        self._on_event(event)

    def expects(self, public_key: bytes) -> bool:
        """Whether that key is a fellow's that may connect now."""
        roster = self.machine.flip.roster
        return public_key in roster and self.barred_s(roster.index(public_key)) <= 0

    def barred_s(self, peer: int) -> float:
        """For how many seconds `peer` is still kept out."""
        bar = self._bars.get(peer)
        return 0.0 if bar is None else bar.until - trio.current_time()

    def _bar(self, peer: int) -> None:
        now = trio.current_time()
        bar = self._bars.setdefault(peer, _Bar(now, BAR_S))
        bar.until = now + bar.next_s
        bar.next_s = min(2 * bar.next_s, MAX_BAR_S)

    async def apply(
        self, step: Callable[..., list[Effect]], *arguments: object, arrived: float = 0.0
    ) -> None:
        """Feed the machine and carry out what it asks for; after `close`, do nothing.

        `step` is an input of the machine, called with the time and `arguments`. It is a checkpoint
        only if it has to wait: it is called for each message.
        """
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            if self._closed:
                return
            for effect in step(self._clock_ms(), *arguments):
                await self._carry_out(effect, arrived)
        except Exception as error:
            # Raised again by `run`, in its own task: this one may be that of an incoming
            # connection, where it would end the listener for all runs.
            self.failure = self.failure or error
            self.scope.cancel()
        finally:
            self._lock.release()

    async def attend(self, peer: int, channel: Channel) -> None:
        """Use `channel` as the line to `peer` until either side ends it.

        A newer line takes the place of an older one: a peer that restarted is not kept out by
        its own half-open connection. Cut off for what it did, the peer is barred. Cancelled, the
        machine is not told: its run is over.
        """
        line = _Line(channel, lambda size: self.ledger.sent(peer, size))
        if peer in self._lines:
            self._lines[peer].close("it connected again")
        self._lines[peer] = line
        self.tell(PeerConnected(peer))

        async def receive(data: bytes, arrived: float) -> None:
            if self._lines.get(peer) is line:
                self.ledger.received(peer, len(data))
                await self.apply(self.machine.received, peer, data, arrived=arrived)

        try:
            await self.apply(self.machine.connected, peer)
            await line.serve(receive, self._bulk_frame, self._turn.take)
        finally:
            current = self._lines.get(peer) is line
            if current:
                del self._lines[peer]
            channel.close()
        if line.cut_off:
            self._bar(peer)
            channel.connection.close()
        if not self._closed:
            self.tell(PeerLost(peer, line.lost))
        if current:
            await self.apply(self.machine.disconnected, peer)

    def close(self) -> None:
        """End all lines and say nothing more."""
        self._closed = True
        for line in self._lines.values():
            line.close("the run is over")

    async def keep_time(self) -> None:
        """Wake the machine when it wants, until its run is over."""
        longest = self.machine.schedule.delta_ms
        while (wake := self.machine.wake_ms) is not None:
            pause = min(max(1, wake - self._clock_ms()), longest)
            await trio.sleep(pause / 1000)
            await self.apply(self.machine.tick)

    async def ping(self, interval: float) -> None:
        """Ping every peer, for ever.

        Answers that share the link with a bulk transfer say little about it: what is sent, or not
        yet answered, during one of ours is no sample.
        """
        while True:
            for peer in self.connected:
                nonce = secrets.token_bytes(NONCE_BYTES)
                connection = self._lines[peer].channel.connection
                connection.stamp_next(partial(self._ping_sent, peer, nonce))
                await self.apply(self.machine.ping, peer, nonce)
            await trio.sleep(interval * self._dice.uniform(0.5, 1.5))

    def _ping_sent(self, peer: int, nonce: bytes, at: float) -> None:
        if not self._turn.taken:
            self.meter(peer).ping_sent(nonce, at)

    def forget_pings(self) -> None:
        """A transfer begins: what is not answered yet would wait behind it."""
        for meter in self.meters.values():
            meter.forget_pings()

    async def measure_throughput(self, size: int) -> None:
        """Ask each peer once for `size` bytes, each in its slot, as long as the run goes on.

        After the exit, so that it delays nothing that counts. All slots pass once between Tc and
        Tx, and before Tc as often as there is time.
        """
        await self.exited.wait()
        schedule, flip = self.machine.schedule, self.machine.flip
        span_ms = schedule.end_ms - schedule.commit_end_ms
        turns = Turns.within(flip.size, self.machine.index, span_ms)
        left = set(range(flip.size)) - {self.machine.index}
        slot = turns.next_slot(self._clock_ms() - schedule.start_ms)
        while left:
            peer = turns.asked_in(slot)
            if peer in left:
                late_ms = turns.slot_ms * self._dice.uniform(0.0, MAX_LATE)
                begin_ms = schedule.start_ms + slot * turns.slot_ms + late_ms
                await trio.sleep(max(0.0, begin_ms - self._clock_ms()) / 1_000)
                if peer in self._lines and not self._turn.taken:
                    left.remove(peer)
                    await self._ask_bulk(peer, size)
            slot = max(slot + 1, turns.next_slot(self._clock_ms() - schedule.start_ms))

    async def _ask_bulk(self, peer: int, size: int) -> None:
        async with self._turn.take():
            self._bulk_done[peer] = done = trio.Event()
            self.meter(peer).bulk_asked(size, trio.current_time())
            await self.apply(self.machine.ask_bulk, peer, size)
            await done.wait()

    async def _carry_out(self, effect: Effect, arrived: float) -> None:
        match effect:
            case Send(peer, data):
                if peer in self._lines:
                    self._lines[peer].send(data)
                return
            case Journal(envelope, support):
                await self._blocking(self._journal.record, envelope, support)
                return
            case Found(evidence):
                keep = self._journal.keep_evidence
                await self._blocking(keep, evidence.id, self.topic, evidence.encoded)
            case Disconnect(peer, reason):
                if peer in self._lines:
                    self._lines[peer].close(reason, cut_off=True)
            case PongHeard(peer, nonce):
                self.meter(peer).pong_arrived(nonce, arrived)
                return
            case BulkAsked(peer, size):
                if peer in self._lines:
                    self._lines[peer].ask_bulk(size)
                return
            case BulkHeard(peer, size):
                if self.meter(peer).bulk_arrived(size, arrived) and peer in self._bulk_done:
                    self._bulk_done[peer].set()
                return
            case Exit():
                self.exited.set()
            case _:
                pass
        self.tell(effect)


class SessionSwarm:
    """An attestor's place in all coinflips that it takes part in; made by `open_session_swarm`.

    Attributes:
        refused: incoming connections that came to nothing, by reason: `rate` (no handshake, see
            `admission`), `displaced`, `no channel`, `gone`, or the name of the error.
    """

    def __init__(
        self,
        keypair: KeyPair,
        dial_peer: Dial,
        limits: SwarmLimits,
        clock_ms: Callable[[], int],
        on_refused: Callable[[str], None],
        blocking: Blocking,
        source: Source,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self._keypair = keypair
        self._dial = dial_peer
        self._limits = limits
        self._clock_ms = clock_ms
        self._on_refused = on_refused
        self._blocking = blocking
        self._meetings: dict[bytes, _Meeting] = {}
        self._source = source
        self._admission = Admission()
        self._newcomers: dict[trio.CancelScope, bool] = {}
        self._turn = _Turn(limits.bulk_s, self._forget_pings)

    async def run(
        self,
        machine: CoinflipMachine,
        peers: Sequence[PeerAddress],
        *,
        journal: SignJournal,
        on_event: Callable[[RunEvent], None] = _ignore,
    ) -> Attended:
        """Take part in one run, from its start to Tx.

        Args:
            machine: not started yet; its key is this swarm's.
            peers: endpoints of the roster; the own one, and members without one, may be missing.
            journal: where own envelopes go before they are sent.
            on_event: called at once with whatever the machine reports (`Exit`, `Anchor`, `Found`,
                `Seen`, `GaveUp`, …) and with connections made and lost; must not wait or raise.
                The exit and the anchor come long before this coroutine returns: it serves the
                others until Tx.

        Cancelled, it closes the run's connections and says nothing more; what was signed is in
        the journal, and a new machine made from that goes on.

        Raises:
            JournalError: the journal could not be written or refused; nothing was sent of it.
            ValueError: the topic is being run already, or an address is of no roster member.
        """
        if machine.flip.topic in self._meetings:
            raise ValueError("this topic is being run already")
        to_dial = [
            (machine.flip.roster.index(address.public_key), address)
            for address in peers
            if self._keypair.public < address.public_key
        ]
        callers = {
            source_of(address.host)
            for address in peers
            if address.public_key < self._keypair.public
        }
        meeting = _Meeting(machine, journal, on_event, self._clock_ms, self._blocking, self._turn)
        self._meetings[meeting.topic] = meeting
        self._admission.begin(callers)
        try:
            with meeting.scope:
                await meeting.apply(machine.start)
                async with trio.open_nursery() as nursery:
                    for peer, address in to_dial:
                        nursery.start_soon(self._keep_dialling, meeting, peer, address)
                    nursery.start_soon(meeting.ping, self._limits.ping_s)
                    if self._limits.bulk_bytes:
                        nursery.start_soon(meeting.measure_throughput, self._limits.bulk_bytes)
                    await meeting.keep_time()
                    nursery.cancel_scope.cancel()
        finally:
            del self._meetings[meeting.topic]
            self._admission.end(meeting.topic, callers)
            meeting.close()
        if meeting.failure is not None:
            raise meeting.failure
        if machine.outcome is None:
            raise RuntimeError("a run that is over has its exit")
        statistics = meeting.ledger.close(machine.refusals)
        return Attended(machine.outcome, peer_metrics(meeting.meters), statistics)

    async def anchored(self, topic: bytes, root: bytes, result: bytes) -> None:
        """Tell a run, if there is one of that topic, what the chain holds."""
        meeting = self._meetings.get(topic)
        if meeting is not None:
            await meeting.apply(meeting.machine.anchored, root, result)

    def _forget_pings(self) -> None:
        for meeting in self._meetings.values():
            meeting.forget_pings()

    # Outgoing

    async def _keep_dialling(self, meeting: _Meeting, peer: int, address: PeerAddress) -> None:
        limits = self._limits
        pause = limits.retry_s
        while True:
            began = trio.current_time()
            try:
                await self._call(meeting, peer, address)
            except (OSError, HypercoreError, trio.TooSlowError) as error:
                reason = str(error) or "it did not answer in time"
                meeting.tell(PeerLost(peer, reason))
            if trio.current_time() - began > limits.max_retry_s:
                pause = limits.retry_s
            await trio.sleep(max(pause, meeting.barred_s(peer)))
            pause = min(2 * pause, limits.max_retry_s)

    async def _call(self, meeting: _Meeting, peer: int, address: PeerAddress) -> None:
        """Dial a peer and attend until the line ends; raises when it does not come about."""
        limits = self._limits
        with trio.fail_after(limits.connect_s):
            stream = await self._dial(address)
        async with open_connection(
            stream,
            self._keypair,
            initiator=True,
            timeout=limits.handshake_s,
            accept=lambda key: key == address.public_key,
            max_frame=MAX_FRAME,
            idle_timeout=limits.idle_s,
            incoming_bytes=INCOMING_BYTES,
            max_strays=MAX_STRAYS,
        ) as connection:
            channel = await connection.open_channel(
                PROTOCOL, meeting.topic, b"", timeout=limits.open_s
            )
            await meeting.attend(peer, channel)

    # Incoming

    async def _welcome(self, stream: trio.abc.Stream) -> None:
        """Serve one incoming connection: a handshake, one channel, then its run."""
        try:
            source = self._source(stream)
        except OSError:
            await trio.aclose_forcefully(stream)
            self._refuse("gone")
            return
        if source is not None and not self._admission.admit(source, trio.current_time()):
            await trio.aclose_forcefully(stream)
            self._refuse("rate")
            return
        scope = trio.CancelScope()
        self._newcomers[scope] = source is None or self._admission.is_fellow(source)
        self._displace()
        try:
            with scope:
                async with open_connection(
                    stream,
                    self._keypair,
                    initiator=False,
                    timeout=self._limits.handshake_s,
                    accept=self._expects,
                    max_frame=MAX_FRAME,
                    idle_timeout=self._limits.idle_s,
                    incoming_bytes=INCOMING_BYTES,
                    max_strays=MAX_STRAYS,
                ) as connection:
                    found = await self._next_channel(connection)
                    self._newcomers.pop(scope, None)
                    if found is None:
                        self._refuse("no channel")
                    else:
                        meeting, channel = found
                        peer = meeting.machine.flip.roster.index(connection.remote_public_key)
                        if source is not None:
                            now = trio.current_time()
                            self._admission.recognise(source, meeting.topic, peer, now)
                        await meeting.attend(peer, channel)
            if scope.cancelled_caught:
                self._refuse("displaced")
        except HypercoreError as error:
            self._refuse(type(error).__name__)
        finally:
            self._newcomers.pop(scope, None)

    def _displace(self) -> None:
        """Make room: the one goes that has taken longest, strangers' addresses first.

        An honest one needs milliseconds, so that a crowd that says nothing keeps nobody out.
        """
        if len(self._newcomers) > self._limits.newcomers:
            strangers = (scope for scope, fellow in self._newcomers.items() if not fellow)
            oldest = next(strangers, next(iter(self._newcomers)))
            del self._newcomers[oldest]
            oldest.cancel()

    async def _next_channel(self, connection: Connection) -> tuple[_Meeting, Channel] | None:
        """The first channel that the peer opens for a run of ours that it belongs to."""
        accepted: list[tuple[_Meeting, Channel]] = []
        opened = trio.Event()

        def decide(offer: Offer) -> None:
            meeting = self._meetings.get(offer.id)
            if accepted or meeting is None:
                return
            if meeting.expects(connection.remote_public_key):
                accepted.append((meeting, offer.accept(b"")))
                opened.set()

        connection.pair(PROTOCOL, None, decide)
        with trio.move_on_after(self._limits.open_s):
            await opened.wait()
        return accepted[0] if accepted else None

    def _expects(self, public_key: bytes) -> bool:
        """Whether that key belongs to a run of ours and is the one that dials."""
        return public_key < self._keypair.public and any(
            meeting.expects(public_key) for meeting in self._meetings.values()
        )

    def _refuse(self, reason: str) -> None:
        self.refused[reason] += 1
        count = self.refused[reason]
        if count & (count - 1) == 0:
            self._on_refused(reason)


@asynccontextmanager
async def open_session_swarm(
    keypair: KeyPair,
    listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
    *,
    dial_peer: Dial = dial_tcp,
    limits: SwarmLimits | None = None,
    clock_ms: Callable[[], int] = wall_clock_ms,
    on_refused: Callable[[str], None] = _ignore_reason,
    blocking: Blocking | None = None,
    source: Source = source_address,
) -> AsyncIterator[SessionSwarm]:
    """Listen for fellow attestors as long as the body runs.

    Args:
        keypair: the session key.
        listeners: e.g. of `trio.open_tcp_listeners(port, host=…)`; closed at the end.
        dial_peer: makes the transport to a peer; raises OSError or HypercoreError.
        limits: time-outs and bounds.
        clock_ms: ms since 1970.
        on_refused: told why an incoming connection came to nothing, at the first of each reason
            and whenever their number (`SessionSwarm.refused`) has doubled: a crowd fills no log.
        blocking: runs the journal's calls, in a thread when left out; on a mock clock, which does
            not wait for threads, a test runs them in place.
        source: where an incoming connection comes from; None: it is not limited by that.

    At the end of the body, or cancelled, all connections are closed.
    """
    swarm = SessionSwarm(
        keypair,
        dial_peer,
        limits or SwarmLimits(),
        clock_ms,
        on_refused,
        blocking or trio.to_thread.run_sync,
        source,
    )
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, swarm._welcome, list(listeners))
        try:
            yield swarm
        except BaseException as error:
            # Raised again below, outside the nursery, which would wrap it in a group.
            failure = error
        finally:
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
