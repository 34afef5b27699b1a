"""Reading a feed: our client and npm's side by side, at the same hosters, beside the floor.

Ours reads twice: paced, as an audit does, which takes the time that npm's client takes to look like
it; and unpaced, as `datdot feed clone` does.

Each reader is a process of its own with nothing on disk before, and so is each hoster, all on
loopback. The floor is what no client can do without: secretstream decryption and BLAKE2b of the
same bytes, in the same sizes, by the functions that our client uses, with nothing around them.
"""

from __future__ import annotations

import hashlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import Aim, Figure
from benchmarks.processes import datdot, finish, node
from offchain_worker.hoster.feeds import import_path
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.sealing import LENGTH_BYTES, Opener, Sealer
from offchain_worker.keys import KeyPair
from offchain_worker.service.keyfiles import KeyKind, read_key_pair, write_key

RUNS = 5
CHUNK_BYTES = 64 * 1_024
CHUNKS = 4_096
BYTES = CHUNKS * CHUNK_BYTES
AUDITED_CHUNKS = 1_024
WINDOWS = (1, 8, 48)
FULL_WINDOW = 48
MOST_OF_NPM = 1 / 3
LEAST_OF_FLOOR = 0.6
MOST_AUDIT_MB = 8.0


@dataclass
class Readings:
    """One sample of each list for a run.

    Attributes:
        seconds: from the first request to the last chunk.
        reading: processor seconds in that time.
        whole: processor seconds of the process from its start to its end.
    """

    seconds: list[float] = field(default_factory=list)
    reading: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)

    def figures(self, name: str) -> Iterator[Figure]:
        """The lines of the table: chunks per second, and processor seconds per GB (10⁹ bytes)."""
        yield Figure(f"{name}: speed", "chunks/s", [CHUNKS / time for time in self.seconds])
        yield Figure(f"{name}: processor", "s/GB", _for_a_gigabyte(self.whole))
        yield Figure(f"{name}: processor, reading", "s/GB", _for_a_gigabyte(self.reading))


@dataclass
class Hoster:
    """What was read from one hoster: by each client with each window, and the floor."""

    paced: dict[int, Readings] = field(default_factory=lambda: {w: Readings() for w in WINDOWS})
    unpaced: dict[int, Readings] = field(default_factory=lambda: {w: Readings() for w in WINDOWS})
    npm: dict[int, Readings] = field(default_factory=lambda: {w: Readings() for w in WINDOWS})
    floor: Readings = field(default_factory=Readings)

    @classmethod
    def read(cls, port: int, key: str) -> Hoster:
        """Read the whole feed five times by each client with each window."""
        hoster = cls()
        ours = [sys.executable, "-m", "benchmarks.read_feed", str(port), key, str(CHUNKS)]
        npm = ["node", "reader.mjs", "--from", f"127.0.0.1:{port}", "--key", key, "--window"]
        for _ in range(RUNS):
            for window in WINDOWS:
                _read([*ours, str(window), "paced"], hoster.paced[window])
                _read([*ours, str(window), "unpaced"], hoster.unpaced[window])
                _read([*npm, str(window)], hoster.npm[window])
            _floor(hoster.floor)
        return hoster

    def figures(self, name: str) -> Iterator[Figure]:
        """All lines of the table: what was measured, then what it is aimed at."""
        for window in WINDOWS:
            yield from self.paced[window].figures(f"{name}, window {window}, paced")
            yield from self.unpaced[window].figures(f"{name}, window {window}, unpaced")
            yield from self.npm[window].figures(f"{name}, window {window}, npm")
        for pace, ours in (("paced", self.paced), ("unpaced", self.unpaced)):
            for window in WINDOWS:
                yield Figure(
                    f"{name}, window {window}, {pace}: time to npm's",
                    "×",
                    _quotients(ours[window].seconds, self.npm[window].seconds),
                    (Aim.AT_MOST, 1.0),
                )
            yield Figure(
                f"{name}, window {FULL_WINDOW}, {pace}: processor time to npm's",
                "×",
                _quotients(ours[FULL_WINDOW].whole, self.npm[FULL_WINDOW].whole),
                (Aim.AT_MOST, MOST_OF_NPM),
            )


