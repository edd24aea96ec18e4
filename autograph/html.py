"""Tensors, layers and summaries as HTML, for notebooks: they ask `_repr_html_`."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from .layers import Layer
from .layers.declare import Declared
from .layers.summarize import Summary
from .tensor import Tensor

SHOWN = 8  # rows and columns of a tensor
PICTURE = range(8, 257)  # the sizes of a tensor that is shown as a picture


def tensor_html(x: Tensor) -> str:
    """What it is, and its first values; a picture where it looks like one.

    Of a tensor on a device no values are shown: looking would wait for it.
    """
    name = f"{type(x).__name__} {x.device} {x.scalar_type} {x.shape}"
    head = f"<b>{escape(name)}</b>"
    if not x.device.is_host or x.ndim == 0 or not x.size:
        value = f" {x.item():.6g}" if x.device.is_host and x.size == 1 else ""
        return head + value
    array = x.numpy().astype(np.float64)
    if _is_picture(x):
        return f"{head}<br>{_picture(array.reshape(array.shape[-2:]))}"
    flat = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array[None]
    rows = [[f"{each:.4g}" for each in row[:SHOWN]] for row in flat[:SHOWN]]
    if flat.shape[1] > SHOWN:
        rows = [[*row, "…"] for row in rows]
    if len(flat) > SHOWN:
        rows.append(["…"])
    told = f"mean {array.mean():.4g}, from {array.min():.4g} to {array.max():.4g}"
    return f"{head} <small>{told}</small>{_table([], rows)}"


def layer_html(model: Layer) -> str:
    """A row for each innermost layer: path, settings, parameters."""
    head = f"<b>{escape(type(model).__name__)}</b> on {model.device} in {model.scalar_type}"
    rows = []
    for path, each in model.named_layers().items():
        if isinstance(each._builder, Declared):
            continue
        declared = str(each).splitlines()[0].partition(" on ")[0]  # Conv2(outputs=6, filter=5)
        kind, _, settings = declared.partition("(")
        rows.append([path, kind, settings.removesuffix(")"), f"{each.parameter_count:,}"])
    rows.append(["", "", "", f"{model.parameter_count:,}"])
    return head + _table(["layer", "kind", "settings", "parameters"], rows)


def summary_html(found: Summary) -> str:
    """The summary as a table."""
    rows = [
        [each.path, each.kind, str(each.shape), f"{each.parameters:,}", f"{each.multiply_adds:,}"]
        for each in found.rows
    ]
    rows.append([found.name, "", "", f"{found.parameters:,}", f"{found.multiply_adds:,}"])
    return _table(["layer", "kind", "output", "parameters", "multiply-adds"], rows)


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext autograph.html` shows them so in a notebook."""
    html = shell.display_formatter.formatters["text/html"]
    for kind, show in ((Tensor, tensor_html), (Layer, layer_html), (Summary, summary_html)):
        html.for_type(kind, show)


def _is_picture(x: Tensor) -> bool:
    sizes = x.shape[-2:]
    return (
        x.ndim in (2, 3, 4)
        and all(each == 1 for each in x.shape[:-2])
        and all(each in PICTURE for each in sizes)
        and max(sizes) <= 2 * min(sizes)
    )


def _picture(array: np.ndarray[Any, Any]) -> str:
    """Grey squares as SVG: the largest value white, the smallest black."""
    height, width = array.shape
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    grey = np.nan_to_num((array - low) / (high - low or 1) * 255).astype(int)
    side = max(1, 160 // max(height, width))
    squares = "".join(
        f'<rect x="{c * side}" y="{r * side}" width="{side}" height="{side}" '
        f'fill="rgb({v},{v},{v})"/>'
        for (r, c), v in np.ndenumerate(grey)
    )
    return (
        f'<svg width="{width * side}" height="{height * side}" '
        f'shape-rendering="crispEdges">{squares}</svg>'
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(each)}</td>" for each in row) + "</tr>" for row in rows
    )
    return f"<table>{f'<tr>{top}</tr>' if head else ''}{body}</table>"
