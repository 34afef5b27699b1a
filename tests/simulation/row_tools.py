"""What the tests of coinflip.md §9's rows share.

Rules of these tests, one for each row of the table:

1. A test injects the fault of its row and shows that the fault was there: a second body that
   arrived, a byte that was changed, a clock that was wrong. A run in which nothing happened fails.
2. It asserts the letters of its row in so many words, besides the watch of the simulator
   (`simulation.invariants`), which checks all letters always and raises where one breaks. The
   functions here look at other things than the watch does: at bytes on the wire, at verdicts and at
   the chain, as noted down by `Notes`.
3. It asserts what came of it: exits, evidence, expulsion, retry, fallback, silence.

| row | letters | row | letters | row | letters | row | letters |
| --- | --- | --- | --- | --- | --- | --- | --- |
| 1 | A B C | 8 | T | 15 | A B C | 22 | R T |
| 2 | A | 9 | A | 16 | F B | 23 | R |
| 3 | U | 10 | A C | 17 | measured bias | 24 | A F B |
| 4 | V U B | 11 | B | 18 | T | 25 | Void |
| 5 | A C | 12 | refused | 19 | A B T, L healed | 26 | S |
| 6 | T B | 13 | B | 20 | A B T | 27 | refused report |
| 7 | A T | 14 | refused by all | 21 | B | 28 | all |

Letters: A one result, V every honest number in it, U nobody knew a number too early, B no honest
member blamed, C who decided by contradicting itself is proved guilty, T every run ends by Tx, L all
well if all are honest, F one body per kind and secrets once, R bounded, S secrets stay secret.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from offchain_worker.coinflip.commitments import hash_concat
from offchain_worker.coinflip.effects import Malicious, Offline, Outcome, Success
from offchain_worker.coinflip.envelope import Kind
from offchain_worker.coinflip.evidence import Evidence
from offchain_worker.simulation import judge
from offchain_worker.simulation.chain import Anchored, Call, Event
from offchain_worker.simulation.invariants import split_bundle
from offchain_worker.simulation.network import LinkPlan, constant
from offchain_worker.simulation.scenario import QUICK, MakeDishonest, Scenario
from offchain_worker.simulation.seat import Run, Seat
from offchain_worker.simulation.trace import Trace
from offchain_worker.simulation.world import Report, World

ZEROS = bytes(32)
BUNDLE = bytes([Kind.BUNDLE])


@dataclass(frozen=True)
class Act:
    """A signed envelope that some seat sent or heard."""

    at_ms: int
    seat: int
    by: int
    topic: bytes
    kind: int
    member: int
    """The place of who made it."""
    body: bytes
    raw: bytes
    relayed: bool


@dataclass(frozen=True)
class Said:
    """A message on a line, whatever it is."""

    at_ms: int
    sender: Any
    receiver: Any
    data: bytes


@dataclass
class Heard:
    """What reached honest seats in a run that `Notes` watched."""

    acts: list[Act] = field(default_factory=list)

    def bodies(self, member: int, kind: Kind, seat: int | None = None) -> set[bytes]:
        """Bodies of that kind, signed as that place's, that reached a seat or any."""
        return {
            act.body
            for act in self.acts
            if act.member == member and act.kind == kind and seat in (None, act.seat)
        }


class Notes(Trace):
    """Notes down a run: what honest seats sent and heard, their exits and their proofs."""

    def __init__(self) -> None:
        super().__init__(None)
        self.out: list[Act] = []
        self.heard = Heard()
        self.exits: list[tuple[int, int, Run, Outcome]] = []
        self.proofs: list[tuple[int, int, Run, Evidence]] = []

    def say(self, text: str) -> None:
        """No lines."""

    @property
    def now(self) -> int:
        """Virtual time."""
        assert self.world is not None
        return self.world.scheduler.now

    def sent(self, seat: Seat, run: Run, data: bytes) -> None:
        self.out += self._acts(seat, run, seat.place, data)

    def arrived(self, seat: Seat, run: Run, index: int, data: bytes) -> None:
        if seat.honest:
            self.heard.acts += self._acts(seat, run, run.attempt.places[index], data)

    def exited(self, seat: Seat, run: Run, outcome: Outcome) -> None:
        if seat.honest:
            self.exits.append((self.now, seat.place, run, outcome))

    def found(self, seat: Seat, run: Run, evidence: Evidence) -> None:
        if seat.honest:
            self.proofs.append((self.now, seat.place, run, evidence))

    def _acts(self, seat: Seat, run: Run, by: int, data: bytes) -> list[Act]:
        raws = split_bundle(data) if data[:1] == BUNDLE else [data]
        found = []
        for raw in raws:
            try:
                one = judge.read_envelope(raw)
            except judge.Refused:
                continue
            if one.topic == run.topic and one.index < len(run.attempt.places):
                member = run.attempt.places[one.index]
                found.append(
                    Act(
                        self.now,
                        seat.place,
                        by,
                        one.topic,
                        one.kind,
                        member,
                        one.body,
                        raw,
                        data is not raw,
                    )
                )
        return found


