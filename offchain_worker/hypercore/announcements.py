"""What a hoster says of the blocks that it holds, to one peer; without any I/O (§4, types 5 to 8).

The beginning of the feed that is held without a gap is announced to everybody, as it grows. What
is held behind the first gap is said only where the peer wants to know it, as the stock hoster
does, and from then on as it changes.
"""

from __future__ import annotations

from collections.abc import Iterator

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.errors import InvalidRequest
from offchain_worker.hypercore.feed import Feed

BITFIELD_WORDS = 1024
BITFIELD_BITS = 32 * BITFIELD_WORDS
MIN_WANT = 32
MAX_WANT = 2097152
MAX_PARTS = 256
"""So many parts, of at most 32,768 blocks each, are followed; of others nothing new is told."""
_MAX_RANGES = 8
"""More changes than that in one part are told by a bitfield."""

Announcement = m.Range | m.Bitfield
Part = tuple[int, int]


class Announcements:
    """What one peer has been told of a feed."""

    def __init__(self, feed: Feed) -> None:
        """Nothing has been told yet."""
        self._feed = feed
        self._prefix = 0
        self._told: dict[Part, int] = {}
        self._followed: set[Part] = set()

    def news(self) -> list[Announcement]:
        """What to tell since the feed changed, or at the beginning."""
        messages: list[Announcement] = []
        prefix, before = self._held_prefix(), self._prefix
        self._prefix = prefix
        if prefix > before:
            messages.append(m.Range(0, prefix))
        elif prefix < before:
            messages.append(m.Range(prefix, before - prefix, drop=True))
            messages += self._held_behind(prefix, before)
        for part in sorted(self._followed):
            messages += self._changes(part)
        return messages

    def want(self, want: m.Want) -> Iterator[Announcement]:
        """What to answer to a `want`; as it is iterated over, the feed is looked at.

        Nothing is said twice about the same blocks if nothing has changed: a peer that finds
        nothing it can use asks again at once.

        Raises:
            InvalidRequest: the range is none that the protocol allows (§4.2).
        """
        prefix = self._held_prefix()
        length = self._length()
        if want.any:
            yield from self._one_of(want, prefix, length)
            return
        if want.length > MAX_WANT:
            # What a stock peer asks that looks for its place in a very long feed; nobody answers.
            return
        if want.length < MIN_WANT or want.length & (want.length - 1) or want.start % want.length:
            raise InvalidRequest(f"a want of {want.length} blocks from {want.start}")
        if prefix and (prefix == length or want.start + want.length <= prefix):
            self._prefix = max(self._prefix, prefix)
            yield m.Range(0, prefix)
            return
        for start in range(want.start, want.start + want.length, BITFIELD_BITS):
            part = start, min(start + BITFIELD_BITS, want.start + want.length)
            bits = self._bits(part)
            if start < length and self._told.get(part) != bits:
                yield self._bitfield(part, bits)
            if part in self._told or len(self._told) < MAX_PARTS:
                self._told[part] = bits
                self._followed.add(part)

    def unwant(self, want: m.Want) -> None:
        """The peer does not want to know any more."""
        self._followed -= {
            (start, stop)
            for start, stop in self._followed
            if want.start <= start and stop <= want.start + want.length
        }

    def _length(self) -> int:
        head = self._feed.head()
        return 0 if head is None else head.length

    def _held_prefix(self) -> int:
        return min(self._feed.contiguous_length(), self._length())

    def _one_of(self, want: m.Want, prefix: int, length: int) -> Iterator[m.Range]:
        """Any block that is held will do."""
        if want.start < prefix:
            yield m.Range(0, prefix)
            return
        stop = min(want.start + want.length, length)
        for index in self._feed.held_in(want.start, stop):
            yield m.Range(index, 1)
            return

    def _held_behind(self, gap: int, before: int) -> Iterator[m.Bitfield]:
        """What is still held of the blocks that were announced, as the beginning, and dropped."""
        first, last = gap // BITFIELD_BITS, (before - 1) // BITFIELD_BITS
        for page in range(first, min(last + 1, first + MAX_PARTS)):
            start = page * BITFIELD_BITS
            part = start, start + BITFIELD_BITS
            bits = self._bits(part)
            if part in self._told:
                self._told[part] = bits
            if bits:
                yield self._bitfield(part, bits)

    def _changes(self, part: Part) -> Iterator[Announcement]:
        start, stop = part
        told, bits = self._told[part], self._bits(part)
        self._told[part] = bits
        # The beginning has been announced, or taken back, as such.
        known = told | _mask(start, min(stop, self._prefix)) if self._prefix > start else told
        gained, lost = bits & ~known, told & ~bits
        ranges = [
            m.Range(start + first, count, drop=drop)
            for changed, drop in ((lost, True), (gained, False))
            for first, count in _runs(changed, _MAX_RANGES + 1)
        ]
        if len(ranges) > _MAX_RANGES:
            yield self._bitfield(part, bits)
        else:
            yield from ranges

    def _bits(self, part: Part) -> int:
        """Which blocks of a part are held, the first one in the lowest bit."""
        start, stop = part[0], min(part[1], self._length())
        if stop <= start:
            return 0
        full = min(stop, self._feed.contiguous_length())
        held = bytearray((stop - start + 7) // 8)
        for index in self._feed.held_in(max(start, full), stop):
            held[(index - start) // 8] |= 1 << (index - start) % 8
        beginning = _mask(start, full) if full > start else 0
        return int.from_bytes(held, "little") | beginning

    def _bitfield(self, part: Part, bits: int) -> m.Bitfield:
        start, stop = part[0], min(part[1], self._length())
        count = (max(0, stop - start) + 31) // 32
        raw = bits.to_bytes(4 * count, "little")
        words = (int.from_bytes(raw[i : i + 4], "little") for i in range(0, len(raw), 4))
        return m.Bitfield(start, tuple(words))


def _mask(start: int, stop: int) -> int:
    """One bit for each block from `start` to before `stop`."""
    return (1 << (stop - start)) - 1


def _runs(bits: int, limit: int) -> Iterator[tuple[int, int]]:
    """The runs of one bits, as (place, number), lowest first; at most `limit` of them."""
    place = 0
    while bits and limit:
        skipped = (bits & -bits).bit_length() - 1
        bits >>= skipped
        place += skipped
        count = (~bits & (bits + 1)).bit_length() - 1
        yield place, count
        bits >>= count
        place += count
        limit -= 1
