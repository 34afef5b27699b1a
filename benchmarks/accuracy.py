"""How true measured figures are: `datdot measure` over links whose times are known.

Hoster, links and probe are processes of their own. The truth of a latency is the link's record
(`simulation.recording`): from the entry of a request to when the last byte of its chunk left for
the reader, each sample by itself. How late the links themselves were is a figure too. The truth of
a throughput is the link's bandwidth.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from benchmarks.figures import Aim, Figure
from benchmarks.links import shape_text
from benchmarks.processes import datdot
from chain_types.report import Percentiles
from offchain_worker.hoster.feeds import append
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.manifest import feed_key, single_signer_manifest
from offchain_worker.keys import KeyPair
from offchain_worker.measurement.percentiles import percentiles, to_microseconds
from offchain_worker.service.keyfiles import KeyKind, write_key
from offchain_worker.simulation.link import LinkShape

SAMPLES = 1_000
DELAYS_MS = (1, 10, 50, 150)
BANDWIDTHS = (1e6, 10e6, 40e6)
JITTER = 0.2
"""Of the delay, in the cells that have one."""
SMALL_BYTES = 1_024
"""Of the chunks that latencies are measured with."""
LARGE_BYTES = {1e6: 16 * 1024, 10e6: 128 * 1024, 40e6: 512 * 1024}
"""Of the chunks that throughput is measured with: 48 are more than a link of 300 ms holds."""

AUDITS = 20
AUDIT_BYTES = 64 * 1024
FEED_CHUNKS = {
    SMALL_BYTES: 1_024,
    16 * 1024: 512,
    AUDIT_BYTES: 1_024,
    128 * 1024: 256,
    512 * 1024: 96,
}
"""How many chunks the feed of each size has; a probe reads a short one again."""
SUM_BANDWIDTH = 40e6
FAR_MS = 50
"""From this delay on cells wait more than they work, and run beside each other."""


@dataclass(frozen=True)
class _Served:
    """A running hoster: where it is, its Noise key, and its feeds by the size of their chunks."""

    address: str
    noise_key: bytes
    feeds: dict[int, bytes]


@dataclass(frozen=True)
class _Cell:
    """One link."""

    delay_ms: int
    bandwidth: float
    jitter: float = 0.0

    @property
    def shape(self) -> LinkShape:
        delay_s = self.delay_ms / 1_000
        return LinkShape(delay_s, self.bandwidth, self.jitter * delay_s)

    @property
    def name(self) -> str:
        jitter = f" + {self.jitter * self.delay_ms:g}" if self.jitter else ""
        return f"{self.delay_ms}{jitter} ms, {self.bandwidth / 1e6:g} MB/s"


@dataclass(frozen=True)
class _Latency:
    """What was reported, and what was true, in microseconds; how late the link was, seconds."""

    reported: Percentiles
    truth: Percentiles
    late: Sequence[float]

    def figures(self, name: str) -> Iterator[Figure]:
        """p50 and p99 beside the truth."""
        off_ms = abs(self.reported.p50 - self.truth.p50) / 1_000
        allowed = 0.03 * self.truth.p50 / 1_000 + 0.3
        p50, p99 = self.truth.p50 / 1_000, self.truth.p99 / 1_000
        yield Figure(f"{name}: p50 of {p50:.2f} ms, off", "ms", [off_ms], (Aim.AT_MOST, allowed))
        off = 100 * abs(self.reported.p99 / self.truth.p99 - 1)
        yield Figure(f"{name}: p99 of {p99:.2f} ms, off", "%", [off], (Aim.AT_MOST, 10))


def probing() -> Iterator[Figure]:
    """`datdot measure` over links of all delays and bandwidths, with and without jitter."""
    with _serving() as served:
        latencies, rates = trio.run(_probe_all, served)
    for cell, found in latencies.items():
        yield from found.figures(f"latency, {cell.name}")
    late = sorted(1e3 * seconds for found in latencies.values() for seconds in found.late)
    yield Figure("the links themselves: late by", "ms", late)
    yield Figure("the links themselves: p99 late by", "ms", [late[len(late) * 99 // 100]])
    for cell, throughput in rates.items():
        off = 100 * abs(throughput["throughput"] / cell.bandwidth - 1)
        trips = throughput["seconds"] * 1_000 / (2 * cell.delay_ms)
        name = f"throughput, {cell.name}: {throughput['chunks']} chunks in {trips:,.0f} round trips"
        yield Figure(f"{name}, off", "%", [off], (Aim.AT_MOST, 5))


def among_audits() -> Iterator[Figure]:
    """A latency while the same worker holds 20 audits over links that sum to 40 MB/s."""
    with _serving() as served:
        found, rate, count = trio.run(_probe_among, served, _Cell(10, 10e6))
    yield Figure(f"{AUDITS} audits at a time: read", "MB/s", [rate / 1e6])
    yield Figure(f"{AUDITS} audits at a time: served meanwhile", "audits", [count])
    yield from found.figures(f"among {AUDITS} audits, 10 ms, 10 MB/s")


async def _probe_all(
    served: _Served,
) -> tuple[dict[_Cell, _Latency], dict[_Cell, dict[str, Any]]]:
    cells = [
        *(_Cell(delay, bandwidth) for delay in DELAYS_MS for bandwidth in BANDWIDTHS),
        *(_Cell(delay, 10e6, JITTER) for delay in DELAYS_MS),
    ]
    latencies: dict[_Cell, _Latency] = {}
    rates: dict[_Cell, dict[str, Any]] = {}

    async def latency(cell: _Cell) -> None:
        latencies[cell] = await _probe_latency(served, cell)

    async def throughput(bandwidth: float) -> None:
        for delay_ms in DELAYS_MS:
            cell = _Cell(delay_ms, bandwidth)
            rates[cell] = await _probe_throughput(served, cell)

    slow, middle, fast = BANDWIDTHS
    async with trio.open_nursery() as nursery:
        for cell in cells:
            if cell.delay_ms >= FAR_MS:
                nursery.start_soon(latency, cell)
        for cell in cells:
            if cell.delay_ms < FAR_MS:
                await latency(cell)
        await throughput(slow)
        await throughput(middle)
    await throughput(fast)
    return {cell: latencies[cell] for cell in cells}, rates


async def _probe_latency(served: _Served, cell: _Cell) -> _Latency:
    async with _links(served, SMALL_BYTES, [cell.shape]) as links:
        found = await _measure(links.ports[0], served.feeds[SMALL_BYTES], "latency")
    samples = found["latency"]["samples_us"]
    return _beside_truth(samples, links)


async def _probe_throughput(served: _Served, cell: _Cell) -> dict[str, Any]:
    feed = served.feeds[LARGE_BYTES[cell.bandwidth]]
    async with _links(served, 0, [cell.shape]) as links:
        found = await _measure(links.ports[0], feed, "throughput")
    throughput: dict[str, Any] = found["throughput"]
    return throughput


async def _probe_among(served: _Served, cell: _Cell) -> tuple[_Latency, float, int]:
    shape = LinkShape(cell.delay_ms / 1_000, SUM_BANDWIDTH / AUDITS)
    feed = served.feeds[AUDIT_BYTES]
    async with (
        _links(served, 0, [shape] * AUDITS) as busy,
        _links(served, AUDIT_BYTES, [cell.shape]) as links,
    ):
        output = await _output(
            "benchmarks.busy_worker",
            *(feed.hex(), served.noise_key.hex(), str(FEED_CHUNKS[AUDIT_BYTES]), str(SAMPLES)),
            *map(str, [links.ports[0], *busy.ports]),
        )
    found = json.loads(output)
    truth = _beside_truth(found["samples_us"], links)
    return truth, found["rate"], found["served"]


def _beside_truth(samples_us: Sequence[int], links: _Links) -> _Latency:
    truth_us = [to_microseconds(seconds) for seconds in links.latencies]
    if len(samples_us) != len(truth_us):
        raise RuntimeError(f"{len(samples_us)} samples, but the link saw {len(truth_us)}")
    return _Latency(percentiles(samples_us), percentiles(truth_us), links.late)


async def _measure(port: int, feed: bytes, habit: str) -> dict[str, Any]:
    arguments = (f"127.0.0.1:{port}", "--key", feed.hex(), "--habit", habit)
    output = await _output(
        "offchain_worker.cli", "measure", *arguments, "--samples", str(SAMPLES), "--json"
    )
    found: dict[str, Any] = json.loads(output)
    return found


async def _output(module: str, *arguments: str) -> bytes:
    command = [sys.executable, "-m", module, *arguments]
    done = await trio.run_process(command, capture_stdout=True)
    return done.stdout


@dataclass
class _Links:
    """Running links: their ports, and after their end what they saw, in seconds."""

    ports: list[int]
    latencies: Sequence[float] = ()
    late: Sequence[float] = ()


@asynccontextmanager
async def _links(
    served: _Served, chunk_bytes: int, shapes: Sequence[LinkShape]
) -> AsyncIterator[_Links]:
    """Links to the hoster, in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.links", served.address, str(chunk_bytes)]
    process = await trio.lowlevel.open_process(
        [*command, *map(shape_text, shapes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("pipes were asked for")
    try:
        output = b""
        while b"\n" not in output:
            output += await process.stdout.receive_some()
        ports, _, output = output.partition(b"\n")
        links = _Links(json.loads(ports))
        yield links
        await process.stdin.aclose()
        async for data in process.stdout:
            output += data
        if output:
            record = json.loads(output)
            links.latencies, links.late = record["latencies"], record["late"]
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


@contextmanager
def _serving() -> Iterator[_Served]:
    """A hoster of a feed for each size of chunks, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="datdot-bench-") as name:
        folder = Path(name)
        noise = random.Random(0)
        (folder / "store").mkdir()
        feeds = {}
        with Library(folder / "store") as library:
            for size, count in FEED_CHUNKS.items():
                author = KeyPair.generate()
                manifest = single_signer_manifest(author.public)
                feeds[size] = feed_key(manifest)
                store = library.create(feeds[size], manifest)
                append(store, [noise.randbytes(size) for _ in range(count)], author)
        noise_key = write_key(folder / "noise.json", KeyKind.NOISE)
        arguments = ["--store", str(folder / "store"), "--key", str(folder / "noise.json")]
        with datdot(
            "feed", "serve", *arguments, "--listen", "127.0.0.1:0", until="hoster.listening"
        ) as listening:
            yield _Served(f"127.0.0.1:{listening['port']}", noise_key, feeds)
