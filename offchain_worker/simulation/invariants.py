"""The invariants of coinflip.md §9, judged by what was really signed, sent, known and anchored.

The watch sees every honest seat's writes, sends and verdicts and the chain's decisions. It parses
bytes by the judge's own reader and asks no machine for its opinion, except for the bounds of R.
A broken invariant raises `Broken` where it happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from offchain_worker.coinflip.effects import Anchor, Malicious, Offline, Outcome, Success
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.coinflip.evidence import Evidence
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.simulation import chain as on_chain
from offchain_worker.simulation import judge
from offchain_worker.simulation.keyring import checked
from offchain_worker.simulation.scheduler import Action

if TYPE_CHECKING:
    from offchain_worker.simulation.seat import Run, Seat
    from offchain_worker.simulation.world import World

ZERO_ROOT = bytes(32)
BUNDLE = 17
SHORT = 67
"""Bytes of a message that holds no secret: its header and fewer than 32 more."""
MOST_SENT_PER_PEER = 1_500
"""Messages that an honest seat sends to one peer in one attempt, whatever the peer does: what its
credit pays for (coinflip.credit) with n = 10 and the longest attempt stays below."""


class Broken(Exception):
    """An invariant does not hold.

    Attributes:
        letter: of coinflip.md §9; X: an honest machine raised.
        seed: replays the run.
        sentence: what happened.
    """

    def __init__(self, letter: str, seed: int, sentence: str) -> None:
        super().__init__(f"{letter} is broken in run {seed}: {sentence}")
        self.letter = letter
        self.seed = seed
        self.sentence = sentence

    def __reduce__(self) -> tuple[type[Broken], tuple[str, int, str]]:
        return Broken, (self.letter, self.seed, self.sentence)


class _Secrets:
    """An honest seat's secrets of a topic, as needles."""

    __slots__ = ("hidden", "x")

    def __init__(self, secrets: FlipSecrets) -> None:
        self.x = secrets.x
        self.hidden = (secrets.w, secrets.audit_seed, secrets.audit_keypair.public)


