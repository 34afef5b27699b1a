"""The coinflip of one challenge of a day: the members' machines, and a network between them.

The machines are the attestors' own, and so is the way from one attempt to the next. The network
keeps every message and its order, and takes some milliseconds for each.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from chain_types.calls import AnchorFlip
from chain_types.records import Opening
from offchain_worker.attestor.adversary import faulty_machine
from offchain_worker.attestor.machines import MakeMachine, honest_machine
from offchain_worker.coinflip.attempts import Attempt
from offchain_worker.coinflip.effects import Anchor, Disconnect, Effect, Found, Send
from offchain_worker.coinflip.evidence import Evidence
from offchain_worker.coinflip.journal import Begun
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.participation import Participation
from offchain_worker.simulation.day.cases import Case, Member
from offchain_worker.simulation.day.cheats import MACHINES, AttestorCheat
from offchain_worker.simulation.scheduler import Scheduler

MEET_MS = 2_000
"""Members that are there are connected within so much."""

OnAnchor = Callable[[Member, AnchorFlip], None]
OnEvidence = Callable[[Member, Evidence, Attempt], None]


class Flipping:
    """All attempts of one challenge.

    Args:
        scheduler: the day's time.
        case: the challenge; its start hash is known.
        dice: of this coinflip's network.
        on_anchor: a member's turn to anchor has come, and nobody has.
        on_evidence: a member found a fraud.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        case: Case,
        dice: random.Random,
        on_anchor: OnAnchor,
        on_evidence: OnEvidence,
    ) -> None:
        self.scheduler = scheduler
        self.case = case
        self.dice = dice
        self.on_anchor = on_anchor
        self.on_evidence = on_evidence
        self._present: dict[bytes, list[_Run]] = {}
        if case.attempts is None:
            raise RuntimeError("a coinflip begins once the start hash is known")
        for member in case.members:
            if member.cheat is not AttestorCheat.ABSENT:
                participation = Participation(case.attempts, member.place)
                self._look_for_attempt(member, participation)

    def anchored(self, topic: bytes, root: bytes, result: bytes) -> None:
        """The chain has R."""
        for run in self._present.get(topic, ()):
            run.do(run.machine.anchored(self.scheduler.now, root, result))

    def _look_for_attempt(self, member: Member, participation: Participation) -> None:
        if self.case.flip is not None:
            return
        attempt = participation.attempt
        if attempt is not None:
            self.scheduler.at(attempt.schedule.start_ms, self._begin, member, participation)
        elif participation.next_ms is not None:
            self.scheduler.at(participation.next_ms, self._go_on, member, participation)

    def _go_on(self, member: Member, participation: Participation) -> None:
        participation.go_on(self.case.expulsions)
        self._look_for_attempt(member, participation)

    def _begin(self, member: Member, participation: Participation) -> None:
        attempt = participation.attempt
        if attempt is None or self.case.flip is not None:
            return
        run = _Run(self, member, participation, attempt)
        run.do(run.machine.start(self.scheduler.now))
        run.keep_time()
        there = self._present.setdefault(attempt.flip.topic, [])
        for other in there:
            pause = 1 + self.dice.randrange(MEET_MS)
            self.scheduler.at(self.scheduler.now + pause, run.meet, other)
        there.append(run)

    def ended(self, run: _Run) -> None:
        """A run is over: look for the next attempt."""
        self._present[run.attempt.flip.topic].remove(run)
        run.participation.conclude(may_retry=run.machine.may_retry)
        self._look_for_attempt(run.member, run.participation)


def _machine_of(member: Member) -> MakeMachine:
    fault = None if member.cheat is None else MACHINES.get(member.cheat)
    return honest_machine if fault is None else faulty_machine(fault)


class _Run:
    """One member in one attempt."""

    def __init__(
        self, flipping: Flipping, member: Member, participation: Participation, attempt: Attempt
    ) -> None:
        secrets = member.secrets_of(attempt.flip.topic)
        self.member = member
        self.participation = participation
        self.attempt = attempt
        begun = Begun(secrets, records={}, proofs=(), cautious=False)
        make = _machine_of(member)
        self.machine: CoinflipMachine = make(attempt, member.attestor.session_key, begun)
        self._flipping = flipping
        self._peers: dict[int, _Run] = {}
        self._last: dict[int, int] = {}
        self._over = False

    def meet(self, other: _Run) -> None:
        """A connection to another run comes to stand."""
        if self._over or other._over:
            return
        now = self._flipping.scheduler.now
        self._peers[other.machine.index], other._peers[self.machine.index] = other, self
        self.do(self.machine.connected(now, other.machine.index))
        other.do(other.machine.connected(now, self.machine.index))

    def do(self, effects: list[Effect]) -> None:
        """Carry out what the machine asks for."""
        flipping = self._flipping
        for effect in effects:
            match effect:
                case Send():
                    self._send(effect.peer, effect.data)
                case Anchor():
                    flipping.scheduler.at(effect.not_before_ms, self._anchor, effect)
                case Found():
                    flipping.on_evidence(self.member, effect.evidence, self.attempt)
                case Disconnect():
                    raise RuntimeError(f"{self.member.attestor.name} is cut off: {effect.reason}")
                case _:
                    pass

    def _send(self, peer: int, data: bytes) -> None:
        other = self._peers.get(peer)
        if other is not None:
            scheduler, dice = self._flipping.scheduler, self._flipping.dice
            delay = self.member.attestor.delay_ms + other.member.attestor.delay_ms
            due = max(self._last.get(peer, 0), scheduler.now + delay + dice.randrange(10))
            self._last[peer] = due
            scheduler.at(due, other.take, self, data)

    def take(self, sender: _Run, data: bytes) -> None:
        """A message arrives."""
        if not self._over:
            now = self._flipping.scheduler.now
            self.do(self.machine.received(now, sender.machine.index, data))

    def keep_time(self) -> None:
        """Wake the machine when it wants, and at least once each Δ as long as it works."""
        machine, scheduler = self.machine, self._flipping.scheduler
        wake = machine.wake_ms
        if wake is None:
            self._over = True
            self._flipping.ended(self)
            return
        scheduler.at(max(wake, scheduler.now + 1), self._tick)

    def _tick(self) -> None:
        self.do(self.machine.tick(self._flipping.scheduler.now))
        self.keep_time()

    def _anchor(self, anchor: Anchor) -> None:
        case = self._flipping.case
        if case.flip is None and self._flipping.scheduler.now < case.challenge.flip_end_ms:
            openings = tuple(Opening(o.z, o.salt, o.x) for o in anchor.openings)
            call = AnchorFlip(case.id, anchor.attempt, openings, anchor.echoes)
            self._flipping.on_anchor(self.member, call)
