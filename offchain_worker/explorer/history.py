"""All that the chain holds about one challenge, gathered for a reader or a verifier."""

from __future__ import annotations

from dataclasses import dataclass

from chain_types import storage
from chain_types.calls import AnchorFlip, CloseChallenge, SubmitReport
from chain_types.events import ChallengeClosed, FlipAnchored
from chain_types.extrinsic import read_extrinsic
from chain_types.records import (
    Challenge,
    Closed,
    Feed,
    Hosting,
    Provider,
    ReportRecord,
    Role,
    Timing,
)
from chain_types.report import Report
from chain_types.runtime import EventRecord
from offchain_worker.chain.client import ChainClient, Snapshot
from offchain_worker.errors import OperationError

RANDOMNESS_PARENTS = 8


@dataclass(frozen=True)
class Anchoring:
    """The accepted anchor: who sent it, the timestamp of its block, and its call."""

    signer: bytes
    block_ms: int
    call: AnchorFlip


@dataclass(frozen=True)
class Closing:
    """How a challenge was closed.

    Attributes:
        block_ms: timestamp of the block.
        event: what the chain told of it.
        closer: who signed the `close_challenge` that did it; None when the last report or nobody.
        events: all events of the block.
    """

    block_ms: int
    event: ChallengeClosed
    closer: bytes | None
    events: tuple[EventRecord, ...]


@dataclass(frozen=True)
class Reporting:
    """An accepted report: what is kept of it, and the extrinsic that brought it.

    Attributes:
        record: the chain's record.
        signer: who signed the extrinsic.
        challenge_id: for which challenge.
        report: the whole report.
        block_ms: timestamp of its block.
    """

    record: ReportRecord
    signer: bytes
    challenge_id: int
    report: Report
    block_ms: int


@dataclass(frozen=True)
class PoolMember:
    """An eligible attestor before the draw."""

    account: bytes
    provider: Provider


@dataclass(frozen=True)
class Before:
    """What a challenge took from the state before its start block.

    Attributes:
        hosting: what is audited.
        hoster: who serves it.
        feed: what is served.
        timing: what held for new challenges.
        pool: the dense list of eligible attestors.
    """

    hosting: Hosting
    hoster: Provider
    feed: Feed
    timing: Timing
    pool: tuple[PoolMember, ...]


@dataclass(frozen=True)
class History:
    """One challenge, as the chain's storage, blocks and events tell it.

    Attributes:
        genesis: hash of the first block.
        snapshot: the challenge's storage now.
        start_ms: timestamp of its start block S.
        parents: hashes of the eight blocks before S (fewer near genesis), the newest first.
        before: the state before S.
        earlier: challenges that started before it in S, by id.
        anchoring: the accepted anchor, None without one.
        reports: the accepted reports by account.
        closing: how it was closed.
        absence_fee: of the runtime.
    """

    genesis: bytes
    snapshot: Snapshot
    start_ms: int
    start_hash: bytes
    parents: tuple[bytes, ...]
    before: Before
    earlier: tuple[Snapshot, ...]
    anchoring: Anchoring | None
    reports: dict[bytes, Reporting]
    closing: Closing
    absence_fee: int


async def read_history(client: ChainClient, challenge_id: int) -> History:
    """Gather a settled challenge; the node must still have the blocks and states since its start.

    Raises:
        OperationError: there is no such challenge, it is still open, or the node lacks its past.
        ChainError: the node does not answer as it should.
    """
    snapshot = await client.challenge(challenge_id)
    if snapshot is None:
        raise OperationError(f"The chain has no challenge {challenge_id}, or none any more.")
    challenge = snapshot.challenge
    if not isinstance(challenge.stage, Closed):
        raise OperationError(f"Challenge {challenge_id} is still open; wait until it is settled.")
    start_hash = await _hash(client, challenge.block)
    first = max(0, challenge.block - RANDOMNESS_PARENTS)
    parents = [await _hash(client, n) for n in range(challenge.block - 1, first - 1, -1)]
    return History(
        genesis=client.genesis,
        snapshot=snapshot,
        start_ms=await client.timestamp(start_hash),
        start_hash=start_hash,
        parents=tuple(parents),
        before=await _before(client, challenge, parents[0]),
        earlier=await _earlier(client, snapshot),
        anchoring=await _anchoring(client, snapshot),
        reports=await _reports(client, challenge_id),
        closing=await _closing(client, challenge_id, challenge.stage.at),
        absence_fee=client.constants.absence_fee,
    )


