"""How long R takes in one-way delays, and what it costs a member of CPU (coinflip.md §8)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from offchain_worker.coinflip.effects import Effect, Success
from offchain_worker.coinflip.envelope import decode
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.keys import verify
from offchain_worker.simulation.network import LinkPlan, constant
from offchain_worker.simulation.scenario import PRODUCTION, Scenario
from offchain_worker.simulation.world import World


@dataclass(frozen=True)
class Latency:
    """One measurement.

    Attributes:
        size: members.
        delay_ms: of every message, one way.
        result_ms: from all connected to the last member's R, virtual.
        cpu_ms: of one member from its start to Tx, nothing remembered; of this machine.
    """

    size: int
    delay_ms: int
    result_ms: int
    cpu_ms: float

    @property
    def delays(self) -> float:
        """`result_ms` in one-way delays; three are the least (§8)."""
        return self.result_ms / self.delay_ms


class _Timed(CoinflipMachine):
    """Adds up the CPU that member 0 takes; its signature checks are all made."""

    spent = 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options |= {"verify_signature": verify, "decode_message": decode}
        super().__init__(*arguments, **options)

    def _timed(self, before: float, effects: list[Effect]) -> list[Effect]:
        if self.index == 0:
            _Timed.spent += time.process_time() - before
        return effects

    def start(self, now_ms: int) -> list[Effect]:
        return self._timed(time.process_time(), super().start(now_ms))

    def connected(self, now_ms: int, peer: int) -> list[Effect]:
        return self._timed(time.process_time(), super().connected(now_ms, peer))

    def received(self, now_ms: int, peer: int, data: bytes) -> list[Effect]:
        return self._timed(time.process_time(), super().received(now_ms, peer, data))

    def tick(self, now_ms: int) -> list[Effect]:
        return self._timed(time.process_time(), super().tick(now_ms))


def measure_latency(size: int, delay_ms: int = 100, seed: int = 0) -> Latency:
    """Run one coinflip of honest members that all connect at once.

    Raises:
        RuntimeError: somebody has no R; that cannot be.
    """
    world = World(
        Scenario(
            seed=seed,
            size=size,
            timing=PRODUCTION,
            links=LinkPlan(constant(delay_ms), handshake_ms=1),
            start_within_ms=0,
            live=True,
            calm=True,
            machine=_Timed,
        )
    )
    _Timed.spent = 0.0
    world.run()
    ends = [seat.exit_ms[0] for seat in world.honest_seats]
    if not all(isinstance(seat.outcomes[0], Success) for seat in world.honest_seats):
        raise RuntimeError("a run without faults has R")
    connected = world.t0 + 1
    return Latency(size, delay_ms, max(ends) - connected, _Timed.spent * 1_000)
