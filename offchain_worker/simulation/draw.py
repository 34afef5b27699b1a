"""A whole scenario out of one integer: `scenario(seed)`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from offchain_worker.simulation import strategies as bad
from offchain_worker.simulation.adversary import Deviant, Dishonest
from offchain_worker.simulation.chain import ChainPlan, ChainTiming
from offchain_worker.simulation.clock import ClockFault
from offchain_worker.simulation.dice import stream
from offchain_worker.simulation.mutator import Mutator
from offchain_worker.simulation.network import LinkPlan, constant, heavy_tailed, uniform
from offchain_worker.simulation.scenario import (
    DEVELOPMENT,
    LONG,
    PRODUCTION,
    QUICK,
    MakeDishonest,
    Scenario,
    Trouble,
)
from offchain_worker.simulation.seat import KEPT, LOST, STALE, Crash

if TYPE_CHECKING:
    from offchain_worker.simulation.seat import Seat
    from offchain_worker.simulation.world import World

SIZES = (3,) * 7 + (4,) * 9 + (5,) * 6 + (6,) * 3 + (7,) * 2 + (8, 9, 10)
KINDS: tuple[type[Deviant | Dishonest], ...] = (
    bad.SplitCommit,
    bad.CommitAgain,
    bad.LateCommitter,
    bad.Copier,
    bad.TwoEchoes,
    bad.GarbageRoot,
    bad.WithholdFrom,
    bad.WithholdFrom,
    bad.BadReveal,
    bad.Forger,
    bad.InventingAnchor,
    bad.SelectiveAbort,
    bad.GivesUp,
    bad.Silent,
    bad.ExpelledNearStart,
    bad.Flooder,
    bad.SlowReader,
    bad.Chaos,
    bad.Chaos,
    bad.Chaos,
    Mutator,
    Mutator,
)


class Twin(Deviant):
    """Row 15: one of several live copies of one key, each following the rules.

    Args:
        secrets: a seed that all copies draw their secrets from, as when one journal was copied;
            None: each has its own.
    """

    def __init__(self, world: World, place: int, secrets: int | None = None) -> None:
        super().__init__(world, place)
        if secrets is not None:
            self.dice = stream(secrets)


def only(kind: Callable[[World, int], Seat | Dishonest]) -> MakeDishonest:
    """One live seat of that kind."""
    return lambda world, place: (kind(world, place),)


def twins(copies: int, *, one_journal: bool = False) -> MakeDishonest:
    """Several honest machines with one key; with one journal they commit to the same."""

    def make(world: World, place: int) -> Sequence[Seat]:
        world.touch(15)
        secrets = world.dice.getrandbits(64) if one_journal else None
        return [Twin(world, place, secrets) for _ in range(copies)]

    return make


def min_active(size: int) -> int:
    """⌈2X/3⌉, as in production."""
    return -(-2 * size // 3)


def scenario(seed: int) -> Scenario:
    """The scenario of that number."""
    dice = stream(f"scenario {seed}")
    size = dice.choice(SIZES)
    timing = dice.choices((DEVELOPMENT, QUICK, PRODUCTION, LONG), (25, 15, 9, 1))[0]
    rows: set[int] = set()
    dishonest = _dishonest(dice, size)
    honest = [place for place in range(size) if place not in dishonest]
    trouble = dice.random()
    links, troubles, calm = _network(dice, timing, size, rows, quiet=trouble < 0.45)
    crashes: dict[int, Sequence[Crash]] = {}
    clocks: dict[int, ClockFault] = {}
    chain, start_within, chain_calm = _chain(dice, timing, size, rows, quiet=dice.random() < 0.6)
    if dice.random() < 0.2:
        # Asking the peers after a restart rests on connections that keep order and lose nothing.
        crashes = _crashes(dice, timing, honest, rows)
    if dice.random() < 0.15:
        clocks = _clocks(dice, timing, honest, crashes, rows)
    live = False
    if not dishonest and dice.random() < 0.3:
        links, troubles = _healing(dice, timing, rows)
        live = not crashes and not clocks and chain_calm
        calm = False
    elif dice.random() < 0.08:
        place = dice.randrange(size)
        if place in honest:
            honest.remove(place)
        crashes.pop(place, None)
        clocks.pop(place, None)
        dishonest[place] = twins(2 + (dice.random() < 0.3), one_journal=dice.random() < 0.5)
        troubles = [*troubles, *_split_twins(dice, timing)]
        calm = False
    calm = calm and not crashes and not clocks and chain_calm
    live = live or (calm and not dishonest)
    return Scenario(
        seed=seed,
        size=size,
        timing=timing,
        min_active=min_active(size),
        dishonest=dishonest,
        links=links,
        troubles=troubles,
        crashes=crashes,
        clocks=clocks,
        chain=chain,
        start_within_ms=start_within,
        live=live,
        calm=calm,
        rows=frozenset(rows),
    )


def twin_scenario(seed: int) -> Scenario:
    """Row 15 alone: two copies of one seat, sometimes three, among honest ones; in each round of
    messages another partition into two sides, each copy on either side or both on one."""
    dice = stream(f"twins {seed}")
    size = dice.choice((3, 4, 4, 5, 6, 7))
    timing = DEVELOPMENT
    place = dice.randrange(size)
    delta = timing.delta_ms
    links = LinkPlan(
        uniform(1, delta // 2),
        waits=dice.random() < 0.5,
        breaks=dice.random() < 0.5,
        handshake_ms=delta,
        reconnect_ms=delta,
    )
    start = timing.join_ms // 2
    moment, troubles = 0, []
    for _ in range(2 + dice.randrange(9)):
        troubles.append(Trouble(moment, split(dice, one_way=dice.random() < 0.15)))
        moment += 1 + dice.randrange(2 * delta)
    if dice.random() < 0.7:
        troubles.append(Trouble(moment, heal))
    return Scenario(
        seed=seed,
        size=size,
        timing=timing,
        min_active=min_active(size),
        dishonest={place: twins(2 + (dice.random() < 0.2), one_journal=dice.random() < 0.5)},
        links=links,
        troubles=troubles,
        chain=ChainPlan(finality_ms=timing.finality_ms),
        start_within_ms=start // 2,
        rows=frozenset({15}),
    )


def _dishonest(dice: random.Random, size: int) -> dict[int, MakeDishonest]:
    if dice.random() < 0.12:
        return {}
    count = min(size - 1, 1 + int(dice.random() ** 2 * size))
    places = dice.sample(range(size), count)
    kinds = dice.choices(KINDS, k=count)
    if dice.random() < 0.3:
        kinds = [kinds[0]] * count
    return {place: only(kind) for place, kind in zip(places, kinds, strict=True)}


def _network(
    dice: random.Random, timing: ChainTiming, size: int, rows: set[int], *, quiet: bool
) -> tuple[LinkPlan, list[Trouble], bool]:
    """Links, what happens to them, and whether they always keep within Δ."""
    delta = timing.delta_ms
    handshake = min(delta, timing.join_ms // 4)
    if quiet:
        latency = dice.choice(
            [
                constant(1 + dice.randrange(delta)),
                uniform(1, delta // 4),
                uniform(delta // 2, delta),
                uniform(1, delta),
            ]
        )
        return LinkPlan(latency, handshake_ms=handshake), [], True
    troubles: list[Trouble] = []
    choice = dice.random()
    plan = LinkPlan(uniform(1, delta), handshake_ms=handshake)
    if choice < 0.5:
        rows.add(19)
        latency = dice.choice([uniform(1, delta), heavy_tailed(delta // 4, 20 * delta)])
        plan = LinkPlan(
            latency,
            loss=dice.choice([0.0, 0.05, 0.3]),
            duplication=dice.choice([0.0, 0.1]),
            corruption=dice.choice([0.0, 0.0, 0.05]),
            reorder=dice.random() < 0.6,
            handshake_ms=4 * delta,
            reconnect_ms=2 * delta,
        )
    if choice > 0.35:
        rows.add(20)
        plan = LinkPlan(
            plan.latency,
            loss=plan.loss,
            reorder=plan.reorder,
            waits=dice.random() < 0.5,
            breaks=dice.random() < 0.5,
            handshake_ms=plan.handshake_ms,
            reconnect_ms=2 * delta,
        )
        troubles = _partitions(dice, timing)
    return plan, troubles, False


def _healing(
    dice: random.Random, timing: ChainTiming, rows: set[int]
) -> tuple[LinkPlan, list[Trouble]]:
    """A partition while members join that heals in time: who is honest still has R (L)."""
    rows.add(20)
    delta, join = timing.delta_ms, timing.join_ms
    plan = LinkPlan(
        uniform(1, delta),
        breaks=dice.random() < 0.5,
        handshake_ms=min(delta, join // 8),
        reconnect_ms=min(delta, join // 8),
    )
    act = dice.choice([split(dice, one_way=False), split(dice, one_way=True), bridge(dice)])
    return plan, [Trouble(dice.randrange(join // 4), act), Trouble(join // 2, healed)]


def _span(timing: ChainTiming) -> int:
    """About how long the first attempt takes."""
    return timing.join_ms + 12 * timing.delta_ms


def _partitions(dice: random.Random, timing: ChainTiming) -> list[Trouble]:
    """One shape of partition, with its times."""
    span = _span(timing)
    shape = dice.randrange(4)
    begins = dice.randrange(span)
    lasts = 1 + dice.randrange(span)
    if shape == 0:
        return [Trouble(begins, split(dice, one_way=False)), Trouble(begins + lasts, heal)]
    if shape == 1:
        return [Trouble(begins, split(dice, one_way=True)), Trouble(begins + lasts, heal)]
    if shape == 2:
        return [Trouble(begins, bridge(dice)), Trouble(begins + lasts, heal)]
    flaps = []
    period = 1 + lasts // 6
    for flap in range(3):
        flaps.append(Trouble(begins + 2 * flap * period, split(dice, one_way=False)))
        flaps.append(Trouble(begins + (2 * flap + 1) * period, heal))
    return [*flaps, Trouble(begins, break_lines(dice))]


def _sides(dice: random.Random, world: World) -> tuple[list[int], list[int]]:
    idents = [seat.ident for seat in world.seats]
    dice.shuffle(idents)
    cut = 1 + dice.randrange(max(1, len(idents) - 1))
    return idents[:cut], idents[cut:]


def split(dice: random.Random, *, one_way: bool) -> Callable[[World], None]:
    """Two sides that do not hear each other; one way: the first still hears the second."""

    def act(world: World) -> None:
        left, right = _sides(dice, world)
        blocked = {(a, b) for a in left for b in right}
        if not one_way:
            blocked |= {(b, a) for a, b in blocked}
        world.network.block(frozenset(blocked))

    return act


def bridge(dice: random.Random) -> Callable[[World], None]:
    """Two sides that meet in one member only."""

    def act(world: World) -> None:
        left, right = _sides(dice, world)
        middle = left[0]
        pairs = {(a, b) for a in left for b in right if a != middle}
        world.network.block(frozenset(pairs | {(b, a) for a, b in pairs}))

    return act


def heal(world: World) -> None:
    """All bytes pass again."""
    world.network.block(frozenset())


def healed(world: World) -> None:
    """All bytes pass again, in time for a run that must succeed."""
    heal(world)
    if world.scenario.live:
        world.count("healed in time")


def break_lines(dice: random.Random) -> Callable[[World], None]:
    """Some connections break."""

    def act(world: World) -> None:
        for line in world.network.lines:
            if dice.random() < 0.5:
                world.network.disturb(line)

    return act


def _split_twins(dice: random.Random, timing: ChainTiming) -> list[Trouble]:
    """Another partition in each round of messages."""
    span = _span(timing)
    moments = sorted(dice.randrange(span) for _ in range(1 + dice.randrange(4)))
    troubles = [Trouble(moment, split(dice, one_way=False)) for moment in moments]
    return [*troubles, Trouble(span, heal)]


def _crashes(
    dice: random.Random,
    timing: ChainTiming,
    honest: Sequence[int],
    rows: set[int],
) -> dict[int, Sequence[Crash]]:
    """Crashes of honest seats."""
    found: dict[int, Sequence[Crash]] = {}
    delta = timing.delta_ms
    for place in honest:
        if dice.random() < 0.5:
            continue
        rows.add(16)
        at = 1 + dice.randrange(5)
        journal = dice.choice([KEPT, KEPT, KEPT, LOST, STALE])
        found[place] = [
            Crash(
                at_write=at,
                durable=dice.random() < 0.5,
                down_ms=dice.choice([1, delta // 4, delta, 5 * delta, None]),
                journal=journal,
                image_write=dice.randrange(at),
                flush=dice.random() < 0.5,
            )
        ]
        if dice.random() < 0.3:
            found[place] = [
                *found[place],
                Crash(at_ms=dice.randrange(_span(timing)), down_ms=delta),
            ]
    return found


def _clocks(
    dice: random.Random,
    timing: ChainTiming,
    honest: Sequence[int],
    crashes: dict[int, Sequence[Crash]],
    rows: set[int],
) -> dict[int, ClockFault]:
    delta, span = timing.delta_ms, _span(timing)
    found = {}
    for place in honest:
        # A journal that is gone and a clock that went back are beyond what a seat can notice.
        if dice.random() < 0.5 and place not in crashes:
            rows.add(21)
            found[place] = ClockFault(
                skew_ms=int(dice.gauss(0, 2 * delta)),
                drift_ppm=dice.choice([0, 0, 100, -100, 50_000, -50_000]),
                jump_at_ms=dice.choice([None, dice.randrange(span)]),
                jump_ms=int(dice.gauss(0, 4 * delta)),
            )
    return found


def _chain(
    dice: random.Random, timing: ChainTiming, size: int, rows: set[int], *, quiet: bool
) -> tuple[ChainPlan, int, bool]:
    """The chain's faults, when seats hear of the start, and whether that is in time."""
    start_within = timing.join_ms // 2 - timing.block_ms // 10
    if quiet:
        return ChainPlan(finality_ms=timing.finality_ms), start_within, True
    rows.add(24)
    late = {
        place: dice.randrange(4 * timing.block_ms) for place in range(size) if dice.random() < 0.3
    }
    censored = None
    if dice.random() < 0.3:
        censored = 0, dice.choice([timing.flip_ms // 2, timing.flip_ms + timing.block_ms])
    other_start = {}
    if dice.random() < 0.3:
        other_start = {
            place: dice.randrange(2 * timing.join_ms)
            for place in range(size)
            if dice.random() < 0.5
        }
    plan = ChainPlan(
        jitter_ms=dice.choice([0, timing.block_ms // 2, 3 * timing.block_ms]),
        finality_ms=dice.choice([1, 3]) * timing.finality_ms,
        late=late,
        twice=dice.choice([0.0, 0.5]),
        inclusion_ms=dice.choice([0, 2 * timing.block_ms]),
        censored_ms=censored,
        other_start=other_start,
    )
    return plan, 2 * start_within, False
