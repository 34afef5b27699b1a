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


EXCEPTIONS = {"retry", "fallback", "frauds", "expelled", "absent", "demands"}


def summary_of(told: dict[str, Any], name: str) -> dict[str, Any]:
    one = told[name]
    summary = challenge_summary(one.snapshot, one.reports)
    assert msgspec.json.decode(msgspec.json.encode(summary)) == summary
    return summary


def test_a_passed_challenge_as_json(told: dict[str, Any]) -> None:
    one = told["passed"]
    summary = summary_of(told, "passed")
    always = {"id", "hosting", "hoster", "outcome", "coinflip", "reports", "paid"}
    assert set(summary) == {*always, "absent"}
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
    summary = summary_of(told, "retried")
    assert set(summary) & EXCEPTIONS == EXCEPTIONS - {"fallback", "demands"}
    assert summary["coinflip"]["attempts"] == 2
    assert summary["retry"] == {
        "attempt": 1,
        "active": address[1:],
        "anchored_by": address[4],
    }
    frauds = [(one["attestor"], one["fraud"], one["reporter"]) for one in summary["frauds"]]
    assert frauds == [
        (address[0], "Equivocation", address[3]),
        (address[0], "BadReveal", address[1]),
        (address[1], "BadReveal", frauds[2][2]),
        (address[4], "Equivocation", address[2]),
    ]
    assert {one["evidence"] for one in summary["frauds"]} == {
        identifier.hex() for identifier in snapshot.frauds
    }
    slashed = [(int(one["slashed"]), int(one["reward"])) for one in summary["frauds"]]
    assert slashed[1] == (0, 0)
    assert all(reward == lost // 2 for lost, reward in slashed)
    expelled = [(one["attestor"], one["active"]) for one in summary["expelled"]]
    assert expelled == [(address[0], False), (address[1], True), (address[4], True)]
    assert list(summary["absent"]) == [address[2]]


def test_a_challenge_that_fell_back(told: dict[str, Any]) -> None:
    snapshot = told["fell_back"].snapshot
    address = [ss58_encode(member.account) for member in snapshot.challenge.roster]
    summary = summary_of(told, "fell_back")
    assert set(summary) & EXCEPTIONS == EXCEPTIONS - {"retry", "demands"}
    assert summary["coinflip"] == {
        "attempts": 0,
        "root": snapshot.flip.root.hex(),
        "result": snapshot.flip.randomness.hex(),
    }
    assert summary["fallback"] == {
        "topic": snapshot.flip.topic.hex(),
        "committed": [address[0], *address[2:4]],
        "missing": [address[1]],
    }
    assert list(summary["absent"]) == [address[1], address[2]]
    void = summary_of(told, "abandoned")
    assert set(void) & EXCEPTIONS == {"fallback", "absent"}
    assert void["fallback"]["missing"] == list(void["absent"])
    assert set(summary_of(told, "dissolved")) & EXCEPTIONS == {"frauds", "expelled"}


def test_lines_for_people(told: dict[str, Any]) -> None:
    lines = challenge_lines(summary_of(told, "passed"))
    assert lines[0].endswith(": Passed")
    assert sum(": Served, " in line for line in lines) == 4
    assert all(("MB/s" in line) != (" ms, " in line) for line in lines if ": Served, " in line)
    assert sum(line.startswith("  paid ") for line in lines) == 5
    failed = challenge_lines(summary_of(told, "failed"))
    assert sum(line.endswith(": Failed(Unreachable)") for line in failed) in (4, 5)
    assert lines[2].endswith(", attempt 0")
    assert sum(" was absent and paid " in line for line in lines) == 1


def test_lines_about_those_who_broke_the_rules(told: dict[str, Any]) -> None:
    retried = challenge_lines(summary_of(told, "retried"))
    assert any(", attempt 1 among 4, anchored by " in line for line in retried)
    assert sum(" for BadReveal in block " in line for line in retried) == 2
    assert sum(" was expelled at " in line for line in retried) == 3
    assert sum(line.endswith(", active all the same") for line in retried) == 2
    fell_back = challenge_lines(summary_of(told, "fell_back"))
    assert any(line.endswith(", by the fallback") for line in fell_back)
    assert "  fallback: 3 committed, 1 did not" in fell_back
    assert sum(line.endswith(" did not commit") for line in fell_back) == 1
    void = challenge_lines(summary_of(told, "abandoned"))
    assert "  coinflip not anchored" in void
    assert sum(line.endswith(" did not commit") for line in void) == 3


def test_demands_as_json_and_for_people(told: dict[str, Any]) -> None:
    snapshot = told["withheld"].snapshot
    address = [ss58_encode(member.account) for member in snapshot.challenge.roster]
    summary = summary_of(told, "withheld")
    assert set(summary) & EXCEPTIONS == {"demands"}
    shown, lost = summary["demands"]
    assert (shown["attestor"], shown["state"], shown["answer"]) == (address[1], "Answered", "Chunk")
    assert (lost["attestor"], lost["state"]) == (address[3], "Unanswered")
    assert (int(lost["slashed"]), int(lost["reward"])) == (50 * 10**12, 25 * 10**12)
    assert int(shown["fee"]) == 10**12
    lines = challenge_lines(summary)
    assert sum(f"demanded chunk {shown['chunk']}: shown in block " in line for line in lines) == 1
    assert sum(": not answered, the hoster lost " in line for line in lines) == 1
    (demand,) = summary_of(told, "rewritten")["demands"]
    assert demand["answer"] == "Rewritten"
    lines = challenge_lines(summary_of(told, "rewritten"))
    assert any(": the author has rewritten the feed, shown in block " in line for line in lines)
