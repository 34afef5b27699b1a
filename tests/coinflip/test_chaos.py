"""Random dishonest seats on random bad networks: A, B, F, T and U hold in every run.

A small part of what the simulator will do at length; one seed is one run.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from offchain_worker.coinflip import effects as fx
from offchain_worker.coinflip.envelope import (
    Bundle,
    EnvelopeError,
    Kind,
    Need,
    SignedEnvelope,
    decode,
    encode,
)
from offchain_worker.coinflip.evidence import verify_evidence
from offchain_worker.coinflip.flip_secrets import FlipSecrets

RUNS = int(os.environ.get("DATDOT_CHAOS_RUNS", "150"))


def chaotic_seat(tools: Any) -> Any:
    """Signs and says anything that its key allows, to anybody, at any time."""

    class Chaotic(tools.Scripted):
        def start(self) -> None:
            dice = self.network.random
            self.lives = [self.secrets, FlipSecrets.generate(dice.randbytes)]
            self.heard: list[SignedEnvelope] = []
            span = self.network.schedule.end_ms - self.network.now
            early = self.network.now + dice.randrange(400)
            # Mostly it plays along at first, so that runs get far enough to be broken.
            faithful = dice.random() < 0.7
            self.network.at(early, lambda: self.tell(self.others(), self.commit()))
            for _ in range(dice.randrange(4 if faithful else 30)):
                when = self.network.now + dice.randrange(span)
                self.network.at(when, self.misbehave)

        def received(self, peer: int, data: bytes) -> None:
            try:
                message = decode(data, self.network.flip, peer)
            except EnvelopeError:
                return
            found = message.envelopes if isinstance(message, Bundle) else (message,)
            for envelope in found:
                if isinstance(envelope, SignedEnvelope):
                    self.heard.append(envelope)
                    # Bounded, or dishonest seats answer each other for ever.
                    if len(self.heard) < 60:
                        self.follow(envelope)
            if (
                isinstance(message, Need)
                and len(self.heard) < 300
                and self.network.random.random() < 0.5
            ):
                self.relay(peer)

        def follow(self, envelope: SignedEnvelope) -> None:
            dice = self.network.random
            if envelope.kind is Kind.ECHO and dice.random() < 0.5:
                some = dice.sample(self.others(), dice.randrange(len(self.others()) + 1))
                self.tell(some, self.sign(Kind.ECHO, envelope.body))
            elif envelope.kind is Kind.REVEAL and dice.random() < 0.5:
                some = dice.sample(self.others(), dice.randrange(len(self.others()) + 1))
                self.tell(some, self.sign(Kind.REVEAL, self.secrets.reveal_body()))

        def relay(self, peer: int) -> None:
            dice = self.network.random
            if self.heard:
                some = tuple(dice.choices(self.heard, k=dice.randrange(1, 6)))
                data = encode(Bundle(some), self.network.flip, self.index)
                self.network.send(self.index, peer, data)

        def misbehave(self) -> None:
            dice = self.network.random
            some = dice.sample(self.others(), dice.randrange(1, len(self.others()) + 1))
            choice = dice.randrange(7)
            if choice == 0:
                self.tell(some, self.commit(dice.choice(self.lives)))
            elif choice == 1:
                roots = [e.body for e in self.heard if e.kind is Kind.ECHO]
                root = dice.choice([*roots, bytes(32), dice.randbytes(32)])
                self.tell(some, self.sign(Kind.ECHO, root))
            elif choice == 2:
                body = dice.choice([dice.choice(self.lives).reveal_body(), dice.randbytes(64)])
                self.tell(some, self.sign(Kind.REVEAL, body))
            elif choice == 3:
                for peer in some:
                    self.network.send(self.index, peer, dice.randbytes(dice.randrange(200)))
            elif choice == 4 and self.heard:
                stolen = dice.choice(self.heard)
                self.tell(some, self.sign(stolen.kind, stolen.body))
            else:
                self.relay(some[0])

    return Chaotic


@pytest.mark.parametrize("seed", range(RUNS))
def test_invariants_hold(tools: Any, seed: int) -> None:
    size = 3 + seed % 5
    bad = 1 + (seed // 5) % (size - 1)
    network = tools.Network(size, seed=seed, seats=dict.fromkeys(range(bad), chaotic_seat(tools)))
    dice = network.random
    loss = dice.choice([0.0, 0.0, 0.1, 0.4])
    slow = dice.choice([20, 200, 600])

    def fate(sender: int, to: int, data: bytes) -> list[int]:
        if sender not in range(bad) and data[0] in (1, 2, 3):
            seen.setdefault((sender, data[0]), set()).add(data)
            if data[0] == Kind.REVEAL:
                # U: x leaves only under a certificate that its owner holds.
                assert network.members[sender].machine.has_certificate
        if dice.random() < loss:
            return []
        return [dice.randrange(1, slow) for _ in range(1 + (dice.random() < 0.1))]

    seen: dict[tuple[int, int], set[bytes]] = {}
    network.fate = fate
    network.run()

    honest = set(range(bad, size))
    outcomes = network.outcomes()
    assert all(outcome is not None for outcome in outcomes), "T"
    successes = {(o.result, o.root) for o in outcomes if isinstance(o, fx.Success)}
    assert len(successes) <= 1, "A"
    anchors = {a.result for member in network.honest for a in member.of_type(fx.Anchor)}
    assert len(anchors) <= 1, "A"
    revealed = {m.machine.root for m in network.honest if Kind.REVEAL in m.disk}
    assert len(revealed) <= 1, "U: one certified vector only"
    for member in network.honest:
        for evidence in member.machine.evidence.values():
            assert verify_evidence(evidence.encoded, network.flip).offender not in honest, "B"
    assert all(len(bodies) == 1 for bodies in seen.values()), "F"


def test_the_chaos_reaches_every_exit(tools: Any) -> None:
    """Otherwise the runs above would prove little."""
    reached: set[Any] = set()
    for seed in range(60):
        network = tools.Network(4, seed=seed, seats={0: chaotic_seat(tools)})
        network.run()
        for outcome in network.outcomes():
            phase = outcome.phase if isinstance(outcome, fx.Offline) else None
            reached.add((type(outcome), phase))
    assert {(fx.Success, None), (fx.Malicious, None)} <= reached
    assert {(fx.Offline, fx.Phase.ECHO), (fx.Offline, fx.Phase.REVEAL)} <= reached