class Ran:
    """A run that is over, and what can be said about it letter by letter.

    Attributes:
        said: every message that any seat put on a line, while it was there to be read.
        calls: everything that any seat submitted to the chain.
        refused: calls that the chain refused, with the reason.
    """

    def __init__(self, scenario: Scenario, *, listen: bool = False) -> None:
        self.notes = Notes()
        self.world = world = World(scenario, self.notes)
        self.said: list[Said] = []
        self.calls: list[tuple[int, Call]] = []
        self.refused: list[tuple[int, Call, str]] = []
        world.chain.on_refused = lambda place, call, why: self.refused.append((place, call, why))
        submit = world.chain.submit

        def note_call(place: int, call: Call) -> None:
            self.calls.append((place, call))
            submit(place, call)

        world.chain.submit = note_call
        if listen:
            self._listen()
        self.report: Report = world.run()

    def _listen(self) -> None:
        network = self.world.network
        transmit = network.transmit

        def note(line: Any, sender: Any, data: bytes) -> None:
            if line.alive:
                self.said.append(Said(self.world.scheduler.now, sender, line.other(sender), data))
            transmit(line, sender, data)

        network.transmit = note
        for seat in self.world.seats:
            if isinstance(seat, Seat):
                seat._transmit = note

    # What happened

    @property
    def honest(self) -> list[Seat]:
        """Honest seats."""
        return self.world.honest_seats

    @property
    def verdict(self) -> Event:
        """The chain's."""
        return self.report.verdict

    @property
    def counts(self) -> dict[str, int]:
        """By name (`coverage`)."""
        return self.report.counts

    def outcomes(self, attempt: int = 0) -> list[Outcome]:
        """Of the honest seats that were in it."""
        return [seat.outcomes[attempt] for seat in self.honest if attempt in seat.outcomes]

    @property
    def expelled(self) -> set[int]:
        """Places that the chain expelled."""
        return {one.place for one in self.world.chain.expelled}

    def topic(self, attempt: int = 0) -> bytes:
        """As the chain has it."""
        return self.world.chain.attempt(attempt)[0]

    def numbers_left(self, attempt: int | None = None) -> dict[int, int]:
        """Honest place → when its x first left, in one attempt or any."""
        topic = None if attempt is None else self.topic(attempt)
        left: dict[int, int] = {}
        for act in self.notes.out:
            if act.kind == Kind.REVEAL and act.member == act.seat and topic in (None, act.topic):
                left.setdefault(act.seat, act.at_ms)
        return left

    # Letters

    def one_result(self) -> Success | None:
        """A: all honest successes are one, and the anchored one if there is an anchor."""
        found = {
            (outcome.root, outcome.result, attempt)
            for seat in self.honest
            for attempt, outcome in seat.outcomes.items()
            if isinstance(outcome, Success)
        }
        assert len(found) <= 1
        verdict = self.verdict
        if isinstance(verdict, Anchored):
            assert found <= {(verdict.root, verdict.result, verdict.attempt)}
        for seat in self.honest:
            if seat.anchored is not None:
                assert seat.anchored == verdict
        if not found:
            return None
        ((root, result, _attempt),) = found
        return Success(result, root)

    def numbers_are_in(self) -> None:
        """V: R follows from all numbers, the honest ones among them, by the one formula."""
        verdict = self.verdict
        assert isinstance(verdict, Anchored)
        call = next(
            call
            for _place, call in self.calls
            if getattr(call, "attempt", None) == verdict.attempt
            and hash_concat(verdict.topic, verdict.root, [x for _z, _salt, x in call.openings])
            == verdict.result
        )
        numbers = [x for _z, _salt, x in call.openings]
        _topic, places = self.world.chain.attempt(verdict.attempt)
        for seat in self.honest:
            secrets = seat.disk.secrets(verdict.topic)
            if seat.place in places and secrets is not None:
                assert numbers[places.index(seat.place)] == secrets.x

    def no_early_number(self) -> None:
        """U: an honest x left only when every honest member of its attempt had echoed one root."""
        for act in self.notes.out:
            if act.kind != Kind.REVEAL or act.member != act.seat:
                continue
            roots = {
                (echo.seat, echo.body)
                for echo in self.notes.out
                if echo.kind == Kind.ECHO
                and echo.topic == act.topic
                and echo.member == echo.seat
                and echo.at_ms <= act.at_ms
            }
            known = next(
                a for a in self.world.coalition.attempts.values() if a.flip.topic == act.topic
            )
            members = {seat.place for seat in self.honest} & set(known.places)
            assert {place for place, _root in roots} == members
            assert len({root for _place, root in roots}) == 1

    def blames_only(self, *places: int) -> None:
        """B: nobody but these is in evidence, with honest seats or on chain."""
        honest = {seat.place for seat in self.honest}
        assert not honest & set(places)
        for _at, _seat, run, evidence in self.notes.proofs:
            assert run.attempt.places[evidence.offender] in places
        assert self.expelled <= set(places)
        assert {fraud.place for fraud in self.world.chain.frauds.values()} <= set(places)

    def proved(self, place: int, kind: Kind, attempt: int = 0) -> int:
        """C: honest seats hold proof against a place; within 3Δ of the conflict, if a seat heard
        both bodies itself. Returns how many hold it."""
        topic = self.topic(attempt)
        holders: dict[int, int] = {}
        for at, seat, run, evidence in self.notes.proofs:
            if run.topic == topic and run.attempt.places[evidence.offender] == place:
                holders.setdefault(seat, at)
        assert holders, f"nobody holds proof against {place}"
        first = self.conflict_ms(place, kind, attempt)
        assert first is not None, "no two honest seats heard different bodies"
        delta = self.world.scenario.timing.delta_ms << attempt
        assert min(holders.values()) <= first + 3 * delta
        return len(holders)

    def conflict_ms(self, place: int, kind: Kind, attempt: int = 0) -> int | None:
        """When two different bodies of that kind were with honest seats."""
        topic = self.topic(attempt)
        known: set[bytes] = set()
        for act in self.notes.heard.acts:
            if act.topic == topic and act.member == place and act.kind == kind:
                known.add(act.body)
                if len(known) > 1:
                    return act.at_ms
        return None

    def all_end(self) -> None:
        """T: every run of an honest seat has its exit by Tx, each one once."""
        exits: dict[tuple[int, bytes], int] = {}
        for at, place, run, _outcome in self.notes.exits:
            key = place, run.topic
            assert key not in exits
            exits[key] = at
            assert at <= run.attempt.schedule.end_ms
        for seat in self.honest:
            assert seat.run is None
        journals = {seat.place: seat.disk for seat in self.honest}
        for act in self.notes.out:
            # Who lost the journal of a topic does not come back to it.
            known = journals[act.seat].secrets(act.topic) is not None
            assert not known or (act.seat, act.topic) in exits

    def one_body(self) -> None:
        """F: one body, even the same bytes, for each honest place, topic and kind; no secret in
        two topics."""
        left: dict[tuple[int, bytes, int], set[bytes]] = defaultdict(set)
        for act in self.notes.out:
            if act.member == act.seat:
                left[act.seat, act.topic, act.kind].add(act.raw)
        assert all(len(raws) == 1 for raws in left.values())
        for seat in self.honest:
            values = [
                value
                for secrets in seat.disk._secrets.values()
                for value in (secrets.x, secrets.salt, secrets.w, secrets.audit_seed)
            ]
            assert len(set(values)) == len(values)

    def bounded(self, most_sent: int = 3_000) -> None:
        """R: what honest seats sent, and what their machines keep."""
        for seat in self.honest:
            runs = max(1, len(seat.outcomes))
            assert seat.sent <= most_sent * self.world.scenario.size * runs
        for _at, _place, run, _outcome in self.notes.exits:
            machine = run.machine
            for member in machine._members:
                assert len(member.commits) <= 2
                assert len(member.echoes) <= 3
            assert len(machine.evidence) <= 2 * machine.flip.size
            assert len(machine.refusals) <= 32 * machine.flip.size

    def all_letters(self, *to_blame: int) -> None:
        """A U B T F R; V if something is anchored."""
        self.one_result()
        self.no_early_number()
        self.blames_only(*to_blame)
        self.all_end()
        self.one_body()
        self.bounded()
        if isinstance(self.verdict, Anchored):
            self.numbers_are_in()


def against(
    dishonest: dict[int, MakeDishonest] | None = None, *, size: int = 4, **changes: Any
) -> Scenario:
    """A quiet network with short rounds and time for retries, but for what a test changes."""
    given: dict[str, Any] = {
        "seed": 1,
        "size": size,
        "timing": QUICK,
        "min_active": -(-2 * size // 3),
        "dishonest": dishonest or {},
        "links": LinkPlan(constant(10)),
        "start_within_ms": 0,
    }
    return Scenario(**{**given, **changes})


def all_success(outcomes: list[Outcome]) -> bool:
    """Whether there are some and all have R."""
    return bool(outcomes) and all(isinstance(outcome, Success) for outcome in outcomes)


def all_malicious(outcomes: list[Outcome], *peers: int) -> bool:
    """Whether there are some and all blame just these indices."""
    return bool(outcomes) and all(
        isinstance(outcome, Malicious) and outcome.peers == peers for outcome in outcomes
    )


def all_offline(outcomes: list[Outcome], phase: Any) -> bool:
    """Whether there are some and all got stuck in that phase."""
    return bool(outcomes) and all(
        isinstance(outcome, Offline) and outcome.phase is phase for outcome in outcomes
    )
