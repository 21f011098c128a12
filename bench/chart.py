"""A line chart as SVG."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 420, 70, 60, 30, 190
COLOURS = ("#b3261e", "#1a5fb4", "#2e7d32")
TICKS, GAP = 5, 20

Point = tuple[float, float]


def draw(lines: Mapping[str, Sequence[Point]], x_title: str, y_title: str) -> str:
    """Return a chart of named lines."""
    points = [point for line in lines.values() for point in line]
    x_most, y_most = (_round_up(max(values)) for values in zip(*points, strict=True))

    def place(x: float, y: float) -> Point:
        return (
            LEFT + x / x_most * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / y_most * (HEIGHT - BOTTOM - TOP),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="14">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for tick in range(TICKS + 1):
        x, y = x_most * tick / TICKS, y_most * tick / TICKS
        (left, level), (right, _) = place(0, y), place(x_most, y)
        parts.append(f'<path d="M{left:.0f} {level:.0f}H{right:.0f}" stroke="#ddd"/>')
        parts.append(_text(left - 8, level + 5, f"{y:g}", "end"))
        parts.append(_text(place(x, 0)[0], HEIGHT - BOTTOM + 20, f"{x:g}", "middle"))
    parts.append(_text(place(x_most / 2, 0)[0], HEIGHT - 15, x_title, "middle"))
    parts.append(_text(LEFT, TOP - 10, y_title, "middle"))
    lowest = float(HEIGHT)
    ends = sorted(zip(lines.items(), COLOURS, strict=False), key=lambda end: end[0][1][-1][1])
    for (name, line), colour in ends:
        path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = place(*line[-1])
        lowest = min(y + 5, lowest - GAP)  # The name is above those of the lines below.
        parts.append(_text(x + 8, lowest, name, "start", colour))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(text)}</text>"
    )


def _round_up(value: float) -> float:
    """Return the next multiple of half a power of ten."""
    step = 10.0 ** (len(str(int(value))) - 1) / 2
    return math.ceil(value / step) * step
