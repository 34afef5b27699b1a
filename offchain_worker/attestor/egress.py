"""From which addresses an attestor comes to hosters (challenge.md §7).

A hoster that sees the registered address of an attestor, or the same address whenever it was
audited, can tell audits from readers. So sessions with hosters leave through proxies, if there are
any, so that none repeats towards a hoster within `CHALLENGES`, as far as there are enough; and the
log says whenever an address repeats, or is the registered one. The chain and the fellow members of
a roster are never reached through a proxy: they know who we are.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio

from offchain_worker.attestor.store import WorkStore
from offchain_worker.audit.session import Way
from offchain_worker.hypercore.errors import Unreachable, WayOutFailed
from offchain_worker.swarm.proxy import Proxy, check_proxy, dial_through

_log = structlog.get_logger()

DialHoster = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Connects to an IP address and port; raises `OSError`."""

CHALLENGES = 30
"""Towards a hoster no address should repeat within so many of its challenges here."""
DIAL_S = 10.0
CHECK_S = 5.0


class WaysOut:
    """All ways of one attestor.

    Attributes:
        registered: the attestor's address on chain; None as long as it is not known.
        counters: `egress_registered`, `egress_repeated`, `egress_failed`.
    """

    def __init__(
        self,
        store: WorkStore,
        dial: DialHoster,
        proxies: Sequence[Proxy] = (),
        *,
        local_address: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            store: remembers what was used.
            dial: connects directly.
            proxies: used in turn; none: directly.
            local_address: this machine's address on the direct way to another; None: unknown.
        """
        self.registered: str | None = None
        self.counters: Counter[str] = Counter()
        self._store = store
        self._dial = dial
        self._proxies = tuple(proxies)
        self._local_address = local_address

    def towards(
        self, hoster: bytes, challenge: int, where: Callable[[], tuple[str, int] | None]
    ) -> SessionWay:
        """The way of one session, audited or observed.

        Args:
            hoster: its Noise key, 32 bytes.
            challenge: the challenge's number.
            where: the hoster's address and port at the moment, None: it has none.
        """
        return SessionWay(self, hoster, challenge, where)


class SessionWay(Way):
    """The way of one session with a hoster: chosen once, and anew only when it has failed.

    `prepare` it before each connection to the hoster; peers that the session meets besides are
    dialled on the same way.
    """

    def __init__(
        self,
        ways: WaysOut,
        hoster: bytes,
        challenge: int,
        where: Callable[[], tuple[str, int] | None],
    ) -> None:
        """Made by `WaysOut.towards` only."""
        self._ways = ways
        self._hoster = hoster
        self._challenge = challenge
        self._where = where
        self._proxy: Proxy | None = None
        self._failed: set[Proxy] = set()
        self._told: set[Proxy] = set()
        self._noted: set[str] = set()

    async def prepare(self) -> None:
        """Choose, note down what is chosen, and say what is wrong with it.

        Cancelled, it may have noted down an address that is not used then.

        Raises:
            WayOutFailed: there is no route to the hoster.
            OperationError: the store cannot be used.
        """
        ways = self._ways
        used = await trio.to_thread.run_sync(ways._store.egresses, self._hoster, CHALLENGES)
        if self._proxy is None and ways._proxies:
            self._proxy = self._choose(used)
        address: str | None = None
        if self._proxy is not None:
            address = self._proxy.host
        elif (place := self._where()) is not None:
            address = ways._local_address(place[0])
        if address is None or address in self._noted:
            return
        if self._is_registered(address):
            self._warn("registered", address)
        if address in used:
            self._warn("repeated", address, last=used[address])
        self._noted.add(address)
        await trio.to_thread.run_sync(
            ways._store.save_egress, self._hoster, self._challenge, address
        )

    async def connect(self, *, timeout: float = DIAL_S) -> trio.abc.Stream:
        """Connect to the hoster.

        Raises:
            OSError, Unreachable, WayOutFailed: as `dial`.
        """
        place = self._where()
        if place is None:
            raise Unreachable("the hoster has no endpoint on chain")
        try:
            return await self.dial(*place, timeout=timeout)
        except ValueError as error:
            raise Unreachable(f"the hoster's endpoint cannot be used: {error}") from error

    async def dial(self, ip: str, port: int, *, timeout: float = DIAL_S) -> trio.abc.Stream:
        """Connect to any peer of the feed.

        Args:
            ip, port: where.
            timeout: seconds, of which the proxy may take half to be ready.

        Raises:
            OSError, Unreachable: the peer cannot be reached.
            WayOutFailed: the proxy does not do what it should; the next `prepare` takes another.
            ValueError: it is no address.
        """
        proxy = self._proxy
        if proxy is None:
            if self._ways._proxies:
                raise WayOutFailed("no proxy was chosen")
            return await self._ways._dial(ip, port)
        try:
            return await dial_through(proxy, ip, port, timeout=timeout)
        except WayOutFailed as error:
            self._fail(proxy, error)
            raise

    async def confirm(self) -> None:
        """Raise when the proxy in use cannot be reached, or does not take us."""
        proxy = self._proxy
        if proxy is None:
            return
        try:
            await check_proxy(proxy, timeout=CHECK_S)
        except WayOutFailed as error:
            self._fail(proxy, error)
            raise

    def _choose(self, used: dict[str, int]) -> Proxy:
        """One that was not used lately, else the one whose last use is longest ago."""
        working = [one for one in self._ways._proxies if one not in self._failed]
        if not working:
            self._failed.clear()
            working = list(self._ways._proxies)
        return min(working, key=lambda one: used.get(one.host, -1))

    def _fail(self, proxy: Proxy, error: WayOutFailed) -> None:
        self._failed.add(proxy)
        self._proxy = None
        self._ways.counters["egress_failed"] += 1
        if proxy in self._told:
            return
        self._told.add(proxy)
        _log.warning(
            "egress.failed", challenge=self._challenge, proxy=str(proxy), reason=str(error)
        )

    def _is_registered(self, address: str) -> bool:
        """Whether the hoster sees the registered address.

        Without a proxy and behind a router that translates addresses, it does: this machine's own
        address is a private one then, and the registered one is the router's.
        """
        registered = self._ways.registered
        if registered is None:
            return False
        ours, theirs = ipaddress.ip_address(address), ipaddress.ip_address(registered)
        translated = self._proxy is None and ours.is_private and not theirs.is_private
        return ours == theirs or translated

    def _warn(self, what: str, address: str, **fields: int) -> None:
        counters = self._ways.counters
        counters[f"egress_{what}"] += 1
        # Where everybody is on one machine, nobody can be told by the address.
        tell = _log.info if ipaddress.ip_address(address).is_loopback else _log.warning
        tell(
            f"egress.{what}",
            challenge=self._challenge,
            hoster=self._hoster,
            address=address,
            times=counters[f"egress_{what}"],
            **fields,
        )
