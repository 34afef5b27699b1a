"""A challenge for people and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from chain_types.ss58 import ss58_encode
from offchain_worker.explorer.show import challenge_lines, challenge_summary

KEYS = {
    "attestor",
    "outcome",
    "reason",
    "moment_ms",
    "opened_ms",
    "windowed",
    "metrics",
    "receipt_chunks",
    "proved_chunks",
    "bytes",
}


def summary_of(told: dict[str, Any], name: str) -> dict[str, Any]:
    one = told[name]
    return challenge_summary(one.snapshot, one.reports)


def test_a_passed_challenge_as_json(told: dict[str, Any]) -> None:
    one = told["passed"]
    summary = msgspec.json.decode(msgspec.json.encode(summary_of(told, "passed")))
    assert set(summary) == {"id", "hosting", "hoster", "outcome", "coinflip", "reports", "paid"}
    assert (summary["id"], summary["outcome"]) == (str(one.snapshot.id), "Passed")
    assert summary["coinflip"] == {
        "attempts": 1,
        "root": one.snapshot.flip.root.hex(),
        "result": one.snapshot.flip.randomness.hex(),
    }
    # In the order of the roster, without the one who did not report.
    order = [
        ss58_encode(member.account)
        for member in one.snapshot.challenge.roster
        if member.account in one.reports
    ]
    assert [report["attestor"] for report in summary["reports"]] == order
    assert len(order) == 4
    for report in summary["reports"]:
        assert set(report) == KEYS
        assert (report["outcome"], report["reason"]) == ("Served", None)
        assert report["moment_ms"].isdigit()
        assert report["opened_ms"].isdigit()
        assert (report["receipt_chunks"], report["proved_chunks"]) == (100, 32)
        latency, throughput = report["metrics"]["latency_us"], report["metrics"]["throughput"]
        assert (latency is None, throughput is None) == (report["windowed"], not report["windowed"])
        assert throughput is None or throughput.isdigit()
    # The closer's share and its report's reward are one amount.
    settlement = one.snapshot.settlement
    assert sum(map(int, summary["paid"].values())) == sum(p.amount for p in settlement.paid)
    assert all(isinstance(amount, str) for amount in summary["paid"].values())
    assert len(summary["paid"]) == 5


def test_a_failed_and_a_void_challenge_as_json(told: dict[str, Any]) -> None:
    failed = summary_of(told, "failed")
    assert failed["outcome"] == "Failed"
    for report in failed["reports"]:
        assert set(report) == KEYS
        assert (report["outcome"], report["reason"]) == ("Failed", "Unreachable")
        assert report["metrics"] is None
    void = summary_of(told, "void")
    assert (void["outcome"], void["reports"], void["paid"]) == ("Void", [], {})
    assert void["coinflip"] == {"attempts": 0, "root": None, "result": None}


def test_lines_for_people(told: dict[str, Any]) -> None:
    lines = challenge_lines(summary_of(told, "passed"))
    assert lines[0].endswith(": Passed")
    assert sum(": Served, " in line for line in lines) == 4
    assert all(("MB/s" in line) != (" ms, " in line) for line in lines if ": Served, " in line)
    assert sum(line.startswith("  paid ") for line in lines) == 5
    failed = challenge_lines(summary_of(told, "failed"))
    assert sum(line.endswith(": Failed(Unreachable)") for line in failed) in (4, 5)
    assert "  coinflip not anchored" in challenge_lines(summary_of(told, "void"))
