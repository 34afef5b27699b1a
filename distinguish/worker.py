"""Audits and readers of ours, many in one process, as lines of JSON on standard input ask for them.

A line: {"id", "kind", "port", "key", "hoster", "seed", "length", "windowed", "order", "count"}.
`kind`: `audit` runs the code that an attestor runs, `control` the same without its length drawn as
readers' are, `reader` a reader. The answer: {"id", "error"}.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import time
from typing import Any

import structlog
import trio

from chain_types.report import Failure
from offchain_worker.audit.session import SESSION_BYTES, AuditPlan, audit
from offchain_worker.coinflip.draws import drawn_chunks, session_habit
from offchain_worker.hypercore.order import DownloadOrder
from offchain_worker.hypercore.reader import open_reader
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.dial import dial

CHUNKS = 100
PROVED = 32
TIMEOUT_MS = 60_000
Command = dict[str, Any]


def clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


async def run_audit(command: Command, session_bytes: int) -> str:
    """An audited session at this very moment; returns what was wrong, if anything."""
    seed = bytes.fromhex(command["seed"])
    length = command["length"]
    now = clock_ms()
    plan = AuditPlan(
        feed_key=bytes.fromhex(command["key"]),
        hoster=bytes.fromhex(command["hoster"]),
        audit_key=KeyPair.from_seed(seed),
        fork=0,
        length=length,
        drawn=drawn_chunks(seed, length, CHUNKS),
        habit=session_habit(seed),
        chunks=CHUNKS,
        proved=PROVED,
        moment=now,
        end_ms=now + 3_600_000,
        chunk_timeout_ms=TIMEOUT_MS,
        clock_tolerance_ms=30_000,
        session_bytes=session_bytes,
    )
    result = await audit(
        plan,
        lambda: dial("127.0.0.1", command["port"], timeout=10.0),
        clock_ms=clock_ms,
        choices=random.SystemRandom(),
    )
    return result.detail if isinstance(result.outcome, Failure) else ""


async def run_reader(command: Command) -> str:
    """A reader that stops after `count` chunks."""
    opened = open_reader(
        await dial("127.0.0.1", command["port"], timeout=10.0),
        feed_key=bytes.fromhex(command["key"]),
        keypair=KeyPair.from_seed(bytes.fromhex(command["seed"])),
        expected_remote=None,
    )
    async with opened as reader:
        if not command["windowed"]:
            for index in command["order"]:
                await reader.get(index, timeout=TIMEOUT_MS / 1_000)
            return ""
        order = DownloadOrder(reader.head.length, random.Random())
        left = command["count"]
        async for block in reader.download(order, timeout=TIMEOUT_MS / 1_000):
            order.arrive(block.index)
            left -= 1
            if not left:
                return ""
    return "the feed ended early"


async def run(command: Command) -> None:
    """Run a session and say how it ended."""
    try:
        if command["kind"] == "reader":
            error = await run_reader(command)
        else:
            full = command["kind"] == "audit"
            error = await run_audit(command, SESSION_BYTES if full else 0)
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    sys.stdout.write(json.dumps({"id": command["id"], "error": error}) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Run what standard input asks for until it closes."""
    partial = b""
    async with trio.open_nursery() as nursery, trio.lowlevel.FdStream(os.dup(0)) as stdin:
        async for data in stdin:
            *lines, partial = (partial + data).split(b"\n")
            for line in lines:
                nursery.start_soon(run, json.loads(line))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    trio.run(main)
