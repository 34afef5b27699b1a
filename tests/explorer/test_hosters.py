"""Hosters found by their performance, and what the runtime tells an account to do next."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from challenge_world import open_world, run_world

from chain_types import storage
from chain_types.records import (
    MAX_PAGE,
    Duty,
    FoundHoster,
    HosterPage,
    HosterSummary,
    Rank,
    Sla,
    ToAudit,
    ToFlip,
    ToServe,
    UntilTimestamp,
    Verdict,
)
from offchain_worker.chain.errors import MalformedAnswer
from offchain_worker.explorer.hosters import find_hosters, hoster_line, hoster_summary

ANY = Sla(None, None)
SUMMARY = HosterSummary(
    passed=30,
    failed=2,
    inconclusive=1,
    passed_permille=912,
    latency_p50_us=40_300,
    throughput=20_250_000,
    latency_challenges=32,
    throughput_challenges=31,
    updated=7,
)


def test_a_settled_challenge_makes_a_hoster_known(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_world(tmp_path, attestors=5) as world:
            client = world.client
            await world.hire()
            snapshot = await world.started()
            challenge = snapshot.challenge
            hoster, member = challenge.hoster, challenge.roster[0].account
            at = await client.block_hash(challenge.block)
            flip = Duty(0, ToFlip(), UntilTimestamp(challenge.flip_end_ms))
            serve = Duty(0, ToServe(), UntilTimestamp(challenge.end_ms))
            assert await client.duties(member, at=at) == (flip,)
            assert await client.duties(hoster, at=at) == (serve,)
            assert await client.hoster_summary(hoster, at=at) is None
            await world.anchored()
            audit = Duty(0, ToAudit(), UntilTimestamp(challenge.moments_end_ms))
            assert await client.duties(member) == (audit,)

            settled = await world.settled()
            assert settled.settlement is not None
            assert settled.settlement.outcome is Verdict.PASSED
            medians = settled.settlement.medians
            record = await client.read(storage.HOSTER_RECORDS, hoster)
            assert record is not None
            (entry,) = record.recent
            assert (entry.challenge, entry.outcome) == (0, Verdict.PASSED)
            figures = [
                None if median is None else median.value
                for median in (medians.latency_p50_us, medians.throughput)
            ]
            assert [entry.latency_p50_us, entry.throughput] == figures
            summary = record.summary
            assert [summary.latency_p50_us, summary.throughput] == figures
            assert (summary.passed, summary.passed_permille) == (1, 1_000)
            assert await client.hoster_summary(hoster) == summary
            assert await find_hosters(client, ANY, 9) == [FoundHoster(hoster, summary)]
            latency, throughput = figures
            if latency is not None:
                assert await find_hosters(client, Sla(latency, None), 9)
                assert not await find_hosters(client, Sla(latency - 1, None), 9)
            if throughput is not None:
                assert await find_hosters(client, Sla(None, throughput), 9)
                assert not await find_hosters(client, Sla(None, throughput + 1), 9)
            assert latency is not None or throughput is not None

    run_world(work)


def rank(place: int) -> Rank:
    return Rank(place.to_bytes(4, "big"), bytes(32))


class Pages:
    """A chain whose hosters are scripted."""

    def __init__(self, *pages: HosterPage) -> None:
        self.pages = list(pages)
        self.asked: list[tuple[Rank | None, int]] = []

    async def header(self) -> Any:
        return SimpleNamespace(hash=b"block")

    async def find_hosters(self, sla: Sla, after: Rank | None, limit: int, at: bytes) -> HosterPage:
        assert (sla, at) == (ANY, b"block")
        self.asked.append((after, limit))
        return self.pages.pop(0)


def found(count: int) -> tuple[FoundHoster, ...]:
    return (FoundHoster(bytes(32), SUMMARY),) * count


async def test_pages_are_read_until_enough_are_found() -> None:
    chain: Any = Pages(
        HosterPage(found(3), rank(1)), HosterPage((), rank(2)), HosterPage(found(2), rank(3))
    )
    assert await find_hosters(chain, ANY, 5) == list(found(5))
    assert chain.asked == [(None, 5), (rank(1), 2), (rank(2), 2)]
    chain = Pages(HosterPage(found(3), None))
    assert len(await find_hosters(chain, ANY, 5)) == 3
    chain = Pages(HosterPage(found(MAX_PAGE), rank(1)), HosterPage(found(9), None))
    assert len(await find_hosters(chain, ANY, MAX_PAGE + 1)) == MAX_PAGE + 1


async def test_a_node_whose_pages_do_not_go_on_is_left() -> None:
    chain: Any = Pages(HosterPage((), rank(2)), HosterPage((), rank(2)))
    with pytest.raises(MalformedAnswer, match="do not ascend"):
        await find_hosters(chain, ANY, 5)


def test_a_hoster_is_told_in_a_line_and_as_plain_values() -> None:
    alice = bytes.fromhex("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d")
    address = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    assert hoster_line(alice, SUMMARY) == (
        f"{address}: 40.3 ms, 20.25 MB/s, 91.2 % passed of late, 30 of 33 passed, 2 failed in all"
    )
    plain = hoster_summary(alice, SUMMARY)
    assert plain["hoster"] == address
    assert (plain["latency_p50_us"], plain["throughput"]) == (40_300, 20_250_000)