def reading() -> Iterator[Figure]:
    """Both clients at a Node hoster, then at ours, which has cloned the Node hoster's feed."""
    with tempfile.TemporaryDirectory(prefix="datdot-bench-") as name:
        folder = Path(name)
        with node("hoster.mjs", "--chunks", str(CHUNKS), "--size", str(CHUNK_BYTES)) as listening:
            key, port = listening["key"], listening["port"]
            theirs = Hoster.read(port, key)
            source = ["--from", f"127.0.0.1:{port}", "--store", str(folder / "store")]
            finish([sys.executable, "-m", "offchain_worker.cli", "feed", "clone", key, *source])
        write_key(folder / "noise.json", KeyKind.NOISE)
        with _serving(folder) as listening:
            ours = Hoster.read(listening["port"], key)
    yield from theirs.figures("Node hoster")
    yield from ours.figures("own hoster")
    yield from ours.floor.figures("floor: decrypt and hash")
    title = f"own hoster, window {FULL_WINDOW}, {{}}: speed to the floor's"
    floor = ours.floor.seconds
    # Whoever takes npm's time on purpose cannot be as fast as the machine allows.
    yield Figure(title.format("paced"), "×", _quotients(floor, ours.paced[FULL_WINDOW].seconds))
    yield Figure(
        title.format("unpaced"),
        "×",
        _quotients(floor, ours.unpaced[FULL_WINDOW].seconds),
        (Aim.AT_LEAST, LEAST_OF_FLOOR),
    )


def auditing() -> Iterator[Figure]:
    """The memory of one audit, in processes that have audited nothing before."""
    peaks = []
    with tempfile.TemporaryDirectory(prefix="datdot-bench-") as name:
        folder = Path(name)
        feed = _make_feed(folder)
        write_key(folder / "noise.json", KeyKind.NOISE)
        noise_key = read_key_pair(folder / "noise.json", KeyKind.NOISE).public
        with _serving(folder) as listening:
            command = [sys.executable, "-m", "benchmarks.audit_memory", str(listening["port"])]
            for _ in range(RUNS):
                audit = finish([*command, feed.hex(), noise_key.hex(), str(AUDITED_CHUNKS)])
                peaks.append((audit.said["peak"] - audit.said["idle"]) / 1e6)
    aim = (Aim.AT_MOST, MOST_AUDIT_MB)
    yield Figure("audit of 600 chunks, windowed: memory above idle", "MB", peaks, aim)


def _serving(folder: Path) -> AbstractContextManager[dict[str, Any]]:
    store, key = str(folder / "store"), str(folder / "noise.json")
    serve = ["feed", "serve", "--store", store, "--key", key, "--listen", "127.0.0.1:0"]
    return datdot(*serve, until="hoster.listening")


def _make_feed(folder: Path) -> bytes:
    """A feed of noise, complete in `folder/store`; its key."""
    source, store = folder / "noise.bin", folder / "store"
    source.write_bytes(random.Random(0).randbytes(AUDITED_CHUNKS * CHUNK_BYTES))
    with Library(store) as library:
        return import_path(library, source, KeyPair.generate(), chunk_size=CHUNK_BYTES).key


def _read(command: list[str], readings: Readings) -> None:
    """Let a client read the feed, and add what it took."""
    client = finish(command)
    if client.said["bytes"] != BYTES:
        raise RuntimeError(f"{client.said['bytes']} of {BYTES} bytes came")
    readings.seconds.append(client.said["seconds"])
    readings.reading.append(client.said["cpuSeconds"])
    readings.whole.append(client.cpu_seconds)


def _floor(readings: Readings) -> None:
    """Decrypt and hash as many chunks, and add what it took."""
    key, chunk = bytes(32), random.Random(0).randbytes(CHUNK_BYTES)
    sealer = Sealer(key)
    opener = Opener(key, sealer.header)
    seconds = cpu_seconds = 0.0
    for _ in range(CHUNKS):
        # Sealed one by one, and not counted, as received bytes are in the cache as well.
        sealed = bytes(sealer.frames([chunk])[LENGTH_BYTES:])
        begun, cpu_begun = time.perf_counter(), time.process_time()
        hashlib.blake2b(opener.open(sealed), digest_size=32).digest()
        seconds += time.perf_counter() - begun
        cpu_seconds += time.process_time() - cpu_begun
    readings.seconds.append(seconds)
    readings.reading.append(cpu_seconds)
    readings.whole.append(cpu_seconds)


def _for_a_gigabyte(seconds: list[float]) -> list[float]:
    return [one / (BYTES / 1e9) for one in seconds]


def _quotients(ours: list[float], others: list[float]) -> list[float]:
    """Of the samples, run by run: what slows the machine down for a while slows both."""
    return [one / other for one, other in zip(ours, others, strict=True)]
