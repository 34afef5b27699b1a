"""Links with a record: `python -m benchmarks.links IP:PORT CHUNK_BYTES SHAPE…`, see `main`."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AsyncExitStack

import trio

from offchain_worker.service.config import parse_address
from offchain_worker.simulation.link import Delivery, LinkShape, Passage, open_link
from offchain_worker.simulation.recording import Recording


def shape_text(shape: LinkShape) -> str:
    """A shape as an argument of the command line."""
    return f"{shape.delay_s},{shape.bandwidth},{shape.jitter_s}"


def _parse(text: str) -> LinkShape:
    delay_s, bandwidth, jitter_s = map(float, text.split(","))
    return LinkShape(delay_s, bandwidth, jitter_s)


def main() -> None:
    """Run a link of each SHAPE, the same in both directions, until standard input closes.

    It writes a line of JSON with the ports, and at the end, unless CHUNK_BYTES is 0, one with what
    passed over the first link: `latencies` of chunks of so many bytes read one after the other on
    its first connection, and by how much each frame was late (`late`), in seconds.
    """
    target, chunk_bytes, *shapes = sys.argv[1:]
    address = parse_address(target)
    trio.run(_run, address.host, address.port, int(chunk_bytes), [_parse(one) for one in shapes])


async def _run(host: str, port: int, chunk_bytes: int, shapes: list[LinkShape]) -> None:
    recording = Recording()
    observe = recording.take if chunk_bytes else _ignore
    async with AsyncExitStack() as stack:
        ports = []
        for seed, shape in enumerate(shapes):
            opening = open_link(host, port, up=shape, seed=seed, observe=observe)
            ports.append((await stack.enter_async_context(opening)).port)
        _write(ports)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
            while await stdin.receive_some(1_024):
                pass
    if chunk_bytes:
        latencies = recording.latencies(0, chunk_bytes)
        _write({"latencies": latencies, "late": recording.lateness()})


def _ignore(_event: Passage | Delivery) -> None:
    pass


def _write(content: object) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
