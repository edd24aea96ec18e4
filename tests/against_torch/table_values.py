"""Elementwise ops, reductions, scans and order beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from autograph import ops

from .cases import FLOATS, WHOLE, broadcast_shapes, shape_of
from .table_draws import (
    NUMBERS,
    WIDE,
    Rng,
    a_number,
    along,
    bounded,
    filled,
    functional,
    indices,
    normal,
    one,
    over_axes,
    row,
    shown,
    two,
    whole,
)


def reducing(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of dim and keepdim, over all axes too."""

    def theirs(x: Any, *, axis: Any, keepdims: bool, **settings: Any) -> Any:
        dims = tuple(range(x.ndim)) if axis is None else axis
        if isinstance(dims, int):
            dims = (dims,)
        return (
            function(x, dim=dims, keepdim=keepdims, **settings)
            if x.ndim
            else function(x.reshape(1), dim=0, keepdim=False, **settings)
        )

    return theirs


def product(x: Any, *, dim: Any, keepdim: bool) -> Any:
    for each in sorted(
        (d % x.ndim for d in ((dim,) if isinstance(dim, int) else dim)), reverse=True
    ):
        x = x.prod(each, keepdim=keepdim)
    return x


def arg(name: str) -> Callable[..., Any]:
    def theirs(x: Any, *, axis: Any, keepdims: bool) -> Any:
        return getattr(x, name)(dim=axis, keepdim=keepdims and axis is not None)

    return theirs


def plain_arg(name: str) -> Callable[..., Any]:
    def ours(x: Any, *, axis: Any, keepdims: bool) -> Any:
        return getattr(ops, name)(x, axis=axis, keepdims=keepdims and axis is not None)

    return ours


# fmt: off
for _name in ("add", "multiply", "maximum", "minimum"):
    row(_name, getattr(torch, _name), two(numbers=_name in ("add", "multiply")), types=NUMBERS)
row("subtract", torch.subtract, two(), types=NUMBERS)
row("divide", torch.divide, two(0.3, 4.0), types=NUMBERS[: len(FLOATS)])
row("floor_divide", torch.floor_divide, whole(2, 1, 9), types=NUMBERS, values=True)
row("remainder", torch.remainder, whole(2, 1, 9), types=NUMBERS, values=True)
row("power", torch.pow, two(0.2, 3.0), types=FLOATS)
row("negative", torch.negative, one(), types=NUMBERS)
row("abs", torch.abs, one(), types=NUMBERS)
row("sign", torch.sign, one(), types=NUMBERS)
row("square", torch.square, one(), types=NUMBERS)
row("reciprocal", torch.reciprocal, one(0.3, 4.0))
row("copysign", torch.copysign, two(0.3, 4.0, numbers=False))
row("hypot", torch.hypot, two(numbers=False))
row("lerp", torch.lerp, lambda rng: ([*two(numbers=False)(rng)[0], float(rng.uniform(-1, 2))], {}))
row("clip_both", torch.clamp, bounded)
row("clip_low", lambda x, low: torch.clamp(x, min=low), two())
row("clip_high", lambda x, high: torch.clamp(x, max=high), two())
row("where", lambda c, a, b: torch.where(c, a, b),
    lambda rng: ([(arrays := [normal(rng, s) for s in broadcast_shapes(rng, 3)])[0] > 0,
                  *arrays[1:]], {}), types=NUMBERS)

for _name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    _torch = {"equal": "eq"}.get(_name, _name)
    row(_name, getattr(torch, _torch), whole(2, -3, 3), types=(*FLOATS, "i8", "i32", "i64"),
        values=True)
for _name in ("logical_and", "logical_or", "logical_xor"):
    row(_name, getattr(torch, _name), whole(2, -1, 2), types=(*FLOATS, "i32"), values=True)
row("logical_not", torch.logical_not, whole(1, -1, 2), types=(*FLOATS, "i32"), values=True)
for _name in ("isnan", "isinf", "isfinite"):
    row(_name, getattr(torch, _name), one(), types=NUMBERS, values=True)
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    row(_name, getattr(torch, _name), whole(2, 0, 127), types=WHOLE, values=True)
for _name in ("bitwise_left_shift", "bitwise_right_shift"):
    row(_name, getattr(torch, _name), whole(2, 0, 7), types=WHOLE, values=True)
row("bitwise_invert", torch.bitwise_not, whole(1, 0, 127), types=WHOLE, values=True)

for _name in (
    "exp",
    "exp2",
    "expm1",
    "sin",
    "cos",
    "tan",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "erf",
    "erfc",
    "sigmoid",
):
    row(_name, getattr(torch, _name), one(-1.5, 1.5) if _name == "tan" else one())
for _name in ("sqrt", "rsqrt", "log", "log2", "log10", "log1p"):
    row(_name, getattr(torch, _name), one(0.1, 9.0))
for _name in ("asin", "acos", "atanh"):
    row(_name, getattr(torch, _name), one(-0.95, 0.95))
