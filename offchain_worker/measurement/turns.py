"""Whose turn it is: attestors measure each other without being in each other's way.

In a coinflip every member asks every other once for a bulk transfer (challenge.md §3.5). If all did
so at the same time, each would measure its own crowded link. So time is divided into slots, the
same for all, and the slots into rounds of a round-robin tournament (the circle method): in a round
each member is in one pair, in the round's first slot the lower one of the pair asks, in the second
the higher. Whoever missed its slot, since it had no result or no connection yet, has the same slot
again when all rounds are over. Pure: no clock, and nothing has to be agreed upon.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Turns:
    """The slots of one member.

    Attributes:
        size: members, at least 2.
        index: the own one.
        slot_ms: length of a slot, at least 1.
    """

    size: int
    index: int
    slot_ms: int

    @classmethod
    def within(cls, size: int, index: int, span_ms: int) -> Turns:
        """Slots so long that all of them pass once in `span_ms`."""
        return cls(size, index, max(1, span_ms // slots(size)))

    def asked_in(self, slot: int) -> int | None:
        """Whom this member asks in a slot, counted from 0 without end; None: nobody."""
        turn, second = divmod(slot % slots(self.size), 2)
        fellow = partner(self.size, self.index, turn)
        if fellow is None or (self.index > fellow) != bool(second):
            return None
        return fellow

    def next_slot(self, elapsed_ms: int) -> int:
        """The first slot that begins after that time since the beginning of slot 0."""
        return elapsed_ms // self.slot_ms + 1


def rounds(size: int) -> int:
    """Rounds in which each pair of members meets once."""
    return size - 1 if size % 2 == 0 else size


def slots(size: int) -> int:
    """Slots of all rounds."""
    return 2 * rounds(size)


def partner(size: int, index: int, turn: int) -> int | None:
    """With whom a member is paired in a round, 0 … `rounds` − 1; None: with nobody."""
    circle = rounds(size)
    if index == circle:
        # The last of an even number stands still; it meets the one that would meet itself.
        return turn * (circle + 1) // 2 % circle
    fellow = (turn - index) % circle
    if fellow != index:
        return fellow
    return circle if size % 2 == 0 else None
