"""All that the chain holds about one challenge, gathered for a reader or a verifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from chain_types import storage
from chain_types.calls import (
    AnchorFlip,
    AnswerDemand,
    CloseChallenge,
    CommitFlip,
    ReportFraud,
    SubmitReport,
)
from chain_types.events import (
    BondSlashed,
    ChallengeClosed,
    CommitOpened,
    Expelled,
    FlipAnchored,
    FlipCommitted,
    FlipFellBack,
    Registered,
    Undraining,
)
from chain_types.extrinsic import read_extrinsic
from chain_types.records import (
    Answered,
    Challenge,
    Closed,
    Feed,
    Hosting,
    Provider,
    ReportRecord,
    Role,
    Timing,
)
from chain_types.report import Proof, Report
from chain_types.runtime import EventRecord
from chain_types.words import Event
from offchain_worker.chain.client import ChainClient, Snapshot
from offchain_worker.errors import OperationError

E = TypeVar("E", bound=Event)

RANDOMNESS_PARENTS = 8


@dataclass(frozen=True)
class Accusation:
    """An accepted proof of fraud.

    Attributes:
        signer: who sent it.
        block, block_ms: the block that took it, and its timestamp.
        position: of `event` among the events of the block.
        proof: what was sent.
        event: what the chain told of it.
        events: all events of its extrinsic.
        bond: of the offender when the proof came.
    """

    signer: bytes
    block: int
    block_ms: int
    position: int
    proof: Proof
    event: Expelled
    events: tuple[EventRecord, ...]
    bond: int


@dataclass(frozen=True)
class Commitment:
    """An accepted commitment for the fallback: who sent it, its block, and its call."""

    signer: bytes
    block: int
    block_ms: int
    call: CommitFlip


@dataclass(frozen=True)
class FallingBack:
    """How the flip on the chain went.

    Attributes:
        opened: what the chain told in block F.
        opened_block, opened_ms: F, and its timestamp.
        commitments: in the order in which they came.
        settled_ms: timestamp of the block that fixed R, or gave up.
        parents: hashes of the eight blocks before that one, the newest first.
        fell_back: what the chain told of R; None without R.
    """

    opened: CommitOpened
    opened_block: int
    opened_ms: int
    commitments: tuple[Commitment, ...]
    settled_ms: int
    parents: tuple[bytes, ...]
    fell_back: FlipFellBack | None


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
        block, block_ms: the block, and its timestamp.
        event: what the chain told of it.
        position: of `event` among the events of the block.
        closer: who signed the `close_challenge` that did it; None when the last report or nobody.
        events: all events of the block.
    """

    block: int
    block_ms: int
    event: ChallengeClosed
    position: int
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
        rooms: blocks with room before that block.
    """

    record: ReportRecord
    signer: bytes
    challenge_id: int
    report: Report
    block_ms: int
    rooms: int


@dataclass(frozen=True)
class Answering:
    """An accepted answer to a demand: the extrinsic that brought it.

    Attributes:
        signer: who signed it.
        call: the whole answer.
        block, block_ms: its block, and the block's timestamp.
        rooms: blocks with room before that block.
        events: all events of the extrinsic.
    """

    signer: bytes
    call: AnswerDemand
    block: int
    block_ms: int
    rooms: int
    events: tuple[EventRecord, ...]


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
        accusations: the accepted proofs of fraud, the first one first.
        anchoring: the accepted anchor, None without one.
        falling_back: the flip on the chain, None without one.
        reports: the accepted reports by account.
        answers: the accepted answers to demands, by the account of who demanded.
        closing: how it was closed.
        hosting_bond: of the hosting, in the state before the block that closed the challenge.
        absence_fee, fraud_slash, withholding_slash, demand_fee, demand_deposit: of the runtime.
    """

    genesis: bytes
    snapshot: Snapshot
    start_ms: int
    start_hash: bytes
    parents: tuple[bytes, ...]
    before: Before
    earlier: tuple[Snapshot, ...]
    accusations: tuple[Accusation, ...]
    anchoring: Anchoring | None
    falling_back: FallingBack | None
    reports: dict[bytes, Reporting]
    answers: dict[bytes, Answering]
    closing: Closing
    hosting_bond: int
    absence_fee: int
    fraud_slash: int
    withholding_slash: int
    demand_fee: int
    demand_deposit: int


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
    parents = await _parents(client, challenge.block)
    return History(
        genesis=client.genesis,
        snapshot=snapshot,
        start_ms=await client.timestamp(start_hash),
        start_hash=start_hash,
        parents=parents,
        before=await _before(client, challenge, parents[0]),
        earlier=await _earlier(client, snapshot),
        accusations=await _accusations(client, snapshot),
        anchoring=await _anchoring(client, snapshot),
        falling_back=await _falling_back(client, snapshot, challenge.stage.at),
        reports=await _reports(client, challenge_id),
        answers=await _answers(client, snapshot),
        closing=await _closing(client, challenge_id, challenge.stage.at),
        hosting_bond=await _hosting_bond(client, snapshot, challenge.stage.at),
        absence_fee=client.constants.absence_fee,
        fraud_slash=client.constants.fraud_slash,
        withholding_slash=client.constants.withholding_slash,
        demand_fee=client.constants.demand_fee,
        demand_deposit=client.constants.demand_deposit,
    )


