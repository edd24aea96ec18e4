"""Drawings of a declared chain as SVG: a box for each layer, as tall as its output is large."""

from __future__ import annotations

from html import escape
from math import log2, prod

from .layers import Layer, summary
from .layers.summarize import Summary

WIDTH, GAP, HEIGHT, EDGE = 74, 18, 190, 16
COLOURS = {
    "Conv": "#4c78a8",
    "Dense": "#f58518",
    "Pool": "#54a24b",
    "Norm": "#b279a2",
    "Flatten": "#9d9da1",
    "Dropout": "#9d9da1",
    "input": "#72777d",
}
OTHER = "#e7a33e"  # activations, and layers of one's own


def drawing(model: type[Layer] | Layer | Summary, input: tuple[int, ...] | None = None) -> str:
    """The SVG of a declared layer, a built one, or a summary."""
    found = model if isinstance(model, Summary) else summary(model, input)
    boxes: list[tuple[str, str, tuple[int, ...], int]] = [("input", "input", found.input, 0)]
    boxes += [(row.path, row.kind, row.shape, row.parameters) for row in found.rows]
    most = max(log2(prod(shape) + 1) for _, _, shape, _ in boxes)
    whole = EDGE * 2 + len(boxes) * WIDTH + (len(boxes) - 1) * GAP
    middle = EDGE + 30 + HEIGHT / 2
    tall = HEIGHT + 2 * EDGE + 88
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {tall}" width="{whole}" '
        f'height="{tall}" font-family="sans-serif" font-size="11" text-anchor="middle">',
        f"<title>{escape(found.name)}</title>",
        f'<rect width="{whole}" height="{tall}" fill="white"/>',
        _text(whole / 2, EDGE + 8, f"{found.name}: {found.parameters:,} parameters", size=14),
    ]
    for i, (path, kind, shape, parameters) in enumerate(boxes):
        x = EDGE + i * (WIDTH + GAP)
        height = max(HEIGHT * log2(prod(shape) + 1) / most, 8)
        if i:
            lines += [
                f'<line x1="{x - GAP}" y1="{middle}" x2="{x - 4}" y2="{middle}" stroke="#556"/>'
                f'<polygon points="{x - 6},{middle - 4} {x - 1},{middle} {x - 6},{middle + 4}" '
                'fill="#556"/>'
            ]
        lines.append(
            f'<rect x="{x}" y="{middle - height / 2:.1f}" width="{WIDTH}" height="{height:.1f}" '
            f'rx="5" fill="{next((c for part, c in COLOURS.items() if part in kind), OTHER)}"/>'
        )
        below = middle + HEIGHT / 2 + 18
        size = " x ".join(map(str, shape)) or "1"
        lines += [
            _text(x + WIDTH / 2, below, path or kind, size=12),
            _text(x + WIDTH / 2, below + 15, kind if i and path != kind else "", grey=True),
            _text(x + WIDTH / 2, below + 30, size),
            _text(x + WIDTH / 2, below + 45, f"{parameters:,}" if parameters else "", grey=True),
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, *, size: int = 11, grey: bool = False) -> str:
    if not words:
        return ""
    colour = "#667" if grey else "#112"
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}"'
    return f"<text {place}>{escape(words)}</text>"
