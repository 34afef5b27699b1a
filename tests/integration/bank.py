"""Accounts with money, for tests that share a chain with others."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from chain_types.calls import Id, TransferKeepAlive
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient

UNIT = 10**12
ALICE = Account.from_uri("//Alice")


@dataclass(frozen=True)
class Bank:
    """Makes accounts with money, out of //Alice's."""

    chain: ChainClient

    async def accounts(self, count: int, amount: int = 5_000 * UNIT) -> list[Account]:
        """New accounts that have `amount` each."""
        made = [Account.generate()[0] for _ in range(count)]
        async with trio.open_nursery() as nursery:
            for account in made:
                nursery.start_soon(self._give, account, amount)
        return made

    async def _give(self, account: Account, amount: int) -> None:
        done = await self.chain.submit(TransferKeepAlive(Id(account.public), amount), ALICE)
        assert done.error is None
