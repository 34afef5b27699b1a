"""Answering demands: a hoster shows on chain what an attestor did not get (challenge.md §5)."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
import trio

from chain_types.calls import AnswerDemand
from chain_types.records import Challenge, Demand, Open, Reporting
from chain_types.report import Chunk, Rewritten
from chain_types.scale import DecodeError
from offchain_worker.audit.answer import (
    AnswerError,
    Demanded,
    check_answer,
    chunk_answer,
)
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient
from offchain_worker.chain.errors import ChainError, ChainReverted
from offchain_worker.chain.heads import Head
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hoster.store import StoreError
from offchain_worker.hypercore.errors import DecodeError as HeadError
from offchain_worker.hypercore.feed import Feed
from offchain_worker.hypercore.feed import Head as FeedHead
from offchain_worker.hypercore.manifest import bare_signature, is_compat
from offchain_worker.hypercore.tree import Node

_log = structlog.get_logger()

PAUSE_S = 1.0
"""Before the chain is asked again after it did not answer as it should."""
AT_ONCE = 4
"""Answers on their way at the same time."""


async def answer_demands(client: ChainClient, account: Account, hoster: Hoster) -> None:
    """Answer each demand for a chunk of the feeds that this hoster serves, before it is due.

    With the chunk, if it is here; with the author's signature on a higher fork, if the feed was
    rewritten. What is on chain decides, so a restart takes up what was not answered. Runs until
    cancelled; a transaction under way then is found again by its intent.

    Args:
        client: the chain.
        account: the hoster's.
        hoster: who serves the feeds; counts `demands_answered` and `demands_unanswerable`.

    Raises:
        ChainReverted: finalized blocks were replaced.
    """
    answerer = _Answerer(client, account, hoster)
    heads = client.heads()
    try:
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    await answerer.take(await anext(heads), nursery)
                except ChainReverted:
                    raise
                except (ChainError, DecodeError) as error:
                    _log.warning("hoster.chain_unreadable", reason=str(error))
                    await trio.sleep(PAUSE_S)
    finally:
        heads.close()


class _Answerer:
    def __init__(self, client: ChainClient, account: Account, hoster: Hoster) -> None:
        self._client = client
        self._account = account
        self._hoster = hoster
        self._under_way: set[tuple[int, bytes]] = set()
        self._refused: set[tuple[int, bytes]] = set()
        self._told: set[tuple[int, bytes]] = set()
        self._limit = trio.CapacityLimiter(AT_ONCE)

    async def take(self, head: Head, nursery: trio.Nursery) -> None:
        """Start an answer to each open demand that has none under way."""
        seen = set()
        for item in await self._client.open_challenges(self._account.public, at=head.hash):
            stage = item.stage
            if not isinstance(stage, Reporting) or stage.answers is None:
                continue
            snapshot = await self._client.challenge(item.id, at=head.hash)
            if snapshot is None or snapshot.challenge.hoster != self._account.public:
                continue
            for attestor, demand in snapshot.demands.items():
                key = (item.id, attestor)
                seen.add(key)
                if isinstance(demand.state, Open) and key not in self._under_way | self._refused:
                    self._under_way.add(key)
                    nursery.start_soon(self._answer, key, snapshot.challenge, demand)
        self._refused &= seen
        self._told &= seen

    async def _answer(self, key: tuple[int, bytes], challenge: Challenge, demand: Demand) -> None:
        identifier, attestor = key
        log = _log.bind(challenge=identifier, attestor=attestor, chunk=demand.chunk)
        try:
            async with self._limit:
                demanded = Demanded(challenge.feed, challenge.fork, challenge.length, demand.chunk)
                answer = make_answer(self._hoster.served(challenge.feed.key), demanded)
                done = await self._client.submit(
                    AnswerDemand(id=identifier, attestor=attestor, answer=answer),
                    self._account,
                    f"answer/{identifier}/{attestor.hex()}",
                )
        except Unanswerable as error:
            # Tried again at the next head: the chunk may be fetched meanwhile.
            if key not in self._told:
                self._told.add(key)
                self._hoster.counters["demands_unanswerable"] += 1
                log.warning("hoster.demand_unanswerable", reason=str(error))
        except ChainError as error:
            log.warning("hoster.demand_not_answered", reason=str(error))
        else:
            if done.error is None:
                self._hoster.counters["demands_answered"] += 1
                log.info("hoster.demand_answered", answer=type(answer).__name__)
            else:
                # Refused in a block: the same answer would be refused again, and cost its fee.
                self._refused.add(key)
                log.warning("hoster.demand_not_answered", reason=str(done.error))
        finally:
            self._under_way.discard(key)


class Unanswerable(Exception):
    """The hoster cannot show what was demanded; the message says why."""


def make_answer(feed: Feed | None, demanded: Demanded) -> Chunk | Rewritten:
    """What a feed has to answer, checked as the chain will.

    Raises:
        Unanswerable: nothing that would be accepted.
    """
    if feed is None:
        raise Unanswerable("the feed is not here")
    try:
        head = feed.head()
        if head is None:
            raise Unanswerable("the feed has no head")
        signature = _bare_signature(feed.key, head)
        answer: Chunk | Rewritten
        if head.fork > demanded.fork:
            answer = Rewritten(head.fork, head.length, head.tree_hash, signature)
        else:
            data = feed.block(demanded.chunk)
            if data is None:
                raise Unanswerable("the chunk is not here")
            answer = chunk_answer(
                data,
                demanded,
                length=head.length,
                head_signature=signature,
                tree_nodes=_Tree(feed),
            )
        check_answer(answer, demanded)
    except (StoreError, AnswerError) as error:
        raise Unanswerable(str(error)) from error
    return answer


@dataclass(frozen=True)
class _Tree:
    """The nodes of a feed, looked up as they are needed."""

    feed: Feed

    def get(self, index: int, /) -> Node | None:
        return self.feed.node(index)


def _bare_signature(key: bytes, head: FeedHead) -> bytes:
    # A compat feed's heads are signed without a manifest, even where one is known.
    manifest = None if is_compat(key, head.manifest) else head.manifest
    try:
        return bare_signature(head.signature, manifest)
    except HeadError as error:
        raise Unanswerable(f"the head's signature is not that of one signer: {error}") from error
