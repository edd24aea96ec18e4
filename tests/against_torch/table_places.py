"""Indices and shapes beside PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from autograph import ops

from .cases import broadcast_shapes, shape_of
from .table_draws import (
    NUMBERS,
    WIDE,
    Rng,
    a_number,
    along,
    filled,
    functional,
    indices,
    normal,
    of,
    of_any,
    one,
    row,
    shown,
)

# fmt: off
# indices


def _taken(rng: Rng) -> Any:
    x = filled(rng)
    axis = int(rng.integers(-x.ndim, x.ndim))
    return [x, indices(rng, x.shape[axis], (int(rng.integers(0, 5)),))], {"axis": axis}


def _gathered(rng: Rng, least: int = 0) -> Any:
    x = filled(rng)
    axis = int(rng.integers(-x.ndim, x.ndim))
    shape = [int(rng.integers(least, size + 1)) for size in x.shape]
    return [x, indices(rng, x.shape[axis], tuple(shape))], {"axis": axis}


def _scattered(rng: Rng) -> Any:
    (x, where), settings = _gathered(rng)
    return [x, where, normal(rng, where.shape)], settings


def _scattered_once(rng: Rng) -> Any:
    """Each place at most once, or PyTorch does not say which stays."""
    x = filled(rng)
    axis = int(rng.integers(-x.ndim, x.ndim))
    order = np.argsort(rng.random(x.shape), axis=axis)
    return [x, order, normal(rng, order.shape)], {"axis": axis}


def _reordered(rng: Rng) -> Any:
    inputs, settings = _scattered_once(rng)
    return inputs[:2], settings


def _sliced(rng: Rng) -> Any:
    (x, where), settings = _taken(rng)
    shape = list(x.shape)
    shape[settings["axis"]] = where.size
    return [x, where, normal(rng, tuple(shape))], settings


row("take", lambda x, i, axis: torch.index_select(x, axis, i), _taken, types=NUMBERS)
row("gather", lambda x, i, axis: torch.gather(x, axis, i), _gathered, types=NUMBERS)
row("take_along_axis", lambda x, i, axis: torch.take_along_dim(x, i, axis), _reordered)
row("scatter", lambda x, i, y, axis: torch.scatter(x, axis, i, y), _scattered_once, types=NUMBERS)
row("scatter_add", lambda x, i, y, axis: torch.scatter_add(x, axis, i, y), _scattered)
row("index_add", lambda x, i, y, axis: torch.index_add(x, axis, i, y), _sliced)
row("masked_fill", lambda x, mask, value: torch.masked_fill(x, mask, value),
    lambda rng: ([(x := normal(rng, shape_of(rng))), x > 0, 2.0], {}), types=NUMBERS)

# shapes


def _axes(rng: Rng) -> Any:
    x = normal(rng, shape_of(rng))
    return [x], {"axes": tuple(int(i) for i in rng.permutation(x.ndim))}


def _wider(rng: Rng) -> Any:
    small, large = broadcast_shapes(rng, 2)
    return [normal(rng, small)], {"shape": np.broadcast_shapes(small, large)}


def _narrower(rng: Rng) -> Any:
    (small,), settings = _wider(rng)
    return [normal(rng, settings["shape"])], {"shape": np.shape(small)}


def _joined(rng: Rng) -> Any:
    shape = shape_of(rng, least=1)
    axis = int(rng.integers(-len(shape), len(shape)))
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        sizes = list(shape)
        sizes[axis] = int(rng.integers(0, 4))
        parts.append(normal(rng, tuple(sizes)))
    return parts, {"axis": axis}


row("reshape", lambda x, shape: x.reshape(shape),
    lambda rng: ([(x := normal(rng, shape_of(rng)))], {"shape": x.shape[::-1]}), types=NUMBERS)
row("permute_dims", lambda x, axes: x.permute(axes), _axes, types=NUMBERS)
row("broadcast_to", lambda x, shape: x.broadcast_to(shape), _wider, types=NUMBERS)
row("sum_to", lambda x, shape: x.sum_to_size(shape), _narrower)
row("concat", lambda *xs, axis: torch.cat(xs, axis), _joined, types=NUMBERS)
row("copy", torch.clone, one(), types=NUMBERS)
row("index", lambda x, key: x[key],
    lambda rng: ([filled(rng, 2)], {"key": (slice(0, None, 2), None, ..., 0)}), types=NUMBERS)
row("flip", lambda x, axis: x.flip(axis), along(), types=NUMBERS)
row("roll", lambda x, shift, axis: x.roll(shift, axis), along(shift=a_number(-7, 7)),
    ours=lambda x, shift, axis: ops.roll(x, shift, axis=axis))
row("tile", lambda x, repeats: x.tile(repeats), of_any(repeats=(2, 1, 3)))
row("repeat", lambda x, repeats, axis: x.repeat_interleave(repeats, axis),
    along(repeats=a_number(0, 4)),
    ours=lambda x, repeats, axis: ops.repeat(x, repeats, axis=axis))
row("stack", lambda *xs, axis: torch.stack(xs, axis),
    lambda rng: ([normal(rng, s) for s in [shape_of(rng)] * 3], {"axis": int(rng.choice([0, -1]))}),
    ours=lambda *xs, axis: ops.stack(xs, axis=axis))
row("split", lambda x, axis: shown(x.tensor_split([1, 3], axis)), along(),
    ours=lambda x, axis: ops.split(x, [1, 3], axis=axis))
row("chunk", lambda x, axis: shown(x.chunk(2, axis)), along(empty=False),
    ours=lambda x, axis: ops.chunk(x, 2, axis=axis))
row("unbind", lambda x, axis: x.unbind(axis), along(empty=False))
row("meshgrid", lambda *xs: torch.meshgrid(*xs, indexing="xy"),
    lambda rng: ([normal(rng, (int(rng.integers(1, 4)),)) for _ in range(2)], {}))
row("tril", lambda x, k: x.tril(k), of_any(2, k=a_number(-2, 3)))
row("triu", lambda x, k: x.triu(k), of_any(2, k=a_number(-2, 3)))
row("diagonal", lambda x, offset: x.diagonal(offset), of_any(2, offset=a_number(-2, 3)))


def _padded(x: Any, widths: Any, mode: str) -> Any:
    flat = [each for pair in reversed(widths) for each in pair]
    if mode == "constant":
        return functional.pad(x, flat, value=1.5)
    return functional.pad(x[None, None], flat, mode=mode)[0, 0]


row("pad", _padded,
    lambda rng: ([normal(rng, (4, 5))],
                 {"widths": tuple((int(a), int(b)) for a, b in rng.integers(0, 4, size=(2, 2))),
                  "mode": str(rng.choice(["constant", "reflect", "replicate", "circular"]))}),
    ours=lambda x, widths, mode: ops.pad(x, widths, mode=mode, value=1.5), types=WIDE)
row("pad_constant", lambda x, widths, value: functional.pad(x, (1, 2, 0, 1), value=value),
    of((3, 4), widths=((0, 1), (1, 2)), value=1.5), types=NUMBERS)
# fmt: on
