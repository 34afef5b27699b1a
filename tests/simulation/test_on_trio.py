"""The same scenarios in the simulator and on Trio end the same way for every honest member.

What is compared of each run: exit with its peers and phase, R and root, the ids of the evidence,
and whether the member may retry. Scenarios are of classes whose end does not hang on a few
milliseconds: the two worlds order simultaneous events differently. Each class says how it must
end, so that the worlds cannot agree on nothing having happened.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from trio_world import Cut, End, Lie, Plan, on_trio, simulate

from offchain_worker.simulation.scenario import QUICK
from offchain_worker.simulation.seat import Crash

SEEDS = 12
"""Of each class."""
FOR_EVER = 60_000
HOLD_MS = 1_000
"""After T0, when all honest members have echoed long since."""


@dataclass(frozen=True)
class Class:
    """A kind of scenario.

    Attributes:
        liar: makes the lie of the one liar from the honest indices, None for no liar.
        ends: attempt → what every honest member's end must be like.
        proofs: how many honest members must hold.
        crash_ms: when an honest member may crash and come back without a change of the end, from
            and below, after T0; None: never. In some of the runs, or in `always`.
        late_ms: one honest member begins so much later.
        absent: one member is not there.
        changes: to the plan.
        delays_ms: of links, from and below.
    """

    liar: Callable[[random.Random, list[int]], Lie] | None
    ends: dict[int, tuple[str, str, bool]]
    """attempt → (exit, phase, retry permitted)"""
    proofs: int = 0
    crash_ms: tuple[int, int] | None = None
    always: bool = False
    late_ms: int = 0
    absent: bool = False
    changes: tuple[tuple[str, Any], ...] = ()
    delays_ms: tuple[int, int] = (1, 40)


def to_all(what: str, **particulars: Any) -> Callable[[random.Random, list[int]], Lie]:
    return lambda _dice, honest: Lie(what, frozenset(honest), **particulars)


def to_some(what: str, **particulars: Any) -> Callable[[random.Random, list[int]], Lie]:
    """To some, and to at least one not."""
    return lambda dice, honest: Lie(
        what, frozenset(dice.sample(honest, dice.randrange(1, len(honest)))), **particulars
    )


SUCCESS = {0: ("Success", "", False)}
PROVED = {0: ("Malicious", "", False)}
WITHOUT_REVEAL = {0: ("Offline", "reveal", False)}

DONE = (450, 700)
"""When all honest members have echoed, and revealed if there is a certificate."""

CLASSES: dict[str, Class] = {
    "all honest": Class(None, SUCCESS, crash_ms=DONE),
    "one absent": Class(None, {0: ("Offline", "commit", True)}, absent=True),
    "no commit": Class(to_all("no commit"), {0: ("Offline", "commit", True)}),
    "gives up": Class(to_all("gives up"), {0: ("Offline", "echo", True)}),
    "no echo": Class(to_all("no echo"), {0: ("Offline", "echo", False)}),
    "no echo to some": Class(to_some("no echo"), SUCCESS),
    "no reveal": Class(to_all("no reveal"), WITHOUT_REVEAL, crash_ms=DONE),
    "no reveal but to the chain": Class(to_all("no reveal", keeps_result=False), SUCCESS),
    "no reveal to some": Class(to_some("no reveal"), SUCCESS, crash_ms=DONE),
    "bad reveal": Class(to_all("bad reveal"), PROVED, proofs=1, crash_ms=DONE),
    "bad reveal, good anchor": Class(to_all("bad reveal", keeps_result=False), SUCCESS, proofs=1),
    "bad reveal to some": Class(to_some("bad reveal"), SUCCESS, proofs=1, crash_ms=DONE),
    # All begin at once, on equal links: nobody hears the other commit first, from who was told it.
    "two commits": Class(
        to_some("two commits"),
        {0: ("Malicious", "", True)},
        proofs=1,
        changes=(("start_within_ms", 0),),
        delays_ms=(20, 21),
    ),
    "commit again": Class(to_all("commit again"), SUCCESS, proofs=1, crash_ms=DONE),
    "garbage root": Class(
        to_all("other echo", not_before_ms=HOLD_MS), {0: ("Offline", "echo", True)}
    ),
    "other echo to some": Class(to_some("other echo", not_before_ms=HOLD_MS), SUCCESS, proofs=1),
    # While one has not begun, no vector is complete; who is back without its echo makes none.
    "crash before the echo": Class(
        None,
        {0: ("Offline", "echo", False)},
        crash_ms=(150, 350),
        always=True,
        late_ms=700,
    ),
    "crash after the echo": Class(
        to_all("late echo", not_before_ms=HOLD_MS), SUCCESS, crash_ms=DONE, always=True
    ),
    "gives up once": Class(
        to_all("gives up", attempts=frozenset({0}), keeps_result=False),
        {0: ("Offline", "echo", True), 1: ("Success", "", False)},
        changes=(("timing", QUICK), ("start_within_ms", 30)),
        delays_ms=(1, 5),
    ),
}


def plan(name: str, seed: int) -> Plan:
    """The scenario of that class and number."""
    dice = random.Random(f"{name} {seed}")
    kind = CLASSES[name]
    size = dice.choice((3, 4, 5))
    quick = ("timing", QUICK) in kind.changes
    odd = dice.randrange(size)
    others = [place for place in range(size) if place != odd]
    honest = list(range(size)) if kind.liar is None and not kind.absent else others
    links = [frozenset({a, b}) for a in range(size) for b in range(a)]
    made = Plan(
        seed=seed,
        size=size,
        liars={} if kind.liar is None else {odd: kind.liar(dice, others)},
        absent=frozenset({odd}) if kind.absent else frozenset(),
        delays={link: dice.randrange(*kind.delays_ms) for link in links},
        **dict(kind.changes),
    )
    trouble = dice.random()
    if quick:
        return made
    a, b = dice.sample(honest, 2)
    if kind.crash_ms is not None and (kind.always or trouble < 0.4):
        crash = Crash(at_ms=dice.randrange(*kind.crash_ms), down_ms=dice.randrange(50, 250))
        late = {b: kind.late_ms} if kind.late_ms else {}
        return replace(made, crashes={a: crash}, late=late)
    if trouble < 0.6:
        return replace(made, cuts=[Cut(a, b, dice.randrange(120), dice.randrange(200, 500))])
    if trouble < 0.8 and len(honest) > 2:
        # Some other honest member is between them.
        return replace(made, cuts=[Cut(a, b, dice.randrange(120), FOR_EVER)])
    return made


@pytest.mark.parametrize("name", CLASSES)
def test_same_end_in_the_simulator_and_on_trio(name: str) -> None:
    kind = CLASSES[name]
    faults = {"crashes": 0, "cuts": 0}
    for seed in range(SEEDS):
        made = plan(name, seed)
        simulated = simulate(made)
        trio_world = on_trio(made, simulated)
        there = trio_world.ends
        assert there == simulated.ends, (seed, made)
        honest = set(range(made.size)) - set(made.liars) - made.absent
        assert set(there) == {(place, attempt) for place in honest for attempt in kind.ends}
        for (_place, attempt), end in there.items():
            shown = end.exit, end.phase, end.may_retry
            assert shown == kind.ends[attempt], (seed, made)
            assert len(end.evidence) == kind.proofs
        assert len({(attempt, end.result, end.root) for (_, attempt), end in there.items()}) == len(
            kind.ends
        )
        # The faults were there, in both worlds.
        assert bool(made.liars) is (simulated.lied > 0)
        present = made.size - len(made.absent)
        assert trio_world.runs == present * len(kind.ends) + len(made.crashes)
        if made.cuts:
            assert trio_world.broken > 0
        faults["crashes"] += len(made.crashes)
        faults["cuts"] += len(made.cuts)
    assert faults["cuts"] or kind.always or name == "gives up once"
    assert faults["crashes"] or kind.crash_ms is None


def test_the_comparison_sees_a_difference() -> None:
    """Negative control: another lie on Trio than in the simulator is another end."""
    made = plan("no reveal", 1)
    simulated = simulate(made)
    other = replace(made, liars={place: Lie("honest") for place in made.liars})
    ends: dict[tuple[int, int], End] = on_trio(other, simulated).ends
    assert ends != simulated.ends
    assert {end.exit for end in ends.values()} == {"Success"}
