"""Who takes part in a day: keys, links, and whether they are honest."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import cycle
from typing import Generic, TypeVar

from offchain_worker.keys import KeyPair
from offchain_worker.simulation.day.cheats import AttestorCheat, HosterCheat
from offchain_worker.simulation.day.feeds import MemoryFeed
from offchain_worker.simulation.dice import stream

C = TypeVar("C", bound=StrEnum)


class Repertoire(Generic[C]):
    """What somebody does wrong, one challenge after the other: always what it did least so far.

    Args:
        kinds: all that can be done wrong.
        first: where to begin.
    """

    def __init__(self, kinds: Sequence[C], first: int) -> None:
        self._kinds = [*kinds[first:], *kinds[:first]]
        self._done: Counter[C] = Counter()

    def choose(self) -> C:
        """For a challenge that begins."""
        kind = min(self._kinds, key=lambda one: self._done[one])
        self._done[kind] += 1
        return kind

    def not_done(self, kind: C) -> None:
        """The challenge is over, and did not come so far."""
        self._done[kind] -= 1


@dataclass
class Person:
    """An account with its owner.

    Its key is of Ed25519, whose signatures are the same each time, so that a seed replays a day.

    Attributes:
        name: for people.
        key: of the account.
        honest: whether it follows the rules; who does not, does so in its own challenges only.
        dice: its own stream.
        nonce: of its next extrinsic.
    """

    name: str
    key: KeyPair
    honest: bool
    dice: random.Random
    nonce: int = field(default=0, init=False)

    @property
    def account(self) -> bytes:
        """The account's id, 32 bytes."""
        return self.key.public


@dataclass
class Sponsor(Person):
    """Pays for hostings."""


@dataclass
class Attestor(Person):
    """Audits.

    Attributes:
        session_key: signs in the coinflip.
        rate: bytes per second of its link.
        delay_ms: of its link, one way.
        cheats: what it does wrong; None: nothing.
    """

    session_key: KeyPair
    rate: int
    delay_ms: int
    cheats: Repertoire[AttestorCheat] | None


@dataclass
class Hoster(Person):
    """Serves a feed.

    Attributes:
        noise_key: signs handshakes and receipts.
        rate: bytes per second that it serves.
        delay_ms: from a request to its chunk, at least.
        cheats: what it does wrong; None: nothing.
        feed: what it serves, in all of its hostings.
    """

    noise_key: KeyPair
    rate: int
    delay_ms: int
    cheats: Repertoire[HosterCheat] | None
    feed: MemoryFeed


def misbehaving(count: int, share: float) -> int:
    """How many of so many providers misbehave: the share, rounded up."""
    return min(count, -int(-count * share // 1))


def _repertoire(kinds: Sequence[C], number: int, count: int) -> Repertoire[C] | None:
    """That of one of `count` who cheat, of whom each begins elsewhere; None below 0."""
    return Repertoire(kinds, number * len(kinds) // count) if number >= 0 else None


def _providers(
    role: str, seed: int, count: int, kinds: Sequence[C], dishonest: int, rates: tuple[int, int]
) -> Iterator[tuple[str, KeyPair, bool, random.Random, KeyPair, int, int, Repertoire[C] | None]]:
    """What providers of a role have in common, in the order of their fields.

    Args:
        role: for names and dice.
        seed: of the day.
        count: how many.
        kinds: what they can do wrong.
        dishonest: how many cheat, the last ones.
        rates: least and highest rate, bytes per second.
    """
    for number in range(count):
        dice = stream(f"{role} {seed} {number}")
        cheat = number - (count - dishonest)
        yield (
            f"{role} {number}",
            KeyPair.from_seed(dice.randbytes(32)),
            cheat < 0,
            dice,
            KeyPair.from_seed(dice.randbytes(32)),
            dice.randint(*rates),
            dice.randint(5, 60),
            _repertoire(kinds, cheat, dishonest),
        )


def make_attestors(seed: int, count: int, dishonest: int) -> list[Attestor]:
    """So many attestors, the last `dishonest` of them cheats."""
    rates = 20_000_000, 100_000_000
    all_of_them = _providers("attestor", seed, count, list(AttestorCheat), dishonest, rates)
    return [Attestor(*one) for one in all_of_them]


def make_hosters(
    seed: int, count: int, dishonest: int, feeds: Sequence[MemoryFeed]
) -> list[Hoster]:
    """So many hosters, the last `dishonest` of them cheats; the feeds are shared out."""
    rates = 5_000_000, 15_000_000
    all_of_them = _providers("hoster", seed, count, list(HosterCheat), dishonest, rates)
    return [Hoster(*one, feed=feed) for one, feed in zip(all_of_them, cycle(feeds), strict=False)]


def make_sponsors(seed: int, count: int) -> list[Sponsor]:
    """So many sponsors."""
    found = []
    for number in range(count):
        dice = stream(f"sponsor {seed} {number}")
        key = KeyPair.from_seed(dice.randbytes(32))
        found.append(Sponsor(f"sponsor {number}", key, honest=True, dice=dice))
    return found
