"""One reader of a benchmarked hoster: `… benchmarks.read_feed PORT KEY CHUNKS WINDOW PACE`.

It reads the first CHUNKS chunks of the feed with that key (hex) from loopback, verifies each, and
writes `{"bytes": …, "seconds": …, "cpuSeconds": …}`, both times from the first request to the last
chunk. With a window of one it waits for each chunk before it asks for the next. PACE is `paced`,
as audits read, or `unpaced`, as `datdot feed clone` does.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial

import trio

from offchain_worker.hypercore.reader import Reader, open_reader
from offchain_worker.keys import KeyPair


async def read(
    port: int, feed: bytes, chunks: int, window: int, *, paced: bool
) -> dict[str, float]:
    """Read on a new connection; what is written."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with open_reader(
        stream,
        feed_key=feed,
        keypair=KeyPair.generate(),
        expected_remote=None,
        paced=paced,
    ) as reader:
        begun, cpu_begun = time.perf_counter(), time.process_time()
        read_all = _one_by_one(reader, chunks) if window == 1 else _windowed(reader, chunks, window)
        received = await read_all
        return {
            "bytes": received,
            "seconds": time.perf_counter() - begun,
            "cpuSeconds": time.process_time() - cpu_begun,
        }


async def _one_by_one(reader: Reader, chunks: int) -> int:
    received = 0
    for index in range(chunks):
        received += len((await reader.get(index)).data)
    return received


async def _windowed(reader: Reader, chunks: int, window: int) -> int:
    received = 0
    async for block in reader.download(range(chunks), window):
        received += len(block.data)
    return received


def main() -> None:
    """Read, and say how it went."""
    port, key, chunks, window, pace = sys.argv[1:]
    paced = {"paced": True, "unpaced": False}[pace]
    reading = partial(read, int(port), bytes.fromhex(key), int(chunks), int(window), paced=paced)
    result = trio.run(reading)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
