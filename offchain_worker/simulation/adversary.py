"""What a dishonest seat can do: anything that its key allows (coinflip.md §9).

`Dishonest` is scripted from nothing; `Deviant` is an honest seat that departs from the rules where
a strategy says so. All of them share what they know in a `Coalition`. None can sign with an honest
key, and none gets past the transport as somebody else.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from offchain_worker.coinflip.attempts import Attempt
from offchain_worker.coinflip.envelope import (
    EvidenceMessage,
    Kind,
    Need,
    SignedEnvelope,
    encode,
)
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.keys import KeyPair
from offchain_worker.simulation import chain as on_chain
from offchain_worker.simulation import judge
from offchain_worker.simulation.dice import stream
from offchain_worker.simulation.network import Line
from offchain_worker.simulation.scheduler import Action
from offchain_worker.simulation.seat import Run, Seat

if TYPE_CHECKING:
    from offchain_worker.simulation.world import World

REMEMBERED = 400
"""Envelopes that a coalition keeps of one topic: enough for any attack, bounded for speed."""

SIGNED = (Kind.COMMIT, Kind.ECHO, Kind.REVEAL)


class Heard(NamedTuple):
    """A signed envelope that some dishonest seat got to see."""

    kind: int
    member: int
    body: bytes
    raw: bytes


class Coalition:
    """What all dishonest seats of a run know together.

    Attributes:
        attempts: every attempt that somebody takes part in, by topic.
        heard: signed envelopes, by topic, in order of arrival.
        numbers: (topic, index) → x, of reveals.
    """

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.attempts: dict[bytes, Attempt] = {}
        self.heard: dict[bytes, list[Heard]] = {}
        self.numbers: dict[tuple[bytes, int], bytes] = {}
        self._known: set[bytes] = set()
        self.scripted: list[Dishonest] = []

    def hear_of(self, attempt: Attempt) -> None:
        """Somebody begins an attempt: all scripted seats of its roster are there too."""
        topic = attempt.flip.topic
        self.attempts[topic] = attempt
        self.heard[topic] = []
        for seat in self.scripted:
            if seat.place in attempt.places:
                seat.lines[topic] = {}
                self.world.network.join(seat, topic)
                seat.on_attempt(attempt)

    def learn(self, data: bytes) -> list[Heard]:
        """Note down the signed envelopes in a message; returns the new ones."""
        new: list[Heard] = []
        kind = data[0] if data else 255
        if kind in judge.BODY:
            raws = [data]
        elif kind == Kind.BUNDLE:
            raws = _envelopes(data)
        else:
            return new
        for raw in raws:
            if raw in self._known or len(raw) != 99 + judge.BODY[raw[0]]:
                continue
            topic = raw[1:33]
            kept = self.heard.get(topic)
            if kept is None or len(kept) >= REMEMBERED:
                continue
            self._known.add(raw)
            one = Heard(raw[0], int.from_bytes(raw[33:35], "little"), raw[35:-64], raw)
            kept.append(one)
            new.append(one)
            if one.kind == Kind.REVEAL:
                self.numbers[topic, one.member] = one.body[32:]
        return new

    def contradictions(self, topic: bytes) -> list[tuple[bytes, bytes]]:
        """Pairs of envelopes of one member and kind with different bodies, as far as heard."""
        first: dict[tuple[int, int], Heard] = {}
        found = []
        for one in self.heard.get(topic, ()):
            other = first.setdefault((one.kind, one.member), one)
            if other.body != one.body:
                found.append((other.raw, one.raw))
        return found

    def bodies(self, topic: bytes, kind: Kind) -> list[bytes]:
        """All bodies of a kind that were heard in a topic."""
        return [one.body for one in self.heard.get(topic, ()) if one.kind == kind]


def _envelopes(data: bytes) -> list[bytes]:
    found, at = [], 37
    while at < len(data) and data[at] in judge.BODY:
        end = at + 99 + judge.BODY[data[at]]
        found.append(data[at:end])
        at = end
    return found


def sign(seat: Seat | Dishonest, attempt: Attempt, kind: Kind, body: bytes) -> SignedEnvelope:
    """An envelope of that seat in any topic."""
    index = attempt.places.index(seat.place)
    return SignedEnvelope.sign(kind, attempt.flip.topic, index, body, seat.keypair)


def commit_of(seat: Seat | Dishonest, attempt: Attempt, secrets: FlipSecrets) -> SignedEnvelope:
    """Its commit with those secrets."""
    body = secrets.commit_body(attempt.flip.topic, seat.keypair.public)
    return sign(seat, attempt, Kind.COMMIT, body)


class Dishonest:
    """A scripted seat: says nothing unless its strategy does.

    Attributes:
        place: in the start roster.
        lines: topic → place → connection.
    """

    honest = False
    scripted = True

    def __init__(self, world: World, place: int) -> None:
        self.world = world
        self.place = place
        self.ident = world.new_ident()
        self.keypair: KeyPair = world.keypairs[place]
        self.dice = stream(world.dice.getrandbits(64))
        self.lines: dict[bytes, dict[int, Line]] = {}
        self.start_known_ms: int | None = None
        self.coalition = world.coalition
        self.secrets: dict[bytes, FlipSecrets] = {}
        self.budget = 600
        """Messages that it sends of its own accord, at most: a run must end."""
        self.coalition.scripted.append(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.place}>"

    # What a strategy overrides

    def on_attempt(self, attempt: Attempt) -> None:
        """Somebody began an attempt with this seat in its roster."""

    def on_line(self, attempt: Attempt, place: int) -> None:
        """A connection to a member stands."""

    def on_message(self, attempt: Attempt, place: int, data: bytes, new: list[Heard]) -> None:
        """A member sent something; `new` are the envelopes in it not seen before."""

    def hear(self, event: on_chain.Event) -> None:
        """The chain says something."""

    # What it can do

    def at(self, when: int, action: Action, *arguments: object) -> None:
        """Do something at a moment of virtual time."""
        self.world.scheduler.at(when, action, *arguments)

    def after(self, pause_ms: int, action: Action, *arguments: object) -> None:
        """Do something later."""
        self.world.scheduler.at(self.world.scheduler.now + pause_ms, action, *arguments)

    def secrets_of(self, attempt: Attempt) -> FlipSecrets:
        """Its own secrets of a topic."""
        topic = attempt.flip.topic
        if topic not in self.secrets:
            self.secrets[topic] = FlipSecrets.generate(self.dice.randbytes)
        return self.secrets[topic]

    def others(self, attempt: Attempt) -> list[int]:
        """The other members' places."""
        return [place for place in attempt.places if place != self.place]

    def tell(self, attempt: Attempt, places: Iterable[int], *messages: bytes) -> None:
        """Send bytes to members, as far as connections stand."""
        lines = self.lines.get(attempt.flip.topic, {})
        for place in places:
            line = lines.get(place)
            if line is None:
                continue
            for data in messages:
                if self.budget > 0:
                    self.budget -= 1
                    self.world.network.transmit(line, self, data)

    def index(self, attempt: Attempt) -> int:
        """Its index in an attempt."""
        return attempt.places.index(self.place)

    def relay(self, attempt: Attempt, places: Iterable[int], raws: Sequence[bytes]) -> None:
        """Send envelopes of anybody in a bundle."""
        if raws:
            some = raws[: 4 * attempt.flip.size]
            head = bytes([Kind.BUNDLE]) + attempt.flip.topic
            head += self.index(attempt).to_bytes(2, "little") + len(some).to_bytes(2, "little")
            self.tell(attempt, places, head + b"".join(some))

    def ask(self, attempt: Attempt, places: Iterable[int], kind: Kind) -> None:
        """Ask for everybody's envelopes of a kind."""
        everybody = frozenset(range(attempt.flip.size))
        need = encode(Need(kind, everybody), attempt.flip, self.index(attempt))
        self.tell(attempt, places, need)

    def accuse(self, attempt: Attempt, places: Iterable[int], proof: bytes) -> None:
        """Send bytes as evidence."""
        data = encode(EvidenceMessage(proof), attempt.flip, self.index(attempt))
        self.tell(attempt, places, data)

    def call(self, call: on_chain.Call) -> None:
        """Submit anything to the chain."""
        self.world.chain.submit(self.place, call)

    # The network

    def learn_start(self, start_hash: bytes) -> None:
        """It hears of attempts when somebody begins them."""

    def line_opened(self, line: Line) -> None:
        """A connection stands."""
        place = line.other(self).place
        self.lines[line.topic][place] = line
        self.on_line(self.coalition.attempts[line.topic], place)

    def line_lost(self, line: Line) -> None:
        """A connection is gone."""
        place = line.other(self).place
        lines = self.lines[line.topic]
        if lines.get(place) is line:
            del lines[place]

    def deliver(self, line: Line, data: bytes) -> None:
        """Bytes arrived."""
        if line.alive:
            new = self.coalition.learn(data)
            attempt = self.coalition.attempts[line.topic]
            self.on_message(attempt, line.other(self).place, data, new)


