"""Peers of a feed tell each other where further ones listen: the extension `datdot/peers/1`.

Who dialled asks, once in a while, with a message that says on which port it listens itself; who was
dialled answers with a message that names others. Nobody else gets one, and no audit ever sends one
(docs/audit.md). The bytes are in docs/protocol.md; vectors: tests/vectors/peers.json.

What a message says is never trusted. Whoever passes on an address knows only that somebody who
called from there said that it listens on that port; whoever dials it limits how many connections
that makes, so that nobody can be made to send many to a victim.

Pure: the time is an argument, in seconds of one monotonic clock.
"""

from __future__ import annotations

import ipaddress
import math
import random
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from chain_types.records import V4, V6, Endpoint
from offchain_worker.swarm.admission import Rate, TokenBucket, source_of

EXTENSION = "datdot/peers/1"
VERSION = 1
MAX_ENDPOINTS = 32
ASK_S = 60.0
"""Who dialled asks again after so many seconds."""
ANSWERS = Rate(burst=2, per_second=0.1)
"""So often a peer gets an answer; what it asks beyond that is not answered."""
DIALS = Rate(burst=4, per_second=1 / 15)
"""Connections that are made in all to addresses that peers told of."""
DIALS_PER_SITE = Rate(burst=4, per_second=4 / 600)
"""The same, to one source address."""
RETRY_S = 600.0
"""An address is not dialled again before."""
MAX_KNOWN = 64
MAX_KNOWN_PER_SITE = 8
MAX_SITES = 1_024
_HEADER_BYTES = 4
_KINDS = {0: 4, 1: 16}
MAX_MESSAGE_BYTES = _HEADER_BYTES + MAX_ENDPOINTS * 19


class PeersError(Exception):
    """Bytes that are not a message of this extension; the message says why."""


class Reach(IntEnum):
    """From how far an address can be reached."""

    NOWHERE = 0
    MACHINE = 1
    NETWORK = 2
    INTERNET = 3


@dataclass(frozen=True, slots=True)
class Peers:
    """One message.

    Attributes:
        port: where the sender itself listens, at the address from which it called; 0: nowhere.
        others: where further peers listen, distinct, at most 32.
    """

    port: int
    others: tuple[Endpoint, ...] = ()

    def encode(self) -> bytes:
        """The bytes of the extension message.

        Raises:
            ValueError: too many endpoints.
        """
        if len(self.others) > MAX_ENDPOINTS:
            raise ValueError(f"at most {MAX_ENDPOINTS} endpoints fit a message")
        return b"".join(
            (
                bytes([VERSION]),
                self.port.to_bytes(2, "little"),
                bytes([len(self.others)]),
                *(_encode_endpoint(endpoint) for endpoint in self.others),
            )
        )

    @classmethod
    def decode(cls, message: bytes) -> Peers:
        """Read a message.

        Raises:
            PeersError: another version, too many endpoints or bytes, too few or left-over bytes, or
                an endpoint that is twice there or at which no machine can be reached.
        """
        if len(message) > MAX_MESSAGE_BYTES:
            raise PeersError(f"{len(message)} bytes, more than {MAX_MESSAGE_BYTES}")
        if len(message) < _HEADER_BYTES:
            raise PeersError("it ends inside the header")
        version, port, count = message[0], int.from_bytes(message[1:3], "little"), message[3]
        if version != VERSION:
            raise PeersError(f"version {version}")
        if count > MAX_ENDPOINTS:
            raise PeersError(f"{count} endpoints, more than {MAX_ENDPOINTS}")
        others: list[Endpoint] = []
        offset = _HEADER_BYTES
        for _ in range(count):
            endpoint, offset = _read_endpoint(message, offset)
            others.append(endpoint)
        if offset != len(message):
            raise PeersError(f"{len(message) - offset} bytes are left over")
        if len(set(others)) != count:
            raise PeersError("an endpoint is there twice")
        return cls(port, tuple(others))


def _encode_endpoint(endpoint: Endpoint) -> bytes:
    kind = 0 if isinstance(endpoint.ip, V4) else 1
    return bytes([kind]) + endpoint.ip.octets + endpoint.port.to_bytes(2, "little")


def _read_endpoint(message: bytes, offset: int) -> tuple[Endpoint, int]:
    if offset >= len(message):
        raise PeersError("it ends before an endpoint")
    kind = message[offset]
    size = _KINDS.get(kind)
    if size is None:
        raise PeersError(f"an address of kind {kind}")
    start, stop = offset + 1, offset + 1 + size
    if stop + 2 > len(message):
        raise PeersError("it ends inside an endpoint")
    octets = message[start:stop]
    endpoint = Endpoint(
        V4(octets) if kind == 0 else V6(octets), int.from_bytes(message[stop : stop + 2], "little")
    )
    if endpoint.port == 0:
        raise PeersError("an endpoint without a port")
    if reach_of(endpoint.host) is Reach.NOWHERE:
        raise PeersError(f"{endpoint.host} is not the address of a machine")
    return endpoint, stop + 2


