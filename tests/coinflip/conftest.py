"""A deterministic network of machines in memory: a heap of events, a seed, no clock.

`network` makes one: honest members are `Member`s with a journal in memory (a dict that outlives a
crash); a seat may be played by anything with the same four methods instead.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from offchain_worker.coinflip import effects as fx
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.journal import Record
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.schedule import Schedule, Timing
from offchain_worker.coinflip.topic import Flip
from offchain_worker.keys import KeyPair

T0 = 1_800_000_000_000
TIMING = Timing(block_ms=500, join_ms=1_500, delta_ms=200, finality_ms=0, flip_ms=5_000)


def keypairs(size: int, salt: int = 0) -> list[KeyPair]:
    """Pairs in roster order."""
    made = [KeyPair.from_seed(bytes([salt, i]) * 16) for i in range(size)]
    return sorted(made, key=lambda pair: pair.public)


def flip_for(pairs: list[KeyPair], **changes: Any) -> Flip:
    given = {
        "genesis": bytes(32),
        "challenge_id": 7,
        "start_block_hash": b"\1" * 32,
        "attempt": 0,
        "roster": tuple(pair.public for pair in pairs),
    }
    return Flip(**{**given, **changes})


@dataclass
class Member:
    """An honest seat: its machine, what its disk holds, what it saw."""

    network: Network
    index: int
    machine: CoinflipMachine = field(init=False)
    disk: dict[Kind, Record] = field(default_factory=dict)
    seen: list[fx.Effect] = field(default_factory=list)
    up: bool = True

    def __post_init__(self) -> None:
        self.secrets = FlipSecrets.generate(self.network.random.randbytes)
        self.boot()

    def boot(self, **options: Any) -> None:
        self.machine = CoinflipMachine(
            self.network.flip,
            self.network.pairs[self.index],
            self.secrets,
            self.network.schedule,
            **{"records": dict(self.disk), **options},
        )

    def do(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            self.seen.append(effect)
            if isinstance(effect, fx.Journal):
                assert self.disk.get(effect.envelope.kind) is None, "a second body"
                self.disk[effect.envelope.kind] = Record(effect.envelope.raw, effect.support)
            elif isinstance(effect, fx.Send):
                if effect.data[0] in (Kind.COMMIT, Kind.ECHO, Kind.REVEAL):
                    # Only own envelopes travel outside bundles: on disk first, the same bytes.
                    assert self.disk[Kind(effect.data[0])].envelope == effect.data
                self.network.send(self.index, effect.peer, effect.data)

    def start(self) -> None:
        self.do(self.machine.start(self.network.now))

    def connected(self, peer: int) -> None:
        if self.up:
            self.do(self.machine.connected(self.network.now, peer))

    def received(self, peer: int, data: bytes) -> None:
        if self.up:
            self.do(self.machine.received(self.network.now, peer, data))

    def tick(self) -> int | None:
        if self.up:
            self.do(self.machine.tick(self.network.now))
        return self.machine.wake_ms

    def of_type(self, kind: type) -> list[Any]:
        return [effect for effect in self.seen if isinstance(effect, kind)]


class Network:
    """Members that exchange bytes with delays; `fate` decides what happens to a message."""

    def __init__(self, size: int, seed: int = 0, seats: dict[int, Any] | None = None) -> None:
        self.random = random.Random(seed)
        self.now = T0
        self.pairs = keypairs(size)
        self.flip = flip_for(self.pairs)
        self.schedule = Schedule.first(TIMING, T0)
        self.fate: Callable[[int, int, bytes], list[int]] = lambda *_: [10]
        """(from, to, data) → delays of the copies that arrive; [] loses it."""
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.members: list[Any] = []
        for index in range(size):
            make = (seats or {}).get(index, Member)
            self.members.append(make(self, index))

    @property
    def honest(self) -> list[Member]:
        return [member for member in self.members if isinstance(member, Member)]

    def at(self, when: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, action))

    def send(self, sender: int, to: int, data: bytes) -> None:
        for delay in self.fate(sender, to, data):
            self.at(self.now + delay, lambda: self.members[to].received(sender, data))

    def _timer(self, member: Any) -> None:
        wake = member.tick()
        if wake is not None:
            self.at(min(wake, self.now + 50), lambda: self._timer(member))

    def run(self, until: int | None = None, *, start: bool = True) -> None:
        """Start everybody, connect all pairs, go on until Tx (or `until`)."""
        if start:
            for member in self.members:
                member.start()
                self._timer(member)
            for member in self.members:
                for peer in range(len(self.members)):
                    if peer != member.index:
                        self.at(self.now + 1, lambda m=member, p=peer: m.connected(p))
        end = self.schedule.end_ms + 1 if until is None else until
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = max(self.now, end)

    def outcomes(self) -> list[fx.Outcome | None]:
        return [member.machine.outcome for member in self.honest]


class Scripted:
    """A dishonest seat: subclasses override what they do; signs anything with its own key."""

    def __init__(self, network: Network, index: int) -> None:
        self.network = network
        self.index = index
        self.pair = network.pairs[index]
        self.secrets = FlipSecrets.generate(network.random.randbytes)
        self.inbox: list[tuple[int, bytes]] = []

    def sign(self, kind: Kind, body: bytes) -> SignedEnvelope:
        return SignedEnvelope.sign(kind, self.network.flip.topic, self.index, body, self.pair)

    def commit(self, secrets: FlipSecrets | None = None) -> SignedEnvelope:
        body = (secrets or self.secrets).commit_body(self.network.flip.topic, self.pair.public)
        return self.sign(Kind.COMMIT, body)

    def others(self) -> list[int]:
        return [i for i in range(len(self.network.members)) if i != self.index]

    def tell(self, peers: list[int], *envelopes: SignedEnvelope) -> None:
        for peer in peers:
            for envelope in envelopes:
                self.network.send(self.index, peer, envelope.raw)

    def start(self) -> None:
        pass

    def connected(self, peer: int) -> None:
        pass

    def received(self, peer: int, data: bytes) -> None:
        self.inbox.append((peer, data))

    def tick(self) -> int | None:
        return None


class Toolbox:
    """What the tests of this folder share."""

    T0 = T0
    TIMING = TIMING
    Network = Network
    Member = Member
    Scripted = Scripted
    keypairs = staticmethod(keypairs)
    flip_for = staticmethod(flip_for)


@pytest.fixture
def tools() -> type[Toolbox]:
    return Toolbox
