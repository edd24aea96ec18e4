"""Plots of a run with matplotlib (extra `plot`): curves, a confusion table, first-layer filters.

Each function draws into axes if it is given some, else into a new figure, and returns the figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import SettingsError
from .imports import needed
from .layers import Layer
from .logs import curves_of, read_log

COLUMNS = 8  # filters in a row


def _axes(count: int = 1, size: tuple[float, float] = (5.0, 3.6)) -> Any:
    """So many axes side by side in a new figure, drawn without a window."""
    needed("matplotlib", "plots", "'autograph-nn[plot]'")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * count, size[1]), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots(1, count, squeeze=False)[0]


def curves(run: str | Path | Sequence[Mapping[str, Any]]) -> Any:
    """Loss and accuracy by epoch, of a run folder, a log file, or records."""
    records: Any = run
    if isinstance(run, str | Path):
        path = Path(run)
        records = read_log(path / "log.jsonl" if path.is_dir() else path)
    found = curves_of(records)
    kinds = [kind for kind in ("loss", "accuracy") if any(name.endswith(kind) for name in found)]
    if not kinds:
        raise SettingsError("plots: there is no epoch in this log\n  train for at least one")
    axes = _axes(len(kinds))
    for ax, kind in zip(axes, kinds, strict=True):
        for part, style in (("train", "--"), ("test", "-")):
            points = found.get(f"{part}_{kind}", [])
            if points:
                x, y = zip(*points, strict=True)
                ax.plot(x, y, style, marker=".", label=part)
        ax.set_xlabel("epoch")
        ax.set_title(kind)
        ax.grid(alpha=0.3)
        ax.legend()
        if kind == "loss" and all(y > 0 for points in found.values() for _, y in points):
            ax.set_yscale("log")
    return axes[0].figure


def confusion_table(counts: Any, names: Sequence[str] = (), ax: Any = None) -> Any:
    """A table (classes, classes) of how often class j was found where class i is right."""
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise SettingsError(
            f"confusion_table: counts are square\n  given  {counts.shape}\n"
            f"  write  confusion(scores, targets)  of autograph.probe"
        )
    ax = _axes(size=(4.6, 4.2))[0] if ax is None else ax
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(counts))
    labels = list(names) or [str(i) for i in ticks]
    ax.set_xticks(ticks, labels, rotation=45 if names else 0)
    ax.set_yticks(ticks, labels)
    ax.set_xlabel("found")
    ax.set_ylabel("right")
    for (i, j), count in np.ndenumerate(counts):
        if count:
            colour = "white" if share[i, j] > 0.5 else "black"
            ax.text(j, i, str(count), ha="center", va="center", fontsize=7, color=colour)
    return ax.figure


def filters(weight: Any, ax: Any = None) -> Any:
    """The filters of a convolution (O, C, R, S), or the first of a model, as pictures: grey of
    one channel, coloured of three."""
    if isinstance(weight, Layer):
        found = [w for w in weight.parameters() if w.ndim == 4]
        if not found:
            raise SettingsError(f"filters: {type(weight).__name__} has no 2-d convolution")
        weight = found[0]
    values = np.asarray(weight.numpy() if hasattr(weight, "numpy") else weight, np.float64)
    if values.ndim != 4:
        raise SettingsError(f"filters: a weight is (O, C, R, S)\n  given  {values.shape}")
    ax = _axes(size=(6.0, 2.4))[0] if ax is None else ax
    pictures = _normalised(values)
    height, width = pictures.shape[1] + 1, pictures.shape[2] + 1
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = np.ones((rows * height - 1, columns * width - 1, 3))
    for i, picture in enumerate(pictures):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + height - 1, left : left + width - 1] = picture
    ax.imshow(sheet, interpolation="nearest")
    ax.set_axis_off()
    return ax.figure


def _normalised(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Filters (O, C, R, S) as pictures (O, R, S, 3), each from its least to its largest value."""
    if values.shape[1] != 3:
        values = values.mean(axis=1, keepdims=True).repeat(3, axis=1)
    low = values.min(axis=(1, 2, 3), keepdims=True)
    high = values.max(axis=(1, 2, 3), keepdims=True)
    return np.moveaxis((values - low) / np.maximum(high - low, 1e-12), 1, -1)
