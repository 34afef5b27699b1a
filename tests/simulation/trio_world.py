"""One scenario, run twice: in the simulator, and on Trio with a mock clock through the real shell.

`Plan` is what both worlds can express: who takes part and from when on, the delay of each link,
links that are cut for a time, a member that crashes and comes back with its journal, and members
that lie. A liar is a machine whose effects are altered (`Liar`), so that one and the same class
lies in both. Keys and secrets are the simulator's; the chain's anchor reaches each member on Trio
at the moment at which it did in the simulator.

On Trio all is real but sockets and time: `SessionSwarm`, its connections with their handshakes and
encryption, its queues and back-off, over streams in memory that delay what is written to them.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing
from memory_listener import MemoryListener
from row_tools import Notes

from offchain_worker.coinflip.attempts import Attempt
from offchain_worker.coinflip.effects import (
    Anchor,
    Effect,
    Malicious,
    Offline,
    Outcome,
    Send,
    Success,
)
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.hashing import blake2b_256
from offchain_worker.coinflip.journal import JournalConflict, Record
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.participation import Participation
from offchain_worker.simulation.adversary import Deviant, own_of, without
from offchain_worker.simulation.chain import Anchored, ChainPlan, ChainTiming
from offchain_worker.simulation.draw import only
from offchain_worker.simulation.keyring import checked
from offchain_worker.simulation.network import LinkPlan, constant
from offchain_worker.simulation.scenario import DEVELOPMENT, Scenario, Trouble
from offchain_worker.simulation.seat import Crash, Seat
from offchain_worker.simulation.strategies import Silent
from offchain_worker.simulation.world import T0, World
from offchain_worker.swarm.roster import PeerAddress, SessionSwarm, SwarmLimits, open_session_swarm


@dataclass(frozen=True)
class Lie:
    """How a member lies.

    Attributes:
        what: `honest`, `no reveal`, `bad reveal`, `two commits`, `commit again`, `no echo`,
            `other echo`, `late echo`, `gives up`, `no commit`.
        to: indices that are lied to.
        keeps_result: it does not anchor R.
        not_before_ms: after s_a; its echo waits so long.
        attempts: in which it lies.
    """

    what: str
    to: frozenset[int] = frozenset()
    keeps_result: bool = True
    not_before_ms: int = 0
    attempts: frozenset[int] = frozenset(range(8))


@dataclass(frozen=True)
class Cut:
    """A link that is broken for a time, ms after T0."""

    a: int
    b: int
    since_ms: int
    until_ms: int


@dataclass(frozen=True)
class Plan:
    """A scenario for both worlds; places are positions in the roster."""

    seed: int
    size: int
    liars: Mapping[int, Lie] = field(default_factory=dict)
    absent: frozenset[int] = frozenset()
    delays: Mapping[frozenset[int], int] = field(default_factory=dict)
    cuts: Sequence[Cut] = ()
    crashes: Mapping[int, Crash] = field(default_factory=dict)
    late: Mapping[int, int] = field(default_factory=dict)
    start_within_ms: int = 100
    timing: ChainTiming = DEVELOPMENT

    def delay_ms(self, a: int, b: int) -> int:
        """One way, of a link."""
        return self.delays.get(frozenset({a, b}), 10)


@dataclass(frozen=True)
class End:
    """What a member's run of one attempt came to."""

    exit: str
    peers: tuple[int, ...]
    phase: str
    result: bytes | None
    root: bytes | None
    evidence: tuple[bytes, ...]
    may_retry: bool

    @classmethod
    def of(cls, machine: CoinflipMachine) -> End:
        """Of a machine whose run is over."""
        outcome: Outcome | None = machine.outcome
        peers: tuple[int, ...] = ()
        phase, result, root = "", None, None
        if isinstance(outcome, Success):
            result, root = outcome.result, outcome.root
        elif isinstance(outcome, Malicious):
            peers = outcome.peers
        elif isinstance(outcome, Offline):
            peers, phase = outcome.peers, outcome.phase.value
        return cls(
            type(outcome).__name__,
            peers,
            phase,
            result,
            root,
            tuple(sorted(machine.evidence)),
            machine.may_retry,
        )


