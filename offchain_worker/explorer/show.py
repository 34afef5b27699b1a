"""A challenge for people, and as JSON: amounts and other u64 and u128 as strings."""

from __future__ import annotations

from typing import Any

import msgspec

from chain_types.records import (
    Auditing,
    Closed,
    FailedRecord,
    Flipping,
    Reporting,
    ReportRecord,
    Stage,
)
from chain_types.report import Metrics, Reason
from chain_types.ss58 import ss58_encode
from offchain_worker.chain.client import Snapshot


def stage_name(stage: Stage) -> str:
    """Where a challenge is, in one word."""
    match stage:
        case Flipping():
            return "Flip"
        case Auditing():
            return "Audit"
        case Reporting():
            return "Report"
        case Closed(outcome=outcome):
            return outcome.name.capitalize()


def reason_name(reason: Reason) -> str:
    """The reason as the chain spells it: `NoReceipt`."""
    return "".join(word.capitalize() for word in reason.name.split("_"))


def challenge_summary(snapshot: Snapshot, reports: dict[bytes, ReportRecord]) -> dict[str, Any]:
    """One challenge as JSON-ready values.

    Args:
        snapshot: from `ChainClient.challenge`.
        reports: from `ChainClient.reports`.
    """
    challenge, flip, settlement = snapshot.challenge, snapshot.flip, snapshot.settlement
    paid: dict[str, int] = {}
    for payment in () if settlement is None else settlement.paid:
        address = ss58_encode(payment.account)
        paid[address] = paid.get(address, 0) + payment.amount
    return {
        "id": str(snapshot.id),
        "hosting": str(challenge.hosting),
        "hoster": ss58_encode(challenge.hoster),
        "outcome": stage_name(challenge.stage),
        "coinflip": {
            "attempts": 0 if flip is None else flip.attempt + 1,
            "root": None if flip is None else flip.root.hex(),
            "result": None if flip is None else flip.randomness.hex(),
        },
        "reports": [
            report_summary(member.account, reports[member.account])
            for member in challenge.roster
            if member.account in reports
        ],
        "paid": {address: str(amount) for address, amount in paid.items()},
    }


def report_summary(account: bytes, record: ReportRecord) -> dict[str, Any]:
    """One report as JSON-ready values."""
    outcome = record.outcome
    summary: dict[str, Any] = {
        "attestor": ss58_encode(account),
        "outcome": "Failed" if isinstance(outcome, FailedRecord) else "Served",
        "reason": reason_name(outcome.reason) if isinstance(outcome, FailedRecord) else None,
        "moment_ms": str(record.moment_ms),
        "opened_ms": None if isinstance(outcome, FailedRecord) else str(outcome.opened_ms),
        "windowed": record.windowed,
        "metrics": None if isinstance(outcome, FailedRecord) else _metrics(outcome.metrics),
        "receipt_chunks": None if isinstance(outcome, FailedRecord) else outcome.chunks,
        "proved_chunks": None if isinstance(outcome, FailedRecord) else outcome.proved,
        "bytes": record.bytes,
    }
    return summary


def _metrics(metrics: Metrics) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(metrics)
    if metrics.throughput is not None:
        values["throughput"] = str(metrics.throughput)
    if metrics.observed is not None:
        values["observed"]["throughput"] = str(metrics.observed.throughput)
    return values


def challenge_lines(summary: dict[str, Any]) -> list[str]:
    """A summary as lines of text."""
    flip = summary["coinflip"]
    lines = [
        f"challenge {summary['id']} of hosting {summary['hosting']}: {summary['outcome']}",
        f"  hoster {summary['hoster']}",
        f"  coinflip {flip['result'] or 'not anchored'}",
    ]
    for report in summary["reports"]:
        if report["outcome"] == "Failed":
            text = f"Failed({report['reason']})"
        else:
            metrics = report["metrics"]
            latency = metrics["latency_us"]
            figure = (
                f"{int(metrics['throughput']) / 1e6:.1f} MB/s"
                if latency is None
                else f"{latency['p50'] / 1e3:.1f} ms"
            )
            text = (
                f"Served, {figure}, receipt over {report['receipt_chunks']} chunks, "
                f"{report['proved_chunks']} proved, {report['bytes']} bytes"
            )
        lines.append(f"  {report['attestor']} at {report['moment_ms']}: {text}")
    lines.extend(f"  paid {amount} to {address}" for address, amount in summary["paid"].items())
    return lines
