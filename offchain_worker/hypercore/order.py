"""In which order the stock client's download of a whole feed asks for its blocks (§4.3)."""

from __future__ import annotations

import random
from collections.abc import Iterator

PAGE = 4096


class DownloadOrder:
    """The positions that `core.download()` asks for, one by one.

    Each is the first block not asked for yet at or after a random one, wrapping at the end. The
    random one lies between the first and the last block that have not arrived. Memory goes with
    the blocks asked for, whatever length a peer announces.

    Args:
        length: of the feed, in blocks.
        dice: chooses.
    """

    def __init__(self, length: int, dice: random.Random) -> None:
        self._length = length
        self._dice = dice
        self._asked: dict[int, bytearray] = {}
        self._arrived: set[int] = set()
        self._first = 0
        self._end = length
        self._left = length

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        """The next block; ends when all were asked for."""
        if not self._left:
            raise StopIteration
        index = self._free_from(self._dice.randrange(self._first, self._end))
        if index >= self._end:
            index = self._free_from(self._first)
        self.ask(index)
        return index

    @property
    def left(self) -> int:
        """How many blocks were not asked for yet."""
        return self._left

    def asked(self, index: int) -> bool:
        """Whether the block was asked for."""
        page = self._asked.get(index // PAGE)
        return page is not None and bool(page[index % PAGE])

    def ask(self, index: int) -> None:
        """The block is asked for, whoever chose it."""
        if not self.asked(index):
            self._asked.setdefault(index // PAGE, bytearray(PAGE))[index % PAGE] = 1
            self._left -= 1

    def arrive(self, index: int) -> None:
        """The block has arrived."""
        self._arrived.add(index)
        while self._first in self._arrived:
            self._arrived.remove(self._first)
            self._first += 1
        while self._end - 1 in self._arrived:
            self._end -= 1
            self._arrived.remove(self._end)

    def _free_from(self, index: int) -> int:
        """The first block from `index` on that was not asked for; at least `length` if none."""
        while index < self._length:
            page = self._asked.get(index // PAGE)
            if page is None:
                return index
            found = page.find(0, index % PAGE)
            if found >= 0:
                return index - index % PAGE + found
            index += PAGE - index % PAGE
        return index