class Deviant(Seat):
    """An honest seat that deviates: a strategy overrides what it does differently."""

    honest = False

    def __init__(self, world: World, place: int) -> None:
        super().__init__(world, place)
        self.coalition = world.coalition

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        """What is sent to a peer in place of a message."""
        del run, index
        return (data,)

    def send(self, run: Run, index: int, line: Line, data: bytes) -> None:
        """Send what the strategy makes of a message."""
        for altered in self.alter(run, index, data):
            self.world.network.transmit(line, self, altered)

    def deliver(self, line: Line, data: bytes) -> None:
        """Share what arrives, then go on as an honest seat does."""
        self.coalition.learn(data)
        super().deliver(line, data)

    def say(self, run: Run, index: int, *messages: bytes) -> None:
        """Send bytes to a peer, if a connection stands and the run goes on."""
        line = run.lines[index]
        if self.run is run and line is not None:
            for data in messages:
                self.world.network.transmit(line, self, data)

    def say_all(self, run: Run, *messages: bytes) -> None:
        """Send bytes to all peers."""
        for index in range(len(run.lines)):
            self.say(run, index, *messages)


def own_of(data: bytes, index: int) -> Kind | None:
    """The kind of a message that is an own signed envelope of that member."""
    if data[0] in judge.BODY and int.from_bytes(data[33:35], "little") == index:
        return Kind(data[0])
    return None


def without(data: bytes, index: int, kind: Kind) -> tuple[bytes, ...]:
    """A message without a member's envelopes of a kind; nothing when nothing is left of it."""
    if data[0] == kind and int.from_bytes(data[33:35], "little") == index:
        return ()
    if data[0] != Kind.BUNDLE:
        return (data,)
    kept = [
        raw
        for raw in _envelopes(data)
        if not (raw[0] == kind and int.from_bytes(raw[33:35], "little") == index)
    ]
    if not kept:
        return ()
    return (data[:35] + len(kept).to_bytes(2, "little") + b"".join(kept),)