class Liar(CoinflipMachine):
    """The real machine, whose effects are altered on their way out."""

    def __init__(self, lie: Lie, *arguments: Any, **options: Any) -> None:
        self.lie = lie
        self.told = 0
        """Messages that were altered or held back."""
        self._held: list[Send] = []
        super().__init__(*arguments, **options)
        self._lies = self.flip.attempt in lie.attempts

    def _may_commit(self) -> bool:
        return super()._may_commit() and not self._does("no commit")

    def _may_echo(self) -> bool:
        return super()._may_echo() and not self._does("gives up")

    def _must_give_up(self) -> bool:
        if self._does("gives up"):
            return Kind.COMMIT in self._own and self._may_sign(Kind.ECHO)
        return super()._must_give_up()

    def _does(self, what: str) -> bool:
        does = self.lie.what == what and self._lies
        self.told += does and what in ("no commit", "gives up")
        return does

    def _effects(self) -> list[Effect]:
        out: list[Effect] = []
        for effect in super()._effects():
            if isinstance(effect, Send) and self._lies:
                out += self._altered(effect)
            elif not (isinstance(effect, Anchor) and self.lie.keeps_result):
                out.append(effect)
        if self._held and not self._early:
            held, self._held = self._held, []
            for send in held:
                out += self._altered(send)
        return out

    @property
    def _early(self) -> bool:
        return self._now < self.schedule.start_ms + self.lie.not_before_ms

    def _altered(self, send: Send) -> list[Effect]:
        data = send.data
        said = self._said(send.peer, data)
        if said == [data]:
            kind = own_of(data, self.index)
            if self._early and kind is Kind.ECHO:
                said = []
                self._held.append(send)
                self.told += 1
            elif self._early:
                said = list(without(data, self.index, Kind.ECHO))
        else:
            self.told += 1
        return [Send(send.peer, one) for one in said]

    def _said(self, peer: int, data: bytes) -> list[bytes]:
        """What is said to a peer in place of a message."""
        own = own_of(data, self.index)
        lied_to = peer in self.lie.to
        match self.lie.what:
            case "no reveal" if lied_to:
                return list(without(data, self.index, Kind.REVEAL))
            case "no echo" if lied_to:
                return list(without(data, self.index, Kind.ECHO))
            case "bad reveal" if lied_to:
                return self._instead(own, data, Kind.REVEAL, b"\6" * 64)
            case "two commits" if lied_to:
                return self._instead(
                    own,
                    data,
                    Kind.COMMIT,
                    self._second.commit_body(self.flip.topic, self._keypair.public),
                )
            case "other echo" if lied_to and not self._early:
                return self._instead(own, data, Kind.ECHO, b"\7" * 32)
            case "commit again" if lied_to and own is Kind.REVEAL:
                body = self._second.commit_body(self.flip.topic, self._keypair.public)
                return [data, self._sign(Kind.COMMIT, body)]
        return [data]

    def _instead(self, own: Kind | None, data: bytes, kind: Kind, body: bytes) -> list[bytes]:
        if own is kind:
            return [self._sign(kind, body)]
        return list(without(data, self.index, kind))

    def _sign(self, kind: Kind, body: bytes) -> bytes:
        return SignedEnvelope.sign(kind, self.flip.topic, self.index, body, self._keypair).raw

    @property
    def _second(self) -> FlipSecrets:
        """Other secrets, the same in both worlds."""
        seed = blake2b_256(self.flip.topic, self._keypair.public)
        return FlipSecrets(*(blake2b_256(seed, bytes([n])) for n in range(4)))


# The simulator


class LyingSeat(Deviant):
    """A liar's seat in the simulator."""

    def __init__(self, world: World, place: int, lie: Lie) -> None:
        super().__init__(world, place)
        self.lie = lie
        self.machines: list[Liar] = []

    def make_machine(
        self, attempt: Attempt, secrets: FlipSecrets, cautious: bool
    ) -> CoinflipMachine:
        topic = attempt.flip.topic
        machine = Liar(
            self.lie,
            attempt.flip,
            self.keypair,
            secrets,
            attempt.schedule,
            records=self.disk.records(topic),
            proofs=self.disk.evidence(topic),
            cautious=cautious,
            verify_signature=checked,
        )
        self.machines.append(machine)
        return machine

    def send(self, run: Any, index: int, line: Any, data: bytes) -> None:
        """Its machine has altered it already."""
        self.world.network.transmit(line, self, data)


