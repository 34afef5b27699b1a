"""The coinflip: how long it takes, what it costs each peer, and what a flood costs.

The figures in one-way delays are the simulator's. For all others every attestor is a process of its
own (`flip_member`), with its journal on disk, on loopback; the flooding peer is this process, which
holds a roster key and sends whatever it likes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from nacl import bindings

from benchmarks.figures import Aim, Figure
from benchmarks.flip_member import LOOPBACK, flip_of, keypairs
from benchmarks.processes import END_SECONDS
from offchain_worker.coinflip.envelope import (
    MAX_MESSAGE_BYTES,
    SIGNED_BODY_BYTES,
    Kind,
    Need,
    SignedEnvelope,
    encode,
)
from offchain_worker.coinflip.topic import Flip
from offchain_worker.hypercore.protomux import Mux, encode_batch, encode_message
from offchain_worker.hypercore.sealing import LENGTH_BYTES, SEAL_BYTES
from offchain_worker.hypercore.secret_stream import SecretStream
from offchain_worker.keys import KeyPair
from offchain_worker.simulation.latency import measure_latency
from offchain_worker.swarm.admission import OVERALL
from offchain_worker.swarm.roster import ENVELOPE, PROTOCOL

RUNS = 7
SIZES = (10, 20, 32)
TIMED = (10, 32)
SIMULATED = 10
DELAY_MS = 100
MOST_DELAYS = 3.2
MOST_MS = 15.0
FLOODED = 10
FLOOD_BYTES = 10_000_000
SUSTAINED_SECONDS = 10.0
SUSTAINED_RUNS = 3
KNOCKS = 1_000
STRANGER = KeyPair.from_seed(b"s" * 32)
MEGABYTE = 1_000_000
SEND_BYTES = 64 * 1_024
PATIENCE_SECONDS = 60.0


class Member:
    """An attestor's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port: int = self.answer()["port"]

    def tell(self, **fields: Any) -> None:
        """Write it one line."""
        if self._process.stdin is None:
            raise RuntimeError("a member is started with a pipe")
        self._process.stdin.write(json.dumps(fields) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Its next line.

        Raises:
            RuntimeError: it ended.
        """
        if self._process.stdout is None:
            raise RuntimeError("a member is started with a pipe")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a member ended before it answered")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def members(size: int, indices: Sequence[int]) -> Iterator[list[Member]]:
    """The processes of some members of a roster; they end with the block."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="datdot-bench-"))
        command = [sys.executable, "-m", "benchmarks.flip_member", str(size)]
        processes = [
            stack.enter_context(_process([*command, str(index), folder])) for index in indices
        ]
        yield [Member(process) for process in processes]


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass
class Rounds:
    """What was seen of a number of flips, one sample for each.

    Attributes:
        result_ms: from the last connection between any two to the last peer's R.
        cpu_ms: of one peer, from its start of the run to its R, handshakes included; the mean.
    """

    result_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


def rounds() -> Iterator[Figure]:
    """Flips among 10, 20 and 32 processes."""
    for size in SIZES:
        seen = _rounds(size)
        name = f"coinflip of {size}"
        if size in TIMED:
            yield Figure(f"{name}: connected to R", "ms", seen.result_ms)
        yield Figure(f"{name}: processor of a peer", "ms", seen.cpu_ms)


def delays() -> Iterator[Figure]:
    """R in one-way delays, on a virtual clock, and what a member computes for it."""
    runs = [measure_latency(SIMULATED, DELAY_MS, seed) for seed in range(RUNS)]
    name = f"coinflip of {SIMULATED}, simulated"
    yield Figure(
        f"{name}: to R", "delays", [run.delays for run in runs], (Aim.AT_MOST, MOST_DELAYS)
    )
    yield Figure(
        f"{name}: processor of a member", "ms", [run.cpu_ms for run in runs], (Aim.AT_MOST, MOST_MS)
    )


def _rounds(size: int) -> Rounds:
    seen = Rounds()
    with members(size, range(size)) as all_members:
        ports = [member.port for member in all_members]
        for challenge in range(RUNS):
            for member in all_members:
                member.tell(challenge=challenge, ports=ports)
            answers = [member.answer() for member in all_members]
            for member in all_members:
                member.tell()
                member.answer()
            if not all(answer["success"] for answer in answers):
                raise RuntimeError(f"a flip of {size} honest members came to nothing")
            connected = max(answer["connected_at"] for answer in answers)
            result = max(answer["exit_at"] for answer in answers)
            seen.result_ms.append((result - connected) * 1_000)
            seen.cpu_ms.append(statistics.mean(answer["cpu_s"] for answer in answers) * 1_000)
    return seen


# Floods


@dataclass(frozen=True)
class Flood:
    """A way to be a nuisance: the plaintexts of frames, sent over and over again.

    Attributes:
        name: what it is.
        frames: given the flip and the own channel's number.
        is_refused: whether the messages are no valid ones.
    """

    name: str
    frames: Callable[[Flip, int], list[bytes]]
    is_refused: bool = True


def _messages(bodies: Sequence[bytes], channel: int) -> list[bytes]:
    return [encode_message(channel, ENVELOPE, body) for body in bodies]


def _large(_flip: Flip, channel: int) -> list[bytes]:
    return _messages([random.Random(0).randbytes(MAX_MESSAGE_BYTES)], channel)


def _small(_flip: Flip, channel: int) -> list[bytes]:
    return _messages([b"\xff" * 40], channel)


def _batched(_flip: Flip, channel: int) -> list[bytes]:
    return [encode_batch(channel, [(ENVELOPE, b"\xff")] * 20_000)]


def _forged(flip: Flip, channel: int) -> list[bytes]:
    source = random.Random(0)
    bodies = []
    for number in range(1_000):
        kind = (Kind.COMMIT, Kind.ECHO, Kind.REVEAL)[number % 3]
        body = source.randbytes(SIGNED_BODY_BYTES[kind])
        made = SignedEnvelope.sign(kind, flip.topic, 1, body, keypairs(FLOODED)[2])
        bodies.append(made.raw)
    return _messages(bodies, channel)


def _needs(flip: Flip, channel: int) -> list[bytes]:
    everybody = frozenset(range(flip.size))
    return _messages([encode(Need(Kind.COMMIT, everybody), flip, 0)], channel)


def _opens(_flip: Flip, _channel: int) -> list[bytes]:
    mux = Mux()
    return [mux.open("x", number.to_bytes(2, "big"), b"")[1] for number in range(1_000)][1:]


def _keep_alives(_flip: Flip, _channel: int) -> list[bytes]:
    return [b""]


FLOODS = (
    Flood("64 KiB of noise", _large),
    Flood("40 bytes of noise", _small),
    Flood("1 byte each, in batches", _batched),
    Flood("forged signatures", _forged),
    Flood("valid pulls", _needs, is_refused=False),
    Flood("opened channels", _opens),
    Flood("keep-alives", _keep_alives),
)


def floods() -> Iterator[Figure]:
    """What a flood of 10 MB by a roster member costs the peer that it goes to.

    The floor is decryption and BLAKE2b of what was read until the cut, frame by frame; what is
    beyond it is one price for the whole flood, since nothing is read after the cut.
    """
    with members(FLOODED, [FLOODED - 1]) as (victim,):
        challenges = itertools.count()
        quiet = [_flood(victim, next(challenges), None) for _ in range(RUNS)]
        connecting_ms = statistics.median(cut.cpu_ms for cut in quiet)
        yield Figure("coinflip: a peer comes and goes", "ms", [cut.cpu_ms for cut in quiet])
        for flood in FLOODS:
            cuts = [_flood(victim, next(challenges), flood) for _ in range(RUNS)]
            name = f"flood, {flood.name}"
            yield Figure(f"{name}: read", "kB", [cut.read_mb * 1_000 for cut in cuts])
            yield Figure(f"{name}: floor", "ms", [cut.floor_ms for cut in cuts])
            beyond = [
                (cut.cpu_ms - connecting_ms - cut.floor_ms) / (FLOOD_BYTES / MEGABYTE)
                for cut in cuts
            ]
            aim = (Aim.AT_MOST, 1.0) if flood.is_refused else None
            yield Figure(f"{name}: beyond the floor", "ms/MB", beyond, aim)
        shares = [_sustained(victim, next(challenges)) for _ in range(SUSTAINED_RUNS)]
        yield Figure("flood, again and again: processor", "ms/s", shares)


def strangers() -> Iterator[Figure]:
    """What somebody without a roster key costs, with a handshake and without."""
    with members(FLOODED, [FLOODED - 1]) as (victim,):
        handshakes, refusals = [], []
        for challenge in range(RUNS):
            begin = {"challenge": challenge, "ports": [victim.port] * FLOODED, "crowd": True}
            victim.tell(**begin)
            for _ in range(OVERALL.burst):
                _knock(victim.port)
            victim.tell()
            seen = victim.answer()
            handshakes.append(seen["cpu_s"] * 1_000 / seen["refused"]["WrongIdentity"])
            victim.tell(**begin)
            for _ in range(KNOCKS):
                _knock(victim.port)
            victim.tell()
            seen = victim.answer()
            shaken = seen["refused"].get("WrongIdentity", 0)
            cpu_ms = seen["cpu_s"] * 1_000 - shaken * handshakes[-1]
            refusals.append(cpu_ms / seen["refused"]["rate"])
            # Until the bucket of all strangers is full again.
            time.sleep(OVERALL.burst / OVERALL.per_second)
        yield Figure("stranger: a handshake, refused", "ms", handshakes)
        yield Figure("stranger: refused at once", "ms", refusals)


@dataclass(frozen=True)
class Cut:
    """One flood until its end.

    Attributes:
        read_mb: what of it was read, 10⁶ bytes.
        cpu_ms: of the flooded process, from the start of its run.
        floor_ms: of decrypting and hashing as much.
    """

    read_mb: float
    cpu_ms: float
    floor_ms: float


def _flood(victim: Member, challenge: int, flood: Flood | None) -> Cut:
    pairs = keypairs(FLOODED)
    flip = flip_of(pairs, challenge)
    victim.tell(challenge=challenge, ports=[victim.port] * FLOODED)
    size = 0.0
    with _connect(victim.port, pairs[0]) as (link, secret):
        channel = _open(link, secret, flip)
        if flood is not None:
            plaintexts = flood.frames(flip, channel)
            size = statistics.fmean(map(len, plaintexts)) + SEAL_BYTES + LENGTH_BYTES
            _pour(link, secret, plaintexts, size)
    if flood is None:
        # It needs a moment to see that the peer has left.
        time.sleep(0.05)
    victim.tell()
    seen = victim.answer()
    floor_ms = _floor(int(seen["received"] / size), int(size)) if size else 0.0
    return Cut(seen["received"] / MEGABYTE, seen["cpu_s"] * 1_000, floor_ms)


def _sustained(victim: Member, challenge: int) -> float:
    """Ms of processor a second, for a member that comes again as soon as it is let in."""
    pairs = keypairs(FLOODED)
    flip = flip_of(pairs, challenge)
    victim.tell(challenge=challenge, ports=[victim.port] * FLOODED)
    end = time.monotonic() + SUSTAINED_SECONDS
    while time.monotonic() < end:
        try:
            with _connect(victim.port, pairs[0], end) as (link, secret):
                plaintexts = _forged(flip, _open(link, secret, flip))
                _pour(link, secret, plaintexts, len(plaintexts[0]))
        except TimeoutError:
            break
    victim.tell()
    cpu_s: float = victim.answer()["cpu_s"]
    return cpu_s * 1_000 / SUSTAINED_SECONDS


def _knock(port: int) -> None:
    """Shake hands with a key of no roster, and wait for the end."""
    with socket.create_connection((LOOPBACK, port), PATIENCE_SECONDS) as link:
        if _shake_hands(link, STRANGER) is not None:
            raise RuntimeError("a stranger was let in")


@contextmanager
def _connect(
    port: int, pair: KeyPair, deadline: float | None = None
) -> Iterator[tuple[socket.socket, SecretStream]]:
    """Connect as a roster member; tries again until it is let in.

    Raises:
        TimeoutError: that did not happen before `deadline`.
    """
    deadline = deadline or time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with socket.create_connection((LOOPBACK, port), PATIENCE_SECONDS) as link:
            secret = _shake_hands(link, pair)
            if secret is not None:
                yield link, secret
                return
        time.sleep(0.02)
    raise TimeoutError("the member lets nobody in")


def _shake_hands(link: socket.socket, pair: KeyPair) -> SecretStream | None:
    """The initiator's side of a handshake; None when the other side ends it."""
    secret = SecretStream(initiator=True, keypair=pair, ephemeral=KeyPair.generate())
    try:
        while not secret.opened:
            link.sendall(secret.data_to_send())
            data = link.recv(SEND_BYTES)
            if not data:
                return None
            secret.receive(data)
        link.sendall(secret.data_to_send())
    except ConnectionError:
        return None
    return secret


def _open(link: socket.socket, secret: SecretStream, flip: Flip) -> int:
    """Open the coinflip's channel, wait for the answer; the own number of the channel."""
    channel, opening = Mux().open(PROTOCOL, flip.topic, b"")
    link.sendall(secret.encrypt(opening))
    while not secret.receive(link.recv(SEND_BYTES)):
        pass
    return channel.local_id


def _pour(
    link: socket.socket, secret: SecretStream, plaintexts: Sequence[bytes], size: float
) -> None:
    """Send 10 MB of frames of `size` bytes on average, until the other side has had enough."""
    repeats = int(FLOOD_BYTES / size / len(plaintexts)) + 1
    wire = b"".join(secret.encrypt(frame) for _ in range(repeats) for frame in plaintexts)
    try:
        link.sendall(wire)
    except ConnectionError:
        return
    raise RuntimeError(f"{len(wire)} bytes were taken, and no end")


def _floor(frames: int, size: int) -> float:
    """Milliseconds of processor time to decrypt and hash so many frames of so many bytes."""
    key = bindings.crypto_secretstream_xchacha20poly1305_keygen()
    push = bindings.crypto_secretstream_xchacha20poly1305_state()
    header = bindings.crypto_secretstream_xchacha20poly1305_init_push(push, key)
    plaintext = bytes(max(0, size - SEAL_BYTES - LENGTH_BYTES))
    sealed = [
        bindings.crypto_secretstream_xchacha20poly1305_push(push, plaintext) for _ in range(frames)
    ]
    pull = bindings.crypto_secretstream_xchacha20poly1305_state()
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(pull, header, key)
    begun = time.process_time()
    for message in sealed:
        opened, _tag = bindings.crypto_secretstream_xchacha20poly1305_pull(pull, message)
        hashlib.blake2b(opened, digest_size=32).digest()
    return (time.process_time() - begun) * 1_000
