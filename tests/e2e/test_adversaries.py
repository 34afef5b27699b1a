"""Hosters with one fault each: the attestors name it and the challenge fails, or figures show it.

Every fault is tried in tests/audit/test_cheats.py; here are some of each kind, as processes.
"""

from __future__ import annotations

import json
from pathlib import Path

from e2e_commands import succeed
from e2e_network import (
    closed,
    holds,
    log_of,
    open_network,
    reasons,
    settlement_of,
    until,
)

from chain_types.records import ServedRecord, Verdict
from chain_types.report import Metrics, Reason
from offchain_worker.chain.client import Snapshot
from offchain_worker.explorer.show import reason_name
from offchain_worker.hoster.adversary import Fault
from offchain_worker.hoster.adversary.pace import DELAY_S, FAST_CHUNKS
from offchain_worker.hoster.adversary.proxy import AWAY_S
from offchain_worker.testnet.testnet import Testnet as Network

EXPECTED = {
    Fault.HALF: Reason.NO_DATA,
    Fault.OLD_HEAD: Reason.NOT_HOSTED,
    Fault.RECEIPT_EARLY: Reason.BAD_RECEIPT,
    Fault.BYTE_BY_BYTE: Reason.TIMEOUT,
    Fault.FLOOD_MESSAGES: Reason.NO_DATA,
}
CHUNK_BYTES = 65_536
MANY_BYTES = 160 * CHUNK_BYTES
"""More chunks than a receipt names."""


async def test_each_fault_fails_the_challenge_with_its_reason(tmp_path: Path) -> None:
    faults = {f"hoster-{n}": fault for n, fault in enumerate(EXPECTED, 1)}
    async with open_network(
        tmp_path, hosters=len(faults), faults=faults, feed_bytes=MANY_BYTES
    ) as network:
        for hoster, fault in faults.items():
            snapshot = await until(network, hoster, 0, closed)
            expected = EXPECTED[fault]
            assert settlement_of(snapshot).outcome is Verdict.FAILED, fault
            assert set((await reasons(network, snapshot)).values()) == {expected}, fault
            if fault is Fault.HALF:
                # Each demanded a chunk that is gone: the bond covers the first two.
                assert len(snapshot.demands) == 5
                bond = network.client.constants.hosting_bond
                assert settlement_of(snapshot).slashed == bond
            await holds(network, snapshot)
            missed = [
                folder.name
                for folder in network.layout.attestors
                if held_up(network, folder.name, snapshot)
            ]
            assert len(missed) < len(network.layout.attestors) / 2
            for folder in network.layout.attestors:
                if folder.name not in missed:
                    assert finished(network, folder.name, snapshot)["outcome"] == (
                        f"Failed({expected.name})"
                    )
        shown = json.loads(
            succeed("challenge", "show", str(snapshot.id), "--json", "--url", network.layout.url)
        )
        assert shown["outcome"] == "Failed"
        assert {report["reason"] for report in shown["reports"]} == {reason_name(expected)}
        words = succeed("challenge", "show", str(snapshot.id), "--url", network.layout.url)
        assert words.count(f"Failed({reason_name(expected)})") == len(shown["reports"])


def held_up(network: Network, attestor: str, snapshot: Snapshot) -> bool:
    """Whether an attestor claims nothing, as its other sessions held this one up."""
    return any(
        entry["event"] == "audit.missed"
        and entry["challenge"] == snapshot.id
        and entry["reason"].startswith("the own limits")
        for entry in log_of(network, attestor)
    )


def finished(network: Network, attestor: str, snapshot: Snapshot) -> dict[str, object]:
    """How an attestor's audit ended, by its log."""
    (entry,) = (
        entry
        for entry in log_of(network, attestor)
        if entry["event"] == "audit.finished" and entry["challenge"] == snapshot.id
    )
    return entry


async def test_the_slow_the_throttled_and_the_proxy_show_or_are_too_late(tmp_path: Path) -> None:
    """On a busy machine they may be so slow that a chunk's time-out passes, too.

    How honest hosters look beside them is in tests on a mock clock (`tests/audit/test_cheats.py`).
    """
    faults = {"hoster-1": Fault.SLOW, "hoster-2": Fault.THROTTLE, "hoster-3": Fault.PROXY}
    async with open_network(tmp_path, hosters=3, faults=faults, feed_bytes=MANY_BYTES) as network:
        found = {}
        for hoster, fault in faults.items():
            snapshot = await until(network, hoster, 0, closed)
            assert set((await reasons(network, snapshot)).values()) <= {None, Reason.TIMEOUT}
            found[fault] = snapshot
        # The first client is spared, whoever that is.
        slow = [slowness(metrics) for metrics in await figures(network, found[Fault.SLOW])]
        assert sum(one >= DELAY_S for one in slow) >= len(slow) - 1
        # A proxy fetches a whole window at once; what shows in both habits is the first chunk.
        proxied = await figures(network, found[Fault.PROXY])
        assert all(metrics.first_chunk_us >= 1e6 * AWAY_S for metrics in proxied)
        assert all(one.latency_us.p50 >= 1e6 * AWAY_S for one in proxied if one.latency_us)
        throttled = found[Fault.THROTTLE]
        for attestor, metrics in (await by_attestor(network, throttled)).items():
            read = finished(network, attestor, throttled)["chunks"]
            assert isinstance(read, int)
            if read > FAST_CHUNKS and metrics.latency_us is not None:
                assert metrics.latency_us.max >= 1e6 * DELAY_S


async def by_attestor(network: Network, snapshot: Snapshot) -> dict[str, Metrics]:
    """The figures of those who were served, by name."""
    return {
        network.names[account]: record.outcome.metrics
        for account, record in (await network.client.reports(snapshot.id)).items()
        if isinstance(record.outcome, ServedRecord)
    }


async def figures(network: Network, snapshot: Snapshot) -> list[Metrics]:
    """The same without the names."""
    return list((await by_attestor(network, snapshot)).values())


def slowness(metrics: Metrics) -> float:
    """Seconds for a chunk: the median latency, or what the throughput comes to."""
    if metrics.latency_us is not None:
        return metrics.latency_us.p50 / 1e6
    assert metrics.throughput is not None
    return CHUNK_BYTES / metrics.throughput
