"""ByzzFuzz-like: an honest seat whose messages are changed a little, field by field (row 28).

A change to the body of an own envelope is signed anew, so that the receiver sees a valid message
that says something else; every other change leaves the bytes as they fall.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from offchain_worker.coinflip.attempts import Attempt
from offchain_worker.coinflip.envelope import Kind
from offchain_worker.simulation import judge
from offchain_worker.simulation.adversary import Deviant, own_of, sign
from offchain_worker.simulation.seat import Run

if TYPE_CHECKING:
    from offchain_worker.simulation.world import World


class Mutator(Deviant):
    """Changes fields of some of its messages.

    Args:
        part: of its messages that are changed, 0 to 1; drawn when left out.
    """

    def __init__(self, world: World, place: int, part: float | None = None) -> None:
        super().__init__(world, place)
        drawn = self.dice.choice([0.02, 0.1, 0.3])
        self._part = drawn if part is None else part
        self._earlier: list[bytes] = []

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        """Change it, drop it, double it, or send an earlier one instead."""
        dice = self.dice
        if len(self._earlier) < 64:
            self._earlier.append(data)
        if dice.random() >= self._part:
            return (data,)
        self.world.touch(28)
        choice = dice.random()
        if choice < 0.1:
            return ()
        if choice < 0.2:
            return data, data
        if choice < 0.3:
            return (dice.choice(self._earlier),)
        return (self.mutated(run.attempt, run.machine.index, data),)

    def mutated(self, attempt: Attempt, own: int, data: bytes) -> bytes:
        """One field changed: kind, topic, index, body, or signature."""
        dice = self.dice
        kind = own_of(data, own)
        if kind is not None and dice.random() < 0.7:
            body = _nudged(data[35:-64], dice.randrange(judge.BODY[kind]), dice.choice((-1, 1)))
            if kind is Kind.ECHO and dice.random() < 0.3:
                body = bytes(32)
            other = dice.choice((Kind.COMMIT, Kind.ECHO, Kind.REVEAL))
            if dice.random() < 0.15 and judge.BODY[other] == len(body):
                kind = other
            return sign(self, attempt, kind, body).raw
        fields = [0, 1 + dice.randrange(32), 33, 34]
        if len(data) > 35:
            fields.append(35)
            fields.append(35 + dice.randrange(len(data) - 35))
            fields.append(len(data) - 1 - dice.randrange(min(64, len(data) - 35)))
        return _nudged(data, dice.choice(fields), dice.choice((-1, 1)))


def _nudged(data: bytes, at: int, by: int) -> bytes:
    """The bytes with one of them more or less by one."""
    return data[:at] + bytes([(data[at] + by) % 256]) + data[at + 1 :]
