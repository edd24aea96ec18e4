"""A canvas of braille: each character is two dots wide and four high, and has one colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, isfinite, log10

from rich.text import Text

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column
Points = Sequence[tuple[float, float]]
MARGIN = 8  # characters for the numbers beside a chart


class Canvas:
    """Dots (2 * width, 4 * height), the first row at the top.

    >>> canvas = Canvas(2, 1)
    >>> canvas.line(0, 3, 3, 0)
    >>> canvas.text().plain
    '⡠⠊'
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._dots = [[0] * width for _ in range(height)]
        self._colours: list[list[str]] = [[""] * width for _ in range(height)]

    def dot(self, x: int, y: int, colour: str = "") -> None:
        """Set one dot; those outside are left out."""
        if 0 <= x < 2 * self.width and 0 <= y < 4 * self.height:
            self._dots[y // 4][x // 2] |= DOTS[y % 4][x % 2]
            self._colours[y // 4][x // 2] = colour or self._colours[y // 4][x // 2]

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: str = "") -> None:
        """Set the dots of a line."""
        steps = max(int(max(abs(x1 - x0), abs(y1 - y0)) + 0.5), 1)
        for i in range(steps + 1):
            t = i / steps
            self.dot(floor(x0 + (x1 - x0) * t + 0.5), floor(y0 + (y1 - y0) * t + 0.5), colour)

    def text(self) -> Text:
        """The lines, in colour."""
        lines = []
        for dots, colours in zip(self._dots, self._colours, strict=True):
            line = Text()
            for each, colour in zip(dots, colours, strict=True):
                line.append(chr(0x2800 + each), colour or None)
            lines.append(line)
        return Text("\n").join(lines)


def chart(
    series: Mapping[str, Points],
    colours: Mapping[str, str],
    width: int,
    height: int,
    *,
    log: bool = False,
    title: str = "",
) -> Text:
    """Lines through points with numbers beside them, `width` by `height` characters.

    `log` draws logarithms where all values are positive.
    """
    shown = {n: [(x, y) for x, y in each if isfinite(y)] for n, each in series.items() if each}
    values = [y for points in shown.values() for _, y in points]
    log = log and bool(values) and min(values) > 0
    legend = Text.assemble((title, "bold"), *[("  ━ " + n, colours.get(n, "")) for n in shown])
    legend.truncate(width)
    if not values:
        return Text("\n").join([legend, Text("  nothing yet", "dim")])
    rows, columns = max(height - 2, 1), max(width - MARGIN, 1)
    canvas = Canvas(columns, rows)
    every = [x for points in shown.values() for x, _ in points]
    x0, x1 = min(every), max(max(every), min(every) + 1)
    place = log10 if log else float
    low, high = min(map(place, values)), max(map(place, values))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    wide, tall = 2 * columns - 1, 4 * rows - 1
    for name, points in shown.items():
        spots = [
            ((x - x0) / (x1 - x0) * wide, (high - place(y)) / (high - low) * tall)
            for x, y in points
        ]
        for (a, b), (c, d) in zip(spots, spots[1:] or spots, strict=False):
            canvas.line(a, b, c, d, colours.get(name, ""))
    lines: list[Text] = [legend]
    for i, line in enumerate(canvas.text().split("\n", allow_blank=True)):
        share = i / max(rows - 1, 1)
        value = high - (high - low) * share
        number = brief(10**value if log else value) if i % 3 == 0 or i == rows - 1 else ""
        lines.append(Text.assemble((f"{number:>{MARGIN - 2}} ", "dim"), ("│", "dim"), line))
    right = brief(x1)
    foot = f"{'':{MARGIN - 1}}{brief(x0):<{max(columns - len(right), 1)}} {right}"
    lines.append(Text(foot, "dim"))
    return Text("\n").join(lines)


def brief(value: float) -> str:
    """A number in at most six characters.

    >>> [brief(each) for each in (0.000123, 0.25, 12.0, 123456.0)]
    ['1e-04', '0.250', '12', '1e+05']
    """
    if value == int(value) and abs(value) < 1e5:
        return str(int(value))
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.{max(0, 3 - max(0, int(log10(abs(value)))))}f}"[:6]
    return f"{value:.0e}"
