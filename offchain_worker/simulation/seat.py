"""An honest member through one whole challenge: attempts, journal, crashes, chain, fallback.

What the attestor's shell does with Trio, SQLite and the swarm, this does on virtual time; the
machine inside is the real one. A subclass that deviates in one method is a dishonest seat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from offchain_worker.coinflip.attempts import Attempt, Expulsion
from offchain_worker.coinflip.effects import (
    Anchor,
    Disconnect,
    Effect,
    Exit,
    Found,
    Journal,
    Outcome,
    Refused,
    Seen,
    Send,
    Silenced,
    Success,
)
from offchain_worker.coinflip.evidence import Evidence
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.participation import Participation
from offchain_worker.keys import KeyPair
from offchain_worker.simulation import chain as on_chain
from offchain_worker.simulation.clock import Clock, ClockFault
from offchain_worker.simulation.dice import stream
from offchain_worker.simulation.disk import Disk, TopicUnknown
from offchain_worker.simulation.keyring import checked, read
from offchain_worker.simulation.network import Line
from offchain_worker.simulation.scheduler import Action

if TYPE_CHECKING:
    from offchain_worker.simulation.world import World

KEPT, LOST, STALE = "kept", "lost", "stale"
RESTARTS = {
    KEPT: "restart with the journal",
    LOST: "restart without a journal",
    STALE: "restart with a stale journal",
}
BUNDLE = 17
BUNDLES = bytes([BUNDLE])


@dataclass(frozen=True)
class Crash:
    """One crash and the restart after it.

    Attributes:
        at_write: crashes at this journal write, counted from 1 over the seat's life; None: at
            `at_ms`.
        durable: whether that write is on disk; nothing after it is done in either case.
        at_ms: after T0, for a crash at some moment.
        down_ms: until the restart; None: for good.
        journal: what the restarted process finds: `KEPT`, `LOST` or `STALE`.
        image_write: for `STALE`: the backup was made when so many writes were on disk.
        flush: whether what it sent before still arrives.
    """

    at_write: int | None = None
    durable: bool = True
    at_ms: int | None = None
    down_ms: int | None = 500
    journal: str = KEPT
    image_write: int = 0
    flush: bool = True


class Run:
    """One attempt that a seat takes part in."""

    __slots__ = ("attempt", "index_of", "left", "lines", "machine", "topic")

    def __init__(self, attempt: Attempt, machine: CoinflipMachine) -> None:
        self.attempt = attempt
        self.machine = machine
        self.topic = attempt.flip.topic
        self.lines: list[Line | None] = [None] * attempt.flip.size
        self.left: dict[int, bytes] = {}
        """Own signed envelopes that the watch has seen leave, by kind."""
        self.index_of = {place: index for index, place in enumerate(attempt.places)}


class Seat:
    """A member with the real machine.

    Attributes:
        place: in the start roster.
        honest: whether it follows the rules; a deviating subclass says False.
        outcomes, exit_ms: attempt → the exit of its run, and when that was, in virtual time.
    """

    honest = True
    scripted = False

    def __init__(
        self,
        world: World,
        place: int,
        *,
        crashes: Sequence[Crash] = (),
        clock: ClockFault | None = None,
    ) -> None:
        self.world = world
        self._scheduler = world.scheduler
        self._transmit = world.network.transmit
        self._trace = world.trace
        self._calm = world.scenario.calm
        self.place = place
        self.ident = world.new_ident()
        self.keypair: KeyPair = world.keypairs[place]
        self.dice = stream(world.dice.getrandbits(64))
        self.clock = Clock(world.t0, clock)
        self.disk = Disk(self.clock.read(world.t0) - 1_000_000)
        self.up = True
        self.life = 0
        self.run: Run | None = None
        self.outcomes: dict[int, Outcome] = {}
        self.exit_ms: dict[int, int] = {}
        self.evidence: dict[bytes, Evidence] = {}
        self.refusals: Counter[str] = Counter()
        self.silenced = False
        self.start_hash: bytes | None = None
        self.start_known_ms: int | None = None
        """When the chain shows the challenge to this seat, if it is up then; virtual time."""
        self.anchored: on_chain.Anchored | None = None
        self.opened: on_chain.CommitOpened | None = None
        self.over = False
        self.expulsions: list[Expulsion] = []
        self.sent = 0
        self.last_sent: bytes | None = None
        self._source: tuple[int, bytes] = -1, bytes(1)
        self.participation: Participation | None = None
        self._crashes = [crash for crash in crashes if crash.at_write is not None]
        self._images: dict[int, Disk] = {}
        self._image_writes = {crash.image_write for crash in crashes if crash.journal == STALE}
        if 0 in self._image_writes:
            self._images[0] = self.disk.image()
        for crash in crashes:
            if crash.at_ms is not None:
                world.scheduler.at(world.t0 + crash.at_ms, self._crash, crash)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.place}>"

    @property
    def now(self) -> int:
        """What its clock shows, ms since 1970."""
        clock, now = self.clock, self._scheduler.now
        return now if clock.right else clock.read(now)

    def _later(self, shown_ms: int, action: Action, *arguments: Any) -> None:
        """Have a method run when the clock shows that much, unless this process dies before."""
        scheduler = self.world.scheduler
        when = self.clock.when(shown_ms, scheduler.now)
        scheduler.at(when, self._if_alive, self.life, action, arguments)

    def _if_alive(self, life: int, action: Action, arguments: tuple[Any, ...]) -> None:
        if self.up and self.life == life:
            action(*arguments)

    # The chain

    def learn_start(self, start_hash: bytes) -> None:
        """The chain shows the challenge, with this hash of its start block."""
        if not self.up or self.start_hash == start_hash:
            return
        self.start_hash = start_hash
        self._drop_run()
        self.participation = Participation(self.world.attempts(start_hash), self.place)
        self.participation.resume(
            self.now, may_retry=self.disk.may_retry, expulsions=self.expulsions
        )
        self._look_for_attempt()

    def hear(self, event: on_chain.Event) -> None:
        """A finalized event; one that comes again changes nothing."""
        if not self.up:
            return
        if isinstance(event, on_chain.Anchored):
            self._hear_anchor(event)
        elif isinstance(event, on_chain.Expelled):
            known = Expulsion(event.place, event.timestamp_ms)
            if known not in self.expulsions:
                self.expulsions.append(known)
        elif isinstance(event, on_chain.CommitOpened):
            if self.opened is None:
                self.opened = event
                self._join_fallback(event)
        else:
            self.over = True

    def _hear_anchor(self, event: on_chain.Anchored) -> None:
        if self.anchored is not None:
            return
        self.anchored = event
        run = self.run
        if run is not None and run.topic == event.topic:
            self._do(run, run.machine.anchored(self.now, event.root, event.result))

    # Attempts

    def _look_for_attempt(self) -> None:
        """Take part in the attempt that is under way, or wait for the next one."""
        participation = self.participation
        if participation is None or self.anchored is not None:
            return
        attempt = participation.attempt
        if attempt is not None:
            if attempt.schedule.start_ms > self.now:
                self._later(attempt.schedule.start_ms, self._begin, attempt)
            else:
                self._begin(attempt)
        elif participation.next_ms is not None:
            self._later(participation.next_ms, self._reach, participation)

    def _reach(self, participation: Participation) -> None:
        """s_a has come: the roster of attempt a is settled now."""
        if self.participation is not participation or participation.next_ms is None:
            return
        participation.go_on(self.expulsions)
        if participation.attempt is None:
            self.world.count("too few members for a further attempt")
        self._look_for_attempt()

    def _begin(self, attempt: Attempt) -> None:
        """Take part in an attempt, or take it up again after a restart."""
        participation = self.participation
        if participation is None or participation.attempt is not attempt or self.run is not None:
            return
        if self.anchored is not None:
            return
        topic = attempt.flip.topic
        writes = self.disk.writes
        if self.disk.secrets(topic) is None and self._due_crash(writes + 1, durable=False):
            return
        try:
            secrets = self.disk.begin(
                topic, started_ms=attempt.schedule.start_ms, generate=self.make_secrets
            )
        except TopicUnknown:
            self.world.count("silent without journal")
            return
        if self.disk.writes != writes:
            self.world.watch.began(self, topic, secrets)
            self._keep_image()
            if self._due_crash(self.disk.writes, durable=True):
                return
        cautious = self.disk.is_older(attempt.schedule.start_ms)
        machine = self.make_machine(attempt, secrets, cautious)
        self.run = run = Run(attempt, machine)
        if attempt.flip.attempt > 0:
            self.world.count("retry begun")
        if cautious:
            self.world.count("resumed")
        self.world.watch.begins(self, run)
        self._do(run, machine.start(self.now))
        if self.run is not run:
            return
        self.world.joined(self, attempt)
        self._keep_time(run)
        for proof in machine.evidence.values():
            self._plan_report(run, proof)

    def make_secrets(self) -> FlipSecrets:
        """Fresh secrets for a topic."""
        return FlipSecrets.generate(self.dice.randbytes)

    def make_machine(
        self, attempt: Attempt, secrets: FlipSecrets, cautious: bool
    ) -> CoinflipMachine:
        """The machine of an attempt; cautious: the journal may have been set back meanwhile."""
        topic = attempt.flip.topic
        return self.world.scenario.machine(
            attempt.flip,
            self.keypair,
            secrets,
            attempt.schedule,
            records=self.disk.records(topic),
            proofs=self.disk.evidence(topic),
            cautious=cautious,
            magic=self.world.scenario.magic,
            verify_signature=checked,
            decode_message=read,
        )

    def _keep_time(self, run: Run) -> None:
        """Wake the machine as the shell does: when it wants, and at least once each Δ."""
        if self.run is not run:
            return
        machine = run.machine
        wake = machine.wake_ms
        if wake is None:
            self._end(run)
            return
        if machine.result is None and not machine.gave_up:
            wake = min(wake, self.now + run.attempt.schedule.delta_ms)
        scheduler = self.world.scheduler
        when = self.clock.when(wake, scheduler.now)
        scheduler.at(max(when, scheduler.now + 1), self._tick, run)

    def _tick(self, run: Run) -> None:
        if self.run is run and self.up:
            self._do(run, run.machine.tick(self.now))
            self._keep_time(run)

    def _end(self, run: Run) -> None:
        """Tx has passed: note how the run ended, and look for the next attempt."""
        machine, participation = run.machine, self.participation
        self.world.watch.ended(self, run)
        may_retry = machine.may_retry
        self.disk.conclude(run.topic, may_retry=may_retry)
        self._drop_run()
        if participation is None:
            raise RuntimeError("a run belongs to a challenge")
        participation.conclude(may_retry=may_retry)
        if not isinstance(machine.outcome, Success):
            if machine.has_certificate:
                self.world.count("retry refused after a certificate")
            elif not may_retry:
                self.world.count("retry refused without a sign")
            elif participation.next_ms is None:
                self.world.count("no further attempt")
        self._look_for_attempt()

    def _drop_run(self, *, flush: bool = False) -> None:
        run = self.run
        if run is not None:
            self.run = None
            self.world.network.leave(self, run.topic, flush=flush)

    # The network

    def connect(self, run: Run, line: Line, index: int) -> None:
        """A connection stands: tell the machine."""
        run.lines[index] = line
        self._do(run, run.machine.connected(self.now, index))

    def line_opened(self, line: Line) -> None:
        """A connection stands; a newer one takes the place of an older one."""
        run = self.run
        if run is None or run.topic != line.topic:
            return
        index = run.index_of.get(line.other(self).place)
        if index is None:
            return
        older = run.lines[index]
        if older is not None and older is not line:
            run.lines[index] = None
            self.world.network.hang_up(older, self, displaced=True)
        self.connect(run, line, index)

    def line_lost(self, line: Line) -> None:
        """A connection is gone."""
        run = self.run
        if run is None or run.topic != line.topic or not self.up:
            return
        index = run.index_of[line.other(self).place]
        if run.lines[index] is line:
            run.lines[index] = None
            self._do(run, run.machine.disconnected(self.now, index))

    def deliver(self, line: Line, data: bytes) -> None:
        """Bytes arrived on a connection."""
        run = self.run
        if run is None or not line.alive or run.topic != line.topic:
            return
        sender = line.b if line.a is self else line.a
        index = run.index_of[sender.place]
        if run.lines[index] is not line:
            return
        if self._trace is not None:
            self._trace.arrived(self, run, index, data)
        if self._calm and (data[:1] == BUNDLES or not sender.honest):
            self.world.watch.arrived(self, run, index, data)
        self._source = index, data
        clock, now = self.clock, self._scheduler.now
        effects = run.machine.received(now if clock.right else clock.read(now), index, data)
        if effects:
            self._do(run, effects)

    def send(self, run: Run, index: int, line: Line, data: bytes) -> None:
        """Send one message; what leaves an honest seat is looked at by the invariants."""
        del index
        if data is not self.last_sent and self.honest:
            self.last_sent = data
            self.world.watch.sent(self, run, data)
        self.sent += 1
        self._transmit(line, self, data)

    # Effects

    def _do(self, run: Run, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is Send:
                line = run.lines[effect.peer]
                if line is not None:
                    self.send(run, effect.peer, line, effect.data)
            elif type(effect) is Journal:
                if not self._write(run, effect):
                    return
            else:
                self.notice(run, effect)

    def _write(self, run: Run, effect: Journal) -> bool:
        """Journal an envelope; False when the seat crashed over it."""
        disk = self.disk
        if self._due_crash(disk.writes + 1, durable=False):
            return False
        disk.record(effect.envelope, effect.support)
        self.world.watch.journalled(self, run, effect.envelope)
        self._keep_image()
        return not self._due_crash(disk.writes, durable=True)

    def notice(self, run: Run, effect: Effect) -> None:
        """Whatever is neither sent nor journalled."""
        if type(effect) is Seen:
            source, data = self._source
            if data[:1] == BUNDLES and effect.member != run.machine.index:
                self._pulled(effect, source)
        elif isinstance(effect, Exit):
            self.outcomes[run.attempt.flip.attempt] = effect.outcome
            self.exit_ms[run.attempt.flip.attempt] = self._scheduler.now
            self.world.watch.exited(self, run, effect.outcome)
        elif isinstance(effect, Found):
            self.evidence[effect.evidence.id] = effect.evidence
            self.disk.keep_evidence(effect.evidence.id, run.topic, effect.evidence.encoded)
            self.world.watch.found(self, run, effect.evidence)
            self._plan_report(run, effect.evidence)
        elif isinstance(effect, Anchor):
            self.world.watch.computed(self, run, effect)
            self._later(effect.not_before_ms, self.anchor, effect)
        elif isinstance(effect, Disconnect):
            self.world.count("cut off for flooding")
            line = run.lines[effect.peer]
            if line is not None:
                run.lines[effect.peer] = None
                self.world.network.hang_up(line, self)
        elif isinstance(effect, Refused):
            self.refusals[effect.reason] += 1
        elif isinstance(effect, Silenced):
            self.silenced = True
            self.world.count("silenced")

    def _pulled(self, effect: Seen, source: int) -> None:
        kind = effect.kind.name.lower()
        self.world.count(f"pulled {kind}")
        if effect.member != source:
            self.world.count(f"relayed {kind} used")

    # Towards the chain

    def anchor(self, effect: Anchor) -> None:
        """Anchor R, again and again until the chain shows that somebody's anchor is there."""
        world = self.world
        timing = world.timing
        if self.anchored is not None or self.now >= world.t0 + timing.flip_ms:
            return
        openings = tuple((one.z, one.salt, one.x) for one in effect.openings)
        call = on_chain.AnchorCall(effect.attempt, openings, effect.echoes)
        self._submit(call)
        again = self.now + 2 * timing.block_ms + timing.finality_ms
        self._later(again, self.anchor, effect)

    def _plan_report(self, run: Run, evidence: Evidence) -> None:
        place = run.attempt.places[evidence.offender]
        when = self.now + run.machine.index * self.world.timing.block_ms
        self._later(when, self.report, place, evidence.encoded, 3)

    def report(self, offender: int, proof: bytes, tries: int) -> None:
        """Report a fraud unless the chain shows that its maker is expelled already."""
        if any(one.place == offender for one in self.expulsions) or not tries:
            return
        self._submit(on_chain.ReportCall(proof))
        timing = self.world.timing
        again = self.now + 3 * timing.block_ms + timing.finality_ms
        self._later(again, self.report, offender, proof, tries - 1)

    def _join_fallback(self, event: on_chain.CommitOpened) -> None:
        if self.place in event.places and self.anchored is None:
            known, writes = self.disk.secrets(event.topic), self.disk.writes
            if known is None and self._due_crash(writes + 1, durable=False):
                return
            secrets = self.disk.begin(event.topic, started_ms=None, generate=self.make_secrets)
            if known is None:
                self.world.watch.began(self, event.topic, secrets)
                self._keep_image()
                if self._due_crash(writes + 1, durable=True):
                    return
            seal = secrets.audit_seal(event.topic, self.keypair.public)
            self._submit(on_chain.CommitCall(seal))

    def _submit(self, call: on_chain.Call) -> None:
        self.world.watch.called(self, call)
        self.world.chain.submit(self.place, call)

    # Crashes

    def _keep_image(self) -> None:
        writes = self.disk.writes
        if writes in self._image_writes and writes not in self._images:
            self._images[writes] = self.disk.image()

    def _due_crash(self, write: int, *, durable: bool) -> bool:
        for crash in self._crashes:
            if crash.at_write == write and crash.durable is durable:
                self._crashes.remove(crash)
                self._crash(crash)
                return True
        return False

    def _crash(self, crash: Crash) -> None:
        if not self.up:
            return
        world = self.world
        if crash.at_write is not None:
            when = "after" if crash.durable else "before"
            world.count(f"crash {when} a write is durable")
        if self._trace is not None:
            self._trace.say(f"{self.place} crashes")
        self._drop_run(flush=crash.flush)
        self.up = False
        self.life += 1
        if crash.down_ms is not None:
            world.scheduler.at(world.scheduler.now + crash.down_ms, self._restart, crash)

    def _restart(self, crash: Crash) -> None:
        self.world.count(RESTARTS[crash.journal])
        if self._trace is not None:
            self._trace.say(f"{self.place} {RESTARTS[crash.journal]}")
        self.up = True
        writes = self.disk.writes
        if crash.journal == LOST:
            self.disk = Disk(0)
        elif crash.journal == STALE and crash.image_write in self._images:
            self.disk = self._images[crash.image_write].image()
        self.disk.writes = writes
        self.disk.opened_ms = max(self.now, self.world.chain.head_ms())
        self.participation = None
        self.anchored = None
        self.opened = None
        self.expulsions = []
        self.start_hash = None
        for event in self.world.chain.history(self.place):
            self.hear(event)
        if self.start_known_ms is not None and self.start_known_ms <= self.world.scheduler.now:
            self.learn_start(self.world.chain.start_hash)
