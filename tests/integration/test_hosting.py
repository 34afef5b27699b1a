"""The client and a chain, over a socket: a hosting from nothing to accepted."""

from __future__ import annotations

import trio
from bank import UNIT, Bank

from chain_types import calls, events, storage
from chain_types.records import Endpoint, FeedKind, Role, Terms, Vouched
from chain_types.words import Event
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient
from offchain_worker.chain.transactions import Finalized
from offchain_worker.keys import KeyPair

TAG_REGISTER = b"datdot.performance.v1.register".ljust(32, b"\0")
SECONDS = 240
"""Ten transactions, each final some seconds later on a network of validators."""


def proof(chain: ChainClient, key: KeyPair, role: Role, account: Account) -> bytes:
    return key.sign(TAG_REGISTER + chain.genesis + bytes([role]) + account.public)


def typed(result: Finalized) -> list[Event]:
    assert result.error is None
    return [event for event in result.events if isinstance(event, Event)]


async def test_a_hosting_from_nothing_to_accepted(chain: ChainClient, bank: Bank) -> None:
    noise, session, author = (KeyPair.generate() for _ in range(3))
    endpoint = Endpoint.of("127.0.0.1", 4_001)
    submit = chain.submit
    with trio.fail_after(SECONDS):
        sponsor, hoster, attestor = await bank.accounts(3)
        heads = chain.heads()

        register = calls.RegisterHoster(
            noise.public, endpoint, proof(chain, noise, Role.HOSTER, hoster)
        )
        (registered,) = typed(await submit(register, hoster))
        assert isinstance(registered, events.Registered)
        assert (registered.account, registered.role) == (hoster.public, Role.HOSTER)
        again = await submit(register, hoster)
        assert again.error is not None
        assert (again.error.pallet, again.error.name) == ("Providers", "AlreadyRegistered")

        join = calls.RegisterAttestor(
            session.public, endpoint, 3, proof(chain, session, Role.ATTESTOR, attestor)
        )
        assert len(typed(await submit(join, attestor))) == 1
        found = await chain.endpoints(Role.ATTESTOR, [attestor.public, hoster.public])
        assert found == {attestor.public: endpoint}
        providers = dict(await chain.entries(storage.PROVIDERS, Role.ATTESTOR))
        assert (Role.ATTESTOR, attestor.public) in providers
        assert (Role.ATTESTOR, hoster.public) not in providers

        publish = calls.PublishFeed(author.public, None)
        assert typed(await submit(publish, sponsor)) == [
            events.FeedPublished(author.public, author.public)
        ]
        feed = await chain.read(storage.FEEDS, author.public)
        assert feed is not None
        assert feed.kind is FeedKind.COMPAT

        async for head in heads:
            provider = await chain.read(storage.PROVIDERS, Role.HOSTER, hoster.public, at=head.hash)
            if provider is not None and provider.active:
                break
        heads.close()
        terms = Terms(hoster_reward=UNIT, attestor_reward=UNIT, length=10, sla=None)
        offer = calls.OpenHosting(author.public, hoster.public, 100 * UNIT, terms)
        (opened,) = typed(await submit(offer, sponsor))
        assert isinstance(opened, events.HostingOpened)
        accept = calls.AcceptHosting(opened.id, 0, 12)
        assert typed(await submit(accept, hoster)) == [events.HostingAccepted(opened.id, 0, 12)]
        hosting = await chain.read(storage.HOSTINGS, opened.id)
        assert hosting is not None
        assert (hosting.vouched, hosting.terms) == (Vouched(0, 12), terms)
        assert hosting.bond == chain.constants.hosting_bond
        assert await chain.read(storage.WAITING, opened.id) is not None
        assert await chain.open_challenges(attestor.public) == ()

        # Not drawn by later tests on the same chain.
        assert typed(await submit(calls.Drain(Role.ATTESTOR), attestor))
        offset = await chain.clock_offset()
        assert offset is not None
        assert abs(offset) < 10
