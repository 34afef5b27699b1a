"""Resident memory of a running testnet's processes."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import trio

from benchmarks.figures import Aim, Figure
from offchain_worker.testnet.layout import Layout, open_layout
from offchain_worker.testnet.testnet import Testnet, open_testnet

ROLES = {"node": None, "author": None, "hoster": None, "attestor": (Aim.AT_MOST, 90.0)}


def resident() -> Iterator[Figure]:
    """Sampled at every block of one testnet until each hosting has a settled challenge.

    Processes of the same role share a line; a sample is one process at one block.
    """
    with tempfile.TemporaryDirectory(prefix="datdot-bench-") as name:
        layout = open_layout(Path(name), attestors=None, hosters=None, block_ms=None, port=0)
        samples = trio.run(_sample, layout)
    for role, aim in ROLES.items():
        yield Figure(f"resident memory: {role}", "MB", samples[role], aim)


async def _sample(layout: Layout) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = defaultdict(list)

    def take(testnet: Testnet) -> None:
        for name, child in testnet.processes.children.items():
            samples[name.partition("-")[0]].append(_resident_mb(child.process.pid))

    async with open_testnet(layout, None, hear=_ignore) as testnet:
        await testnet.watch(_ignore, refresh=lambda: take(testnet), once=True)
    return samples


def _ignore(line: str) -> None:
    del line


def _resident_mb(pid: int) -> float:
    """What the kernel counts as resident, in 10⁶ bytes; pages shared by processes count in each."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1_024 / 1e6
    raise RuntimeError(f"the kernel says nothing about the memory of process {pid}")