class Watch:
    """Sees everything that honest seats do."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._secrets: dict[tuple[bytes, int], _Secrets] = {}
        self._numbers: set[bytes] = set()
        self._left: dict[tuple[int, bytes, int], bytes] = {}
        self._echoed: dict[bytes, dict[int, bytes]] = {}
        self._leaked: dict[bytes, tuple[int, int]] = {}
        """topic → (virtual time, place) of the first honest x that left its owner."""
        self._certified: dict[bytes, bytes] = {}
        self._success: dict[bytes, tuple[bytes, bytes, int]] = {}
        """start block → (root, R, attempt) that honest seats ended with."""
        self._anchored: on_chain.Anchored | None = None
        self._found: dict[tuple[bytes, int], int] = {}
        """(topic, offender's place) → when an honest seat first held proof."""
        self._ended: set[tuple[int, bytes]] = set()
        self._acts: dict[tuple[bytes, int, int, int], list[bytes]] = {}
        """(topic, honest place, dishonest place, kind) → bodies that reached it, signed."""
        self._conflicts: list[tuple[bytes, int, int]] = []
        self._sent_at_begin: dict[tuple[int, bytes], int] = {}

    def broken(self, letter: str, sentence: str) -> NoReturn:
        """End the run."""
        raise Broken(letter, self._world.seed, sentence)

    # Secrets and writes

    def began(self, seat: Seat, topic: bytes, secrets: FlipSecrets) -> None:
        """A seat made the secrets of a topic."""
        if not seat.honest:
            return
        for value in (secrets.x, secrets.salt, secrets.w, secrets.audit_seed):
            if value in self._numbers:
                self.broken("F", f"{seat.place} uses a secret again")
            self._numbers.add(value)
        self._secrets[topic, seat.place] = _Secrets(secrets)

    def is_secret_of(self, topic: bytes, place: int, x: bytes) -> bool:
        """Whether that is an honest seat's true number in a topic."""
        secrets = self._secrets.get((topic, place))
        return secrets is not None and secrets.x == x

    def journalled(self, seat: Seat, run: Run, envelope: SignedEnvelope) -> None:
        """An own envelope is on disk."""
        if not seat.honest:
            return
        if envelope.kind == judge.ECHO:
            roots = self._echoed.setdefault(run.topic, {})
            root = roots.setdefault(seat.place, envelope.body)
            if root != envelope.body and (seat.place, run.topic, judge.ECHO) in self._left:
                self.broken("F", f"{seat.place} signs a second echo")
            roots[seat.place] = envelope.body
            if self._world.scenario.calm and len(set(roots.values()) - {ZERO_ROOT}) > 1:
                self._deadline(run, self._split_vectors, run.topic)
            if envelope.body == ZERO_ROOT:
                self._world.count("gave up")

    # Bytes that leave

    def sent(self, seat: Seat, run: Run, data: bytes) -> None:
        """Bytes leave an honest seat; not called again for the same object in a row."""
        if not seat.honest:
            return
        world = self._world
        if world.trace is not None:
            world.trace.sent(seat, run, data)
        kind = data[0]
        if run.left.get(kind) is data or len(data) < SHORT:
            return
        secrets = self._secrets.get((run.topic, seat.place))
        if secrets is None:
            self.broken("F", f"{seat.place} speaks in a topic without secrets on disk")
        # Once revealed it may come back, e.g. in proof against who copied it.
        revealed = kind == judge.REVEAL or (seat.place, run.topic, judge.REVEAL) in self._left
        if not revealed and kind != BUNDLE and secrets.x in data:
            self.broken("U", f"{seat.place} lets its number out in a message of kind {kind}")
        for needle in secrets.hidden:
            if needle in data:
                self.broken("S", f"{seat.place} sends w or its audit key")
        if kind in judge.BODY:
            self._own(seat, run, data)
            run.left[kind] = data
        elif kind == BUNDLE:
            for raw in split_bundle(data):
                if raw[33:35] == data[33:35]:
                    self._own(seat, run, raw)

    def _own(self, seat: Seat, run: Run, raw: bytes) -> None:
        """An own envelope leaves: always the same bytes; x only under a certificate."""
        kind = raw[0]
        key = (seat.place, run.topic, kind)
        known = self._left.get(key)
        if known is None:
            self._left[key] = raw
            written = seat.disk.records(run.topic)
            record = written.get(Kind(kind))
            if record is None or record.envelope != raw:
                self.broken("F", f"{seat.place} sends a {name(kind)} that is not in its journal")
            if kind == judge.REVEAL:
                self._reveals(seat, run)
        elif known is not raw and known != raw:
            self.broken("F", f"{seat.place} sends two {name(kind)}s in one topic")

    def _reveals(self, seat: Seat, run: Run) -> None:
        """U: when a first honest x leaves, every honest peer has signed for one vector."""
        world = self._world
        echoed = self._echoed.get(run.topic, {})
        root = echoed.get(seat.place, ZERO_ROOT)
        if root == ZERO_ROOT:
            self.broken("U", f"{seat.place} reveals without an echo of its own")
        for place in run.attempt.places:
            if world.is_honest(place) and echoed.get(place) != root:
                self.broken("U", f"{seat.place} reveals before {place} signed for the same vector")
        if world.scenario.calm:
            self._deadline(run, self._split_echoes, run.topic, root)
        self._leaked.setdefault(run.topic, (world.scheduler.now, seat.place))
        self._certify(run.topic, root)

    def _certify(self, topic: bytes, root: bytes) -> None:
        known = self._certified.setdefault(topic, root)
        if known != root:
            self.broken("U", "a second vector is certified in one topic")

    def called(self, seat: Seat, call: on_chain.Call) -> None:
        """S: what honest seats tell the chain, everybody can read."""
        if not seat.honest:
            return
        if isinstance(call, on_chain.AnchorCall):
            told = b"".join(part for opening in call.openings for part in opening)
        else:
            told = call.proof if isinstance(call, on_chain.ReportCall) else call.seal
        self._world.touch(26)
        for (_topic, place), secrets in self._secrets.items():
            if place == seat.place and any(needle in told for needle in secrets.hidden):
                self.broken("S", f"{seat.place} tells the chain w or its audit key")

    # Verdicts

    def exited(self, seat: Seat, run: Run, outcome: Outcome) -> None:
        """A run has its verdict."""
        world = self._world
        now, schedule = world.scheduler.now, run.attempt.schedule
        if world.trace is not None:
            world.trace.exited(seat, run, outcome)
        if not seat.honest:
            return
        final = run.attempt.flip.start_block_hash == world.chain.start_hash
        if isinstance(outcome, Success) and not final:
            # The challenge of a start block that never became final is not this one.
            world.count("exit success under another start block")
        elif isinstance(outcome, Success):
            world.count("exit success by the chain" if seat.anchored else "exit success")
            if run.attempt.flip.attempt > 0:
                world.count("retry succeeded")
            found = (outcome.root, outcome.result, run.attempt.flip.attempt)
            # What was flipped over a start block that is none is about no challenge.
            start = run.attempt.flip.start_block_hash
            if self._success.setdefault(start, found) != found:
                self.broken("A", f"{seat.place} ends with another R or root than others")
            self._compare()
            self._certify(run.topic, outcome.root)
        elif isinstance(outcome, Malicious):
            early = now < schedule.reveal_end_ms
            world.count("exit malicious at once" if early else "exit malicious at Tf")
            for evidence in outcome.evidence:
                self._blame(run, evidence)
        elif isinstance(outcome, Offline):
            world.count(f"exit offline in {outcome.phase.value}")

    def computed(self, seat: Seat, run: Run, effect: Anchor) -> None:
        """V: a seat computed R: it can be recomputed, and every honest number is in it."""
        if not seat.honest:
            return
        flip, topic = run.attempt.flip, run.topic
        pairs = [
            (judge.number_hash(topic, key, one.salt, one.x), one.z)
            for key, one in zip(flip.roster, effect.openings, strict=True)
        ]
        numbers = [one.x for one in effect.openings]
        if judge.root_of(topic, pairs) != effect.root:
            self.broken("V", f"{seat.place} computes R under a root that its openings do not give")
        if self._world.combine(topic, effect.root, numbers) != effect.result:
            self.broken("V", f"{seat.place} computes an R that nobody can recompute")
        self._numbers_are_in(run.attempt.places, topic, numbers)

    def _numbers_are_in(self, places: tuple[int, ...], topic: bytes, numbers: list[bytes]) -> None:
        for place, number in zip(places, numbers, strict=True):
            if self._world.is_honest(place):
                secrets = self._secrets.get((topic, place))
                if secrets is None or secrets.x != number:
                    self.broken("V", f"the number of {place} is not in R")

    def anchored(
        self, event: on_chain.Anchored, call: on_chain.AnchorCall, places: tuple[int, ...], by: int
    ) -> None:
        """The chain took an anchor."""
        world = self._world
        world.count("anchor later attempt" if event.attempt else "anchor attempt 0")
        if not world.is_honest(by):
            world.count("anchor by a dishonest member")
        self._anchored = event
        self._compare()
        self._numbers_are_in(places, event.topic, [x for _z, _salt, x in call.openings])
        for place in places:
            if world.is_honest(place) and self._echoed[event.topic].get(place) != event.root:
                self.broken("U", f"anchored is a root that {place} never signed for")
        self._certify(event.topic, event.root)

    def _compare(self) -> None:
        """A: what honest seats ended with is what is anchored."""
        success = self._success.get(self._world.chain.start_hash)
        anchor = self._anchored
        if success is None or anchor is None:
            return
        if success != (anchor.root, anchor.result, anchor.attempt):
            self.broken("A", "the chain anchored another R than honest seats ended with")

    # Evidence

    def found(self, seat: Seat, run: Run, evidence: Evidence) -> None:
        """A seat holds proof."""
        world = self._world
        if world.trace is not None:
            world.trace.found(seat, run, evidence)
        if seat.honest:
            self._blame(run, evidence)
            key = (run.topic, run.attempt.places[evidence.offender])
            if self._found.setdefault(key, world.scheduler.now) != world.scheduler.now:
                world.count("evidence learned from a peer")

    def _blame(self, run: Run, evidence: Evidence) -> None:
        place = run.attempt.places[evidence.offender]
        if self._world.is_honest(place):
            self.broken("B", f"an honest seat holds proof against {place}, which is honest")

    def fraud(self, fraud: on_chain.Fraud) -> None:
        """B: the chain accepted a proof."""
        world = self._world
        if world.is_honest(fraud.place):
            self.broken("B", f"the chain expels {fraud.place}, which is honest")
        if fraud.bad_reveal:
            world.count("evidence bad reveal")
        elif fraud.kind == judge.ECHO:
            world.count("evidence echo with zero" if fraud.zero else "evidence echo")
        else:
            world.count(f"evidence {name(fraud.kind)}")

    # Ends

    def ended(self, seat: Seat, run: Run) -> None:
        """T and R: Tx of a run has come."""
        machine = run.machine
        if not seat.honest:
            return
        if machine.outcome is None:
            self.broken("T", f"{seat.place} has no exit at Tx")
        self._ended.add((seat.place, run.topic))
        size = run.attempt.flip.size
        sent = seat.sent - self._sent_at_begin.get((seat.place, run.topic), 0)
        if sent > MOST_SENT_PER_PEER * size:
            self.broken("R", f"{seat.place} sent {sent} messages in one attempt")
        for member in machine._members:
            if len(member.commits) > 2 or len(member.echoes) > 3:
                self.broken("R", f"{seat.place} keeps more of a member than it needs")
        if len(machine.evidence) > 2 * size or len(machine.refusals) > 32 * size:
            self.broken("R", f"{seat.place} keeps more than it needs")

    def begins(self, seat: Seat, run: Run) -> None:
        """A run begins."""
        self._sent_at_begin.setdefault((seat.place, run.topic), seat.sent)

    def closing(self) -> None:
        """What only the whole run can show: T, C, L."""
        world = self._world
        if world.chain.verdict is None:
            self.broken("T", "the chain never decides")
        for seat in world.honest_seats:
            run = seat.run
            if seat.up and run is not None:
                self.broken("T", f"{seat.place} never comes to the end of a run")
        self._unpunished()
        if world.scenario.calm:
            self._unreported()
        if world.scenario.live:
            self._liveness()

    # Conflicts

    def arrived(self, seat: Seat, run: Run, index: int, data: bytes) -> None:
        """C: in a calm run, bytes reach an honest seat; note the signed acts of others in them."""
        if not seat.honest or self._world.scheduler.now >= run.attempt.schedule.reveal_end_ms:
            return
        kind = data[0] if data else 0
        if kind in judge.BODY:
            raws = [data]
        elif kind == BUNDLE:
            raws = split_bundle(data)
            count = int.from_bytes(data[35:37], "little")
            if len(raws) != count or 37 + sum(map(len, raws)) != len(data):
                return
            if data[1:35] != run.topic + index.to_bytes(2, "little"):
                return
        else:
            return
        # One envelope that is none spoils its whole message.
        acts = [act for act in map(self._read, raws) if act is not None]
        size = run.attempt.flip.size
        if len(acts) == len(raws) and len(acts) <= 4 * size:
            for act in acts:
                if act.topic != run.topic or act.index >= size:
                    return
            for act in acts:
                self._act(seat, run, act)

    def _read(self, raw: bytes) -> judge.Envelope | None:
        try:
            return judge.read_envelope(raw)
        except judge.Refused:
            return None

    def _act(self, seat: Seat, run: Run, act: judge.Envelope) -> None:
        place = run.attempt.places[act.index]
        key = self._world.chain.keys[place]
        if self._world.is_honest(place) or not judge.signed(act, key, checked):
            return
        bodies = self._acts.setdefault((run.topic, seat.place, place, act.kind), [])
        if act.body not in bodies:
            bodies.append(act.body)
            # Of numbers without a commitment one is kept, since they decide nothing.
            idle = act.kind == judge.REVEAL and (
                (run.topic, seat.place, place, judge.COMMIT) not in self._acts
            )
            if len(bodies) == 2 and not idle:
                # Whoever holds both holds the proof.
                deadline = self._world.scheduler.now + 3 * run.attempt.schedule.delta_ms
                self._conflicts.append((run.topic, place, deadline))

    def _deadline(self, run: Run, action: Action, *arguments: object) -> None:
        """Look again 3Δ from now, when all connections had time to be made, unless Tf is nearer."""
        schedule, scheduler = run.attempt.schedule, self._world.scheduler
        joined = schedule.commit_end_ms - 2 * schedule.delta_ms
        when = max(scheduler.now, joined) + 3 * schedule.delta_ms + 1
        if when < schedule.reveal_end_ms:
            scheduler.at(when, action, *arguments)

    def _split_vectors(self, topic: bytes) -> None:
        """Two honest seats signed for different vectors: somebody's two commits are known."""
        if not any(known == topic for known, _place in self._found):
            self.broken("C", "two honest seats signed for different vectors, nobody is blamed")

    def _split_echoes(self, topic: bytes, root: bytes) -> None:
        """A certificate stands, and somebody told an honest seat another root."""
        for (where, honest, place, kind), bodies in self._acts.items():
            if (where, kind) != (topic, judge.ECHO) or (topic, place) in self._found:
                continue
            if any(body != root for body in bodies):
                self.broken("C", f"{place} told {honest} another root than the certified one")

    def _unreported(self) -> None:
        """C: what an honest seat can prove, the chain believes in the end."""
        expelled = {one.place for one in self._world.chain.expelled}
        for _topic, place in self._found:
            if place not in expelled:
                self.broken("C", f"there is proof against {place}, and it is not expelled")

    def _unpunished(self) -> None:
        if "cut off for flooding" in self._world.counts:
            return
        for topic, place, deadline in self._conflicts:
            found = self._found.get((topic, place))
            if found is None or found > deadline:
                self.broken("C", f"an honest seat saw {place} contradict itself and has no proof")

    def _liveness(self) -> None:
        world = self._world
        for seat in world.honest_seats:
            if not isinstance(seat.outcomes.get(0), Success):
                self.broken("L", f"{seat.place} has no R although nothing went wrong")
        if not isinstance(world.chain.verdict, on_chain.Anchored):
            self.broken("L", "nothing is anchored although nothing went wrong")


def split_bundle(data: bytes) -> list[bytes]:
    """The envelopes of a bundle, as far as it can be read."""
    found, at = [], 37
    while at < len(data) and data[at] in judge.BODY:
        end = at + 35 + judge.BODY[data[at]] + 64
        found.append(data[at:end])
        at = end
    return found


def name(kind: int) -> str:
    """Of a signed kind."""
    return judge.NAME[kind].decode()
