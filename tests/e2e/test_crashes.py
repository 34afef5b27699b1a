"""Hosters and attestors that are killed, and what becomes of their challenges and their money."""

from __future__ import annotations

from pathlib import Path

from e2e_network import (
    Network,
    anchored,
    closed,
    events_of,
    holds,
    moment,
    open_network,
    reasons,
    settlement_of,
    until,
)

from chain_types.records import PaymentKind, Verdict
from chain_types.report import Reason
from offchain_worker.chain.client import Snapshot
from offchain_worker.testnet.testnet import ATTESTOR_REWARD, HOSTER_REWARD


async def test_killed_hosters_and_attestors(tmp_path: Path) -> None:
    async with open_network(tmp_path, hosters=2) as network:
        failed, served, again = await kill_and_restart(network)
        check_failed(network, failed)
        await check_restarted(network, served, again)
        await lose_an_attestor(network)


async def kill_and_restart(network: Network) -> tuple[Snapshot, Snapshot, str]:
    """Kill the first hoster before all moments, and an attestor, which is started again."""
    await until(network, "hoster-1", 0, anchored)
    network.processes.children["hoster-1"].kill()
    first = await until(network, "hoster-1", 0, anchored)
    second = await until(network, "hoster-2", 0, anchored)
    folders = {folder.name: folder for folder in network.layout.attestors}
    moments = {
        name: min(moment(network, first, name), moment(network, second, name)) for name in folders
    }
    again = max(moments, key=moments.__getitem__)
    child = network.processes.children[again]
    child.kill()
    await child.ended.wait()
    await network.start_attestor(folders[again])
    failed = await until(network, "hoster-1", 0, closed)
    await network.start_hoster(network.layout.hosters[0])
    served = await until(network, "hoster-2", 0, closed)
    await holds(network, failed)
    await holds(network, served)
    assert set((await reasons(network, failed)).values()) == {Reason.UNREACHABLE}
    assert set((await reasons(network, served)).values()) == {None}
    return failed, served, again


def check_failed(network: Network, failed: Snapshot) -> None:
    """All five attestors get half, the hoster nothing."""
    settlement = settlement_of(failed)
    assert (settlement.outcome, settlement.failed) == (Verdict.FAILED, 5)
    assert settlement.absent == ()
    assert {network.names[payment.account] for payment in settlement.paid} == {
        folder.name for folder in network.layout.attestors
    }
    assert {payment.amount for payment in settlement.paid} == {ATTESTOR_REWARD // 2}


async def check_restarted(network: Network, served: Snapshot, attestor: str) -> None:
    """The attestor that was killed audited after its second start, at its journalled moment."""
    assert settlement_of(served).outcome is Verdict.PASSED
    records = await network.client.reports(served.id)
    record = records[network.accounts[attestor].public]
    assert record.moment_ms == moment(network, served, attestor)
    events = events_of(network, attestor, served.id)
    assert events.count("attestor.listening") == 2
    started = len(events) - events[::-1].index("attestor.listening")
    assert "audit.opened" not in events[:started]
    assert "audit.finished" in events[started:]
    assert "challenge.settled" in events[started:]


async def lose_an_attestor(network: Network) -> None:
    """The hoster that came back passes; an attestor that stays away pays, the others are paid."""
    first = await until(network, "hoster-1", 1, anchored)
    second = await until(network, "hoster-2", 1, anchored)
    lost = network.processes.children["attestor-3"]
    lost.kill()
    for hoster, drawn in (("hoster-1", first), ("hoster-2", second)):
        snapshot = await until(network, hoster, 1, closed)
        assert snapshot.id == drawn.id
        await holds(network, snapshot)
        settlement = settlement_of(snapshot)
        assert (settlement.outcome, settlement.served) == (Verdict.PASSED, 4)
        (absence,) = settlement.absent
        assert network.names[absence.account] == "attestor-3"
        assert absence.fee == network.client.constants.absence_fee > 0
        paid = {
            (network.names[payment.account], payment.kind): payment.amount
            for payment in settlement.paid
        }
        assert paid[hoster, PaymentKind.HOSTING] == HOSTER_REWARD * 4 // 5
        reporters = {name for name, kind in paid if kind is PaymentKind.REPORT}
        assert reporters == {f"attestor-{n}" for n in (1, 2, 4, 5)}
        # A fellow attestor noticed, and closed the challenge before the chain did so by itself.
        ((closer, reward),) = (
            (name, amount) for (name, kind), amount in paid.items() if kind is PaymentKind.CLOSING
        )
        assert reward == absence.fee // 10
        assert "attestor.reports_missing" in events_of(network, closer, snapshot.id)
