"""Rules of the ONNX export by op: for what a forward written by hand computes with tensors.

A rule gets the graph, the names of the inputs ("" where there is none), their outlines, the op's
settings and the outline of what comes out; it adds nodes and answers the name of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any, TypeAlias

import numpy as np

from ..errors import SettingsError
from ..ops.index import thawed_key
from ..ops.positions import encoding
from ..ops.resample import weights
from ..ops.window_shares import shares
from ..ops.windows import window_count
from ..outline import Outline

Names: TypeAlias = Sequence[str]
Outlines: TypeAlias = Sequence[Any]
Rule = Callable[[Any, Names, Outlines, Mapping[str, Any], Outline], str]
BATCH = 9973  # samples while a forward is followed: a prime, so that no other size is a multiple


def _node(kind: str, **fixed: Any) -> Rule:
    """One node, the settings of the op left out."""
    return lambda g, names, xs, settings, y: g.node(kind, *names, **fixed)


def _linear(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    found: str = g.node("MatMul", *names[:2])
    return g.node("Add", found, names[2]) if names[2] else found


def _shape(sizes: Sequence[int]) -> list[int]:
    """A shape in which the batch may be of any size: 0 where it stands first, else -1."""
    told = [0 if i == 0 and n == BATCH else n for i, n in enumerate(sizes)]
    open_ = [i for i, n in enumerate(told) if n and n % BATCH == 0]
    if len(open_) > 1:
        raise SettingsError("export: a shape depends twice on the size of the batch")
    return [-1 if i in open_ else n for i, n in enumerate(told)]


def _reshape(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    sizes = _shape(y.shape)
    if sizes and sizes[0] == 0 and (not xs[0].shape or xs[0].shape[0] != BATCH):
        sizes[0] = -1
    return g.node("Reshape", names[0], g.ints(*sizes))


def _permute(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    ndim = xs[0].ndim
    axes = settings["axes"]
    order = range(ndim)[::-1] if axes is None else [each % ndim for each in axes]
    return g.node("Transpose", names[0], perm=list(order))


def _expand(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    before = (1,) * (y.ndim - xs[0].ndim) + tuple(xs[0].shape)
    sizes = [1 if a == n else n for a, n in zip(before, y.shape, strict=True)]
    if any(n % BATCH == 0 for n in sizes):
        raise SettingsError("export: a tensor is broadcast to the size of the batch")
    return g.node("Expand", names[0], g.ints(*sizes))


def _index(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    key = list(thawed_key(settings["key"]))
    taken = sum(each is not None and each is not Ellipsis for each in key)
    rest = [slice(None)] * (xs[0].ndim - taken)
    at = key.index(Ellipsis) if Ellipsis in key else len(key)
    key[at : at + 1] = rest
    name, axis = names[0], 0
    gone: list[int] = []
    new: list[int] = []
    cuts: list[tuple[int, int, int, int]] = []
    for place, each in enumerate(key):
        if each is None:
            new.append(place - len(gone))
            continue
        size = xs[0].shape[axis]
        if isinstance(each, int):
            cuts.append((axis, each, each + 1 if each != -1 else 2**31 - 1, 1))
            gone.append(axis)
        elif each != slice(None):
            start, stop, step = each.indices(size)
            stop = -(2**31) if stop < 0 else 2**31 - 1 if stop >= size else stop
            cuts.append((axis, start, stop, step))
        axis += 1
    if cuts:
        columns = [g.ints(*each) for each in zip(*cuts, strict=True)]
        name = g.node("Slice", name, columns[1], columns[2], columns[0], columns[3])
    if gone:
        name = g.node("Squeeze", name, g.ints(*gone))
    return g.node("Unsqueeze", name, g.ints(*new)) if new else name


def _reduce(kind: str) -> Rule:
    def rule(g: Any, names: Names, xs: Outlines, settings: Mapping[str, Any], y: Outline) -> str:
        axes = settings["axis"]
        axes = range(xs[0].ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
        return g.node(kind, names[0], g.ints(*axes), keepdims=int(settings["keepdims"]))

    return rule


def _along(kind: str) -> Rule:
    return lambda g, names, xs, settings, y: g.node(kind, *names, axis=settings["axis"])


def _standardised(g: Any, x: str, axes: Sequence[int], epsilon: float, centre: bool = True) -> str:
    if centre:
        x = g.node("Sub", x, g.node("ReduceMean", x, g.ints(*axes), keepdims=1))
    square = g.node("ReduceMean", g.node("Mul", x, x), g.ints(*axes), keepdims=1)
    return g.node("Div", x, g.node("Sqrt", g.node("Add", square, g.number(epsilon))))


def _affine(g: Any, x: str, weight: str, bias: str) -> str:
    x = g.node("Mul", x, weight) if weight else x
    return g.node("Add", x, bias) if bias else x


def _layer_norm(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    axes = settings["axes"]
    if names[1]:
        return g.node("LayerNormalization", *[each for each in names if each], axis=-axes,
                      epsilon=settings["epsilon"])  # fmt: skip
    return _standardised(g, names[0], range(-axes, 0), settings["epsilon"])


def _rms_norm(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    axes = range(-settings["axes"], 0)
    return _affine(g, _standardised(g, names[0], axes, settings["epsilon"], False), names[1], "")


def _group_norm(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    """In three axes (N, groups, rest), then back, the scales beside the channels."""
    ndim, sizes = xs[0].ndim, [0, *xs[0].shape[1:]]
    flat = g.node("Reshape", names[0], g.ints(0, settings["groups"], -1))
    x = g.node("Reshape", _standardised(g, flat, [2], settings["epsilon"]), g.ints(*sizes))
    around = g.ints(-1, *[1] * (ndim - 2))
    scales = [g.node("Reshape", each, around) if each else "" for each in names[1:]]
    return _affine(g, x, *scales)


def _attention(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    q, k, v = names[:3]
    order = [*range(xs[1].ndim - 2), xs[1].ndim - 1, xs[1].ndim - 2]
    scale = 1 / sqrt(xs[0].shape[-1]) if settings["scale"] is None else settings["scale"]
    scores = g.node("MatMul", g.node("Mul", q, g.number(scale)), g.node("Transpose", k, perm=order))
    hidden = g.number(-1e30)
    if settings["causal"]:
        rows, columns = xs[0].shape[-2], xs[1].shape[-2]
        seen = np.tril(np.ones((rows, columns), bool))
        scores = g.node("Where", g.constant(f"causal {rows} {columns}", seen), scores, hidden)
    if names[3]:
        if xs[3].scalar_type.kind == "bool":
            scores = g.node("Where", names[3], scores, hidden)
        else:
            scores = g.node("Add", scores, names[3])
    return g.node("MatMul", g.node("Softmax", scores, axis=-1), v)


def _positions(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    length, size = xs[0].shape[-2:]
    table = encoding(np, None, np.dtype(np.float32), length, size, settings["base"])
    name = g.constant(f"places {length} {size} {settings['base']}", table)
    return g.node("Add", names[0], name)


def _resample(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    """A product with the table of weights, the axis brought to the end and back."""
    axis, ndim = settings["axis"] % xs[0].ndim, xs[0].ndim
    told = [settings[each] for each in ("size", "mode", "corners", "step")]
    table = weights(xs[0].shape[axis], *told).T.astype(np.float32)
    name = g.constant(f"resample {xs[0].shape[axis]} {told}", table)
    order = [*[i for i in range(ndim) if i != axis], axis]
    back = [order.index(i) for i in range(ndim)]
    moved = g.node("MatMul", g.node("Transpose", names[0], perm=order), name)
    return g.node("Transpose", moved, perm=back)


def _windows(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    """The axis padded, and gathered at (P, R) places, R brought to the end."""
    axis, ndim = settings["axis"] % xs[0].ndim, xs[0].ndim
    told = {each: settings[each] for each in ("filter", "stride", "dilation", "padding")}
    count = window_count(xs[0].shape[axis], **told)
    starts = np.arange(count)[:, None] * told["stride"]
    places = starts + np.arange(told["filter"]) * told["dilation"]
    x = names[0]
    if told["padding"]:
        around = [0] * ndim
        around[axis] = told["padding"]
        x = g.node("Pad", x, g.ints(*around, *around))
    name = g.constant(f"windows {count} {told}", places.astype(np.int64))
    x = g.node("Gather", x, name, axis=axis)
    order = [i for i in range(ndim + 1) if i != axis + 1]
    return g.node("Transpose", x, perm=[*order, axis + 1])


def _window_shares(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    told = dict(settings)
    counted = told.pop("counted")
    along = zip(xs[0].shape[2:], *told.values(), strict=True)
    table = shares(np, None, np.dtype(np.float32), tuple(along), counted)
    return g.node("Mul", names[0], g.constant(f"shares {told} {counted}", table))


def _pad(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    before, after = zip(*settings["widths"], strict=True)
    return g.node("Pad", names[0], g.ints(*before, *after), g.number(settings["value"]))


def _windowed(kind: str, **more: Any) -> Rule:
    def rule(g: Any, names: Names, xs: Outlines, settings: Mapping[str, Any], y: Outline) -> str:
        told: dict[str, Any] = {
            "strides": list(settings["stride"]), "pads": list(settings["padding"]) * 2, **more
        }  # fmt: skip
        if kind == "Conv":
            told |= {"dilations": list(settings["dilation"]), "group": settings["groups"]}
        else:
            told["kernel_shape"] = list(settings["filter"])
        return g.node(kind, *[each for each in names if each], **told)

    return rule


def _leaky(g: Any, names: Names, xs: Outlines, settings: Any, y: Outline) -> str:
    below = g.node("Mul", g.node("Min", names[0], g.number(0.0)), names[1])
    return g.node("Add", g.node("Max", names[0], g.number(0.0)), below)


_SAME_WORD = (
    "abs acos acosh add asin asinh atan atanh ceil cos cosh equal erf exp floor gelu greater less "
    "log mish reciprocal relu round selu sigmoid sign sin sinh softsign sqrt tan tanh where"
)
RULES: dict[str, Rule] = {
    **{name: _node(name.capitalize()) for name in _SAME_WORD.split()},
    **{
        name: _node(kind)
        for name, kind in {
            "subtract": "Sub",
            "multiply": "Mul",
            "divide": "Div",
            "power": "Pow",
            "matmul": "MatMul",
            "maximum": "Max",
            "minimum": "Min",
            "negative": "Neg",
            "less_equal": "LessOrEqual",
            "greater_equal": "GreaterOrEqual",
            "logical_and": "And",
            "logical_or": "Or",
            "logical_not": "Not",
            "copy": "Identity",
            "clip_both": "Clip",
            "clip_low": "Max",
            "clip_high": "Min",
            "hardswish": "HardSwish",
        }.items()
    },
    "square": lambda g, names, xs, settings, y: g.node("Mul", names[0], names[0]),
    "silu": lambda g, names, xs, settings, y: g.node("Mul", names[0], g.node("Sigmoid", names[0])),
    "gelu_tanh": _node("Gelu", approximate="tanh"),
    "rsqrt": lambda g, names, xs, settings, y: g.node("Reciprocal", g.node("Sqrt", names[0])),
    "expm1": lambda g, names, xs, settings, y: g.node(
        "Sub", g.node("Exp", names[0]), g.number(1.0)
    ),
    "log1p": lambda g, names, xs, settings, y: g.node(
        "Log", g.node("Add", names[0], g.number(1.0))
    ),
    "not_equal": lambda g, names, xs, settings, y: g.node("Not", g.node("Equal", *names)),
    "leaky_relu": _leaky,
    "linear": _linear,
    "linear_relu": lambda g, names, xs, settings, y: g.node(
        "Relu", _linear(g, names, xs, settings, y)
    ),
    "conv2": _windowed("Conv"),
    "max_pool2": _windowed("MaxPool"),
    "mean_pool2": _windowed("AveragePool", count_include_pad=1),
    "reshape": _reshape,
    "permute_dims": _permute,
    "broadcast_to": _expand,
    "index": _index,
    "concat": _along("Concat"),
    "cast": lambda g, names, xs, settings, y: g.node("Cast", names[0], to=g.type_of(y)),
    "sum": _reduce("ReduceSum"),
    "mean": _reduce("ReduceMean"),
    "max": _reduce("ReduceMax"),
    "min": _reduce("ReduceMin"),
    "prod": _reduce("ReduceProd"),
    "logsumexp": _reduce("ReduceLogSumExp"),
    "softmax": _along("Softmax"),
    "log_softmax": _along("LogSoftmax"),
    "embedding": lambda g, names, xs, settings, y: g.node("Gather", names[1], names[0], axis=0),
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "scaled_dot_product_attention": _attention,
    "positional_encoding": _positions,
    "resample": _resample,
    "windows": _windows,
    "window_shares": _window_shares,
    "pad_constant": _pad,
}
