"""Blocks that readers hold, those of forks that were taken back among them."""

from collections.abc import Callable
from dataclasses import dataclass

from datdot_node.block import Block
from datdot_node.overlay import Overlay

MAX_TAKEN_BACK = 1024
"""Most blocks of old forks that are kept for those who hold one of them."""


class Pins:
    """Blocks that one reader holds: they and the states after them stay readable meanwhile.

    Attributes:
        hashes: those blocks.
        lost: one of them could not be kept any longer.
        released: the reader has gone; may be set from any thread.
    """

    __slots__ = ("hashes", "lost", "released")

    def __init__(self) -> None:
        self.hashes: set[bytes] = set()
        self.lost = False
        self.released = False

    def release(self) -> None:
        """Lets all of them go."""
        self.released = True


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A block that is no more of the chain, and what it changed in its parent's state."""

    block: Block
    changes: dict[bytes, bytes | None]


class Forks:
    """The readers' pins, and the blocks that were taken back while somebody held one."""

    def __init__(self) -> None:
        self._pins: list[Pins] = []
        self._taken_back: dict[bytes, TakenBack] = {}

    def hold(self) -> Pins:
        """Pins of a new reader, without any block yet."""
        pins = Pins()
        self._pins.append(pins)
        return pins

    @property
    def held(self) -> bool:
        """Whether there is any reader, once those that have gone are forgotten."""
        self._pins = [pins for pins in self._pins if not pins.released]
        return bool(self._pins)

    def add(self, taken_back: TakenBack) -> None:
        """Keeps a block that was taken back; the oldest one goes when there are too many."""
        self._taken_back[taken_back.block.hash] = taken_back
        if len(self._taken_back) > MAX_TAKEN_BACK:
            oldest = next(iter(self._taken_back))
            del self._taken_back[oldest]
            self._lose(lambda block_hash: oldest in self._lineage(block_hash))

    def get(self, block_hash: bytes) -> TakenBack | None:
        """A block that was taken back, or None."""
        return self._taken_back.get(block_hash)

    def on(self, block_hash: bytes, state_of: Callable[[bytes], Overlay]) -> Overlay:
        """The state after a block that was taken back; `state_of` gives that of its ancestor."""
        *upper, base = self._lineage(block_hash)
        state = state_of(base)
        for each in reversed(upper):
            for key, value in self._taken_back[each].changes.items():
                state.set(key, value)
        return state

    def _lineage(self, block_hash: bytes) -> list[bytes]:
        """A block and its ancestors as far as they were taken back, and the one below."""
        lineage = [block_hash]
        while (found := self._taken_back.get(lineage[-1])) is not None:
            lineage.append(found.block.header.parent_hash)
        return lineage

    def tidy(self, is_lost: Callable[[bytes], bool] | None = None) -> None:
        """Forgets readers that have gone, and old forks when nobody holds a block of one.

        `is_lost` says of a block of the chain whether its state was discarded.
        """
        if not self.held or not any(
            each in self._taken_back for pins in self._pins for each in pins.hashes
        ):
            self._taken_back.clear()
        if is_lost is not None:
            self._lose(lambda block_hash: is_lost(self._lineage(block_hash)[-1]))

    def _lose(self, is_lost: Callable[[bytes], bool]) -> None:
        for pins in self._pins:
            pins.lost = pins.lost or any(map(is_lost, pins.hashes))

    def bases(self) -> set[bytes]:
        """The blocks of the chain whose states the held blocks need."""
        return {self._lineage(each)[-1] for pins in self._pins for each in pins.hashes}