async def _hash(client: ChainClient, number: int) -> bytes:
    found = await client.block_hash(number)
    if found is None:
        raise OperationError(f"The node has no block {number}.")
    return found


async def _parents(client: ChainClient, number: int) -> tuple[bytes, ...]:
    """The hashes that the chain's randomness in a block mixes."""
    first = max(0, number - RANDOMNESS_PARENTS)
    return tuple([await _hash(client, n) for n in range(number - 1, first - 1, -1)])


def _told(
    events: Sequence[EventRecord], kind: type[E], fits: Callable[[E], bool]
) -> list[tuple[int, EventRecord, E]]:
    """The events of a kind that fit, with their positions in the block."""
    return [
        (position, record, record.event)
        for position, record in enumerate(events)
        if isinstance(record.event, kind) and fits(record.event)
    ]


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
    for position, record, event in _told(events, ChallengeClosed, lambda e: e.id == challenge_id):
        closer = await _closer(client, challenge_id, block, record.extrinsic, events)
        return Closing(number, await client.timestamp(block), event, position, closer, events)
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


async def _accusations(client: ChainClient, snapshot: Snapshot) -> tuple[Accusation, ...]:
    found = []
    for number in sorted({fraud.block for fraud in snapshot.frauds.values()}):
        block = await _hash(client, number)
        events = await client.events(block)
        for position, record, event in _told(events, Expelled, lambda e: e.id == snapshot.id):
            if record.extrinsic is None:
                raise OperationError(f"Block {number} expels somebody without a proof.")
            signed, call = await client.signed_extrinsic(block, record.extrinsic)
            if not isinstance(call, ReportFraud):
                raise OperationError(f"Extrinsic {record.extrinsic} of block {number} is no proof.")
            before = [one for one in events[:position] if one.extrinsic != record.extrinsic]
            accusation = Accusation(
                signer=signed.account,
                block=number,
                block_ms=await client.timestamp(block),
                position=position,
                proof=call.proof,
                event=event,
                events=tuple(one for one in events if one.extrinsic == record.extrinsic),
                bond=await _bond(client, event.attestor, number, before),
            )
            found.append(accusation)
    return tuple(found)


async def _bond(
    client: ChainClient, account: bytes, number: int, earlier: Sequence[EventRecord]
) -> int:
    """An attestor's bond within a block, after the earlier ones of the block's events."""
    parent = await _hash(client, number - 1)
    provider = await client.read(storage.PROVIDERS, Role.ATTESTOR, account, at=parent)
    unbonding = await client.read(storage.UNBONDINGS, Role.ATTESTOR, account, at=parent)
    bond = provider.bond if provider else unbonding.amount if unbonding else 0
    for record in earlier:
        match record.event:
            case BondSlashed(account=whose, role=Role.ATTESTOR, amount=amount) if whose == account:
                bond -= amount
            case (Undraining() | Registered()) as taken if (
                taken.account == account and taken.role is Role.ATTESTOR
            ):
                bond = client.constants.attestor_bond
            case _:
                pass
    return bond


