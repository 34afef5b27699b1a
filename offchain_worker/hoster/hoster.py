"""A hoster: serves the feeds of a library to whoever connects, with receipts.

The shell around the store, the Hypercore server and the receipts. Every limit has its own log
line and counter; nothing that a peer does ends more than its own connection.
"""

from __future__ import annotations

import errno
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from offchain_worker.audit.receipt import EXTENSION
from offchain_worker.errors import UsageError
from offchain_worker.hoster.receipts import ReceiptCollector, signer
from offchain_worker.hoster.replicate import DialPeer, Replication
from offchain_worker.hoster.store import Library, StoreError
from offchain_worker.hypercore.connection import Connection, open_connection, wall_clock_ms
from offchain_worker.hypercore.errors import HypercoreError
from offchain_worker.hypercore.feed import Feed, FeedSource, Head
from offchain_worker.hypercore.messages import Request
from offchain_worker.hypercore.server import FeedSession, serve_connection
from offchain_worker.hypercore.tree import Node
from offchain_worker.keys import KeyPair
from offchain_worker.swarm import peer_exchange
from offchain_worker.swarm.listen import remote_host
from offchain_worker.swarm.peer_exchange import Listening, Peers, PeersError

_log = structlog.get_logger()


@dataclass(frozen=True)
class Limits:
    """What a hoster bears.

    Attributes:
        connections: open at once; further ones are closed before the handshake.
        handshake_s: seconds for a handshake.
        idle_s: seconds without a byte from the peer that end a connection.
    """

    connections: int = 256
    handshake_s: float = 10.0
    idle_s: float = 60.0


