"""What it means to be fuzzed.

A target makes an input and feeds it. It answers with the word for what became of it, `accepted`
or the reason of a refusal; any exception that leaves it is an escape: one that is not the
parser's own, or a `Broken` promise: a decoded value that is not that of its bytes, something kept
beyond its bound.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod

ACCEPTED = "accepted"


class Broken(Exception):
    """A promise of the fuzzed code does not hold."""


def expect(holds: bool, promise: str) -> None:
    """Raise `Broken` unless it holds."""
    if not holds:
        raise Broken(promise)


class Target(ABC):
    """One thing that reads bytes; a new one for each batch."""

    def __init__(self, source: random.Random) -> None:
        self.source = source

    @abstractmethod
    def make(self) -> bytes:
        """The next input."""

    @abstractmethod
    def feed(self, data: bytes) -> str:
        """What became of it."""
