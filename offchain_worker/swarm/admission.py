"""Which incoming connections get a handshake: token buckets per source address and overall.

Who a caller is shows only at the end of a handshake, which costs about a millisecond of a core;
before it there is the source address alone. So:

- a *stranger's* address has a small bucket of its own, and all strangers share one more: whatever
  number of addresses they call from, they get `OVERALL` handshakes and no more;
- a *fellow's* address (the chain names it for a run of now, or a fellow proved its key from there)
  has a larger bucket and draws on nothing else: a crowd of strangers takes nothing from it;
- whoever turns out to be a fellow gets its token back, so that many fellows behind one address,
  as in a local testnet, do not use it up; but not without end, since a fellow may be hostile.

Pure: the time is an argument, in seconds of one monotonic clock. Memory is bounded by
`MAX_SOURCES` and the fellows of the runs.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

IPV6_SITE_BITS = 64
"""An IPv6 host has as many addresses as it wants below such a prefix."""


@dataclass(frozen=True)
class Rate:
    """So many at once, and so many a second in the long run."""

    burst: int
    per_second: float


STRANGER = Rate(burst=8, per_second=1.0)
"""Of one source address."""
OVERALL = Rate(burst=64, per_second=32.0)
"""Of all strangers together: some 3 % of a core."""
FELLOW = Rate(burst=128, per_second=8.0)
"""Of one address of a fellow."""
RETURNED = Rate(burst=16, per_second=2.0)
"""Tokens that one fellow of one run gets back: an honest one reconnects once a second at most."""
MAX_SOURCES = 1_024
"""Addresses of strangers that are remembered; the one longest not seen is forgotten first."""


class TokenBucket:
    """Full at first; refilled by time alone."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._seen = now

    def take(self, now: float) -> bool:
        """Take a token; False when there is none."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def give_back(self) -> None:
        """Undo `take`."""
        self._tokens = min(float(self._rate.burst), self._tokens + 1)

    def _refill(self, now: float) -> None:
        passed = max(0.0, now - self._seen)
        self._seen = max(self._seen, now)
        self._tokens = min(float(self._rate.burst), self._tokens + passed * self._rate.per_second)


@dataclass
class _Fellow:
    """A fellow of one run that called.

    Attributes:
        source: where from, the last time.
        bucket: for that address, unless it has one; a fellow that moves on takes it along, so
            that moving gains nothing.
        returned: what it still gets back.
    """

    source: str
    bucket: TokenBucket
    returned: TokenBucket


class Admission:
    """Decides about callers by where they call from."""

    def __init__(self) -> None:
        self._overall = TokenBucket(OVERALL, 0.0)
        self._strangers: OrderedDict[str, TokenBucket] = OrderedDict()
        self._fellows: dict[str, TokenBucket] = {}
        self._known: Counter[str] = Counter()
        self._recognised: dict[tuple[bytes, int], _Fellow] = {}

    def __len__(self) -> int:
        """How many addresses and fellows are remembered."""
        return len(self._strangers) + len(self._fellows) + len(self._recognised)

    def begin(self, sources: Iterable[str]) -> None:
        """A run begins whose fellows are at these addresses."""
        self._known.update(sources)

    def end(self, topic: bytes, sources: Iterable[str]) -> None:
        """Undo `begin`, with the same addresses, and forget what was learnt during that run."""
        gone = [key for key in self._recognised if key[0] == topic]
        for source in [*sources, *(self._recognised.pop(key).source for key in gone)]:
            self._forget(source)

    def is_fellow(self, source: str) -> bool:
        """Whether fellows call from that address."""
        return source in self._known

    def admit(self, source: str, now: float) -> bool:
        """Whether a caller from there gets a handshake; takes its tokens."""
        if source in self._known:
            if source not in self._fellows:
                self._fellows[source] = TokenBucket(FELLOW, now)
            return self._fellows[source].take(now)
        bucket = self._strangers.pop(source, None) or TokenBucket(STRANGER, now)
        self._strangers[source] = bucket
        if len(self._strangers) > MAX_SOURCES:
            self._strangers.popitem(last=False)
        if not bucket.take(now):
            return False
        if self._overall.take(now):
            return True
        bucket.give_back()
        return False

    def recognise(self, source: str, topic: bytes, peer: int, now: float) -> None:
        """A caller that was let in proved to be a fellow of a run: its address is one of theirs.

        One such address is remembered for each fellow and run, the latest.
        """
        key = topic, peer
        fellow = self._recognised.get(key)
        if fellow is None:
            fellow = _Fellow("", TokenBucket(FELLOW, now), TokenBucket(RETURNED, now))
            self._recognised[key] = fellow
        if fellow.returned.take(now):
            if source in self._fellows:
                self._fellows[source].give_back()
            elif source in self._strangers:
                self._strangers[source].give_back()
                self._overall.give_back()
        if source != fellow.source:
            self._known[source] += 1
            self._fellows.setdefault(source, fellow.bucket)
            self._forget(fellow.source)
            fellow.source = source

    def _forget(self, source: str) -> None:
        self._known[source] -= 1
        if self._known[source] <= 0:
            # A `Counter` keeps zeros, and answers for what it does not hold.
            del self._known[source]
            self._fellows.pop(source, None)


def source_of(host: str) -> str:
    """What counts as one source: an IPv4 address, or the site of an IPv6 one.

    Args:
        host: an address in text; anything else stands for itself.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), IPV6_SITE_BITS), strict=False))
    return str(address)
