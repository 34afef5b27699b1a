"""Hosters with one fault each: the attestors name it, and the challenge fails."""

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

from chain_types.records import Verdict
from chain_types.report import Reason
from offchain_worker.explorer.show import reason_name
from offchain_worker.hoster.adversary import Fault

EXPECTED = {
    Fault.FLIP_BIT: Reason.BAD_PROOF,
    Fault.WRONG_CHUNK: Reason.BAD_PROOF,
    Fault.OLD_HEAD: Reason.NOT_HOSTED,
    Fault.NO_RECEIPT: Reason.NO_RECEIPT,
    Fault.RECEIPT_OTHER_CHUNKS: Reason.BAD_RECEIPT,
    Fault.RECEIPT_OTHER_CLIENT: Reason.BAD_RECEIPT,
}


async def test_each_fault_fails_the_challenge_with_its_reason(tmp_path: Path) -> None:
    assert set(EXPECTED) == set(Fault)
    faults = {f"hoster-{n}": fault for n, fault in enumerate(EXPECTED, 1)}
    async with open_network(tmp_path, hosters=len(faults), faults=faults) as network:
        for hoster, fault in faults.items():
            snapshot = await until(network, hoster, 0, closed)
            expected = EXPECTED[fault]
            assert settlement_of(snapshot).outcome is Verdict.FAILED, fault
            assert set((await reasons(network, snapshot)).values()) == {expected}, fault
            await holds(network, snapshot)
            for folder in network.layout.attestors:
                (finished,) = (
                    entry["outcome"]
                    for entry in log_of(network, folder.name)
                    if entry["event"] == "audit.finished" and entry["challenge"] == snapshot.id
                )
                assert finished == f"Failed({expected.name})"
        shown = json.loads(
            succeed("challenge", "show", str(snapshot.id), "--json", "--url", network.layout.url)
        )
        assert shown["outcome"] == "Failed"
        assert {report["reason"] for report in shown["reports"]} == {reason_name(expected)}
        words = succeed("challenge", "show", str(snapshot.id), "--url", network.layout.url)
        assert words.count(f"Failed({reason_name(expected)})") == 5
