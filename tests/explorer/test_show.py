"""A challenge for people and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from chain_types.ss58 import ss58_encode
from offchain_worker.explorer.show import (
    challenge_details,
    challenge_lines,
    challenge_summary,
)

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


def details_of(told: dict[str, Any], name: str) -> dict[str, Any]:
    one = told[name]
    details = challenge_details(one.snapshot, one.reports)
    assert msgspec.json.decode(msgspec.json.encode(details)) == details
    return details


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
    for name in ("abandoned", "dissolved", "stalled"):
        void = summary_of(told, name)
        assert (void["outcome"], void["reports"], void["paid"]) == ("Void", [], {})
        assert void["coinflip"] == {"attempts": 0, "root": None, "result": None}


def test_a_challenge_whose_first_attempt_failed(told: dict[str, Any]) -> None:
    """Who was expelled, for what, at whose instance; which attempt was anchored, among whom."""
    snapshot = told["retried"].snapshot
    address = [ss58_encode(member.account) for member in snapshot.challenge.roster]
    details = details_of(told, "retried")
    flip = details["coinflip"]
    assert (flip["attempts"], flip["attempt"], flip["how"]) == (2, 1, "Anchored")
    assert (flip["active"], flip["anchored_by"]) == (address[1:], address[4])
    assert details["fallback"] is None
    frauds = [(one["attestor"], one["fraud"]) for one in details["frauds"]]
    assert frauds == [
        (address[0], "Equivocation"),
        (address[0], "BadReveal"),
        (address[1], "BadReveal"),
        (address[4], "Equivocation"),
    ]
    assert details["frauds"][0]["reporter"] == address[3]
    slashed = [(int(one["slashed"]), int(one["reward"])) for one in details["frauds"]]
    assert slashed[1] == (0, 0)
    assert all(reward == lost // 2 for lost, reward in slashed)
    expelled = [(one["attestor"], one["active"]) for one in details["expelled"]]
    assert expelled == [(address[0], False), (address[1], True), (address[4], True)]
    assert list(details["absent"]) == [address[2]]


def test_a_challenge_that_fell_back(told: dict[str, Any]) -> None:
    snapshot = told["fell_back"].snapshot
    address = [ss58_encode(member.account) for member in snapshot.challenge.roster]
    details = details_of(told, "fell_back")
    flip = details["coinflip"]
    assert (flip["attempts"], flip["attempt"], flip["how"]) == (0, None, "Fallback")
    assert (flip["active"], flip["anchored_by"]) == ([address[0], *address[2:4]], None)
    assert details["fallback"]["committed"] == flip["active"]
    assert details["fallback"]["missing"] == [address[1]]
    assert list(details["absent"]) == [address[1], address[2]]
    void = details_of(told, "abandoned")
    assert (void["coinflip"]["how"], void["coinflip"]["active"]) == (None, [])
    assert len(void["fallback"]["missing"]) == len(void["absent"]) == 3
    assert details_of(told, "dissolved")["fallback"] is None


def test_lines_for_people(told: dict[str, Any]) -> None:
    lines = challenge_lines(details_of(told, "passed"))
    assert lines[0].endswith(": Passed")
    assert sum(": Served, " in line for line in lines) == 4
    assert all(("MB/s" in line) != (" ms, " in line) for line in lines if ": Served, " in line)
    assert sum(line.startswith("  paid ") for line in lines) == 5
    failed = challenge_lines(details_of(told, "failed"))
    assert sum(line.endswith(": Failed(Unreachable)") for line in failed) in (4, 5)
    assert any(", attempt 0, 5 active, anchored by " in line for line in lines)
    assert sum(" was absent and paid " in line for line in lines) == 1


def test_lines_about_those_who_broke_the_rules(told: dict[str, Any]) -> None:
    retried = challenge_lines(details_of(told, "retried"))
    assert any(", attempt 1, 4 active, anchored by " in line for line in retried)
    assert sum(" for BadReveal in block " in line for line in retried) == 2
    assert sum(" was expelled at " in line for line in retried) == 3
    assert sum(line.endswith(", active all the same") for line in retried) == 2
    fell_back = challenge_lines(details_of(told, "fell_back"))
    assert any(line.endswith(", by the fallback, 3 active") for line in fell_back)
    assert "  fallback: 3 committed, 1 did not" in fell_back
    assert sum(line.endswith(" did not commit") for line in fell_back) == 1
    void = challenge_lines(details_of(told, "abandoned"))
    assert "  coinflip not anchored" in void
    assert sum(line.endswith(" did not commit") for line in void) == 3
