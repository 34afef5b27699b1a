"""The client and the embedded node, over their own sockets: a hosting from nothing to accepted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from chain_types import calls, events, storage
from chain_types.records import Endpoint, FeedKind, Role, Terms, Vouched
from chain_types.words import Event
from datdot_node import main
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient, open_chain
from offchain_worker.chain.transactions import Finalized
from offchain_worker.keys import KeyPair

SPONSOR, HOSTER, ATTESTOR = (Account.from_uri(f"//{name}") for name in ("Alice", "Bob", "Charlie"))
UNIT = 10**12
TAG_REGISTER = b"datdot.performance.v1.register".ljust(32, b"\0")


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(lambda **status: main.run(None, port=0, **status))
        yield f"ws://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


def proof(chain: ChainClient, key: KeyPair, role: Role, account: Account) -> bytes:
    return key.sign(TAG_REGISTER + chain.genesis + bytes([role]) + account.public)


def typed(result: Finalized) -> list[Event]:
    assert result.error is None
    return [event for event in result.events if isinstance(event, Event)]


async def test_a_hosting_from_nothing_to_accepted(url: str, tmp_path: Path) -> None:
    noise, session, author = (KeyPair.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
    endpoint = Endpoint.of("127.0.0.1", 4_001)
    with trio.fail_after(60):
        async with open_chain(url, journal=tmp_path / "transactions.sqlite") as chain:
            heads = chain.heads()

            async def submit(call: calls.Call, account: Account) -> Finalized:
                return await chain.submit(call, account)

            register = calls.RegisterHoster(
                noise.public, endpoint, proof(chain, noise, Role.HOSTER, HOSTER)
            )
            (registered,) = typed(await submit(register, HOSTER))
            assert isinstance(registered, events.Registered)
            assert (registered.account, registered.role) == (HOSTER.public, Role.HOSTER)
            again = await submit(register, HOSTER)
            assert again.error is not None
            assert (again.error.pallet, again.error.name) == ("Providers", "AlreadyRegistered")

            attestor = calls.RegisterAttestor(
                session.public, endpoint, 3, proof(chain, session, Role.ATTESTOR, ATTESTOR)
            )
            assert len(typed(await submit(attestor, ATTESTOR))) == 1
            found = await chain.endpoints(Role.ATTESTOR, [ATTESTOR.public, HOSTER.public])
            assert found == {ATTESTOR.public: endpoint}
            providers = dict(await chain.entries(storage.PROVIDERS, Role.ATTESTOR))
            assert list(providers) == [(Role.ATTESTOR, ATTESTOR.public)]

            publish = calls.PublishFeed(author.public, None)
            assert typed(await submit(publish, SPONSOR)) == [
                events.FeedPublished(author.public, author.public)
            ]
            feed = await chain.read(storage.FEEDS, author.public)
            assert feed is not None
            assert feed.kind is FeedKind.COMPAT

            async for head in heads:
                provider = await chain.read(
                    storage.PROVIDERS, Role.HOSTER, HOSTER.public, at=head.hash
                )
                if provider is not None and provider.active:
                    break
            heads.close()
            terms = Terms(hoster_reward=UNIT, attestor_reward=UNIT, length=10, sla=None)
            offer = calls.OpenHosting(author.public, HOSTER.public, 100 * UNIT, terms)
            (opened,) = typed(await submit(offer, SPONSOR))
            assert isinstance(opened, events.HostingOpened)
            accept = calls.AcceptHosting(opened.id, 0, 12)
            assert typed(await submit(accept, HOSTER)) == [events.HostingAccepted(opened.id, 0, 12)]
            hosting = await chain.read(storage.HOSTINGS, opened.id)
            assert hosting is not None
            assert (hosting.vouched, hosting.terms) == (Vouched(0, 12), terms)
            assert hosting.bond == chain.constants.hosting_bond
            assert await chain.read(storage.WAITING, opened.id) is not None
            assert await chain.open_challenges(ATTESTOR.public) == ()

            offset = await chain.clock_offset()
            assert offset is not None
            assert abs(offset) < 10
