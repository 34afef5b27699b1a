"""One run: everything that takes part in it, from the start of a challenge to R or Void."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from offchain_worker.coinflip.attempts import Attempt, Attempts, Expulsion
from offchain_worker.coinflip.commitments import hash_concat
from offchain_worker.coinflip.schedule import Timing
from offchain_worker.simulation import chain as on_chain
from offchain_worker.simulation import judge, keyring
from offchain_worker.simulation.adversary import Coalition, Dishonest
from offchain_worker.simulation.chain import Chain
from offchain_worker.simulation.dice import stream
from offchain_worker.simulation.invariants import Broken, Watch
from offchain_worker.simulation.network import Network
from offchain_worker.simulation.scenario import Scenario
from offchain_worker.simulation.scheduler import Endless, Scheduler
from offchain_worker.simulation.seat import Seat
from offchain_worker.simulation.trace import Trace, describe_event

T0 = 1_800_000_000_000


@dataclass(frozen=True)
class Report:
    """What a run came to.

    Attributes:
        seed: replays it.
        counts: how often it reached what, by name (`coverage`).
        rows: of coinflip.md §9 that were really touched.
        state: a hash of how it ended, without names and bytes: for counting distinct ones.
        verdict: what the chain decided.
        messages: that were sent.
        world: everything, for tests.
    """

    seed: int
    counts: dict[str, int]
    rows: frozenset[int]
    state: int
    verdict: on_chain.Event
    messages: int
    world: World


class SharedAttempts(Attempts):
    """Remembers what was computed once: all seats ask the same."""

    @cached_property
    def _known(self) -> dict[tuple[bytes, tuple[Expulsion, ...]], Attempt | None]:
        return {}

    @cached_property
    def _first(self) -> Attempt:
        return super().first()

    def first(self) -> Attempt:
        """Attempt 0."""
        return self._first

    def after(self, attempt: Attempt, expulsions: Sequence[Expulsion]) -> Attempt | None:
        """The attempt after one."""
        key = attempt.flip.topic, tuple(expulsions)
        if key not in self._known:
            self._known[key] = super().after(attempt, expulsions)
        return self._known[key]


class World:
    """One run in the making.

    Attributes:
        scheduler, network, chain, watch: its parts.
        seats: all live seats, honest ones and others.
        dice: randomness of the run itself; every part has a stream of its own.
    """

    def __init__(self, scenario: Scenario, trace: Trace | None = None) -> None:
        keyring.forget()
        self.scenario = scenario
        self.seed = scenario.seed
        self.dice = stream(scenario.seed)
        self.trace = trace
        if trace is not None:
            trace.world = self
        self.t0 = T0
        self.timing = scenario.timing
        self.scheduler = Scheduler(T0)
        self.counts: dict[str, int] = {}
        self.rows: set[int] = set(scenario.rows)
        self._idents = 0
        self.keypairs = keyring.draw(self.dice, scenario.size)
        self.network = Network(self.scheduler, scenario.links, stream(self.dice.getrandbits(64)))
        # The judge has its own way to the one that the real chain accepts.
        self.combine = judge.result_of if scenario.magic is hash_concat else scenario.magic
        self.chain = Chain(
            self.scheduler,
            scenario.timing,
            scenario.chain,
            stream(self.dice.getrandbits(64)),
            [pair.public for pair in self.keypairs],
            scenario.min_active,
            keyring.checked,
            self.combine,
        )
        self.watch = Watch(self)
        self.chain.on_anchor = self.watch.anchored
        self.chain.on_fraud = self.watch.fraud
        if trace is not None:
            self.chain.on_event = lambda event: trace.say(f"chain: {describe_event(event)}")
            self.chain.on_refused = lambda place, call, reason: trace.say(
                f"chain refuses {type(call).__name__} of {place}: {reason}"
            )
        self._attempts: dict[bytes, Attempts] = {}
        self._seen_topics: set[bytes] = set()
        self.coalition = Coalition(self, stream(self.dice.getrandbits(64)))
        self.seats: list[Seat | Dishonest] = []
        self.honest_seats: list[Seat] = []
        for place in range(scenario.size):
            self._seat(place)
        self._honest = frozenset(seat.place for seat in self.honest_seats)

    def _seat(self, place: int) -> None:
        scenario = self.scenario
        make = scenario.dishonest.get(place)
        if make is not None:
            for seat in make(self, place):
                self.seats.append(seat)
                self.chain.follow(seat)
                self._start(seat)
            return
        honest = Seat(
            self,
            place,
            crashes=scenario.crashes.get(place, ()),
            clock=scenario.clocks.get(place),
        )
        self.seats.append(honest)
        self.honest_seats.append(honest)
        self.chain.follow(honest)
        self._start(honest)

    def _start(self, seat: Seat | Dishonest) -> None:
        """Have a seat hear of the challenge's start, perhaps of another block first."""
        when = self.chain.start_arrival(seat.place, self.scenario.start_within_ms)
        wrong_for = self.scenario.chain.other_start.get(seat.place)
        if wrong_for is not None:
            self.count("other start block first")
            other = blake2b(self.chain.start_hash, digest_size=32).digest()
            self.scheduler.at(when, seat.learn_start, other)
            when = max(when + 1, self.t0 + wrong_for)
        seat.start_known_ms = when
        self.scheduler.at(when, seat.learn_start, self.chain.start_hash)

    # What seats ask

    def new_ident(self) -> int:
        """A number for one live seat."""
        self._idents += 1
        return self._idents

    def is_honest(self, place: int) -> bool:
        """Whether that place's key is used by an honest seat alone."""
        return place in self._honest

    def count(self, name: str) -> None:
        """Something worth counting happened (`coverage`)."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def touch(self, row: int) -> None:
        """A row of coinflip.md §9 was really put to the test."""
        self.rows.add(row)

    def attempts(self, start_hash: bytes) -> Attempts:
        """The attempts of a challenge with that start block; shared, since all compute the same."""
        found = self._attempts.get(start_hash)
        if found is None:
            timing = self.timing
            found = self._attempts[start_hash] = SharedAttempts(
                genesis=self.chain.genesis,
                challenge_id=self.chain.challenge_id,
                start_block_hash=start_hash,
                roster=self.chain.keys,
                timing=Timing(
                    block_ms=timing.block_ms,
                    join_ms=timing.join_ms,
                    delta_ms=timing.delta_ms,
                    finality_ms=timing.finality_ms,
                    flip_ms=timing.flip_ms,
                ),
                t0_ms=self.t0,
                min_active=self.scenario.min_active,
            )
        return found

    def joined(self, seat: Seat | Dishonest, attempt: Attempt) -> None:
        """A seat takes part in an attempt: others may meet it there."""
        topic = attempt.flip.topic
        if topic not in self._seen_topics:
            self._seen_topics.add(topic)
            if len(attempt.places) < self.scenario.size:
                self.count("later roster without the expelled")
            self.coalition.hear_of(attempt)
        self.network.join(seat, topic)

    # The run

    def run(self) -> Report:
        """Run to the end.

        Raises:
            Broken: an invariant does not hold.
        """
        for trouble in self.scenario.troubles:
            self.scheduler.at(self.t0 + trouble.at_ms, trouble.act, self)
        try:
            self.scheduler.run(self.scenario.most_steps)
        except Endless as error:
            self.watch.broken("R", str(error))
        except Broken:
            raise
        except Exception as error:
            raise Broken("X", self.seed, f"{type(error).__name__}: {error}") from error
        self.watch.closing()
        verdict = self.chain.verdict
        if verdict is None:
            raise RuntimeError("the watch says that the chain decides")
        self._count_chain()
        return Report(
            seed=self.seed,
            counts=self.counts,
            rows=frozenset(self.rows),
            state=self._state(),
            verdict=verdict,
            messages=self.network.messages,
            world=self,
        )

    def _count_chain(self) -> None:
        chain, count = self.chain, self.count
        if chain.opened is not None:
            count("fallback opened")
        if chain.late_anchors:
            count("anchor late")
        if chain.refused.get("censored"):
            count("anchor censored")
        if chain.refused.get("ReportCall known"):
            count("fraud known already")
        if isinstance(chain.verdict, on_chain.FellBack):
            count("fallback R")
        if chain.absent:
            count("fallback with absent members")
        if isinstance(chain.verdict, on_chain.Void):
            count(
                {
                    "active": "fallback void: too few commits",
                    "roster": "fallback void: frozen roster too small",
                    "window": "fallback void: no time for audits",
                }[chain.verdict.reason]
            )
        left = len(chain.keys) - len(chain.expelled)
        if chain.expelled and left <= chain.min_active:
            self.touch(25)
        attempts = chain.attempts()
        if chain.expelled and len(attempts) > 1:
            last = attempts[-1][1]
            if any(one.place in last for one in chain.expelled):
                count("expelled too late for the next roster")

    def _state(self) -> int:
        """How it ended, as a number that forgets bytes and order of members."""
        ends = sorted(
            tuple(
                (attempt, type(outcome).__name__, str(getattr(outcome, "phase", "")))
                for attempt, outcome in sorted(seat.outcomes.items())
            )
            for seat in self.honest_seats
        )
        chain = self.chain
        frauds = sorted((f.bad_reveal, f.kind, f.zero, f.attempt) for f in chain.frauds.values())
        end = (
            len(self.seats),
            ends,
            frauds,
            len(chain.expelled),
            type(chain.verdict).__name__,
            len(chain.active),
            sorted(chain.refused),
        )
        return int.from_bytes(blake2b(repr(end).encode(), digest_size=8).digest(), "little")


def run_scenario(scenario: Scenario, trace: Trace | None = None) -> Report:
    """Run one scenario.

    Raises:
        Broken: an invariant does not hold.
    """
    return World(scenario, trace).run()
