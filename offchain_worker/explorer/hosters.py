"""Hosters by their performance, as the chain keeps it (docs/protocol.md, Records of hosters)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chain_types.records import MAX_PAGE, FoundHoster, HosterSummary, Rank, Sla
from chain_types.ss58 import ss58_encode
from offchain_worker.chain.client import ChainClient
from offchain_worker.chain.errors import MalformedAnswer


async def find_hosters(client: ChainClient, sla: Sla, limit: int) -> list[FoundHoster]:
    """Return the hosters that take hostings and meet an SLA, at most `limit`, the fastest first.

    All pages are of one block, so none is told twice or missed.

    Raises:
        MalformedAnswer: the node's pages do not go on.
        ChainError: the node does not answer as it should.
    """
    block = (await client.header()).hash
    found: list[FoundHoster] = []
    after: Rank | None = None
    while len(found) < limit:
        page = await client.find_hosters(sla, after, min(limit - len(found), MAX_PAGE), at=block)
        found.extend(page.hosters[: limit - len(found)])
        if page.next is None:
            break
        if after is not None and _order(page.next) <= _order(after):
            raise MalformedAnswer("the pages of hosters do not ascend")
        after = page.next
    return found


def _order(rank: Rank) -> tuple[bytes, bytes]:
    return rank.latency_p50_us, rank.hoster


def hoster_summary(hoster: bytes, summary: HosterSummary) -> dict[str, Any]:
    """Return what is known of a hoster as plain values, for JSON."""
    return {
        "hoster": ss58_encode(hoster),
        "latency_p50_us": summary.latency_p50_us,
        "throughput": summary.throughput,
        "passed_permille": summary.passed_permille,
        "latency_challenges": summary.latency_challenges,
        "throughput_challenges": summary.throughput_challenges,
        "passed": summary.passed,
        "failed": summary.failed,
        "inconclusive": summary.inconclusive,
        "updated": summary.updated,
    }


def hoster_line(hoster: bytes, summary: HosterSummary) -> str:
    """Say in one line how a hoster did."""
    return f"{ss58_encode(hoster)}: {', '.join(_parts(summary))}"


def _parts(summary: HosterSummary) -> Iterator[str]:
    if summary.latency_p50_us is None:
        yield "latency not measured"
    else:
        yield f"{summary.latency_p50_us / 1_000:.1f} ms"
    if summary.throughput is None:
        yield "throughput not measured"
    else:
        yield f"{summary.throughput / 1_000_000:.2f} MB/s"
    yield f"{summary.passed_permille / 10:.1f} % passed of late"
    settled = summary.passed + summary.failed + summary.inconclusive
    yield f"{summary.passed} of {settled} passed, {summary.failed} failed in all"
