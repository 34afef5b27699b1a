"""All that the chain holds about one challenge, gathered for a reader or a verifier."""

from __future__ import annotations

from dataclasses import dataclass

from chain_types import storage
from chain_types.calls import AnchorFlip, SubmitReport
from chain_types.records import Closed, Provider, ReportRecord, Role
from chain_types.report import Report
from chain_types.runtime import EventRecord
from offchain_worker.chain.client import ChainClient, Snapshot
from offchain_worker.errors import OperationError

RANDOMNESS_PARENTS = 8


@dataclass(frozen=True)
class Anchoring:
    """The accepted anchor: who sent it, in which block, and its call."""

    signer: bytes
    block_ms: int
    call: AnchorFlip


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
class History:
    """One challenge, as the chain's storage, blocks and events tell it.

    Attributes:
        genesis: hash of the first block.
        snapshot: the challenge's storage now.
        start_ms: timestamp of its start block S.
        parents: hashes of the eight blocks before S (fewer near genesis), the newest first.
        pool: the dense list of eligible attestors in the state before S.
        earlier: challenges that started before it in S, by id.
        anchoring: the accepted anchor, None without one.
        reports: the accepted reports by account.
        closing_events: the events of the block that settled it.
        absence_fee: of the runtime.
    """

    genesis: bytes
    snapshot: Snapshot
    start_ms: int
    start_hash: bytes
    parents: tuple[bytes, ...]
    pool: tuple[PoolMember, ...]
    earlier: tuple[Snapshot, ...]
    anchoring: Anchoring | None
    reports: dict[bytes, Reporting]
    closing_events: tuple[EventRecord, ...]
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
    closing = await _hash(client, challenge.stage.at)
    return History(
        genesis=client.genesis,
        snapshot=snapshot,
        start_ms=await client.timestamp(start_hash),
        start_hash=start_hash,
        parents=tuple(parents),
        pool=await _pool(client, parents[0]),
        earlier=await _earlier(client, snapshot),
        anchoring=await _anchoring(client, snapshot),
        reports=await _reports(client, challenge_id),
        closing_events=await client.events(closing),
        absence_fee=client.constants.absence_fee,
    )


async def _hash(client: ChainClient, number: int) -> bytes:
    found = await client.block_hash(number)
    if found is None:
        raise OperationError(f"The node has no block {number}.")
    return found


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
    anchorer = snapshot.challenge.roster[flip.by].account
    for index in range(len(await client.extrinsics(block))):
        if index == 0:
            # The timestamp inherent, which nobody signs.
            continue
        signed, call = await client.signed_extrinsic(block, index)
        if isinstance(call, AnchorFlip) and call.id == snapshot.id and signed.account == anchorer:
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
