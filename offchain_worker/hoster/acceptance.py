"""Accepting offers: a hoster vouches only for chunks that it has (challenge.md §2.1)."""

from __future__ import annotations

import structlog
import trio

from chain_types import storage
from chain_types.calls import AcceptHosting
from chain_types.events import HostingOpened
from chain_types.records import Hosting
from chain_types.scale import DecodeError
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient
from offchain_worker.chain.errors import ChainError, ChainReverted
from offchain_worker.chain.heads import Head
from offchain_worker.hoster.store import Library

_log = structlog.get_logger()

PAUSE_S = 1.0
"""Before the chain is asked again after it did not answer as it should."""


async def accept_offers(
    client: ChainClient, account: Account, library: Library, minimum_reward: int
) -> None:
    """Accept each offer to this hoster that pays enough, once its feed is complete here.

    Runs until cancelled; a transaction under way then is found again by its intent.

    Args:
        client: the chain.
        account: the hoster's.
        library: the feeds that it has.
        minimum_reward: the least `hoster_reward`, in the smallest unit.

    Raises:
        ChainReverted: finalized blocks were replaced.
    """
    offers: dict[int, Hosting] | None = None
    heads = client.heads()
    try:
        while True:
            try:
                head = await anext(heads)
                if offers is None:
                    offers = await _open_offers(client, account, head)
                else:
                    offers |= await _new_offers(client, account, head)
                for identifier, offer in list(offers.items()):
                    if await _consider(client, account, library, minimum_reward, identifier, offer):
                        del offers[identifier]
            except ChainReverted:
                raise
            except (ChainError, DecodeError) as error:
                _log.warning("hoster.chain_unreadable", reason=str(error))
                # An offer in a block that could not be read would be missed: read them all again.
                offers = None
                await trio.sleep(PAUSE_S)
    finally:
        heads.close()


async def _open_offers(client: ChainClient, account: Account, head: Head) -> dict[int, Hosting]:
    return {
        keys[0]: hosting
        async for page in client.pages(storage.HOSTINGS, at=head.hash)
        for keys, hosting in page
        if hosting is not None
        and hosting.hoster == account.public
        and hosting.vouched is None
        and not hosting.closing
    }


async def _new_offers(client: ChainClient, account: Account, head: Head) -> dict[int, Hosting]:
    found: dict[int, Hosting] = {}
    for record in await client.events(head.hash):
        event = record.event
        if isinstance(event, HostingOpened) and event.hoster == account.public:
            hosting = await client.read(storage.HOSTINGS, event.id, at=head.hash)
            if hosting is not None:
                found[event.id] = hosting
    return found


async def _consider(
    client: ChainClient,
    account: Account,
    library: Library,
    minimum_reward: int,
    identifier: int,
    offer: Hosting,
) -> bool:
    """Accept the offer if it can be; returns whether it is done with."""
    if offer.terms.hoster_reward < minimum_reward:
        _log.info("hoster.offer_too_low", hosting=identifier, reward=offer.terms.hoster_reward)
        return True
    store = library.get(offer.feed)
    head = None if store is None else store.head()
    if store is None or head is None or not store.is_complete():
        return False
    if head.length < offer.terms.length:
        return False
    call = AcceptHosting(id=identifier, fork=head.fork, length=head.length)
    done = await client.submit(call, account, f"accept/{identifier}")
    if done.error is None:
        _log.info("hoster.accepted", hosting=identifier, feed=offer.feed, length=head.length)
    else:
        _log.warning("hoster.not_accepted", hosting=identifier, reason=str(done.error))
    return True
