"""The picture of `bias`: points with error bars beside the exact figures, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

from offchain_worker.simulation.bias import Bias

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 36, 56
LOW, HIGH = 0.45, 0.85


def bias_plot(rows: Sequence[Bias]) -> str:
    """The SVG text."""
    step = (WIDTH - LEFT - RIGHT) / max(1, len(rows))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20">How often k of n seats that withhold get one bit of R as they '
        f"wish ({min(row.rounds for row in rows)} runs each)</text>",
    ]
    for tenth in range(50, 90, 10):
        y = _height(tenth / 100)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tenth} %</text>')
    for at, row in enumerate(rows):
        x = LEFT + step * (at + 0.5)
        y, exact = _height(row.measured), _height(row.exact)
        low, high = (_height(row.measured + side * 1.96 * row.error) for side in (-1, 1))
        parts += [
            f'<line x1="{x - 18:.1f}" x2="{x + 18:.1f}" y1="{exact}" y2="{exact}" '
            'stroke="#c33" stroke-width="2"/>',
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low}" y2="{high}" stroke="#226"/>',
            f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="#226"/>',
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{row.withholding}/{row.size}</text>",
        ]
    parts += [
        f'<text x="{LEFT}" y="{HEIGHT - 14}">k/n; dots: measured, with 95 % intervals; '
        "red: exact, 1/2 without and 3/4 with a seat that withholds</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _height(part: float) -> float:
    span = HEIGHT - TOP - BOTTOM
    return round(TOP + span * (HIGH - part) / (HIGH - LOW), 1)