async def _hash(client: ChainClient, number: int) -> bytes:
    found = await client.block_hash(number)
    if found is None:
        raise OperationError(f"The node has no block {number}.")
    return found


async def _before(client: ChainClient, challenge: Challenge, parent: bytes) -> Before:
    hosting = await client.read(storage.HOSTINGS, challenge.hosting, at=parent)
    if hosting is None:
        raise OperationError(f"There was no hosting {challenge.hosting} before the challenge.")
    hoster = await client.read(storage.PROVIDERS, Role.HOSTER, hosting.hoster, at=parent)
    feed = await client.read(storage.FEEDS, hosting.feed, at=parent)
    if hoster is None or feed is None:
        raise OperationError(f"Hosting {challenge.hosting} had no hoster or no feed.")
    timing = await client.read(storage.TIMING, at=parent)
    return Before(hosting, hoster, feed, timing, await _pool(client, parent))


async def _closing(client: ChainClient, challenge_id: int, number: int) -> Closing:
    block = await _hash(client, number)
    events = await client.events(block)
    for record in events:
        event = record.event
        if not isinstance(event, ChallengeClosed) or event.id != challenge_id:
            continue
        closer = await _closer(client, challenge_id, block, record.extrinsic, events)
        return Closing(await client.timestamp(block), event, closer, events)
    raise OperationError(f"Block {number} does not tell that challenge {challenge_id} was closed.")


async def _closer(
    client: ChainClient,
    challenge_id: int,
    block: bytes,
    place: int | None,
    events: tuple[EventRecord, ...],
) -> bytes | None:
    """Who signed the extrinsic at a place, if that closed the challenge.

    What `on_poll` does is told as of the extrinsic that follows, if there is one.
    """
    extrinsics = await client.extrinsics(block)
    if place is None or place >= len(extrinsics):
        return None
    signed = read_extrinsic(client.runtime, extrinsics[place])
    call = client.runtime.encode_call(CloseChallenge(id=challenge_id))
    if signed is None or signed.call != call or client.runtime.outcome(events, place) is not None:
        return None
    return signed.account


async def _pool(client: ChainClient, before: bytes) -> tuple[PoolMember, ...]:
    count = await client.read(storage.ELIGIBLE_COUNT, at=before)
    members = []
    for place in range(count):
        account = await client.read(storage.ELIGIBLE, place, at=before)
        provider = (
            None
            if account is None
            else await client.read(storage.PROVIDERS, Role.ATTESTOR, account, at=before)
        )
        if account is None or provider is None:
            raise OperationError(f"The list of eligible attestors has a gap at place {place}.")
        members.append(PoolMember(account, provider))
    return tuple(members)


async def _earlier(client: ChainClient, snapshot: Snapshot) -> tuple[Snapshot, ...]:
    found: list[Snapshot] = []
    for identifier in range(snapshot.id - 1, -1, -1):
        other = await client.challenge(identifier)
        if other is None or other.challenge.block != snapshot.challenge.block:
            break
        found.insert(0, other)
    return tuple(found)


async def _anchoring(client: ChainClient, snapshot: Snapshot) -> Anchoring | None:
    flip = snapshot.flip
    if flip is None:
        return None
    block = await _hash(client, flip.block)
    for record in await client.events(block):
        event = record.event
        if not isinstance(event, FlipAnchored) or event.id != snapshot.id:
            continue
        if record.extrinsic is None:
            break
        signed, call = await client.signed_extrinsic(block, record.extrinsic)
        if isinstance(call, AnchorFlip):
            return Anchoring(signed.account, await client.timestamp(block), call)
    raise OperationError(f"Block {flip.block} has no anchor of challenge {snapshot.id}.")


async def _reports(client: ChainClient, challenge_id: int) -> dict[bytes, Reporting]:
    found = {}
    for account, record in (await client.reports(challenge_id)).items():
        block = await _hash(client, record.block)
        signed, call = await client.signed_extrinsic(block, record.extrinsic)
        if not isinstance(call, SubmitReport):
            raise OperationError(
                f"Extrinsic {record.extrinsic} of block {record.block} is no report."
            )
        found[account] = Reporting(
            record=record,
            signer=signed.account,
            challenge_id=call.id,
            report=call.report,
            block_ms=await client.timestamp(block),
        )
    return found
