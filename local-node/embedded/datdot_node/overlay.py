"""Changes on top of a state, in nested transactions, as the runtime sees storage."""

from bisect import bisect_left, bisect_right, insort
from typing import Protocol

from datdot_node.scale import Reader, ScaleError, compact


class StateView(Protocol):
    """A state that can be read: the newest one, or that of an old block."""

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""

    def next_key(self, key: bytes) -> bytes | None:
        """The first key after `key` in the order of bytes, or None."""


class EmptyState:
    """A state without any value: before genesis."""

    def get(self, key: bytes) -> bytes | None:
        return None

    def next_key(self, key: bytes) -> bytes | None:
        return None


class Overlay:
    """Changes over `below`; a value of None is a removal.

    A transaction remembers what each key that it touches was before; transactions nest.
    """

    def __init__(self, below: StateView) -> None:
        self._below = below
        self._changes: dict[bytes, bytes | None] = {}
        self._order: list[bytes] = []
        self._undo: list[dict[bytes, tuple[bool, bytes | None]]] = []

    @property
    def below(self) -> StateView:
        """The state that the changes apply to."""
        return self._below

    @property
    def changes(self) -> dict[bytes, bytes | None]:
        """All changes so far, those of open transactions included."""
        return self._changes

    @property
    def depth(self) -> int:
        """How many transactions are open."""
        return len(self._undo)

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""
        if key in self._changes:
            return self._changes[key]
        return self._below.get(key)

    def set(self, key: bytes, value: bytes | None) -> None:
        """Sets the value under `key`; None removes it."""
        known = key in self._changes
        if self._undo and key not in self._undo[-1]:
            self._undo[-1][key] = (known, self._changes.get(key))
        if not known:
            insort(self._order, key)
        self._changes[key] = value

    def append(self, key: bytes, item: bytes) -> None:
        """Appends an encoded item to the encoded vector under `key`.

        What is not the encoding of a vector is replaced by a vector of this item alone.
        """
        value = self.get(key)
        count, start = 0, 0
        if value:
            reader = Reader(value)
            try:
                count, start = reader.compact(), reader.position
            except ScaleError:
                value = None
        self.set(key, compact(count + 1) + (value or b"")[start:] + item)

    def next_key(self, key: bytes) -> bytes | None:
        """The first key after `key` that has a value, or None."""
        below = self._below.next_key(key)
        index = bisect_right(self._order, key)
        while True:
            above = self._order[index] if index < len(self._order) else None
            if above is not None and (below is None or above <= below):
                if self._changes[above] is not None:
                    return above
                index += 1
                if above == below:
                    below = self._below.next_key(below)
            else:
                return below

    def clear_prefix(self, prefix: bytes, limit: int | None = None) -> tuple[bool, int]:
        """Removes the keys that begin with `prefix`.

        Those changed here go without counting; of the others at most `limit`. Returns whether all
        are gone, and how many keys of the state below were removed.
        """
        for key in self._order[bisect_left(self._order, prefix) :]:
            if not key.startswith(prefix):
                break
            if self._changes[key] is not None:
                self.set(key, None)
        removed = 0
        key_below = prefix if self._below.get(prefix) is not None else self._below.next_key(prefix)
        while key_below is not None and key_below.startswith(prefix):
            if removed == limit:
                return False, removed
            self.set(key_below, None)
            removed += 1
            key_below = self._below.next_key(key_below)
        return True, removed

    def begin(self) -> None:
        """Opens a transaction."""
        self._undo.append({})

    def commit(self) -> None:
        """Keeps the changes of the innermost transaction. Raises `IndexError` without one."""
        undo = self._undo.pop()
        if self._undo:
            outer = self._undo[-1]
            for key, before in undo.items():
                outer.setdefault(key, before)

    def rollback(self) -> None:
        """Takes the innermost transaction back. Raises `IndexError` without one."""
        for key, (known, value) in self._undo.pop().items():
            if known:
                self._changes[key] = value
            else:
                del self._changes[key]
                del self._order[bisect_left(self._order, key)]

    def rollback_to(self, depth: int) -> None:
        """Takes back all transactions but the outermost `depth`."""
        while len(self._undo) > depth:
            self.rollback()
