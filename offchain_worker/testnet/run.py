"""What `datdot testnet` does: set up, watch, and tell how it ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from chain_types.records import Verdict
from offchain_worker.attestor.adversary import Fault as AttestorFault
from offchain_worker.errors import UsageError
from offchain_worker.explorer.show import challenge_summary
from offchain_worker.hoster.adversary import Fault as HosterFault
from offchain_worker.hoster.feeds import check_source
from offchain_worker.testnet.layout import Layout, open_layout
from offchain_worker.testnet.testnet import Testnet, kept_or_temporary, open_testnet
from offchain_worker.testnet.view import View


@dataclass(frozen=True)
class Options:
    """The command's options.

    Attributes:
        once: stop after one settled challenge of each hosting.
        json: print one JSON object on standard output; all else goes to standard error.
        feed: what to host; None: noise.
        attestors, hosters, readers, block_ms: None: as the folder was made, or the defaults.
        ipv6: whether everybody but the chain listens on ::1.
        native: the program `datdot-node`: the chain is three validators; None: the embedded one.
        port: of the chain; 0 takes free ones.
        directory: kept; None: a temporary one.
        adversaries: `FAULT` or `NAME=FAULT`.
        started: monotonic seconds at the start of the command.
    """

    once: bool
    json: bool
    feed: Path | None
    attestors: int | None
    hosters: int | None
    readers: int | None
    ipv6: bool
    native: Path | None
    block_ms: int | None
    port: int
    directory: Path | None
    adversaries: list[str]
    started: float


async def run_testnet(options: Options) -> int:
    """Run a testnet; returns the exit status: 0, with `once` only if every challenge passed.

    Cancelled, all processes end and a temporary folder is removed.

    Raises:
        UsageError: an option cannot be used; nothing was started.
        OperationError: a process ended, or the chain refused a transaction.
    """
    if options.feed is not None:
        check_source(options.feed)
    if options.native is not None and not os.access(options.native, os.X_OK):
        raise UsageError(
            f"--native {options.native} is not a program; `make native-node` builds one."
        )
    for text in options.adversaries:
        read_fault(text)  # refused before anything is made
    view = View(sys.stderr if options.json else sys.stdout)
    with kept_or_temporary(options.directory) as root:
        layout = open_layout(
            root,
            attestors=options.attestors,
            hosters=options.hosters,
            readers=options.readers,
            ipv6=options.ipv6,
            block_ms=options.block_ms,
            port=options.port,
            native=options.native is not None,
        )
        faults = cheats(options.adversaries, layout)
        async with open_testnet(
            layout, options.feed, hear=view.tell, faults=faults, native=options.native
        ) as testnet:
            with view.watching(testnet.network):
                await testnet.watch(view.tell, refresh=view.refresh, once=options.once)
            elapsed_s = time.monotonic() - options.started
            if options.json:
                result = await _result(testnet, elapsed_s)
                sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
            view.tell(f"settled after {elapsed_s:.1f} s")
            settled = testnet.settled.challenges.values()
            passed = all(
                snapshot.settlement is not None and snapshot.settlement.outcome is Verdict.PASSED
                for snapshot in settled
            )
            return 0 if passed else 1


def read_fault(text: str) -> tuple[str, str]:
    """Read `FAULT` or `NAME=FAULT`; the name is empty when it is left out.

    Raises:
        UsageError: there is no such fault.
    """
    name, equals, fault = text.rpartition("=")
    if fault in {*HosterFault, *AttestorFault} and (name or not equals):
        return name, fault
    raise UsageError(
        f"--adversary {text!r} names no fault; write FAULT or NAME=FAULT with a fault of "
        f"{', '.join(AttestorFault)} for an attestor, {', '.join(HosterFault)} for a hoster."
    )


def cheats(texts: Sequence[str], layout: Layout) -> dict[str, str]:
    """Who does what wrong, by name: who was named, or the last one that can do it.

    Raises:
        UsageError: there is no such fault, or nobody of that name who can do it.
    """
    found = {}
    for text in texts:
        name, fault = read_fault(text)
        folders = layout.attestors if fault in set(AttestorFault) else layout.hosters
        names = [folder.name for folder in folders]
        if name and name not in names:
            raise UsageError(
                f"--adversary {text!r} names nobody who can do that; "
                f"write a name of {', '.join(names)}."
            )
        found[name or names[-1]] = fault
    return found


async def _result(testnet: Testnet, elapsed_s: float) -> dict[str, Any]:
    client = testnet.client
    version = client.runtime.version
    head = await client.header()
    after = await testnet.balances()
    before = testnet.network.before
    return {
        "elapsed_s": round(elapsed_s, 3),
        "chain": {
            "blocks": head.number,
            "runtime": f"{version.spec_name}-{version.spec_version}",
        },
        "feeds": [
            {
                "key": testnet.feed.key.hex(),
                "length": str(testnet.feed.length),
                "bytes": str(testnet.feed.byte_length),
            }
        ],
        "challenges": [
            challenge_summary(snapshot, await client.reports(snapshot.id))
            for snapshot in testnet.settled.challenges.values()
        ],
        "balances": {
            testnet.accounts[name].address: {"before": str(before[name]), "after": str(after[name])}
            for name in before
        },
    }
