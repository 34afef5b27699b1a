"""A challenge for people, and as JSON: amounts and other u64 and u128 as strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from chain_types.records import (
    Answered,
    Auditing,
    Challenge,
    Closed,
    Committing,
    Demand,
    Expulsion,
    FailedRecord,
    Flip,
    Flipping,
    Fraud,
    FraudKind,
    Open,
    Reporting,
    ReportRecord,
    ShownChunk,
    Stage,
    Unanswered,
)
from chain_types.report import Metrics, Reason
from chain_types.ss58 import ss58_encode
from offchain_worker.chain.client import Snapshot


def stage_name(stage: Stage) -> str:
    """Where a challenge is, in one word."""
    match stage:
        case Flipping():
            return "Flip"
        case Committing():
            return "Commit"
        case Auditing():
            return "Audit"
        case Reporting():
            return "Report"
        case Closed(outcome=outcome):
            return outcome.name.capitalize()


def reason_name(reason: Reason) -> str:
    """The reason as the chain spells it: `NoReceipt`."""
    return "".join(word.capitalize() for word in reason.name.split("_"))


def fraud_name(kind: FraudKind) -> str:
    """The fraud as the chain spells it: `BadReveal`."""
    return "".join(word.capitalize() for word in kind.name.split("_"))


def challenge_summary(snapshot: Snapshot, reports: dict[bytes, ReportRecord]) -> dict[str, Any]:
    """One challenge as JSON-ready values.

    `attempts` counts the coinflips up to the anchored one; 0: none was anchored. What is the
    exception has a key only where it happened: `retry` (which attempt was anchored, and among
    whom), `fallback` (who committed, and who did not), `frauds` (who lost what for which),
    `expelled`, `absent` (who paid how much), `demands` (which chunk, and what became of it).

    Args:
        snapshot: from `ChainClient.challenge`.
        reports: from `ChainClient.reports`.
    """
    challenge, flip, settlement = snapshot.challenge, snapshot.flip, snapshot.settlement
    paid: dict[str, int] = {}
    for payment in () if settlement is None else settlement.paid:
        address = ss58_encode(payment.account)
        paid[address] = paid.get(address, 0) + payment.amount
    summary = {
        "id": str(snapshot.id),
        "hosting": str(challenge.hosting),
        "hoster": ss58_encode(challenge.hoster),
        "outcome": stage_name(challenge.stage),
        "coinflip": {
            "attempts": 0 if flip is None or flip.fell_back else flip.attempt + 1,
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
    exceptions = {
        "retry": _retry(challenge, flip),
        "fallback": _fallback(snapshot),
        "frauds": [_fraud(*item) for item in sorted(snapshot.frauds.items(), key=_by_block)],
        "expelled": [_expulsion(challenge, flip, one) for one in snapshot.expulsions],
        "demands": [
            _demand(member.account, snapshot.demands[member.account])
            for member in challenge.roster
            if member.account in snapshot.demands
        ],
        "absent": {
            ss58_encode(absence.account): str(absence.fee)
            for absence in (() if settlement is None else settlement.absent)
        },
    }
    return summary | {key: value for key, value in exceptions.items() if value}


def _retry(challenge: Challenge, flip: Flip | None) -> dict[str, Any] | None:
    if flip is None or flip.by is None or flip.attempt == 0:
        return None
    return {
        "attempt": flip.attempt,
        "active": _addresses(challenge, flip.places),
        "anchored_by": ss58_encode(challenge.roster[flip.by].account),
    }


def _fallback(snapshot: Snapshot) -> dict[str, Any] | None:
    fallback = snapshot.fallback
    if fallback is None:
        return None
    committed = [commit.place for commit in fallback.commits]
    return {
        "topic": fallback.topic.hex(),
        "committed": _addresses(snapshot.challenge, committed),
        "missing": _addresses(snapshot.challenge, fallback.missing),
    }


def _fraud(identifier: bytes, fraud: Fraud) -> dict[str, Any]:
    return {
        "attestor": ss58_encode(fraud.offender),
        "fraud": fraud_name(fraud.proof),
        "evidence": identifier.hex(),
        "reporter": ss58_encode(fraud.reporter),
        "block": fraud.block,
        "slashed": str(fraud.slashed),
        "reward": str(fraud.reward),
    }


def _demand(account: bytes, demand: Demand) -> dict[str, Any]:
    state = demand.state
    summary: dict[str, Any] = {
        "attestor": ss58_encode(account),
        "chunk": str(demand.chunk),
        "due": {"rooms": str(demand.due.rooms), "block": demand.due.block},
    }
    match state:
        case Open():
            return summary | {"state": "Open"}
        case Answered():
            return summary | {
                "state": "Answered",
                "answer": "Chunk" if isinstance(state.answer, ShownChunk) else "Rewritten",
                "block": state.block,
                "fee": str(state.fee),
            }
        case Unanswered():
            return summary | {
                "state": "Unanswered",
                "slashed": str(state.slashed),
                "reward": str(state.reward),
            }


def _expulsion(challenge: Challenge, flip: Flip | None, expulsion: Expulsion) -> dict[str, Any]:
    return {
        "attestor": ss58_encode(challenge.roster[expulsion.place].account),
        "timestamp_ms": str(expulsion.timestamp_ms),
        "active": flip is not None and flip.rank(expulsion.place) is not None,
    }


def _addresses(challenge: Challenge, places: Iterable[int]) -> list[str]:
    return [ss58_encode(challenge.roster[place].account) for place in places]


def _by_block(item: tuple[bytes, Fraud]) -> tuple[int, bytes]:
    identifier, fraud = item
    return fraud.block, identifier


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
    lines = [
        f"challenge {summary['id']} of hosting {summary['hosting']}: {summary['outcome']}",
        f"  hoster {summary['hoster']}",
        *_flip_lines(summary),
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
        if report["metrics"] is not None and (observed := report["metrics"]["observed"]):
            lines.append(
                f"    readers get {int(observed['throughput']) / 1e6:.1f} MB/s, "
                f"{observed['latency_p50_us'] / 1e3:.1f} ms, over {observed['chunks']} chunks"
            )
    lines.extend(_demand_line(demand) for demand in summary.get("demands", ()))
    lines.extend(f"  paid {amount} to {address}" for address, amount in summary["paid"].items())
    lines.extend(
        f"  {address} was absent and paid {fee}"
        for address, fee in summary.get("absent", {}).items()
    )
    return lines


def _demand_line(demand: dict[str, Any]) -> str:
    text = f"  {demand['attestor']} demanded chunk {demand['chunk']}: "
    match demand["state"]:
        case "Open":
            return f"{text}due before block {demand['due']['block']}"
        case "Answered" if demand["answer"] == "Chunk":
            return f"{text}shown in block {demand['block']}, for {demand['fee']}"
        case "Answered":
            return f"{text}the author has rewritten the feed, shown in block {demand['block']}"
        case _:
            return (
                f"{text}not answered, the hoster lost {demand['slashed']}, "
                f"{demand['reward']} of it to the attestor"
            )


def _flip_lines(summary: dict[str, Any]) -> Iterator[str]:
    flip, retry, fallback = summary["coinflip"], summary.get("retry"), summary.get("fallback")
    if flip["result"] is None:
        yield "  coinflip not anchored"
    elif fallback is not None:
        yield f"  coinflip {flip['result']}, by the fallback"
    elif retry is not None:
        yield (
            f"  coinflip {flip['result']}, attempt {retry['attempt']} among "
            f"{len(retry['active'])}, anchored by {retry['anchored_by']}"
        )
    else:
        yield f"  coinflip {flip['result']}, attempt 0"
    for fraud in summary.get("frauds", ()):
        yield (
            f"  {fraud['attestor']} lost {fraud['slashed']} for {fraud['fraud']} in block "
            f"{fraud['block']}, {fraud['reward']} of it to {fraud['reporter']}"
        )
    for expelled in summary.get("expelled", ()):
        still = ", active all the same" if expelled["active"] else ""
        yield f"  {expelled['attestor']} was expelled at {expelled['timestamp_ms']}{still}"
    if fallback is not None:
        yield (
            f"  fallback: {len(fallback['committed'])} committed, "
            f"{len(fallback['missing'])} did not"
        )
        for address in fallback["missing"]:
            yield f"  {address} did not commit"
