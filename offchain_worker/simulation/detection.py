"""How often audits see that chunks are missing, beside the exact figure (challenge.md §5, §7).

Each of X attestors draws N chunks of a feed from seeds that nobody can choose (`coinflip.draws`).
It sees a loss if a drawn chunk is missing; the challenge fails when more than half of the attestors
see it, or, by a demand, when one does and the chunk is gone for good.

The exact figure follows from how chunks are drawn: each is the first one not drawn before at or
after a random place. That is how cars park on a ring: N cars, each with a wish, take the first free
place from there on. No missing chunk is drawn exactly if no car comes so far, that is, if on each
stretch between two missing chunks, with t − 1 places, the m cars that wish to stand there find room
there. There are t^(m−1)·(t − m) ways for that (parking functions), and the stretches share the N
cars in all ways. So losses that lie together are seen a little less often than scattered ones; both
a little differently than by N distinct chunks drawn uniformly.

A session also reads further chunks, which are not drawn (§3.2), so that it sees at least as much.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import accumulate

from offchain_worker.coinflip.draws import chunk_seed, drawn_chunks
from offchain_worker.simulation.dice import stream

CHUNKS = 4_096
DRAWN = 100
ATTESTORS = 10
SIGMAS = 4.5


class Pattern(StrEnum):
    """How the missing chunks lie."""

    CONTIGUOUS = "contiguous"
    """In one piece, from a random place on, round the end."""
    SCATTERED = "scattered"
    """Anywhere."""


LOSSES: tuple[float, ...] = (0.0002, 0.001, 0.0025, 0.005, 0.007, 0.01, 0.05, 0.2, 0.5)
"""Shares of the chunks that are missing; of 4,096 the first is one chunk."""


@dataclass(frozen=True)
class Figure:
    """How often something was seen in a number of trials, and how often it must be.

    Attributes:
        seen, trials: what was counted.
        exact: the probability.
    """

    seen: int
    trials: int
    exact: float

    @property
    def measured(self) -> float:
        """The share that was counted."""
        return self.seen / self.trials

    @property
    def chance(self) -> float:
        """How probable it is to be as far off as this, or farther, to this side."""
        return binomial_tail(self.trials, self.exact, self.seen)


@dataclass(frozen=True)
class Detection:
    """One row of the table.

    Attributes:
        loss, pattern: what is missing.
        missing: how many chunks that is.
        audits: of single attestors, those that see it.
        challenges: those that the majority fails.
        demanded: those that fail when who sees it demands a chunk that is gone for good.
    """

    loss: float
    pattern: Pattern
    missing: int
    audits: Figure
    challenges: Figure
    demanded: Figure

    @property
    def figures(self) -> tuple[Figure, Figure, Figure]:
        """All three."""
        return self.audits, self.challenges, self.demanded


def missing_chunks(length: int, loss: float, pattern: Pattern, seed: int) -> frozenset[int]:
    """Which chunks of a feed are missing: at least one, the same for the same seed."""
    count = min(length, max(1, round(length * loss)))
    dice = stream(f"missing {length} {loss} {pattern} {seed}")
    if pattern is Pattern.SCATTERED:
        return frozenset(dice.sample(range(length), count))
    start = dice.randrange(length)
    return frozenset((start + offset) % length for offset in range(count))


def exact_sight(length: int, missing: Collection[int], drawn: int) -> Fraction:
    """The probability that at least one of `drawn` drawn chunks is among the missing ones.

    Raises:
        ValueError: nothing is missing, or something that is not in the feed.
    """
    if not missing or not set(missing) <= set(range(length)):
        raise ValueError("what is missing is part of the feed, and at least one chunk")
    places = sorted(set(missing))
    following = [*places[1:], places[0] + length]
    stretches = Counter(after - place for place, after in zip(places, following, strict=True))
    drawn = min(drawn, length)
    ways = [1] + [0] * drawn
    for stretch, times in stretches.items():
        ways = _shared(ways, _power(_parkings(stretch, drawn), times))
    return 1 - Fraction(ways[drawn], length**drawn)


def _parkings(stretch: int, most: int) -> list[int]:
    """In how many ways 0 … `most` cars find room on `stretch` − 1 places in a row."""
    return [1] + [
        stretch ** (cars - 1) * (stretch - cars) if cars < stretch else 0
        for cars in range(1, most + 1)
    ]


def _shared(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """In how many ways cars share two roads, by their number."""
    return [
        sum(
            math.comb(cars, first) * left[first] * right[cars - first]
            for first in range(cars + 1)
            if left[first] and right[cars - first]
        )
        for cars in range(len(left))
    ]


def _power(ways: Sequence[int], times: int) -> list[int]:
    """The same for `times` roads of one kind."""
    result = [1] + [0] * (len(ways) - 1)
    square = list(ways)
    while times:
        if times & 1:
            result = _shared(result, square)
        times >>= 1
        if times:
            square = _shared(square, square)
    return result


def binomial(trials: int, probability: float) -> list[float]:
    """The probabilities of 0 … `trials` successes."""
    if probability <= 0 or probability >= 1:
        certain = 0 if probability <= 0 else trials
        return [float(count == certain) for count in range(trials + 1)]
    hit, miss = math.log(probability), math.log1p(-probability)
    whole = math.lgamma(trials + 1)
    return [
        math.exp(
            whole
            - math.lgamma(count + 1)
            - math.lgamma(trials - count + 1)
            + count * hit
            + (trials - count) * miss
        )
        for count in range(trials + 1)
    ]


def binomial_tail(trials: int, probability: float, seen: int) -> float:
    """The smaller of the probabilities of at most and of at least `seen` successes."""
    weights = binomial(trials, probability)
    below = list(accumulate(weights))[seen]
    above = list(accumulate(reversed(weights)))[trials - seen]
    return min(below, above, 1.0)


def fails(seeing: int, attestors: int) -> bool:
    """Whether a challenge fails when so many of its attestors report a failure (§6)."""
    return 2 * seeing > attestors


def exact_failures(sight: float, attestors: int) -> float:
    """The probability that more than half of the attestors see it, each with `sight`."""
    weights = binomial(attestors, sight)
    return math.fsum(weights[seeing] for seeing in range(attestors + 1) if fails(seeing, attestors))


def draws_of_challenge(
    seed: int, number: int, *, length: int, drawn: int, attestors: int
) -> list[list[int]]:
    """The chunks that each attestor of a simulated challenge draws."""
    dice = stream(f"challenge {seed} {number}")
    topic, result = dice.randbytes(32), dice.randbytes(32)
    return [
        drawn_chunks(
            chunk_seed(topic, result, dice.randbytes(32), dice.randbytes(32)), length, drawn
        )
        for _ in range(attestors)
    ]


def measure_detection(
    challenges: int,
    *,
    seed: int = 0,
    length: int = CHUNKS,
    drawn: int = DRAWN,
    attestors: int = ATTESTORS,
    losses: Iterable[float] = LOSSES,
) -> list[Detection]:
    """Draw `challenges` rosters' chunks and look which losses they see; all rows share the draws.

    Args:
        challenges: at least 1.
        seed: replays a run.
        length: chunks of the feed.
        drawn: N.
        attestors: X.
        losses: shares of the chunks that are missing.
    """
    kinds = [
        (loss, pattern, missing_chunks(length, loss, pattern, seed))
        for loss in losses
        for pattern in Pattern
    ]
    audits = [0] * len(kinds)
    failed = [0] * len(kinds)
    demanded = [0] * len(kinds)
    for number in range(challenges):
        rosters = draws_of_challenge(seed, number, length=length, drawn=drawn, attestors=attestors)
        for row, (_loss, _pattern, missing) in enumerate(kinds):
            seeing = sum(not missing.isdisjoint(chunks) for chunks in rosters)
            audits[row] += seeing
            failed[row] += fails(seeing, attestors)
            demanded[row] += seeing > 0
    rows = []
    for row, (loss, pattern, missing) in enumerate(kinds):
        sight = exact_sight(length, missing, drawn)
        rows.append(
            Detection(
                loss=loss,
                pattern=pattern,
                missing=len(missing),
                audits=Figure(audits[row], challenges * attestors, float(sight)),
                challenges=Figure(failed[row], challenges, exact_failures(float(sight), attestors)),
                demanded=Figure(demanded[row], challenges, float(1 - (1 - sight) ** attestors)),
            )
        )
    return rows


def allowed_chance(comparisons: int) -> float:
    """What is no chance any more: beyond 4.5 σ to one side, shared by all comparisons."""
    return math.erfc(SIGMAS / math.sqrt(2)) / 2 / comparisons


def unlikely(figures: Sequence[Figure]) -> list[Figure]:
    """Those that chance does not explain."""
    allowed = allowed_chance(len(figures))
    return [figure for figure in figures if figure.chance < allowed]


def detection_table(rows: Sequence[Detection]) -> list[str]:
    """Lines to print."""
    lines = [
        f"{'missing':<19}{'chunks':>7}{'audits seeing it':>22}"
        f"{'failed by majority':>22}{'failed by demand':>22}",
        " " * 26 + 3 * f"{'simulated':>12}{'exact':>10}",
    ]
    for row in rows:
        name = f"{100 * row.loss:g} % {row.pattern}"
        shares = "".join(
            f"{100 * figure.measured:>10.2f} %{100 * figure.exact:>8.2f} %"
            for figure in row.figures
        )
        lines.append(f"{name:<19}{row.missing:>7}{shares}")
    return lines