def reach_of(host: str) -> Reach:
    """From how far an address can be reached, by the rules that the chain has for endpoints.

    An IPv4 address written as an IPv6 one has two names, so it is none here.

    Args:
        host: an IP address in text form.

    Raises:
        ValueError: it is no IP address.
    """
    address = ipaddress.ip_address(host)
    first = address.packed[0]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None or address.is_unspecified or address.is_multicast:
            return Reach.NOWHERE
        if address.is_loopback:
            return Reach.MACHINE
        public = first & 0xE0 == 0x20 and not any(address in block for block in _INNER_V6)
    else:
        if first == 0 or first >= 224:
            return Reach.NOWHERE
        if address.is_loopback:
            return Reach.MACHINE
        public = not any(address in block for block in _INNER_V4)
    return Reach.INTERNET if public else Reach.NETWORK


_INNER_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
    )
)
_INNER_V6 = tuple(
    ipaddress.IPv6Network(text) for text in ("2001::/32", "2001:db8::/32", "2002::/16")
)


class Listening:
    """Who, of those that called, listens where: what is passed on. One for each feed."""

    def __init__(self) -> None:
        self._endpoints: dict[Hashable, Endpoint] = {}
        self._per_site: Counter[str] = Counter()
        self._answers: dict[Hashable, TokenBucket] = {}

    @property
    def endpoints(self) -> frozenset[Endpoint]:
        """All that are known."""
        return frozenset(self._endpoints.values())

    def asked(
        self, caller: Hashable, host: str, port: int, now: float, choices: random.Random
    ) -> tuple[Endpoint, ...] | None:
        """A caller at `host` asks, and says that it listens on `port` there; 0: nowhere.

        Returns up to 32 endpoints at random, of other callers, within its reach; None: it has
        asked too often. Its last word about itself counts. Beyond `MAX_KNOWN`, and beyond
        `MAX_KNOWN_PER_SITE` of one source address, callers are answered, but not remembered.

        Raises:
            ValueError: `host` is no IP address.
        """
        reach = reach_of(host)
        if caller not in self._answers:
            self._answers[caller] = TokenBucket(ANSWERS, now)
        if not self._answers[caller].take(now):
            return None
        self._forget_endpoint(caller)
        site = source_of(host)
        if (
            port
            and reach is not Reach.NOWHERE
            and len(self._endpoints) < MAX_KNOWN
            and self._per_site[site] < MAX_KNOWN_PER_SITE
        ):
            self._endpoints[caller] = Endpoint.of(host, port)
            self._per_site[site] += 1
        own = self._endpoints.get(caller)
        found = {one for one in self._endpoints.values() if reach_of(one.host) >= reach} - {own}
        ordered = sorted(found, key=str)
        return tuple(choices.sample(ordered, min(MAX_ENDPOINTS, len(ordered))))

    def forget(self, caller: Hashable) -> None:
        """A caller is gone."""
        self._answers.pop(caller, None)
        self._forget_endpoint(caller)

    def _forget_endpoint(self, caller: Hashable) -> None:
        endpoint = self._endpoints.pop(caller, None)
        if endpoint is not None:
            _count_down(self._per_site, source_of(endpoint.host))


def _count_down(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        # A `Counter` keeps zeros.
        del counts[key]


class AddressBook:
    """Where peers may be, as others told; bounded in number, and in the connections it gives out.

    An address leads no further inside than its teller is: only a peer on this machine can name
    others on this machine, only one in a private network, or here, others in such a network.
    """

    def __init__(self, own: Iterable[Endpoint] = ()) -> None:
        """Know nobody.

        Args:
            own: endpoints that are never dialled.
        """
        self._own = frozenset(own)
        self._known: OrderedDict[Endpoint, float] = OrderedDict()
        self._per_site: Counter[str] = Counter()
        self._sites: OrderedDict[str, TokenBucket] = OrderedDict()
        self._dials: TokenBucket | None = None

    def __len__(self) -> int:
        """How many addresses are known."""
        return len(self._known)

    def heard(self, endpoints: Iterable[Endpoint], teller: str) -> int:
        """Take what a peer at the address `teller` told; returns how many were not taken."""
        refused = 0
        for endpoint in endpoints:
            if endpoint in self._known or endpoint in self._own:
                continue
            site = source_of(endpoint.host)
            if reach_of(endpoint.host) < reach_of(teller) or not self._make_room(site):
                refused += 1
                continue
            self._known[endpoint] = -math.inf
            self._per_site[site] += 1
        return refused

    def _make_room(self, site: str) -> bool:
        """Whether there is room for one more; what was dialled already gives way."""
        crowded = self._per_site[site] >= MAX_KNOWN_PER_SITE
        if not crowded and len(self._known) < MAX_KNOWN:
            return True
        for endpoint, again_at in self._known.items():
            if again_at > -math.inf and (not crowded or source_of(endpoint.host) == site):
                del self._known[endpoint]
                _count_down(self._per_site, source_of(endpoint.host))
                return True
        return False

    def to_dial(self, now: float) -> Endpoint | None:
        """The next address to connect to; None as long as there is none, or none is allowed."""
        if self._dials is None:
            self._dials = TokenBucket(DIALS, now)
        for endpoint, again_at in self._known.items():
            if again_at > now:
                continue
            site = self._sites.pop(source_of(endpoint.host), None)
            site = site or TokenBucket(DIALS_PER_SITE, now)
            self._sites[source_of(endpoint.host)] = site
            if len(self._sites) > MAX_SITES:
                self._sites.popitem(last=False)
            if not site.take(now):
                continue
            if not self._dials.take(now):
                site.give_back()
                return None
            self._known[endpoint] = now + RETRY_S
            self._known.move_to_end(endpoint)
            return endpoint
        return None