@dataclass
class Simulated:
    """What the simulator made of a plan, and what Trio needs of it."""

    world: World
    ends: dict[tuple[int, int], End]
    anchors: list[tuple[int, int, Anchored]]
    """(ms, place, event): when members heard of the anchor."""
    lied: int


def simulate(plan: Plan) -> Simulated:
    """Run it in the simulator."""

    def block(cuts: Iterable[Cut]) -> Callable[[World], None]:
        pairs = [(cut.a, cut.b) for cut in cuts]

        def act(world: World) -> None:
            idents = {seat.place: seat.ident for seat in world.seats}
            one_way = {(idents[a], idents[b]) for a, b in pairs}
            world.network.block(frozenset(one_way | {(b, a) for a, b in one_way}))

        return act

    moments = sorted({at for cut in plan.cuts for at in (cut.since_ms, cut.until_ms)})
    troubles = [
        Trouble(at, block([cut for cut in plan.cuts if cut.since_ms <= at < cut.until_ms]))
        for at in moments
    ]
    dishonest = {place: only(_lying(lie)) for place, lie in plan.liars.items()}
    dishonest |= dict.fromkeys(plan.absent, only(Silent))
    scenario = Scenario(
        seed=plan.seed,
        size=plan.size,
        timing=plan.timing,
        dishonest=dishonest,
        links=LinkPlan(constant(10), waits=False, breaks=True, handshake_ms=20),
        troubles=troubles,
        crashes={place: [crash] for place, crash in plan.crashes.items()},
        chain=ChainPlan(finality_ms=plan.timing.finality_ms, late=dict(plan.late)),
        start_within_ms=plan.start_within_ms,
    )
    notes = Notes()
    world = World(scenario, notes)
    _delay_links(world, plan)
    anchors: list[tuple[int, int, Anchored]] = []
    for listener in world.chain.listeners:
        if isinstance(listener, Seat):
            _note_anchor(listener, anchors)
    world.run()
    machines: dict[tuple[int, int], CoinflipMachine] = {}
    for _at, place, run, _outcome in notes.exits:
        machines[place, run.attempt.flip.attempt] = run.machine
    liars = [seat for seat in world.seats if isinstance(seat, LyingSeat)]
    lied = sum(machine.told for seat in liars for machine in seat.machines)
    return Simulated(world, {key: End.of(one) for key, one in machines.items()}, anchors, lied)


def _lying(lie: Lie) -> Callable[[World, int], LyingSeat]:
    return lambda world, place: LyingSeat(world, place, lie)


def _delay_links(world: World, plan: Plan) -> None:
    """Each link has its own delay."""
    network = world.network
    transmit = network.transmit

    def delayed(line: Any, sender: Any, data: bytes) -> None:
        network._latency = constant(plan.delay_ms(line.a.place, line.b.place))
        transmit(line, sender, data)

    network.transmit = delayed
    for seat in world.seats:
        if isinstance(seat, Seat):
            seat._transmit = delayed


def _note_anchor(seat: Seat, anchors: list[tuple[int, int, Anchored]]) -> None:
    hear = seat.hear

    def note(event: Any) -> None:
        if isinstance(event, Anchored) and seat.up:
            anchors.append((seat.world.scheduler.now, seat.place, event))
        hear(event)

    seat.hear = note


# Trio


@dataclass
class MemoryJournal:
    """A member's journal; outlives its crashes, and refuses a second body."""

    records: dict[bytes, dict[Kind, Record]] = field(default_factory=dict)
    proofs: dict[bytes, list[bytes]] = field(default_factory=dict)
    concluded: dict[bytes, bool] = field(default_factory=dict)

    def record(self, envelope: SignedEnvelope, support: Sequence[bytes] = ()) -> None:
        known = self.records.setdefault(envelope.topic, {})
        if envelope.kind in known and known[envelope.kind].envelope != envelope.raw:
            raise JournalConflict("another body is on record")
        known[envelope.kind] = Record(envelope.raw, tuple(support))

    def keep_evidence(self, _identifier: bytes, topic: bytes, proof: bytes) -> None:
        self.proofs.setdefault(topic, []).append(proof)


