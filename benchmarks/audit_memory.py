"""One audit in a worker of its own: `python -m benchmarks.audit_memory PORT KEY NOISE LENGTH`.

The process has imported what `datdot attestor` imports, and its event loop runs; nothing of an
audit has been done yet. Then it audits the feed with that key (hex) that a hoster with that Noise
key (hex) serves on loopback, and writes `{"idle": …, "peak": …, "chunks": …}`: bytes resident as
the kernel counts them, before it and at the most until it was over.
"""

from __future__ import annotations

import gc
import json
import random
import sys
from functools import partial
from pathlib import Path

import trio

# Everything that a worker has in memory anyway is not an audit's.
import offchain_worker.cli.attestor
import offchain_worker.service.attestor  # noqa: F401
from offchain_worker.audit.session import AuditPlan, audit
from offchain_worker.coinflip.draws import SessionHabit
from offchain_worker.hypercore.connection import wall_clock_ms
from offchain_worker.keys import KeyPair

CHUNKS = 600
CHUNK_BYTES = 64 * 1_024
DRAWN = 100
PROVED = 32
WINDOW_MS = 300_000
# Writing this to `clear_refs` makes the kernel count the peak anew (proc(5)).
FROM_NOW_ON = "5"


async def measure(port: int, feed: bytes, hoster: bytes, length: int) -> dict[str, int]:
    """Audit once with a full window, up to 600 chunks; what is written."""
    now = wall_clock_ms()
    plan = AuditPlan(
        feed_key=feed,
        hoster=hoster,
        audit_key=KeyPair.generate(),
        fork=0,
        length=length,
        drawn=random.Random(0).sample(range(length), DRAWN),
        habit=SessionHabit(windowed=True, multiple=6),
        chunks=DRAWN,
        proved=PROVED,
        moment=now,
        end_ms=now + WINDOW_MS,
        chunk_timeout_ms=20_000,
        clock_tolerance_ms=10_000,
        session_bytes=CHUNKS * CHUNK_BYTES,
    )
    gc.collect()
    idle = _kernel_says("VmRSS")
    Path("/proc/self/clear_refs").write_text(FROM_NOW_ON, encoding="ascii")
    result = await audit(
        plan,
        partial(trio.open_tcp_stream, "127.0.0.1", port),
        clock_ms=wall_clock_ms,
        choices=random.Random(0),
    )
    peak = _kernel_says("VmHWM")
    if result.detail:
        raise RuntimeError(f"the audit failed: {result.detail}")
    return {"idle": idle, "peak": peak, "chunks": result.chunks}


def _kernel_says(name: str) -> int:
    """A size of this process, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1_024
    raise RuntimeError(f"the kernel says nothing about {name}")


def main() -> None:
    """Audit, and say what it took."""
    port, key, noise_key, length = sys.argv[1:]
    arguments = int(port), bytes.fromhex(key), bytes.fromhex(noise_key), int(length)
    sys.stdout.write(json.dumps(trio.run(measure, *arguments)) + "\n")


if __name__ == "__main__":
    main()
