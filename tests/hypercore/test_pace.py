"""The times that the stock client's storage takes, and what is written together."""

import random
import statistics
from collections.abc import Callable

import pytest

from offchain_worker.hypercore.pace import (
    HEAD_S,
    LONG_STEP_S,
    LONG_STEPS,
    LOOK_UP_BESIDE_S,
    LOOK_UP_S,
    STEP_S,
    STEP_SHARE,
    WRITE_BYTE_S,
    WRITE_S,
    NoPace,
    Pace,
    Writing,
)


@pytest.mark.parametrize(
    ("draw", "median"),
    [
        (Pace.write_head, HEAD_S),
        (lambda pace: pace.write(65_536), WRITE_S + 65_536 * WRITE_BYTE_S),
        (lambda pace: pace.look_up(3, 48), 3 * (LOOK_UP_S + 48 * LOOK_UP_BESIDE_S)),
    ],
)
def test_medians(draw: Callable[[Pace], float], median: float) -> None:
    dice = random.Random(1)
    drawn = [draw(Pace(dice)) for _ in range(2_000)]
    assert statistics.median(drawn) == pytest.approx(median, rel=0.05)
    assert min(drawn) > 0


def test_many_leave_in_steps() -> None:
    dice = random.Random(3)
    steps = [Pace(dice).step(40) for _ in range(2_000)]
    assert statistics.fmean(steps) == pytest.approx(1 + STEP_SHARE * 40, rel=0.1)
    assert min(steps) == 1
    between = [Pace(dice).between_steps() for _ in range(2_000)]
    assert statistics.median(between) == pytest.approx(STEP_S, rel=0.2)
    assert sum(gap > LONG_STEP_S for gap in between) == pytest.approx(1_000 * LONG_STEPS, rel=0.2)
    assert NoPace().step(40) == 40


def test_sessions_differ_more_than_the_times_of_one() -> None:
    def medians(paces: list[Pace]) -> list[float]:
        return [statistics.median(pace.write_head() for _ in range(300)) for pace in paces]

    dice = random.Random(2)
    assert statistics.pstdev(medians([Pace(dice)] * 50)) < 0.05 * HEAD_S
    assert statistics.pstdev(medians([Pace(dice) for _ in range(50)])) > 0.1 * HEAD_S


class Disk:
    """Ends a write when told to."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.sizes: list[int] = []
        self.ends: list[Callable[[], None]] = []
        self.writing = Writing(self.begin, self.read.append)

    def begin(self, size: int, end: Callable[[], None]) -> None:
        self.sizes.append(size)
        self.ends.append(end)


def test_what_comes_while_others_are_written_is_written_together_next() -> None:
    disk = Disk()
    disk.writing.add("a", 1, 0.1)
    disk.writing.add("b", 2, 0.2)
    disk.writing.add("c", 3, 0.3)
    assert (disk.read, disk.sizes) == ([], [1])
    disk.ends[0]()
    assert (disk.read, disk.sizes) == (["a"], [1, 5])
    disk.writing.add("d", 4, 0.3)
    disk.ends[1]()
    assert (disk.read, disk.sizes) == (["a", "b", "c"], [1, 5, 4])
    disk.ends[2]()
    assert disk.read == ["a", "b", "c", "d"]
    disk.writing.add("e", 5, 0.4)
    assert disk.sizes == [1, 5, 4, 5]


def test_what_arrived_together_is_written_together() -> None:
    disk = Disk()
    for name in "abc":
        disk.writing.add(name, 1, 0.1)
    disk.writing.add("d", 1, 0.2)
    disk.ends[0]()
    assert disk.read == ["a", "b", "c"]


def test_what_is_finished_early_is_not_read_twice() -> None:
    disk = Disk()
    disk.writing.add("a", 1, 0.1)
    disk.writing.add("b", 1, 0.2)
    disk.writing.finish()
    assert disk.read == ["a", "b"]
    disk.writing.add("c", 1, 0.3)
    disk.ends[0]()
    assert disk.read == ["a", "b"]
    disk.ends[1]()
    assert disk.read == ["a", "b", "c"]
    disk.writing.finish()
    assert disk.read == ["a", "b", "c"]
