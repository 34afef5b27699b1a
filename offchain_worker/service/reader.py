"""`datdot get --watch`: a reader that stays, and is a peer of the feed for others."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog
import trio

from chain_types.records import Endpoint
from offchain_worker.errors import OperationError, UsageError
from offchain_worker.hypercore.errors import NotHosted
from offchain_worker.service.config import Address
from offchain_worker.swarm.dial import dial
from offchain_worker.swarm.watching import WatchPlan, watch

_log = structlog.get_logger()

DIAL_SECONDS = 10.0
BACKLOG = 64


@dataclass(frozen=True)
class ReaderSettings:
    """What to read, and how.

    Attributes:
        feed_key: 32 bytes.
        peer, peer_key: who is asked first, and its Noise key; None accepts any.
        listen: where other peers may call; None: nowhere.
        output: the file that gets the feed, and all that is appended to it; None: nothing is
            written; `-`: standard output.
        rate: chunks a second at most; None: as they come.
        again: whether to read it again and again.
    """

    feed_key: bytes
    peer: Address
    peer_key: bytes | None
    listen: Address | None
    output: Path | None
    rate: float | None
    again: bool


async def serve_reader(settings: ReaderSettings) -> int:
    """Read and serve until cancelled; what was written then stays.

    Raises:
        UsageError: the address or the file cannot be used.
        OperationError: the file cannot be written, or the author has rewritten the feed.
    """
    listeners: list[trio.SocketListener] = []
    listen = settings.listen
    if listen is not None:
        try:
            listeners = await trio.open_tcp_listeners(
                listen.port, host=listen.host, backlog=BACKLOG
            )
        except OSError as error:
            raise UsageError(f"The reader cannot listen on {listen}: {error.strerror}.") from error
        host, port = listeners[0].socket.getsockname()[:2]
        _log.info("reader.listening", address=str(Address(host, port)))
    plan = WatchPlan(
        feed_key=settings.feed_key,
        origin=Endpoint.of(settings.peer.host, settings.peer.port),
        origin_key=settings.peer_key,
        rate=settings.rate,
        again=settings.again,
    )
    with _opened(settings.output) as file:

        def write(_index: int, data: bytes) -> None:
            if file is not None:
                file.write(data)
                file.flush()

        try:
            await watch(plan, _dial, write, listeners=listeners)
        except* NotHosted as group:
            raise OperationError(f"The feed cannot be read on: {_first(group)}.") from group
        except* OSError as group:
            raise OperationError(
                f"{settings.output} cannot be written: {_first(group)}."
            ) from group
    return 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _dial(host: str, port: int) -> trio.abc.Stream:
    return await dial(host, port, timeout=DIAL_SECONDS)


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO | None]:
    if output is None:
        yield None
    elif str(output) == "-":
        yield sys.stdout.buffer
    else:
        try:
            file = output.open("wb")
        except OSError as error:
            raise UsageError(f"{output} cannot be written: {error.strerror}.") from error
        with file:
            yield file
