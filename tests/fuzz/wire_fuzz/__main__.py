"""`python -m wire_fuzz`: feed, print a table; exit not 0 on an escape."""

from __future__ import annotations

import argparse
import os
import sys

from wire_fuzz.campaign import BATCH, Batch, batches, campaign, table
from wire_fuzz.registry import TARGETS

INPUTS = 3_000_000


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m wire_fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="in all, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--target", choices=TARGETS, help="one batch of it, with --batch")
    parser.add_argument("--batch", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.target:
        chosen = [Batch(given.seed, given.target, given.batch, BATCH)]
    else:
        chosen = list(batches(given.seed, given.inputs))
    tallies = campaign(chosen, 1 if given.target else given.processes)
    for tally in tallies.values():
        for escape in tally.escapes:
            sys.stdout.writelines(f"{line}\n" for line in escape.lines())
    sys.stdout.writelines(f"{line}\n" for line in table(tallies))
    inputs = sum(tally.inputs for tally in tallies.values())
    escaped = sum(tally.escaped for tally in tallies.values())
    sys.stdout.write(f"{inputs:,} inputs, {escaped:,} escapes\n")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
