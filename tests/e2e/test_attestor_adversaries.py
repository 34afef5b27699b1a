"""Attestors with one fault each: what is signed against the rules costs the bond, and the others
go on; what is only withheld costs nothing but time."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from e2e_commands import datdot, make_feed, succeed
from e2e_network import (
    STEP_SECONDS,
    Network,
    closed,
    events_of,
    holds,
    open_network,
    settlement_of,
    until,
)

from chain_types import storage
from chain_types.records import FraudKind, Role, Verdict
from offchain_worker.attestor.adversary import Fault
from offchain_worker.chain.client import Snapshot
from offchain_worker.testnet.testnet import ATTESTOR_REWARD

RUN_SECONDS = 150.0
ADVERSARY = "attestor-3"
PROVEN = {
    Fault.EQUIVOCATE: FraudKind.EQUIVOCATION,
    Fault.BAD_REVEAL: FraudKind.BAD_REVEAL,
    Fault.WITHHOLD: None,
}


@pytest.mark.parametrize("fault", Fault)
async def test_the_challenge_passes_all_the_same(tmp_path: Path, fault: Fault) -> None:
    async with open_network(tmp_path, hosters=1, faults={ADVERSARY: fault}) as network:
        snapshot = await until(network, "hoster-1", 0, closed)
        settlement, flip = settlement_of(snapshot), snapshot.flip
        assert settlement.outcome is Verdict.PASSED
        assert flip is not None
        assert flip.fell_back
        await holds(network, snapshot)
        url = network.layout.url
        verified = succeed("challenge", "verify", str(snapshot.id), "--url", url)
        assert verified.endswith(f"challenge {snapshot.id} holds\n")
        kind = PROVEN[fault]
        if kind is None:
            await check_unharmed(network, snapshot)
        else:
            await check_expelled(network, snapshot, kind)
            with trio.fail_after(STEP_SECONDS):
                await network.watch(print, refresh=lambda: None, once=True)
            head = await network.client.finalized()
            assert await network.too_few(head.hash) == (
                "no further challenge: 4 attestors are left, and it takes 5"
            )


def test_the_command_shows_it(tmp_path: Path) -> None:
    status, output, errors = datdot(
        *("testnet", "--once", "--port", "0", "--hosters", "1", "--adversary", "equivocate"),
        *("--feed", make_feed(tmp_path / "feed")),
        timeout=RUN_SECONDS,
    )
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    expelled = "challenge 0: attestor-5 was expelled: equivocation; 1000 slashed, 500 to attestor-"
    assert len([line for line in lines if line.startswith(expelled)]) == 1
    assert "challenge 0: nobody anchored; the fallback drew R among 4 of 5" in lines, output
    evidence = [line for line in lines if line.endswith("holds evidence against attestor-5")]
    assert len(evidence) == 4
    assert "challenge 0: Passed (4 of 4 reported)" in lines
    gave_up = "coinflip.gave_up (challenge=0, attempt=0, "
    for line in lines:
        expected = line.startswith(("feed ", "challenge 0", "settled after "))
        assert expected or line.partition(": ")[2].startswith(gave_up), output


async def check_unharmed(network: Network, snapshot: Snapshot) -> None:
    """All five committed to the fallback, reported and were paid."""
    settlement = settlement_of(snapshot)
    assert (settlement.active, settlement.served, settlement.absent) == (5, 5, ())
    assert (snapshot.frauds, snapshot.expulsions) == ({}, ())
    assert paid(network, snapshot) == dict.fromkeys(attestors(network), ATTESTOR_REWARD)


async def check_expelled(network: Network, snapshot: Snapshot, kind: FraudKind) -> None:
    """The offender lost its bond, half of it to who proved it; the others were paid."""
    settlement = settlement_of(snapshot)
    assert (settlement.active, settlement.served, settlement.absent) == (4, 4, ())
    (fraud,) = snapshot.frauds.values()
    assert (network.names[fraud.offender], fraud.proof) == (ADVERSARY, kind)
    constants = network.client.constants
    assert (fraud.slashed, fraud.reward) == (constants.attestor_bond, constants.attestor_bond // 2)
    (expulsion,) = snapshot.expulsions
    assert snapshot.challenge.roster[expulsion.place].account == fraud.offender
    provider = await network.client.read(storage.PROVIDERS, Role.ATTESTOR, fraud.offender)
    assert provider is not None
    assert (provider.bond, provider.active, provider.wants_work) == (0, False, False)
    honest = [name for name in attestors(network) if name != ADVERSARY]
    assert paid(network, snapshot) == dict.fromkeys(honest, ATTESTOR_REWARD)
    reporter = network.names[fraud.reporter]
    gained = (await network.balances())[reporter] - network.network.before[reporter]
    assert 0 <= fraud.reward + ATTESTOR_REWARD - gained < ATTESTOR_REWARD // 10, "but for fees"
    events = events_of(network, reporter, snapshot.id)
    assert events.count("fraud.rewarded") == 1
    for name in honest:
        assert "coinflip.evidence" in events_of(network, name, snapshot.id)


def attestors(network: Network) -> list[str]:
    return [folder.name for folder in network.layout.attestors]


def paid(network: Network, snapshot: Snapshot) -> dict[str, int]:
    """What attestors were paid, by name."""
    found = {
        network.names[payment.account]: payment.amount for payment in settlement_of(snapshot).paid
    }
    return {name: amount for name, amount in found.items() if name.startswith("attestor")}
