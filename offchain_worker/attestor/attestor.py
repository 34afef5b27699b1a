"""An attestor's process: one listening port, one chain, a follower for each of its challenges."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
import trio

from chain_types import storage
from chain_types.records import OpenChallenge, Role
from chain_types.scale import DecodeError
from offchain_worker.attestor.egress import DialHoster, WaysOut
from offchain_worker.attestor.follower import follow
from offchain_worker.attestor.machines import MakeMachine, honest_machine
from offchain_worker.attestor.store import WorkStore
from offchain_worker.attestor.tools import Tools
from offchain_worker.audit.capacity import Capacity
from offchain_worker.audit.session import SESSION_BYTES
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient
from offchain_worker.chain.errors import ChainError, ChainReverted
from offchain_worker.chain.heads import Head
from offchain_worker.coinflip.journal import Journal
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.proxy import Proxy
from offchain_worker.swarm.roster import Dial, dial_tcp, open_session_swarm

_log = structlog.get_logger()

UPDATES = 16
"""Heads that a follower may lag behind; it then misses some, and reads the newest state anyway."""
PAUSE_S = 1.0
"""Before the chain is asked again after it did not answer as it should."""
LONGEST_PAUSE_BLOCKS = 64
"""Before a challenge that failed here is taken up again."""


def wall_clock_ms() -> int:
    """The wall clock, ms since 1970."""
    return time.time_ns() // 1_000_000


async def run_attestor(
    client: ChainClient,
    account: Account,
    session_key: KeyPair,
    listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
    state: Path,
    *,
    dial: DialHoster,
    proxies: Sequence[Proxy] = (),
    local_address: Callable[[str], str | None] = lambda _: None,
    dial_peer: Dial = dial_tcp,
    clock_ms: Callable[[], int] = wall_clock_ms,
    make_machine: MakeMachine = honest_machine,
    session_bytes: int = SESSION_BYTES,
    capacity: Capacity | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Take part in every challenge that this account is drawn for, until cancelled.

    Args:
        client: the chain.
        account: the registered account.
        session_key: the registered session key.
        listeners: where fellow attestors come to; closed at the end.
        state: a folder for sign journal and store; it must be the same after a restart.
        dial: connects to hosters directly.
        proxies: through which it goes to hosters instead, in turn; nowhere else.
        local_address: this machine's address on the direct way to another; None: unknown.
        dial_peer: connects to fellow attestors.
        clock_ms: ms since 1970.
        make_machine: what runs the coinflips.
        session_bytes: what an audited session may read.
        capacity: limits of all sessions with hosters; None: those of `audit.capacity`.
        task_status: started when the attestor listens.

    Cancelled, it drops its connections; everything that it signed or learnt is on disk, and the
    next start on the same folder goes on from there.

    Raises:
        OperationError, JournalError: the state folder cannot be used.
        ChainReverted: finalized blocks were replaced; what was concluded from them is void.
    """
    with (
        Journal.open(state / "journal.sqlite", now_ms=clock_ms()) as journal,
        WorkStore.open(state / "work.sqlite") as store,
    ):
        async with open_session_swarm(
            session_key,
            listeners,
            dial_peer=dial_peer,
            clock_ms=clock_ms,
            on_refused=lambda reason: _log.info("swarm.refused", reason=reason),
        ) as swarm:
            task_status.started()
            ways = WaysOut(store, dial, proxies, local_address=local_address)
            tools = Tools(
                client,
                account,
                session_key,
                swarm,
                journal,
                store,
                ways,
                clock_ms,
                make_machine,
                session_bytes,
                capacity or Capacity(),
            )
            await _Attestor(tools).run()


@dataclass(frozen=True)
class _Failure:
    """A challenge that failed here so many times, and the block from which it is taken up again."""

    count: int
    again_at: int


class _Attestor:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._followers: dict[int, trio.MemorySendChannel[tuple[Head, OpenChallenge | None]]] = {}
        self._failures: dict[int, _Failure] = {}
        self._number = 0
        self._registered: bool | None = None

    async def run(self) -> None:
        heads = self._tools.client.heads()
        first = True
        async with trio.open_nursery() as nursery:
            try:
                while True:
                    try:
                        head = await anext(heads)
                        if first:
                            self._tools.journal.distrust_before(head.timestamp_ms)
                            first = False
                        await self._take(head, nursery)
                    except ChainReverted:
                        raise
                    except (ChainError, DecodeError) as error:
                        _log.warning("attestor.chain_unreadable", reason=str(error))
                        await trio.sleep(PAUSE_S)
            finally:
                heads.close()

    async def _take(self, head: Head, nursery: trio.Nursery) -> None:
        client, account = self._tools.client, self._tools.account.public
        self._number = head.number
        await self._check_registration(head)
        found = await client.open_challenges(account, at=head.hash)
        audited = {item.id: item for item in found if item.index is not None}
        self._failures = {key: value for key, value in self._failures.items() if key in audited}
        for challenge_id, item in audited.items():
            failure = self._failures.get(challenge_id)
            if failure is not None and head.number < failure.again_at:
                continue
            if challenge_id not in self._followers and item.index is not None:
                await self._read_endpoint(head)
                send, receive = trio.open_memory_channel[tuple[Head, OpenChallenge | None]](UPDATES)
                self._followers[challenge_id] = send
                _log.info("attestor.drawn", challenge=challenge_id, index=item.index)
                nursery.start_soon(self._follow, challenge_id, item.index, receive)
        for challenge_id, channel in self._followers.items():
            try:
                channel.send_nowait((head, audited.get(challenge_id)))
            except trio.WouldBlock:
                _log.warning("attestor.follower_lags", challenge=challenge_id, block=head.number)

    async def _follow(
        self,
        challenge_id: int,
        index: int,
        updates: trio.MemoryReceiveChannel[tuple[Head, OpenChallenge | None]],
    ) -> None:
        try:
            await follow(self._tools, challenge_id, index, updates)
        except Exception:
            # What breaks one challenge must not end the others. It is begun anew from what is on
            # disk, as after a restart of the process, with longer and longer pauses.
            _log.exception("attestor.challenge_failed", challenge=challenge_id)
            failure = self._failures.get(challenge_id)
            count = 1 if failure is None else failure.count + 1
            pause = min(2**count, LONGEST_PAUSE_BLOCKS)
            self._failures[challenge_id] = _Failure(count, self._number + pause)
        finally:
            # Without a checkpoint in between: nothing is sent into a channel that is closed.
            updates.close()
            del self._followers[challenge_id]

    async def _read_endpoint(self, head: Head) -> None:
        """Read the address that all the world knows of this attestor."""
        account = self._tools.account.public
        found = await self._tools.client.endpoints(Role.ATTESTOR, [account], at=head.hash)
        if account in found:
            self._tools.ways.registered = found[account].host

    async def _check_registration(self, head: Head) -> None:
        """Say once when the chain does not know this attestor, or knows it under another key."""
        tools = self._tools
        if self._registered:
            return
        provider = await tools.client.read(
            storage.PROVIDERS, Role.ATTESTOR, tools.account.public, at=head.hash
        )
        registered = provider is not None and provider.key == tools.session_key.public
        if registered != self._registered:
            self._registered = registered
            if registered:
                _log.info("attestor.registered", account=tools.account.address)
            elif provider is None:
                _log.warning("attestor.not_registered", account=tools.account.address)
            else:
                _log.warning("attestor.other_session_key", registered=provider.key)