async def _anchoring(client: ChainClient, snapshot: Snapshot) -> Anchoring | None:
    flip = snapshot.flip
    if flip is None or flip.fell_back:
        return None
    block = await _hash(client, flip.block)
    events = await client.events(block)
    for _position, record, _event in _told(events, FlipAnchored, lambda e: e.id == snapshot.id):
        if record.extrinsic is None:
            break
        signed, call = await client.signed_extrinsic(block, record.extrinsic)
        if isinstance(call, AnchorFlip):
            return Anchoring(signed.account, await client.timestamp(block), call)
    raise OperationError(f"Block {flip.block} has no anchor of challenge {snapshot.id}.")


async def _falling_back(
    client: ChainClient, snapshot: Snapshot, closed_at: int
) -> FallingBack | None:
    if snapshot.fallback is None:
        return None
    last = closed_at if snapshot.flip is None else snapshot.flip.block
    opening: tuple[CommitOpened, int, int] | None = None
    commitments: list[Commitment] = []
    fell_back: FlipFellBack | None = None
    first = await _first_at(client, snapshot.challenge.flip_end_ms, snapshot.challenge.block, last)
    for number in range(first, last + 1):
        block = await _hash(client, number)
        events = await client.events(block)
        for _position, _record, opened in _told(
            events, CommitOpened, lambda e: e.id == snapshot.id
        ):
            opening = opened, number, await client.timestamp(block)
        for _position, record, told in _told(events, FlipCommitted, lambda e: e.id == snapshot.id):
            commitments.append(await _commitment(client, number, block, record, told))
        for _position, _record, event in _told(events, FlipFellBack, lambda e: e.id == snapshot.id):
            fell_back = event
    if opening is None:
        raise OperationError(f"No block tells since when challenge {snapshot.id} fell back.")
    return FallingBack(
        opened=opening[0],
        opened_block=opening[1],
        opened_ms=opening[2],
        commitments=tuple(commitments),
        settled_ms=await client.timestamp(await _hash(client, last)),
        parents=await _parents(client, last),
        fell_back=fell_back,
    )


async def _first_at(client: ChainClient, timestamp_ms: int, low: int, high: int) -> int:
    """The first block of a range with a timestamp at or after one; the last of the range if none.

    Timestamps ascend with the numbers of blocks.
    """
    while low < high:
        middle = (low + high) // 2
        if await client.timestamp(await _hash(client, middle)) >= timestamp_ms:
            high = middle
        else:
            low = middle + 1
    return low


async def _commitment(
    client: ChainClient, number: int, block: bytes, record: EventRecord, told: FlipCommitted
) -> Commitment:
    if record.extrinsic is not None:
        signed, call = await client.signed_extrinsic(block, record.extrinsic)
        if isinstance(call, CommitFlip) and (signed.account, call.z) == (told.by, told.z):
            return Commitment(signed.account, number, await client.timestamp(block), call)
    raise OperationError(f"Block {number} tells of a commitment that is not in it.")


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
            rooms=await client.read(storage.ROOMS, at=await _hash(client, record.block - 1)),
        )
    return found


async def _answers(client: ChainClient, snapshot: Snapshot) -> dict[bytes, Answering]:
    found = {}
    for account, demand in snapshot.demands.items():
        state = demand.state
        if not isinstance(state, Answered):
            continue
        block = await _hash(client, state.block)
        signed, call = await client.signed_extrinsic(block, state.extrinsic)
        if not isinstance(call, AnswerDemand):
            raise OperationError(
                f"Extrinsic {state.extrinsic} of block {state.block} answers no demand."
            )
        events = await client.events(block)
        found[account] = Answering(
            signer=signed.account,
            call=call,
            block=state.block,
            block_ms=await client.timestamp(block),
            rooms=await client.read(storage.ROOMS, at=await _hash(client, state.block - 1)),
            events=tuple(one for one in events if one.extrinsic == state.extrinsic),
        )
    return found


async def _hosting_bond(client: ChainClient, snapshot: Snapshot, closed_at: int) -> int:
    """What was held for the hosting; only settlements take from it, one at a time."""
    before = await _hash(client, closed_at - 1)
    hosting = await client.read(storage.HOSTINGS, snapshot.challenge.hosting, at=before)
    if hosting is None:
        raise OperationError(f"There was no hosting {snapshot.challenge.hosting} at the end.")
    return hosting.bond
