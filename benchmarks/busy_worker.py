"""A worker with many audits at a time, and one latency measured among them.

`python -m benchmarks.busy_worker`; arguments: the feed's key and the hoster's Noise key in hex,
the feed's length, the number of samples, the port of the measured link, and those of the links of
the audits, on loopback. Each audit is a whole one, with its receipt and proof, always windowed,
and begins anew as long as the measurement lasts. It writes one line of JSON: the latencies in
microseconds, the bytes for each second that the audits read meanwhile, and how many were served.
"""

from __future__ import annotations

import json
import logging
import random
import sys
from dataclasses import dataclass
from functools import partial

import trio

from offchain_worker.audit.probe import ProbePlan, probe
from offchain_worker.audit.session import AuditPlan, audit
from offchain_worker.coinflip.draws import SessionHabit
from offchain_worker.hypercore.connection import wall_clock_ms
from offchain_worker.keys import KeyPair
from offchain_worker.service.logs import LogFormat, configure

CHUNKS, PROVED, MULTIPLE = 100, 32, 2
SETTLE_S = 3.0
"""From the start of the audits to the first sample, so that all of them are reading."""


@dataclass
class _Audits:
    """What the audits came to."""

    feed: bytes
    hoster: bytes
    length: int
    served: int = 0
    byte_length: int = 0

    async def repeat(self, port: int) -> None:
        """Audit over one link, again and again."""
        while True:
            now = wall_clock_ms()
            plan = AuditPlan(
                feed_key=self.feed,
                hoster=self.hoster,
                audit_key=KeyPair.generate(),
                fork=0,
                length=self.length,
                drawn=random.sample(range(self.length), CHUNKS),
                habit=SessionHabit(windowed=True, multiple=MULTIPLE),
                chunks=CHUNKS,
                proved=PROVED,
                moment=now,
                end_ms=now + 600_000,
                chunk_timeout_ms=20_000,
                clock_tolerance_ms=30_000,
            )
            dial = partial(trio.open_tcp_stream, "127.0.0.1", port)
            result = await audit(plan, dial, clock_ms=wall_clock_ms, choices=random.SystemRandom())
            if result.receipt is None:
                raise RuntimeError(f"an audit failed: {result.detail}")
            self.served += 1
            self.byte_length += result.byte_length


async def _run(audits: _Audits, samples: int, port: int, ports: list[int]) -> None:
    async with trio.open_nursery() as nursery:
        for one in ports:
            nursery.start_soon(audits.repeat, one)
        await trio.sleep(SETTLE_S if ports else 0.0)
        begun, before = trio.current_time(), audits.byte_length
        plan = ProbePlan(audits.feed, samples=samples, windowed=False)
        dial = partial(trio.open_tcp_stream, "127.0.0.1", port)
        found = await probe(dial, plan, random.SystemRandom())
        rate = (audits.byte_length - before) / (trio.current_time() - begun)
        nursery.cancel_scope.cancel()
    if found.latency is None:
        raise RuntimeError("a probe one by one has a latency")
    samples_us = found.latency.samples_us
    sys.stdout.write(
        json.dumps({"samples_us": samples_us, "rate": rate, "served": audits.served}) + "\n"
    )


def main() -> None:
    """Read the arguments, and run."""
    configure(LogFormat.JSON, level=logging.WARNING)
    feed, hoster, length, samples, port, *ports = sys.argv[1:]
    audits = _Audits(bytes.fromhex(feed), bytes.fromhex(hoster), int(length))
    trio.run(_run, audits, int(samples), int(port), [int(one) for one in ports])


if __name__ == "__main__":
    main()
