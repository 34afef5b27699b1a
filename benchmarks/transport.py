"""Reading a feed: the client's speed and its processor time, beside the floor of both.

The client is this process; the hoster is another one, on loopback. The floor is what no client
can do without: secretstream decryption and BLAKE2b of the same bytes, in the same sizes, by the
same libraries, with nothing around them.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trio
from nacl import bindings

from benchmarks.figures import Figure
from benchmarks.processes import datdot
from offchain_worker.hoster.feeds import import_path
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.reader import Block, Reader, open_reader
from offchain_worker.keys import KeyPair
from offchain_worker.service.keyfiles import KeyKind, write_key

RUNS = 5
CHUNK_BYTES = 64 * 1024
CHUNKS = 1_024
BYTES = CHUNKS * CHUNK_BYTES


@dataclass
class Readings:
    """Chunks per second and processor seconds per GB (10⁹ bytes), one of each for a run."""

    speeds: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    def add(self, seconds: float, cpu_seconds: float) -> None:
        """Take in one run over all chunks."""
        self.speeds.append(CHUNKS / seconds)
        self.costs.append(cpu_seconds / (BYTES / 1e9))

    def figures(self, name: str) -> Iterator[Figure]:
        """The two lines of the table."""
        yield Figure(f"{name}: speed", "chunks/s", self.speeds)
        yield Figure(f"{name}: processor", "s/GB", self.costs)


def reading() -> Iterator[Figure]:
    """The client against the own hoster, sequential and windowed, and the floor."""
    sequential, windowed, floor = Readings(), Readings(), Readings()
    with tempfile.TemporaryDirectory(prefix="datdot-bench-") as name:
        folder = Path(name)
        feed = _make_feed(folder)
        write_key(folder / "noise.json", KeyKind.NOISE)
        arguments = ["--store", str(folder / "store"), "--key", str(folder / "noise.json")]
        with datdot(
            "feed", "serve", *arguments, "--listen", "127.0.0.1:0", until="hoster.listening"
        ) as listening:
            port = int(listening["port"])
            for _ in range(RUNS):
                sequential.add(*trio.run(_read, port, feed, _one_by_one))
                windowed.add(*trio.run(_read, port, feed, _with_window))
                floor.add(*_floor())
    yield from sequential.figures("client, sequential")
    yield from windowed.figures("client, windowed")
    yield from floor.figures("floor: decrypt and hash")


def _make_feed(folder: Path) -> bytes:
    """A feed of noise, complete in `folder/store`; its key."""
    source, store = folder / "noise.bin", folder / "store"
    source.write_bytes(random.Random(0).randbytes(BYTES))
    store.mkdir()
    with Library(store) as library:
        return import_path(library, source, KeyPair.generate(), chunk_size=CHUNK_BYTES).key


async def _read(
    port: int, feed: bytes, blocks: Callable[[Reader], AsyncIterator[Block]]
) -> tuple[float, float]:
    """Read all chunks on a new connection; wall and processor seconds from the first request."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with open_reader(
        stream, feed_key=feed, keypair=KeyPair.generate(), expected_remote=None
    ) as reader:
        begun, cpu_begun = time.perf_counter(), time.process_time()
        received = 0
        async for block in blocks(reader):
            received += len(block.data)
        seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
    if received != BYTES:
        raise RuntimeError(f"{received} of {BYTES} bytes came")
    return seconds


async def _one_by_one(reader: Reader) -> AsyncIterator[Block]:
    for index in range(CHUNKS):
        yield await reader.get(index)


async def _with_window(reader: Reader) -> AsyncIterator[Block]:
    async for block in reader.download(range(CHUNKS)):
        yield block


def _floor() -> tuple[float, float]:
    """Decrypt and hash as many chunks; wall and processor seconds."""
    key = bindings.crypto_secretstream_xchacha20poly1305_keygen()
    push = bindings.crypto_secretstream_xchacha20poly1305_state()
    header = bindings.crypto_secretstream_xchacha20poly1305_init_push(push, key)
    chunk = random.Random(0).randbytes(CHUNK_BYTES)
    sealed = [
        bindings.crypto_secretstream_xchacha20poly1305_push(push, chunk) for _ in range(CHUNKS)
    ]
    pull = bindings.crypto_secretstream_xchacha20poly1305_state()
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(pull, header, key)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    for message in sealed:
        plaintext, _tag = bindings.crypto_secretstream_xchacha20poly1305_pull(pull, message)
        hashlib.blake2b(plaintext, digest_size=32).digest()
    return time.perf_counter() - begun, time.process_time() - cpu_begun
