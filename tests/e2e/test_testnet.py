"""One whole challenge by processes, and what the kept chain tells about it afterwards."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import trio
from e2e_commands import datdot, make_feed, node, service, succeed

from chain_types import storage
from chain_types.records import ServedRecord
from chain_types.report import Served
from chain_types.ss58 import ss58_encode
from datdot_node.block import decode_body, encode_body
from offchain_worker.chain.client import open_chain
from offchain_worker.explorer.history import History, Reporting, read_history
from offchain_worker.explorer.verify import DoesNotHold, verify_history
from offchain_worker.hoster.feeds import read_source
from offchain_worker.service.keyfiles import describe_key, read_account

RUN_SECONDS = 150.0
UNIT = 10**12
FEES = UNIT // 10
"""More than all transaction fees of one account in one run."""


@dataclass(frozen=True)
class Finished:
    """A testnet that ran once: what it printed, its folder, and what it hosted."""

    result: dict[str, Any]
    log: str
    folder: Path
    feed: Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    base = tmp_path_factory.mktemp("testnet")
    feed = make_feed(base / "feed")
    folder = base / "kept"
    status, output, log = datdot(
        *("testnet", "--once", "--json", "--port", "0", "--feed", feed, "--dir", folder),
        timeout=RUN_SECONDS,
    )
    assert status == 0, log
    assert output.count("\n") == 1
    return Finished(json.loads(output), log, folder, feed)


def test_it_prints_one_object_with_all_that_happened(finished: Finished) -> None:
    result = finished.result
    assert set(result) == {"elapsed_s", "chain", "feeds", "challenges", "balances"}
    assert 15 < result["elapsed_s"] < RUN_SECONDS
    assert set(result["chain"]) == {"blocks", "runtime"}
    assert result["chain"]["blocks"] > 30
    assert result["chain"]["runtime"].startswith("datdot-")
    size = len(b"".join(read_source(finished.feed)))
    (feed,) = result["feeds"]
    assert set(feed) == {"key", "length", "bytes"}
    assert feed["bytes"] == str(size)
    assert feed["length"] == str(-(-size // 65536))
    assert len(result["challenges"]) == 2
    for challenge in result["challenges"]:
        check_passed(challenge, int(feed["length"]))
    assert {len(challenge["reports"]) for challenge in result["challenges"]} == {5}


def check_passed(challenge: dict[str, Any], length: int) -> None:
    assert set(challenge) == {
        *("id", "hosting", "hoster", "outcome", "coinflip", "reports", "paid")
    }
    assert challenge["outcome"] == "Passed"
    assert set(challenge["coinflip"]) == {"attempts", "root", "result"}
    assert challenge["coinflip"]["attempts"] == 1
    assert len(bytes.fromhex(challenge["coinflip"]["result"])) == 32
    assert len(bytes.fromhex(challenge["coinflip"]["root"])) == 32
    for report in challenge["reports"]:
        assert set(report) == {
            *("attestor", "outcome", "reason", "moment_ms", "opened_ms", "windowed", "metrics"),
            *("receipt_chunks", "proved_chunks", "bytes"),
        }
        assert (report["outcome"], report["reason"]) == ("Served", None)
        assert abs(int(report["opened_ms"]) - int(report["moment_ms"])) <= 2_000
        assert report["receipt_chunks"] == min(100, length)
        assert report["proved_chunks"] == min(32, length)
        metrics = report["metrics"]
        assert set(metrics) == {
            *("connect_us", "handshake_us", "first_chunk_us", "latency_us", "throughput"),
            *("timeouts", "observed"),
        }
        if metrics["observed"] is not None:
            assert set(metrics["observed"]) == {"chunks", "latency_p50_us", "throughput"}
            assert 0 < metrics["observed"]["chunks"] <= length
            assert metrics["observed"]["latency_p50_us"] > 0
            assert int(metrics["observed"]["throughput"]) > 0
        assert (metrics["throughput"] is None) is (not report["windowed"])
        assert (metrics["latency_us"] is None) is report["windowed"]
        if report["windowed"]:
            assert int(metrics["throughput"]) > 0
    # A busy machine may have no time for some, but not for all.
    assert any(report["metrics"]["observed"] for report in challenge["reports"])
    attestors = {report["attestor"]: str(UNIT) for report in challenge["reports"]}
    assert challenge["paid"] == {challenge["hoster"]: str(10 * UNIT), **attestors}


def test_balances_change_by_what_was_paid_and_small_fees(finished: Finished) -> None:
    earned: dict[str, int] = {}
    for challenge in finished.result["challenges"]:
        for address, amount in challenge["paid"].items():
            earned[address] = earned.get(address, 0) + int(amount)
    sponsor = read_account(finished.folder / "sponsor" / "account.json").address
    earned[sponsor] = -sum(earned.values())
    balances = finished.result["balances"]
    assert set(balances) == set(earned)
    for address, balance in balances.items():
        fee = earned[address] - (int(balance["after"]) - int(balance["before"]))
        assert 0 < fee < FEES, address


def test_a_person_reads_only_news(finished: Finished) -> None:
    for line in finished.log.splitlines():
        assert line.startswith(("feed ", "challenge ", "settled after ")), finished.log


def test_readers_make_traffic_that_attestors_observe(finished: Finished) -> None:
    logs = [
        json.loads(line)
        for file in (finished.folder / "logs").glob("attestor-*.log")
        for line in file.read_text().splitlines()
    ]
    observed = [entry for entry in logs if entry["event"] == "observe.finished"]
    assert any(entry["source"] == "readers" and entry["requests"] >= 3 for entry in observed)
    # A session that is never named: none of its keys is anywhere in the logs.
    assert all("key" not in name for entry in observed for name in entry)


def test_commands_tell_the_same_from_the_kept_chain(finished: Finished, tmp_path: Path) -> None:
    folder, feed = finished.folder, finished.result["feeds"][0]
    with node(folder / "chain") as url:
        listed = succeed("challenge", "list", "--url", url)
        hostings = succeed("hosting", "list", "--url", url)
        for challenge in finished.result["challenges"]:
            number = challenge["id"]
            shown = succeed("challenge", "show", number, "--json", "--url", url)
            assert json.loads(shown) == challenge
            assert f"{number}: hosting {challenge['hosting']}, Passed, 5 served" in listed
            assert challenge["hoster"] in hostings
            verified = succeed("challenge", "verify", number, "--url", url)
            assert verified.endswith(f"challenge {number} holds\n")
            assert verified.count("served at its moment") == 5
        words = succeed("challenge", "show", number, "--url", url)
        assert f"challenge {number} of hosting {challenge['hosting']}: Passed" in words
    assert feed["key"] in succeed("feed", "show", "--store", folder / "author" / "store")
    hoster = folder / "hoster-1"
    _kind, key = describe_key(hoster / "noise.json")
    serving = ("feed", "serve", "--store", hoster / "store", "--listen", "127.0.0.1:0")
    with service("hoster.listening", *serving, "--key", hoster / "noise.json") as ready:
        source = ("--from", f"127.0.0.1:{ready['port']}", "--peer-key", key.hex())
        succeed("get", feed["key"], *source, "--output", tmp_path / "all")
        succeed("get", feed["key"], *source, "--output", tmp_path / "two", "--chunks", "1-2")
    whole = b"".join(read_source(finished.feed))
    assert (tmp_path / "all").read_bytes() == whole
    assert (tmp_path / "two").read_bytes() == whole[65536 : 3 * 65536]


async def look(url: str, challenge: int) -> History:
    async with open_chain(url) as client:
        return await read_history(client, challenge)


@pytest.fixture(scope="module")
def history(finished: Finished) -> History:
    """All that the kept chain holds about challenge 0."""
    with node(finished.folder / "chain") as url:
        return trio.run(look, url, 0)


@pytest.fixture(scope="module")
def attestor(history: History) -> Reporting:
    """One report of challenge 0: that of the third in the roster."""
    return history.reports[history.snapshot.challenge.roster[2].account]


@contextmanager
def altered(finished: Finished, folder: Path) -> Iterator[sqlite3.Connection]:
    """The database of a copy of the kept chain."""
    copytree(finished.folder / "chain", folder)
    with closing(sqlite3.connect(folder / "chain.sqlite")) as database, database:
        yield database


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("w", "w and audit key do not open the commitment"),
        ("receipt", "the audit key did not sign this report for this account"),
    ],
)
def test_verify_names_the_report_that_was_altered_in_a_block(
    finished: Finished, attestor: Reporting, tmp_path: Path, field: str, sentence: str
) -> None:
    assert isinstance(attestor.report.body.outcome, Served)
    found = {"w": attestor.report.w, "receipt": attestor.report.body.outcome.receipt}[field]
    number, index = attestor.record.block, attestor.record.extrinsic
    with altered(finished, tmp_path / "chain") as database:
        query = database.execute("SELECT body FROM block WHERE number = ?", (number,))
        extrinsics = list(decode_body(query.fetchone()[0]))
        place = extrinsics[index].index(found) + len(found) // 2
        changed = bytearray(extrinsics[index])
        changed[place] ^= 1
        extrinsics[index] = bytes(changed)
        body = encode_body(extrinsics)
        database.execute("UPDATE block SET body = ? WHERE number = ?", (body, number))
    with node(tmp_path / "chain") as url:
        status, output, errors = datdot("challenge", "verify", "0", "--url", url)
    assert status == 1
    assert "the topic is" in output, "what comes before still holds"
    who = ss58_encode(attestor.signer)
    assert errors == f"datdot: Challenge 0 does not hold: report of {who}: {sentence}.\n"


def test_the_chain_refuses_a_database_in_which_a_record_was_altered(
    finished: Finished, attestor: Reporting, tmp_path: Path
) -> None:
    record = replace(attestor.record, moment_ms=attestor.record.moment_ms + 1)
    key = storage.REPORTS.key(0, attestor.signer)
    value = storage.REPORTS.value.encode(record)
    with altered(finished, tmp_path / "chain") as database:
        done = database.execute("UPDATE state SET value = ? WHERE key = ?", (value, key))
        assert done.rowcount == 1
    status, _output, errors = datdot("node", "--dir", tmp_path / "chain", "--port", "0")
    assert status == 2
    sentence = "datdot: The chain cannot run: the stored state is not that of block "
    assert errors.startswith(sentence)
    assert errors.count("\n") == 1


def test_verify_compares_the_records_with_what_the_blocks_say(
    history: History, attestor: Reporting
) -> None:
    """A node that hands out altered records is contradicted by the transactions."""
    outcome, settlement = attestor.record.outcome, history.snapshot.settlement
    assert isinstance(outcome, ServedRecord)
    assert settlement is not None
    faster = replace(outcome.metrics, handshake_us=outcome.metrics.handshake_us - 1)
    richer = tuple(replace(item, amount=item.amount + 1) for item in settlement.paid)
    record, snapshot = attestor.record, history.snapshot
    of_receipt = with_record(history, attestor, outcome=replace(outcome, metrics=faster))
    of_extrinsic = with_record(history, attestor, moment_ms=record.moment_ms + 1)
    of_terms = replace(
        history, snapshot=replace(snapshot, settlement=replace(settlement, paid=richer))
    )
    who = ss58_encode(attestor.signer)
    assert len(list(verify_history(history))) > len(history.reports)
    for wrong, sentence in (
        (of_receipt, f"report of {who}: the stored record is not that of the receipt"),
        (of_extrinsic, f"report of {who}: the stored record is not that of the extrinsic"),
        (of_terms, "the settlement is not the one that the closing block tells"),
    ):
        with pytest.raises(DoesNotHold, match=sentence):
            list(verify_history(wrong))


def with_record(history: History, reporting: Reporting, **changes: Any) -> History:
    altered = replace(reporting, record=replace(reporting.record, **changes))
    return replace(history, reports={**history.reports, reporting.signer: altered})


def test_a_second_start_goes_on_with_chain_keys_and_stores(finished: Finished) -> None:
    status, output, log = datdot(
        "testnet", "--once", "--json", "--dir", finished.folder, timeout=RUN_SECONDS
    )
    assert status == 0, log
    second = json.loads(output)
    assert second["feeds"] == finished.result["feeds"]
    assert second["chain"]["blocks"] > finished.result["chain"]["blocks"]
    assert set(second["balances"]) == set(finished.result["balances"])
    for challenge in second["challenges"]:
        assert challenge["outcome"] == "Passed"
        assert int(challenge["id"]) >= 2
    sponsor = read_account(finished.folder / "sponsor" / "account.json").address
    before = {address: int(balance["before"]) for address, balance in second["balances"].items()}
    after = {
        address: int(balance["after"]) for address, balance in finished.result["balances"].items()
    }
    # Who was not there for challenges that ran meanwhile paid for it, in part to the sponsor.
    assert sum(before.values()) <= sum(after.values())
    assert all(before[address] <= after[address] for address in before if address != sponsor)