class Hoster:
    """Serves a library's feeds under one fixed Noise key.

    Attributes:
        library: the feeds.
        source: what is served of them.
        sign: makes the receipts' messages.
        counters: how often what happened: `sessions`, `refused_full`, `handshakes_failed`,
            `chunks`, `chunk_bytes`, `receipts`, `peers_answered`, `peers_refused`,
            `peers_asked_too_often`, `store_errors`, `crashes`, `demands_answered`,
            `demands_unanswerable`.
    """

    def __init__(
        self,
        library: Library,
        keypair: KeyPair,
        *,
        limits: Limits | None = None,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            library: stays open as long as the hoster is used; closed by the caller.
            keypair: the registered Noise key pair; signs handshakes and receipts, nothing else.
            limits: the defaults when None.
            clock_ms: the wall clock, unix milliseconds.
        """
        self.library = library
        self.counters: Counter[str] = Counter()
        self._keypair = keypair
        self._limits = limits or Limits()
        self.clock_ms = clock_ms
        self._open = 0
        self._port = 0
        self._listening: defaultdict[bytes, Listening] = defaultdict(Listening)
        self._choices = random.SystemRandom()
        self.source: FeedSource = library
        self.sign = signer(keypair)

    def served(self, key: bytes) -> Feed | None:
        """A feed as it is served; None when it is not here."""
        store = self.library.get(key)
        return None if store is None else self.source.find(store.discovery_key)

    async def serve(
        self,
        host: str,
        port: int,
        *,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen and serve until cancelled, which closes all connections at once.

        Args:
            host: an IP address.
            port: 0 takes a free one.
            task_status: started with the address and port that it listens on.

        Raises:
            UsageError: the address or port cannot be used.
        """
        listeners = await _listen(host, port)
        address = listeners[0].socket.getsockname()
        self._port = address[1]
        _log.info("hoster.listening", host=address[0], port=address[1], key=self._keypair.public)
        async with trio.open_nursery() as sessions:
            await sessions.start(
                partial(
                    trio.serve_listeners,
                    self.serve_stream,
                    listeners,
                    handler_nursery=sessions,
                )
            )
            task_status.started((address[0], address[1]))

    async def serve_stream(self, stream: trio.abc.Stream, host: str | None = None) -> None:
        """Serve one peer that connected, until the connection ends.

        Raises nothing that comes from the peer. Closes the stream, also when cancelled.

        Args:
            stream: connected.
            host: the peer's IP address; None: that of the socket, if it is one.
        """
        if self._open >= self._limits.connections:
            self.counters["refused_full"] += 1
            _log.warning("hoster.refused_full", open=self._open)
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        try:
            await self._serve_peer(stream, host or remote_host(stream))
        except Exception:
            # A defect of ours that one peer found must not end the others' connections.
            self.counters["crashes"] += 1
            _log.exception("hoster.session_crashed")
        finally:
            self._open -= 1

    async def replicate(self, key: bytes, peers: Sequence[DialPeer]) -> None:
        """Fetch a feed from any of `peers` and follow its growth, until cancelled.

        Everything fetched is on disk at once, so that a restart goes on where it was.
        """
        await Replication(self.library, key, peers).run()

    async def _serve_peer(self, stream: trio.abc.Stream, host: str | None) -> None:
        opened = open_connection(
            stream,
            self._keypair,
            initiator=False,
            timeout=self._limits.handshake_s,
            idle_timeout=self._limits.idle_s,
            clock_ms=self.clock_ms,
        )
        try:
            async with opened as connection:
                self.counters["sessions"] += 1
                client = connection.remote_public_key
                _log.info("hoster.session_opened", client=client)
                await self._serve_connection(connection, host)
                _log.info(
                    "hoster.session_closed",
                    client=client,
                    reason=str(connection.error),
                    bytes_out=connection.bytes_out,
                )
        except HypercoreError as error:
            self.counters["handshakes_failed"] += 1
            _log.info("hoster.handshake_failed", reason=str(error))

    async def answer(self, connection: Connection, session: Session) -> None:
        """Answer one peer until the connection ends.

        Raises:
            ExceptionGroup: of `StoreError`s, when the disk fails.
        """
        await serve_connection(connection, self.source, session)

    def session(self, connection: Connection, host: str | None) -> Session:
        """What counts, and gives receipts, on one connection."""
        return Session(self, connection, host)

    async def _serve_connection(self, connection: Connection, host: str | None) -> None:
        session = self.session(connection, host)
        try:
            await self.answer(connection, session)
        except* StoreError as group:
            self.counters["store_errors"] += 1
            _log.error("hoster.store_failed", errors=[str(error) for error in group.exceptions])
        finally:
            session.forget()


class Session:
    """What one connection gets besides chunks: receipts, and where other peers listen.

    The receipts are by feed; a feed opened again goes on counting. Peers are named only to who
    asks, so that what goes to all others is what an ordinary hoster sends.
    """

    def __init__(self, hoster: Hoster, connection: Connection, host: str | None) -> None:
        self._hoster = hoster
        self._connection = connection
        self._host = host
        self._told: set[str] = set()
        self._collectors: dict[bytes, ReceiptCollector] = {}

    async def on_request(self, session: FeedSession, request: Request) -> None:
        """Nothing is counted before it is served."""

    async def on_head_sent(self, session: FeedSession, head: Head) -> None:
        """A receipt will refer to this head."""
        self._collector(session).head_sent(head)

    async def on_upload(
        self, session: FeedSession, feed: Feed, index: int, leaf: Node, size: int
    ) -> None:
        """Count the chunk, and give the receipt that is due."""
        counters = self._hoster.counters
        counters["chunks"] += 1
        counters["chunk_bytes"] += size
        message = self._collector(session).chunk_sent(index, leaf, self._hoster.clock_ms())
        if message is not None:
            counters["receipts"] += 1
            await self.give(session, message)

    async def give(self, session: FeedSession, message: bytes) -> None:
        """Send a receipt.

        Raises:
            ChannelClosed, Disconnected: the session has ended.
        """
        await session.send_extension(EXTENSION, message)

    def first_length(self, session: FeedSession) -> int:
        """The length by which the session's receipts are due."""
        return session.first_length

    async def on_extension(self, session: FeedSession, name: str, message: bytes) -> None:
        if name != peer_exchange.EXTENSION or self._host is None:
            return
        hoster = self._hoster
        try:
            asked = Peers.decode(message)
        except PeersError as error:
            hoster.counters["peers_refused"] += 1
            self._tell_once("hoster.peers_refused", str(error))
            return
        others = hoster._listening[session.feed.key].asked(
            self._connection, self._host, asked.port, trio.current_time(), hoster._choices
        )
        if others is None:
            hoster.counters["peers_asked_too_often"] += 1
            self._tell_once("hoster.peers_asked_too_often", "it got its answers")
            return
        hoster.counters["peers_answered"] += 1
        answer = Peers(hoster._port, others).encode()
        await session.send_extension(peer_exchange.EXTENSION, answer)

    def _tell_once(self, event: str, reason: str) -> None:
        """Log what one connection may do many times; the counters count it."""
        if event not in self._told:
            self._told.add(event)
            _log.info(event, host=self._host, reason=reason)

    def forget(self) -> None:
        """The connection has ended."""
        for listening in self._hoster._listening.values():
            listening.forget(self._connection)

    def _collector(self, session: FeedSession) -> ReceiptCollector:
        key = session.feed.key
        if key not in self._collectors:
            self._collectors[key] = ReceiptCollector(
                session.feed,
                self._hoster.sign,
                client=self._connection.remote_public_key,
                session=self._connection.session_id,
                opened_ms=self._connection.opened_ms,
                first_length=self.first_length(session),
            )
        return self._collectors[key]


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        if _is_in_use(error):
            raise UsageError(f"Port {port} on {host} is already in use.") from error
        raise UsageError(f"Cannot listen on {host} port {port}: {error.strerror}.") from error


def _is_in_use(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE
