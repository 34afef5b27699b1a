"""What the fuzzer starts from: the shared vectors, and runs of real machines, recorded."""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from chain_types.report import (
    BadReveal,
    Equivocation,
    FalseReceipt,
    Node,
    encode_proof,
)
from offchain_worker.coinflip.effects import Effect, Send
from offchain_worker.coinflip.envelope import (
    BulkData,
    BulkRequest,
    Bundle,
    EvidenceMessage,
    Hello,
    Kind,
    Need,
    Ping,
    Pong,
    SignedEnvelope,
    encode,
)
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.schedule import Schedule, Timing
from offchain_worker.coinflip.topic import Flip
from offchain_worker.keys import KeyPair

VECTORS = Path(__file__).parents[3] / "vectors" / "challenge.json"
T0 = 1_800_000_000_000
TIMING = Timing(block_ms=500, join_ms=1_500, delta_ms=200, finality_ms=0, flip_ms=5_000)
LOSS = 0.1
RUNS = (3, 4, 5, 9, 10)
"""Sizes of the recorded rosters; 9 and 10 have bitmaps of two bytes."""


@dataclass(frozen=True)
class Input:
    """One call of a machine: the method, the time, and what else it takes."""

    method: str
    now_ms: int
    arguments: tuple[Any, ...] = ()

    def apply(self, machine: CoinflipMachine) -> list[Effect]:
        """Make the call."""
        effects: list[Effect] = getattr(machine, self.method)(self.now_ms, *self.arguments)
        return effects


@dataclass(frozen=True)
class Recording:
    """One run: what each member's machine was told, in order.

    Attributes:
        flip: topic and roster.
        pairs: the roster's key pairs, so that a mutation can be signed.
        inputs: by member.
        messages: (sender, bytes) of everything that was on its way.
    """

    flip: Flip
    pairs: tuple[KeyPair, ...]
    secrets: tuple[FlipSecrets, ...]
    inputs: tuple[list[Input], ...]
    messages: list[tuple[int, bytes]]

    def machine(self, member: int, count: int, *, cautious: bool = False) -> CoinflipMachine:
        """That member's machine after so many inputs; a cautious one asks its peers first."""
        pair, secrets = self.pairs[member], self.secrets[member]
        machine = _machine(self.flip, pair, secrets, cautious=cautious)
        for step in self.inputs[member][:count]:
            step.apply(machine)
        return machine


@dataclass(frozen=True)
class Corpus:
    """Everything there is to start from.

    Attributes:
        recordings: runs.
        by_kind: messages of recorded runs and vectors by kind: flip, sender, bytes.
        proofs: arguments of `report_fraud`, each with the flip that it is about.
    """

    recordings: tuple[Recording, ...]
    by_kind: dict[Kind, list[tuple[Flip, int, bytes]]] = field(default_factory=dict)
    proofs: list[tuple[Flip, bytes]] = field(default_factory=list)


@lru_cache(maxsize=1)
def corpus() -> Corpus:
    """The corpus; the same in every process."""
    made = Corpus(tuple(_record(size, seed=size) for size in RUNS))
    for recording in made.recordings:
        for sender, data in recording.messages:
            _file(made, recording.flip, sender, data)
        _file_the_rest(made, recording)
    for vector in json.loads(VECTORS.read_text(encoding="utf-8"))["flips"]:
        _file_vector(made, vector)
    missing = set(Kind) - set(made.by_kind)
    if missing:
        raise RuntimeError(f"nothing to start from for {missing}")
    return made


def _file(made: Corpus, flip: Flip, sender: int, data: bytes) -> None:
    made.by_kind.setdefault(Kind(data[0]), []).append((flip, sender, data))


def _file_the_rest(made: Corpus, recording: Recording) -> None:
    """Kinds that a run does not send by itself, and proofs of each kind."""
    flip, pairs = recording.flip, recording.pairs

    def signed(kind: Kind, body: bytes, index: int = 0) -> SignedEnvelope:
        return SignedEnvelope.sign(kind, flip.topic, index, body, pairs[index])

    commits = [signed(Kind.COMMIT, bytes([number]) * 64) for number in range(2)]
    reveal = signed(Kind.REVEAL, b"\3" * 64)
    everybody = frozenset(range(flip.size))
    full = tuple(signed(Kind.ECHO, bytes([i]) * 32, i) for i in range(flip.size)) * 4
    for message in (
        Hello(0, bytes(32)),
        Need(Kind.ECHO, everybody),
        Need(Kind.REVEAL, frozenset({flip.size - 1})),
        Bundle(tuple(commits)),
        Bundle(full),
        Ping(bytes(16), b"\1" * 32),
        Pong(bytes(16), b"\1" * 32),
        BulkRequest(1 << 20),
        BulkData(bytes(65_536)),
        BulkData(b"?"),
    ):
        _file(made, flip, 1, encode(message, flip, 1))
    about = flip.challenge_id, flip.attempt
    receipt = FalseReceipt(
        hoster=b"\4" * 32,
        receipt=b"\1" * 300,
        index=3,
        leaf=b"\2" * 32,
        sizes=(1, 2, 3),
        nodes=(Node(b"\3" * 32, 9),),
    )
    for proof in (
        Equivocation(*about, commits[0].raw, commits[1].raw),
        BadReveal(*about, commits[0].raw, reveal.raw),
        receipt,
    ):
        encoded = encode_proof(proof)
        made.proofs.append((flip, encoded))
        if len(encoded) <= 512:
            _file(made, flip, 1, encode(EvidenceMessage(encoded), flip, 1))


def _file_vector(made: Corpus, vector: dict[str, Any]) -> None:
    flip = Flip(
        genesis=bytes.fromhex(vector["genesis"]),
        challenge_id=int(vector["challenge_id"]),
        start_block_hash=bytes.fromhex(vector["start_block_hash"]),
        attempt=vector["attempt"],
        roster=tuple(bytes.fromhex(member["public_key"]) for member in vector["members"]),
    )
    for index, member in enumerate(vector["members"]):
        for name in ("commit", "echo", "give_up", "reveal"):
            _file(made, flip, index, bytes.fromhex(member[name]))
        pair = Equivocation(
            flip.challenge_id,
            flip.attempt,
            bytes.fromhex(member["echo"]),
            bytes.fromhex(member["give_up"]),
        )
        made.proofs.append((flip, encode_proof(pair)))


def _machine(
    flip: Flip, pair: KeyPair, secrets: FlipSecrets, *, cautious: bool = False
) -> CoinflipMachine:
    return CoinflipMachine(flip, pair, secrets, Schedule.first(TIMING, T0), cautious=cautious)


def _record(size: int, seed: int) -> Recording:
    """A run with losses and delays, in which the last member commits twice and reveals falsely."""
    source = random.Random(seed)
    made = (KeyPair.from_seed(source.randbytes(32)) for _ in range(size))
    pairs = tuple(sorted(made, key=lambda pair: pair.public))
    roster = tuple(pair.public for pair in pairs)
    flip = Flip(source.randbytes(32), size, source.randbytes(32), 0, roster)
    secrets = tuple(FlipSecrets.generate(source.randbytes) for _ in pairs)
    machines = [_machine(flip, pair, own) for pair, own in zip(pairs, secrets, strict=True)]
    recording = Recording(flip, pairs, secrets, tuple([] for _ in pairs), [])
    queue: list[tuple[int, int, Callable[[int], None]]] = []
    count = 0

    def at(when: int, action: Callable[[int], None]) -> None:
        nonlocal count
        count += 1
        heapq.heappush(queue, (when, count, action))

    def tell(member: int, now: int, method: str, *arguments: Any) -> None:
        step = Input(method, now, arguments)
        recording.inputs[member].append(step)
        for effect in step.apply(machines[member]):
            if isinstance(effect, Send):
                deliver(member, effect.peer, effect.data, now)

    def deliver(sender: int, to: int, data: bytes, now: int) -> None:
        recording.messages.append((sender, data))
        if source.random() >= LOSS:
            at(
                now + source.randrange(1, 60),
                lambda later: tell(to, later, "received", sender, data),
            )

    def keep_time(member: int, now: int) -> None:
        tell(member, now, "tick")
        wake = machines[member].wake_ms
        if wake is not None:
            at(max(wake, now + 1), lambda later: keep_time(member, later))

    def misbehave(now: int) -> None:
        last = size - 1
        for kind in (Kind.COMMIT, Kind.REVEAL):
            body = source.randbytes(64)
            lie = SignedEnvelope.sign(kind, flip.topic, last, body, pairs[last])
            for peer in range(last):
                deliver(last, peer, lie.raw, now)

    for member in range(size):
        tell(member, T0, "start")
    for member in range(size):
        for peer in range(size):
            if peer != member:
                tell(member, T0 + 1, "connected", peer)
        at(T0 + 2, lambda now, member=member: keep_time(member, now))  # type: ignore[misc]
        at(
            T0 + 600,
            lambda now, member=member: tell(  # type: ignore[misc]
                member, now, "ping", (member + 1) % size, bytes(16)
            ),
        )
    # The smaller rosters come to R first; in the larger ones the lie comes before the echo.
    at(T0 + (700 if size < 6 else 20), misbehave)
    while queue:
        now, _, action = heapq.heappop(queue)
        action(now)
    return recording
