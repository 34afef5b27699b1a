"""The embedded chain when it is long, and when its state is large."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Aim, Figure
from benchmarks.world import SPONSOR
from datdot_node import Chain
from offchain_worker.testnet.genesis import genesis_patch

DAY_MS = 24 * 60 * 60 * 1_000
BLOCK_MS = 6_000
FEW, MANY = 100, 100_000
RUNS = 7
BLOCKS = 50


def day() -> Iterator[Figure]:
    """A day of six-second blocks on disk, made as fast as they can be, then executed again."""
    patch = genesis_patch([SPONSOR.public], attestors=5, block_ms=BLOCK_MS)
    with (
        tempfile.TemporaryDirectory(prefix="datdot-bench-") as folder,
        Chain.open(Path(folder), genesis_patch=patch) as chain,
    ):
        chain.fast_forward(chain.now_ms() + 100 * BLOCK_MS)
        resident = _resident_mb()
        begun = time.perf_counter()
        chain.fast_forward(chain.timestamp() + DAY_MS)
        yield Figure(
            "a day's 14,400 blocks", "s", [time.perf_counter() - begun], (Aim.AT_MOST, 300)
        )
        grown = _resident_mb() - resident
        yield Figure("a day's blocks: memory grown", "MB", [grown], (Aim.AT_MOST, 8))
        begun = time.perf_counter()
        chain.verify()
        yield Figure("a day's blocks: executed again", "s", [time.perf_counter() - begun])


def accounts() -> Iterator[Figure]:
    """Empty blocks with few accounts in the state, and with many."""
    few, many = _block_ms(FEW), _block_ms(MANY)
    yield Figure(f"empty block with {FEW} accounts", "ms", few)
    yield Figure(f"empty block with {MANY:,} accounts", "ms", many)
    ratios = [large / small for small, large in zip(few, many, strict=True)]
    yield Figure("the second by the first", "", ratios, (Aim.AT_MOST, 1.5))


def _block_ms(count: int) -> list[float]:
    owners = (hashlib.sha256(f"account {number}".encode()).digest() for number in range(count))
    patch = genesis_patch([SPONSOR.public, *owners], attestors=5, block_ms=BLOCK_MS)
    samples = []
    with Chain.open(genesis_patch=patch) as chain:
        chain.new_block()
        for _ in range(RUNS):
            begun = time.perf_counter()
            for _ in range(BLOCKS):
                chain.new_block()
            samples.append((time.perf_counter() - begun) / BLOCKS * 1_000)
    return samples


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1_024
    raise RuntimeError("this system does not say how much memory is resident")
