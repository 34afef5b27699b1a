"""`datdot measure`: how well a peer serves, outside of any challenge."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from offchain_worker.cli.common import parse_key, run_command
from offchain_worker.errors import OperationError, UsageError

if TYPE_CHECKING:
    from offchain_worker.measurement.probe import Probe

BAR_WIDTH = 50


class Habit(StrEnum):
    """How chunks are read."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"
    BOTH = "both"


def run(
    peer: Annotated[str, typer.Argument(help="IP:PORT of the peer.")],
    key: Annotated[
        str | None,
        typer.Option(help="A feed that it serves, in hex; left out, it is only greeted."),
    ] = None,
    peer_key: Annotated[
        str | None, typer.Option(help="The peer's Noise key, in hex; another one is refused.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Chunks to read for each habit.")] = 200,
    habit: Annotated[
        Habit,
        typer.Option(help="One chunk after the other, or with a full window of requests, or both."),
    ] = Habit.BOTH,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every sample.")] = False,
) -> None:
    """Measure a peer as an audit would, without counting for any challenge.

    Example: `datdot measure 127.0.0.1:4001 --key KEY --samples 1000`
    """
    import random

    import msgspec

    from offchain_worker.audit.probe import MAX_SAMPLES, ProbePlan, probe
    from offchain_worker.hypercore.errors import HypercoreError
    from offchain_worker.service.config import parse_address
    from offchain_worker.swarm.dial import dial

    address = parse_address(peer)
    if not 2 <= samples <= MAX_SAMPLES:
        raise UsageError(f"{samples} samples are not between 2 and {MAX_SAMPLES}.")
    plan = ProbePlan(
        feed_key=None if key is None else parse_key(key, "a feed's key"),
        samples=samples,
        one_by_one=habit is not Habit.THROUGHPUT,
        windowed=habit is not Habit.LATENCY,
        expected_remote=None if peer_key is None else parse_key(peer_key, "a Noise key"),
    )
    found: list[Probe] = []

    async def measure() -> None:
        found.append(
            await probe(
                lambda: dial(address.host, address.port, timeout=10.0), plan, random.SystemRandom()
            )
        )

    try:
        run_command(measure)
    except* HypercoreError as group:
        error = group.exceptions[0]
        raise OperationError(f"{peer} cannot be measured: {error}.") from group
    if as_json:
        sys.stdout.write(msgspec.json.encode(found[0]).decode() + "\n")
    else:
        sys.stdout.write("\n".join(_lines(peer, found[0])) + "\n")


def _lines(peer: str, probe: Probe) -> list[str]:
    from offchain_worker.hypercore.reader import WINDOW
    from offchain_worker.measurement.probe import histogram, window_limit

    opening, latency, rate = probe.opening, probe.latency, probe.throughput
    lines = [f"{peer}, Noise key {probe.peer_key}"]
    if probe.feed_key is not None:
        lines.append(f"feed {probe.feed_key}: {probe.length} chunks, fork {probe.fork}")
    lines += ["", _line("connect", _ms(opening.connect_us))]
    lines.append(_line("handshake", _ms(opening.handshake_us)))
    if opening.head_us is not None:
        lines.append(_line("head", _ms(opening.head_us)))
    if latency is not None:
        of = latency.latency_us
        lines.append(_line("first chunk", _ms(latency.first_chunk_us)))
        marks = f"p50 {_ms(of.p50)}, p90 {_ms(of.p90)}, p99 {_ms(of.p99)}, max {_ms(of.max)}"
        lines.append(_line("latency", f"{marks}; {len(latency.samples_us)} chunks, one by one"))
    if rate is not None:
        extra = 100 * (rate.wire_bytes / max(1, rate.chunk_bytes) - 1)
        said = f"{_mb(rate.throughput)}/s; {rate.chunks} chunks, {_mb(rate.chunk_bytes)}"
        lines.append(_line("throughput", f"{said} in {rate.seconds:.2f} s, {extra:.1f} % more"))
        lines[-1] += " on the wire"
        if latency is not None and rate.throughput > 0.8 * window_limit(WINDOW, rate, latency):
            most = _mb(window_limit(WINDOW, rate, latency))
            lines.append(_line("", f"{WINDOW} such chunks in flight allow no more than {most}/s"))
    if latency is not None:
        lines.append("")
        bars = histogram(latency.samples_us)
        most_in_a_row = max(bar.count for bar in bars)
        for bar in bars:
            drawn = "█" * -(-BAR_WIDTH * bar.count // most_in_a_row)
            lines.append(f"{_ms(bar.low_us):>12} – {_ms(bar.high_us):<12} {bar.count:>6} {drawn}")
    return lines


def _line(name: str, value: str) -> str:
    return f"{name:<12} {value}"


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1_000:,.2f} ms"


def _mb(count: float) -> str:
    return f"{count / 1e6:,.2f} MB"
