"""What a benchmark gives: samples with a unit, beside what is aimed at."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum


class Aim(Enum):
    """Which side of the aimed value is good."""

    AT_MOST = "≤"
    AT_LEAST = "≥"


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        name: what was measured.
        unit: of samples and aim.
        samples: one for each run, at least one.
        aim: what is aimed at, if anything: the side and the value.
    """

    name: str
    unit: str
    samples: Sequence[float]
    aim: tuple[Aim, float] | None = None

    @property
    def median(self) -> float:
        """The middle one of the samples."""
        return statistics.median(self.samples)

    @property
    def verdict(self) -> str:
        """The aim, and whether the median meets it."""
        if self.aim is None:
            return ""
        side, value = self.aim
        met = self.median <= value if side is Aim.AT_MOST else self.median >= value
        return f"{side.value} {_number(value)}: {'met' if met else 'MISSED'}"

    def cells(self) -> list[str]:
        """The line's columns, as `HEADINGS` names them."""
        low, middle, high = min(self.samples), self.median, max(self.samples)
        numbers = [_number(low), _number(middle), _number(high)]
        return [self.name, *numbers, self.unit, str(len(self.samples)), self.verdict]


HEADINGS = ["", "min", "median", "max", "unit", "runs", "aim"]


def table(figures: Iterable[Figure]) -> str:
    """The figures as a table of plain text that is Markdown too."""
    rows = [figure.cells() for figure in figures]
    widths = [max(len(row[i]) for row in [HEADINGS, *rows]) for i in range(len(HEADINGS))]
    rule = ["-" * width for width in widths]

    def line(row: list[str]) -> str:
        padded = (
            cell.rjust(width) if 0 < column < 4 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    return "\n".join(line(row) for row in [HEADINGS, rule, *rows])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
