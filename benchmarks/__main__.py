"""`python -m benchmarks [PART …]`: measure, and print one table."""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import sys
from collections.abc import Callable, Iterator

from benchmarks import accuracy, chain, coinflip, long_chain, memory, transport
from benchmarks.figures import Figure, table
from benchmarks.processes import ROOT

PARTS: dict[str, tuple[Callable[[], Iterator[Figure]], ...]] = {
    "chain": (chain.start, chain.blocks, chain.reports),
    "long-chain": (long_chain.day, long_chain.accounts),
    "coinflip": (coinflip.delays, coinflip.rounds, coinflip.floods, coinflip.strangers),
    "transport": (transport.reading, transport.auditing),
    "memory": (memory.resident,),
    "accuracy": (accuracy.probing, accuracy.among_audits),
}


def _compile() -> None:
    """Compile our modules, as an installation does; else each process may do so anew."""
    for package in ("offchain_worker", "chain_types", "benchmarks"):
        if not compileall.compile_dir(ROOT / package, quiet=1):
            raise RuntimeError(f"{package} cannot be compiled")


def main() -> None:
    """Run the parts that were asked for, all of them by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    chosen: list[str] = parser.parse_args().parts or list(PARTS)
    for part in chosen:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}; choose from {', '.join(PARTS)}")
    _compile()
    figures: list[Figure] = []
    for part in chosen:
        for measure in PARTS[part]:
            sys.stderr.write(f"{part}: {measure.__name__} …\n")
            figures.extend(measure())
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    sys.stdout.write(
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"load at the end {load}\n\n{table(figures)}\n"
    )


if __name__ == "__main__":
    main()
