"""Each invariant bites: a planted fault breaks it, and the run says which and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from offchain_worker.coinflip.effects import Effect, Outcome, Send, Success
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.coinflip.evidence import Evidence
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.simulation import strategies as bad
from offchain_worker.simulation.draw import only
from offchain_worker.simulation.invariants import Broken
from offchain_worker.simulation.network import LinkPlan, uniform
from offchain_worker.simulation.scenario import Scenario
from offchain_worker.simulation.world import run_scenario


def scenario(machine: type[CoinflipMachine], **changes: Any) -> Scenario:
    given = {"seed": 7, "size": 4, "live": True, "calm": True, "machine": machine}
    return Scenario(**{**given, **changes})


def against(strategy: Callable[[Any, int], Any], machine: type[CoinflipMachine]) -> Scenario:
    return scenario(machine, live=False, dishonest={0: only(strategy)})


class Disagrees(CoinflipMachine):
    """A: everybody ends with an R of its own."""

    def _exit(self, outcome: Outcome) -> None:
        if isinstance(outcome, Success):
            outcome = Success(bytes([self.index]) * 32, outcome.root)
        super()._exit(outcome)


class ForgetsANumber(CoinflipMachine):
    """V: R does not depend on the last number."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        magic = self._magic
        self._magic = lambda topic, root, numbers: magic(topic, root, numbers[:-1])


class Hasty(CoinflipMachine):
    """U: reveals as soon as it has echoed."""

    def _echo(self) -> None:
        super()._echo()
        self._act(Kind.REVEAL, self._secrets.reveal_body())


class Credulous(CoinflipMachine):
    """B: believes every signature."""

    def _verified(self, peer: int, envelope: SignedEnvelope) -> bool:
        return True


class Forgiving(CoinflipMachine):
    """C: keeps no proof."""

    def _found(self, evidence: Evidence, source: int | None = None) -> None:
        pass


class Garbling(CoinflipMachine):
    """C: its proofs are no proofs."""

    def _found(self, evidence: Evidence, source: int | None = None) -> None:
        super()._found(replace(evidence, encoded=evidence.encoded[:-1]), source)


class Endless(CoinflipMachine):
    """T: has no verdict."""

    def _exit(self, outcome: Outcome) -> None:
        pass


class Shy(CoinflipMachine):
    """L: never echoes."""

    def _may_echo(self) -> bool:
        return False


class TwoFaced(CoinflipMachine):
    """F: tells every peer another echo than the one it wrote down."""

    def _broadcast(self, message: Any, source: int | None = None) -> None:
        if isinstance(message, SignedEnvelope) and message.kind is Kind.ECHO:
            for peer in self._links:
                body = bytes([peer]) * 32
                other = SignedEnvelope.sign(
                    Kind.ECHO, self.flip.topic, self.index, body, self._keypair
                )
                self._send(peer, other)
        else:
            super()._broadcast(message, source)


class Chatty(CoinflipMachine):
    """R: answers every message a hundred times."""

    def received(self, now_ms: int, peer: int, data: bytes) -> list[Effect]:
        effects = super().received(now_ms, peer, data)
        echo = self._own.get(Kind.COMMIT)
        if echo is not None:
            effects += [Send(peer, echo.raw)] * 100
        return effects


class Indiscreet(CoinflipMachine):
    """U: greets with its number."""

    def connected(self, now_ms: int, peer: int) -> list[Effect]:
        effects = super().connected(now_ms, peer)
        return [*effects, Send(peer, bytes([32]) + bytes(34) + self._secrets.x)]


class Leaky(CoinflipMachine):
    """S: greets with its w."""

    def connected(self, now_ms: int, peer: int) -> list[Effect]:
        effects = super().connected(now_ms, peer)
        return [*effects, Send(peer, bytes([32]) + bytes(34) + self._secrets.w)]


class Faulty(CoinflipMachine):
    """X: raises."""

    def _combine(self) -> None:
        if self.has_certificate:
            raise ValueError("a mistake")
        super()._combine()


@pytest.mark.parametrize(
    ("letter", "broken"),
    [
        ("A", scenario(Disagrees)),
        ("V", scenario(ForgetsANumber)),
        ("U", scenario(Hasty)),
        ("B", against(bad.Forger, Credulous)),
        ("C", against(lambda w, p: bad.SplitCommit(w, p, lied_to=[1]), Forgiving)),
        ("C", against(lambda w, p: bad.TwoEchoes(w, p, [1], hides=False), Forgiving)),
        ("C", against(lambda w, p: bad.SplitCommit(w, p, lied_to=[1]), Garbling)),
        ("U", scenario(Indiscreet)),
        ("T", scenario(Endless)),
        ("L", scenario(Shy)),
        ("F", scenario(TwoFaced)),
        ("R", scenario(Chatty)),
        ("S", scenario(Leaky)),
        ("X", scenario(Faulty)),
    ],
    ids=lambda value: value if isinstance(value, str) else value.machine.__name__,
)
def test_a_planted_fault_is_named(letter: str, broken: Scenario) -> None:
    with pytest.raises(Broken) as caught:
        run_scenario(broken)
    assert (caught.value.letter, caught.value.seed) == (letter, 7)
    assert str(caught.value).startswith(f"{letter} is broken in run 7: ")


@pytest.mark.parametrize(
    "sound",
    [
        scenario(CoinflipMachine),
        against(bad.Forger, CoinflipMachine),
        against(lambda w, p: bad.SplitCommit(w, p, lied_to=[1]), CoinflipMachine),
        against(lambda w, p: bad.TwoEchoes(w, p, [1], hides=False), CoinflipMachine),
    ],
)
def test_the_same_runs_hold_with_the_true_machine(sound: Scenario) -> None:
    run_scenario(sound)


def test_a_run_that_never_ends_is_broken() -> None:
    with pytest.raises(Broken, match="R is broken"):
        run_scenario(scenario(CoinflipMachine, most_steps=50))


def test_late_delays_are_not_held_against_liveness() -> None:
    slow = scenario(CoinflipMachine, live=False, calm=False, links=LinkPlan(uniform(500, 3_000)))
    run_scenario(slow)
