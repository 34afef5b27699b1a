"""What a run is made of: members, timing, links, faults and dishonest seats.

Everything is plain data and callables, so that a test builds exactly the run that it wants;
`draw.py` makes one out of an integer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from offchain_worker.coinflip.commitments import Magic, hash_concat
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.simulation.chain import ChainPlan, ChainTiming
from offchain_worker.simulation.clock import ClockFault
from offchain_worker.simulation.network import LinkPlan, uniform
from offchain_worker.simulation.seat import Crash, Seat

if TYPE_CHECKING:
    from offchain_worker.simulation.adversary import Dishonest
    from offchain_worker.simulation.world import World

DEVELOPMENT = ChainTiming(
    block_ms=500,
    join_ms=1_500,
    delta_ms=200,
    finality_ms=0,
    flip_ms=5_000,
    commit_ms=2_000,
    commit_blocks=4,
    window_ms=15_000,
    tail_ms=3_000,
)
PRODUCTION = ChainTiming(
    block_ms=6_000,
    join_ms=60_000,
    delta_ms=3_000,
    finality_ms=12_000,
    flip_ms=480_000,
    commit_ms=120_000,
    commit_blocks=10,
    window_ms=86_400_000,
    tail_ms=600_000,
)
QUICK = ChainTiming(
    block_ms=200,
    join_ms=600,
    delta_ms=50,
    finality_ms=400,
    flip_ms=15_000,
    commit_ms=1_000,
    commit_blocks=4,
    window_ms=120_000,
    tail_ms=3_000,
)
"""Short rounds, four attempts."""

LONG = replace(QUICK, flip_ms=200_000, window_ms=900_000)
"""Time for more attempts than there may be."""

MakeDishonest = Callable[["World", int], Sequence["Seat | Dishonest"]]
"""(world, place) → the live seats behind that place's key; more than one: Twins."""


@dataclass(frozen=True)
class Trouble:
    """Something that happens to the network at some moment.

    Attributes:
        at_ms: after T0.
        act: called with the world.
    """

    at_ms: int
    act: Callable[[World], None]


@dataclass(frozen=True)
class Scenario:
    """One run.

    Attributes:
        seed: of all randomness in it.
        size: members, 3 to 32.
        timing: the challenge's.
        min_active: fewer members: no attempt, no R.
        dishonest: place → what plays it; the other places are honest.
        links: between all of them.
        troubles: partitions, broken connections, healing.
        crashes, clocks: of honest seats, by place.
        chain: its faults.
        start_within_ms: seats hear of the start within so much.
        live: nothing in it may keep honest members from R (L applies).
        calm: links between honest seats keep within Δ, clocks are right, nobody crashes (C
            applies).
        rows: of coinflip.md §9 that it touches.
        machine: what honest seats run; a negative control brings another class.
        magic: how R follows from the numbers, also on this chain; for study, since the real chain
            accepts only the default.
        most_steps: a run that takes more is broken (R).
    """

    seed: int
    size: int
    timing: ChainTiming = DEVELOPMENT
    min_active: int = 2
    dishonest: Mapping[int, MakeDishonest] = field(default_factory=dict)
    links: LinkPlan = field(default_factory=lambda: LinkPlan(uniform(5, 50)))
    troubles: Sequence[Trouble] = ()
    crashes: Mapping[int, Sequence[Crash]] = field(default_factory=dict)
    clocks: Mapping[int, ClockFault] = field(default_factory=dict)
    chain: ChainPlan = field(default_factory=ChainPlan)
    start_within_ms: int = 200
    live: bool = False
    calm: bool = False
    rows: frozenset[int] = frozenset()
    machine: type[CoinflipMachine] = CoinflipMachine
    magic: Magic = hash_concat
    most_steps: int = 400_000