row("acosh", torch.acosh, one(1.1, 9.0))
row("atan2", torch.atan2, two(numbers=False))
row("logaddexp", torch.logaddexp, two(-30, 30, numbers=False))
row("logsigmoid", functional.logsigmoid, one(-30, 30))
row("relu", torch.relu, one(), types=NUMBERS)
for _name in ("floor", "ceil", "round", "trunc"):
    row(_name, getattr(torch, _name), one(), types=NUMBERS)

# reductions
row("sum", reducing(torch.sum), over_axes(), types=(*FLOATS, "i8", "i16", "i32", "i64"))
row("mean", reducing(torch.mean), over_axes())
row("max", reducing(torch.amax), over_axes(empty=False), types=NUMBERS)
row("min", reducing(torch.amin), over_axes(empty=False), types=NUMBERS)
row("prod", reducing(product), over_axes(1.0), types=WIDE)
row("any", reducing(torch.any), over_axes(0.3), types=("f32", "bf16", "i32"), values=True)
row("all", reducing(torch.all), over_axes(0.3), types=("f32", "bf16", "i32"), values=True)
for _name in ("argmax", "argmin"):
    row(_name, arg(_name), along(empty=False, none=True, keepdims=lambda rng: rng.random() < 0.5),
        ours=plain_arg(_name), types=WIDE, values=True)
for _name in ("var", "std"):
    row(_name, reducing(getattr(torch, _name)), over_axes(empty=False, correction=a_number(0, 2)))
row("logsumexp", reducing(torch.logsumexp), over_axes(empty=False))
row("euclidean_norm", reducing(torch.linalg.vector_norm), over_axes(empty=False))
row("power_norm", reducing(torch.linalg.vector_norm),
    over_axes(empty=False, ord=lambda rng: float(rng.choice([1.5, 3.0, -1.0]))))
row("softmax", lambda x, axis: torch.softmax(x, axis), along())
row("log_softmax", lambda x, axis: torch.log_softmax(x, axis), along())

# scans and order
row("cumsum", lambda x, axis: torch.cumsum(x, axis), along(), types=(*FLOATS, "i8", "i32", "i64"))
row("cumprod", lambda x, axis: torch.cumprod(x, axis), along(), types=(*WIDE, "i64"))
row("cummax", lambda x, axis: shown(torch.cummax(x, axis)), along(empty=False), types=NUMBERS)
row("cummin", lambda x, axis: shown(torch.cummin(x, axis)), along(empty=False), types=NUMBERS)
row("argsort",
    lambda x, axis, descending: torch.argsort(x, dim=axis, descending=descending, stable=True),
    along(descending=lambda rng: bool(rng.random() < 0.5)), types=NUMBERS, values=True)
row("sort",
    lambda x, axis, descending: torch.sort(x, dim=axis, descending=descending, stable=True)[0],
    along(descending=lambda rng: bool(rng.random() < 0.5)), types=NUMBERS)


def _topk(rng: Rng) -> Any:
    x = rng.permutation(int(np.prod(shape := filled(rng).shape))).reshape(shape) * 0.25
    axis = int(rng.integers(-x.ndim, x.ndim))
    k = int(rng.integers(0, x.shape[axis] + 1))
    return [x], {"k": k, "axis": axis, "largest": bool(rng.random() < 0.5)}


row("topk", lambda x, k, axis, largest: shown(torch.topk(x, k, axis, largest)), _topk, types=WIDE)


def _searched(rng: Rng) -> Any:
    ordered = np.sort(np.round(filled(rng)))
    wanted = np.round(normal(rng, (*ordered.shape[:-1], 4)))
    return [ordered, wanted], {"side": str(rng.choice(["left", "right"]))}


row("searchsorted", torch.searchsorted, _searched, types=WIDE, values=True)
row("unique_all", lambda x: torch.unique(x, return_inverse=True, return_counts=True),
    lambda rng: ([np.round(normal(rng, shape_of(rng)))], {}), types=NUMBERS, values=True)
row("nonzero_flat", lambda x: torch.nonzero(x.reshape(-1)).reshape(-1),
    lambda rng: ([np.round(normal(rng, shape_of(rng), 0.5))], {}), types=NUMBERS, values=True)
row("bincount", lambda x, weights, minlength: torch.bincount(x, weights, minlength),
    lambda rng: ([indices(rng, 5, (7,)), normal(rng, (7,))],
                 {"minlength": int(rng.integers(0, 9))}), types=WIDE,
    values=True)  # PyTorch gives weights no gradient
row("histogram", lambda x, bins, range: torch.histogram(x, bins, range=range),
    lambda rng: ([normal(rng, shape_of(rng))],
                 {"bins": int(rng.integers(1, 9)), "range": (-3.0, 3.0)}), types=WIDE, values=True,
    other_type=True)  # counts are i64 here
row("one_hot", lambda x, classes: functional.one_hot(x, classes),
    lambda rng: ([indices(rng, 5, shape_of(rng))], {"classes": 5}), types=("f32",), values=True)
# fmt: on