async def in_place(call: Callable[..., None], *arguments: object) -> None:
    call(*arguments)
    await trio.lowlevel.checkpoint()


class TrioWorld:
    """The same plan on Trio."""

    def __init__(self, plan: Plan, simulated: Simulated) -> None:
        self.plan = plan
        self.world = simulated.world
        self.anchors = simulated.anchors
        self.attempts = self.world.attempts(self.world.chain.start_hash)
        self.pairs = self.world.keypairs
        self.addresses = [
            PeerAddress(pair.public, "memory", place) for place, pair in enumerate(self.pairs)
        ]
        self.listeners: dict[int, MemoryListener] = {}
        self.swarms: dict[int, SessionSwarm] = {}
        self.journals = [MemoryJournal() for _ in self.pairs]
        self.seats = {seat.place: seat for seat in self.world.seats}
        self.ends: dict[tuple[int, int], End] = {}
        self.pipes: dict[frozenset[int], list[trio.abc.Stream]] = {}
        self.cut: set[frozenset[int]] = set()
        self.nursery: trio.Nursery | None = None
        self.anchored: dict[int, Anchored] = {}
        self.runs = 0
        self.broken = 0

    def clock_ms(self) -> int:
        return T0 + round(trio.current_time() * 1_000)

    async def until(self, at_ms: int) -> None:
        """Sleep until then, ms since 1970."""
        await trio.sleep(max(0, at_ms - T0 - trio.current_time() * 1_000) / 1_000)

    async def run(self) -> None:
        """Everybody takes part, until all attempts are over."""
        async with trio.open_nursery() as lines:
            self.nursery = lines
            async with trio.open_nursery() as nursery:
                for cut in self.plan.cuts:
                    nursery.start_soon(self._cut, cut)
                for at_ms, place, event in self.anchors:
                    nursery.start_soon(self._anchor, at_ms, place, event)
                for place in range(self.plan.size):
                    if place not in self.plan.absent:
                        nursery.start_soon(self._live, place)
            lines.cancel_scope.cancel()

    # Links

    async def dial(self, place: int, address: PeerAddress) -> trio.abc.Stream:
        link = frozenset({place, address.port})
        delay = self.plan.delay_ms(place, address.port) / 1_000
        await trio.sleep(delay)
        listener = self.listeners.get(address.port)
        self.broken += link in self.cut
        if listener is None or link in self.cut:
            raise ConnectionRefusedError("nobody is reached there")
        near, near_end = trio.testing.memory_stream_pair()
        far_end, far = trio.testing.memory_stream_pair()
        try:
            listener.push.send_nowait(far)
        except trio.ClosedResourceError:
            raise ConnectionRefusedError("nobody is reached there any more") from None
        self.pipes.setdefault(link, []).extend((near_end, far_end))
        assert self.nursery is not None
        self.nursery.start_soon(self.pipe, place, near_end, far_end, delay)
        self.nursery.start_soon(self.pipe, address.port, far_end, near_end, delay)
        return near

    async def pipe(self, sender: int, source: Any, sink: Any, delay: float) -> None:
        """Carry a member's bytes, each of them for so long."""
        del sender
        push, pull = trio.open_memory_channel[tuple[float, bytes]](math.inf)

        async def read() -> None:
            with push:
                try:
                    while data := await source.receive_some():
                        push.send_nowait((trio.current_time() + delay, bytes(data)))
                except (trio.ClosedResourceError, trio.BrokenResourceError):
                    pass
                push.send_nowait((trio.current_time() + delay, b""))

        async def write() -> None:
            with pull:
                async for due, data in pull:
                    await trio.sleep_until(due)
                    try:
                        if data:
                            await sink.send_all(data)
                        else:
                            await sink.send_eof()
                    except (trio.ClosedResourceError, trio.BrokenResourceError):
                        break

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await write()
            nursery.cancel_scope.cancel()

    async def _cut(self, cut: Cut) -> None:
        link = frozenset({cut.a, cut.b})
        await self.until(T0 + cut.since_ms)
        self.cut.add(link)
        for end in self.pipes.pop(link, ()):
            self.broken += 1
            await trio.aclose_forcefully(end)
        await self.until(T0 + cut.until_ms)
        self.cut.discard(link)

    # Members

    async def _anchor(self, at_ms: int, place: int, event: Anchored) -> None:
        await self.until(at_ms)
        self.anchored[place] = event
        swarm = self.swarms.get(place)
        if swarm is not None:
            await swarm.anchored(event.topic, event.root, event.result)

    async def _live(self, place: int) -> None:
        """A member's life, with its crash."""
        crash = self.plan.crashes.get(place)
        born = self.seats[place].start_known_ms
        assert born is not None
        if crash is None or crash.at_ms is None:
            await self._process(place, born, None)
            return
        await self._process(place, born, T0 + crash.at_ms)
        if crash.down_ms is not None:
            restart = T0 + crash.at_ms + crash.down_ms
            await self._process(place, max(born, restart), None, up_since=restart)

    async def _process(
        self, place: int, born: int, dies: int | None, *, up_since: int = T0 - 1_000_000
    ) -> None:
        with trio.CancelScope() as scope:
            if dies is not None:
                scope.deadline = (dies - T0) / 1_000
            await self.until(born)
            async with self._swarm(place) as swarm:
                participation = Participation(self.attempts, place)
                journal = self.journals[place]
                participation.resume(
                    self.clock_ms(),
                    may_retry=lambda topic: journal.concluded.get(topic, False),
                    expulsions=(),
                )
                while participation.attempt is not None:
                    await self._attend(swarm, place, participation, up_since)
                    if participation.next_ms is not None and place not in self.anchored:
                        await self.until(participation.next_ms)
                        participation.go_on(())

    async def _attend(
        self, swarm: SessionSwarm, place: int, participation: Participation, up_since: int
    ) -> None:
        attempt = participation.attempt
        assert attempt is not None
        topic, journal = attempt.flip.topic, self.journals[place]
        seat = self.seats[place]
        assert isinstance(seat, Seat)
        secrets = seat.disk.secrets(topic)
        assert secrets is not None
        arguments = attempt.flip, self.pairs[place], secrets, attempt.schedule
        options: dict[str, Any] = {
            "records": dict(journal.records.get(topic, {})),
            "proofs": tuple(journal.proofs.get(topic, ())),
            "cautious": attempt.schedule.start_ms < up_since,
        }
        lie = self.plan.liars.get(place)
        machine = (
            CoinflipMachine(*arguments, **options)
            if lie is None
            else Liar(lie, *arguments, **options)
        )
        self.runs += 1
        await swarm.run(machine, self.addresses, journal=journal)
        journal.concluded[topic] = machine.may_retry
        if lie is None:
            self.ends[place, attempt.flip.attempt] = End.of(machine)
        participation.conclude(may_retry=machine.may_retry)

    @asynccontextmanager
    async def _swarm(self, place: int) -> AsyncIterator[SessionSwarm]:
        listener = self.listeners[place] = MemoryListener()
        try:
            async with open_session_swarm(
                self.pairs[place],
                [listener],
                dial_peer=lambda address: self.dial(place, address),
                limits=SwarmLimits(ping_s=1.0, bulk_bytes=0),
                clock_ms=self.clock_ms,
                blocking=in_place,
            ) as swarm:
                self.swarms[place] = swarm
                yield swarm
        finally:
            del self.listeners[place]
            self.swarms.pop(place, None)


def on_trio(plan: Plan, simulated: Simulated) -> TrioWorld:
    """Run it on Trio; time jumps from one instant at which something happens to the next."""
    return run_on_trio(TrioWorld(plan, simulated))


def run_on_trio(world: TrioWorld) -> TrioWorld:
    """Run a world, perhaps one with more trouble."""
    trio.run(world.run, clock=trio.testing.MockClock(autojump_threshold=0))
    return world
