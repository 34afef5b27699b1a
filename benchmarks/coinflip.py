"""The coinflip: how long it takes, what it costs each peer, and what a flood costs.

Every attestor is a process of its own (`flip_member`), with its journal on disk, on loopback. The
flooding peer is this process: it holds a roster key and sends whatever it likes.
"""

from __future__ import annotations

import hashlib
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
from benchmarks.flip_member import flip_of, keypairs
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
from offchain_worker.hypercore.secret_stream import SEAL_BYTES, SecretStream
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.roster import ENVELOPE, PROTOCOL

RUNS = 7
SIZES = (10, 20, 32)
TIMED = (10, 32)
FLOODED = 10
FLOOD_BYTES = 8_000_000
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
        pair: of roster member 0, who sends it.
    """

    name: str
    frames: Callable[[Flip, int, KeyPair], list[bytes]]


def _messages(bodies: Sequence[bytes], channel: int) -> list[bytes]:
    return [encode_message(channel, ENVELOPE, body) for body in bodies]


def _large(_flip: Flip, channel: int, _pair: KeyPair) -> list[bytes]:
    return _messages([random.Random(0).randbytes(MAX_MESSAGE_BYTES)], channel)


def _small(_flip: Flip, channel: int, _pair: KeyPair) -> list[bytes]:
    return _messages([b"\xff" * 40], channel)


def _batched(_flip: Flip, channel: int, _pair: KeyPair) -> list[bytes]:
    return [encode_batch(channel, [(ENVELOPE, b"\xff")] * 20_000)]


def _forged(flip: Flip, channel: int, _pair: KeyPair) -> list[bytes]:
    source = random.Random(0)
    bodies = []
    for number in range(1_000):
        kind = (Kind.COMMIT, Kind.ECHO, Kind.REVEAL)[number % 3]
        body = source.randbytes(SIGNED_BODY_BYTES[kind])
        made = SignedEnvelope.sign(kind, flip.topic, 1, body, keypairs(FLOODED)[2])
        bodies.append(made.raw)
    return _messages(bodies, channel)


def _needs(flip: Flip, channel: int, _pair: KeyPair) -> list[bytes]:
    everybody = frozenset(range(flip.size))
    return _messages([encode(Need(Kind.COMMIT, everybody), flip, 0)], channel)


def _opens(_flip: Flip, _channel: int, _pair: KeyPair) -> list[bytes]:
    mux = Mux()
    return [mux.open("x", number.to_bytes(2, "big"), b"")[1] for number in range(1_000)][1:]


def _keep_alives(_flip: Flip, _channel: int, _pair: KeyPair) -> list[bytes]:
    return [b""]


FLOODS = (
    Flood("64 KiB of noise", _large),
    Flood("40 bytes of noise", _small),
    Flood("1 byte each, in batches", _batched),
    Flood("forged signatures", _forged),
    Flood("needs", _needs),
    Flood("opened channels", _opens),
    Flood("keep-alives", _keep_alives),
)


def floods() -> Iterator[Figure]:
    """What each flood costs the peer that is flooded, once, until it has cut the flooder off.

    The floor is decryption and BLAKE2b of what it read, frame by frame.
    """
    with members(FLOODED, [FLOODED - 1]) as (victim,):
        challenge = 0
        quiet = [_flood(victim, challenge := challenge + 1, None) for _ in range(RUNS)]
        handshake_ms = statistics.median(cut.cpu_ms for cut in quiet)
        yield Figure("coinflip: a peer connects", "ms", [cut.cpu_ms for cut in quiet])
        for flood in FLOODS:
            cuts = [_flood(victim, challenge := challenge + 1, flood) for _ in range(RUNS)]
            beyond = [cut.cpu_ms - handshake_ms - cut.floor_ms for cut in cuts]
            yield Figure(f"flood, {flood.name}: read", "MB", [cut.read_mb for cut in cuts])
            yield Figure(f"flood, {flood.name}: floor", "ms", [cut.floor_ms for cut in cuts])
            yield Figure(f"flood, {flood.name}: beyond it", "ms", beyond)
            yield Figure(
                f"flood, {flood.name}: per MB sent",
                "ms",
                [ms / cut.sent_mb for ms, cut in zip(beyond, cuts, strict=True)],
                (Aim.AT_MOST, 1),
            )


@dataclass(frozen=True)
class Cut:
    """One flood until its end.

    Attributes:
        sent_mb: what the flooder could write until it was cut off, 10⁶ bytes.
        read_mb: what of it was read.
        cpu_ms: of the flooded process, from the start of its run.
        floor_ms: of decrypting and hashing as much.
    """

    sent_mb: float
    read_mb: float
    cpu_ms: float
    floor_ms: float


def _flood(victim: Member, challenge: int, flood: Flood | None) -> Cut:
    pairs = keypairs(FLOODED)
    flip = flip_of(pairs, challenge)
    victim.tell(challenge=challenge, ports=[victim.port] * FLOODED)
    with _connect(victim.port, pairs[0], pairs[-1].public) as (link, secret):
        mux = Mux()
        channel, opening = mux.open(PROTOCOL, flip.topic, b"")
        link.sendall(secret.encrypt(opening))
        _await_channel(link, secret)
        sent, size = 0, 0.0
        if flood is not None:
            plaintexts = flood.frames(flip, channel.local_id, pairs[0])
            size = statistics.fmean(map(len, plaintexts)) + SEAL_BYTES + 3
            repeats = int(FLOOD_BYTES / size / len(plaintexts)) + 1
            wire = b"".join(
                secret.encrypt(plaintext) for _ in range(repeats) for plaintext in plaintexts
            )
            sent = _pour(link, wire)
            if sent == len(wire):
                raise RuntimeError(f"{flood.name}: {sent} bytes were taken, and no end")
    victim.tell()
    seen = victim.answer()
    floor_ms = _floor(int(seen["received"] / size), int(size)) if size else 0.0
    return Cut(sent / MEGABYTE, seen["received"] / MEGABYTE, seen["cpu_s"] * 1_000, floor_ms)


@contextmanager
def _connect(
    port: int, pair: KeyPair, expected: bytes
) -> Iterator[tuple[socket.socket, SecretStream]]:
    """Be roster member 0; tries again until the run has begun."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as link:
            secret = SecretStream(initiator=True, keypair=pair, ephemeral=KeyPair.generate())
            while not secret.opened:
                link.sendall(secret.data_to_send())
                try:
                    data = link.recv(SEND_BYTES)
                except ConnectionError:
                    break
                if not data:
                    break
                secret.receive(data)
            else:
                link.sendall(secret.data_to_send())
                if secret.session is None or secret.session.remote_public_key != expected:
                    raise RuntimeError("another member listens there")
                yield link, secret
                return
        if time.monotonic() > deadline:
            raise RuntimeError("the flooded member lets nobody in")
        time.sleep(0.05)


def _await_channel(link: socket.socket, secret: SecretStream) -> None:
    """Until the answer to the opened channel came, with the greeting behind it."""
    while not secret.receive(link.recv(SEND_BYTES)):
        pass


def _pour(link: socket.socket, wire: bytes) -> int:
    """Send until the other side has had enough; returns how much was written."""
    sent = 0
    with memoryview(wire) as view:
        while sent < len(wire):
            try:
                sent += link.send(view[sent : sent + SEND_BYTES])
            except ConnectionError:
                break
    return sent


def _floor(frames: int, size: int) -> float:
    """Milliseconds of processor time to decrypt and hash so many frames of so many bytes."""
    key = bindings.crypto_secretstream_xchacha20poly1305_keygen()
    push = bindings.crypto_secretstream_xchacha20poly1305_state()
    header = bindings.crypto_secretstream_xchacha20poly1305_init_push(push, key)
    plaintext = bytes(max(0, size - SEAL_BYTES - 3))
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
