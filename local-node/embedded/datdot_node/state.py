"""The newest state, in memory."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping

from datdot_node.overlay import Overlay, StateView
from datdot_node.trie import Trie


class State:
    """All keys and values of one block, in order, with their trie."""

    def __init__(self, items: Mapping[bytes, bytes], version: int) -> None:
        self._values = dict(items)
        self._order = sorted(self._values)
        self.trie = Trie(version).changed(self._values.items())

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""
        return self._values.get(key)

    def next_key(self, key: bytes) -> bytes | None:
        """The first key after `key`, or None."""
        index = bisect_right(self._order, key)
        return self._order[index] if index < len(self._order) else None

    def apply(self, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Makes these changes; None removes."""
        changes = list(changes)
        self.trie = self.trie.changed(changes)
        for key, value in changes:
            if value is not None:
                if key not in self._values:
                    insort(self._order, key)
                self._values[key] = value
            elif key in self._values:
                del self._values[key]
                del self._order[bisect_left(self._order, key)]


def root_of(overlay: Overlay, version: int) -> bytes:
    """Root of the state below `overlay` with its changes."""
    return trie_of(overlay, version).root


def trie_of(view: StateView, version: int) -> Trie:
    """The trie of a view: incremental over a `State` of that version, else from all its values."""
    if isinstance(view, State) and view.trie.version == version:
        return view.trie
    if isinstance(view, Overlay):
        return trie_of(view.below, version).changed(view.changes.items())
    return Trie(version).changed(read_all(view))


def read_all(view: StateView) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values of a view, in order of keys."""
    key: bytes | None = b""
    if view.get(b"") is None:
        key = view.next_key(b"")
    while key is not None:
        value = view.get(key)
        if value is not None:
            yield key, value
        key = view.next_key(key)
