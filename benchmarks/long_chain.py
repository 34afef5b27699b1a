"""The embedded chain when it is long, and when its state is large."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Aim, Figure
from benchmarks.world import SPONSOR
from datdot_node import Chain
from offchain_worker.testnet.genesis import genesis_patch

HOUR_MS = 60 * 60 * 1_000
BLOCK_MS = 6_000
REMEMBERED = 1_100
"""The chain remembers its newest thousand blocks for listeners; from then on memory is full."""
FEW, MANY = 100, 100_000
ROUNDS = 15
BLOCKS = 20


def day() -> Iterator[Figure]:
    """A day of six-second blocks on disk, made as fast as they can be, then executed again."""
    patch = genesis_patch([SPONSOR.public], attestors=5, block_ms=BLOCK_MS)
    with (
        tempfile.TemporaryDirectory(prefix="datdot-bench-") as folder,
        Chain.open(Path(folder), genesis_patch=patch) as chain,
    ):
        chain.fast_forward(chain.now_ms() + REMEMBERED * BLOCK_MS)
        before = chain.head.number
        resident = [_resident_mb()]
        begun = time.perf_counter(), time.process_time()
        for _ in range(24):
            chain.fast_forward(chain.timestamp() + HOUR_MS)
            resident.append(_resident_mb())
        ended = time.perf_counter(), time.process_time()
        if chain.head.number - before != 24 * HOUR_MS // BLOCK_MS:
            raise RuntimeError(f"a day has {chain.head.number - before} blocks")
        yield Figure("a day's 14,400 blocks", "s", [ended[0] - begun[0]], (Aim.AT_MOST, 300))
        yield Figure("a day's blocks: processor", "s", [ended[1] - begun[1]])
        yield Figure("a day's blocks: resident memory by the hour", "MB", resident)
        grown = resident[-1] - resident[0]
        yield Figure("a day's blocks: memory grown", "MB", [grown], (Aim.AT_MOST, 8))
        begun_again = time.perf_counter()
        chain.verify()
        yield Figure("a day's blocks: executed again", "s", [time.perf_counter() - begun_again])


def accounts() -> Iterator[Figure]:
    """Empty blocks with few accounts in the state, and with many.

    In turn, so that what else the machine does slows both.
    """
    few: list[float] = []
    many: list[float] = []
    with _chain(FEW) as small, _chain(MANY) as large:
        for number in range(ROUNDS):
            turns = [(small, few), (large, many)]
            for chain, samples in turns if number % 2 else reversed(turns):
                samples.append(_block_ms(chain))
    yield Figure(f"empty block with {FEW} accounts", "ms", few)
    yield Figure(f"empty block with {MANY:,} accounts", "ms", many)
    ratios = [large_ms / small_ms for small_ms, large_ms in zip(few, many, strict=True)]
    yield Figure("the second by the first", "", ratios, (Aim.AT_MOST, 1.5))


@contextmanager
def _chain(count: int) -> Iterator[Chain]:
    """A chain in memory whose genesis has so many accounts with money."""
    owners = (hashlib.sha256(f"account {number}".encode()).digest() for number in range(count))
    patch = genesis_patch([SPONSOR.public, *owners], attestors=5, block_ms=BLOCK_MS)
    with Chain.open(genesis_patch=patch) as chain:
        # The first blocks make what later ones find made.
        _block_ms(chain)
        yield chain


def _block_ms(chain: Chain) -> float:
    begun = time.perf_counter()
    for _ in range(BLOCKS):
        chain.new_block()
    return (time.perf_counter() - begun) / BLOCKS * 1_000


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1_024
    raise RuntimeError("this system does not say how much memory is resident")
