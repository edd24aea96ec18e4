"""Transposed convolution: the gradient of a convolution in its input, used forward.

Shapes: x (N, I, H, W), weight (I, O / groups, R, S), bias (O,), y (N, O, P, Q) with
P = (H - 1) * stride - 2 * padding + dilation * (R - 1) + output_padding + 1, and Q likewise; over
sequences and volumes with one axis less and one more. As torch's, whose weights it shares.
"""

from typing import Any

from ..errors import SettingsError, ShapeError
from .axes import each_axis
from .conv import as_rows
from .conv2 import conv2_dx
from .elementwise import add
from .pad import pad_constant
from .shape import permute_dims, reshape
from .windows import from_windows


def _check(op, x, weight, bias, axes, groups):
    sides = f"\n  x       {tuple(x.shape)}  N I ...\n  weight  {tuple(weight.shape)}  I O ..."
    if len(x.shape) != axes or len(weight.shape) != axes:
        raise ShapeError(f"{op}: x and weight have {axes} axes each{sides}")
    if x.shape[1] != weight.shape[0] or weight.shape[0] % groups:
        raise ShapeError(
            f"{op}: weight takes {weight.shape[0]} channels in {groups} groups, "
            f"but x has {x.shape[1]}{sides}"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[1] * groups,):
        raise ShapeError(f"{op}: bias does not fit the outputs of weight{sides}")


def _prepared(op, x, weight, bias, axes, groups, output_padding, **settings):
    """(x, the sizes of the output, the settings of each axis); x with zeros after it, where the
    output goes on for a stride or more."""
    _check(op, x, weight, bias, axes + 2, groups)
    for name, value in settings.items():
        settings[name] = each_axis(op, name, value, axes, least=int(name != "padding"))
    extra = each_axis(op, "output_padding", output_padding, axes, least=0)
    stride, padding, dilation = settings["stride"], settings["padding"], settings["dilation"]
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise SettingsError(
            f"{op}: output_padding is less than the stride or the dilation\n"
            f"  output_padding  {extra}\n  stride          {stride}\n  dilation        {dilation}"
        )
    along = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, extra, strict=True)
    sizes = tuple((n - 1) * s - 2 * p + d * (f - 1) + e + 1 for n, f, s, p, d, e in along)
    if min(sizes) < 1:
        raise ShapeError(f"{op}: nothing is left of the output\n  size  {sizes}")
    more = [e // s for e, s in zip(extra, stride, strict=True)]
    if any(more):
        x = pad_constant(x, widths=((0, 0), (0, 0), *((0, m) for m in more)))
    return x, sizes, settings


def _with_bias(y, bias):
    return y if bias is None else add(y, reshape(bias, shape=(-1, *[1] * (len(y.shape) - 2))))


def conv_transpose2(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """x (N, I, H, W), weight (I, O / groups, R, S), bias (O,) -> (N, O, P, Q)."""
    sizes = {"stride": stride, "padding": padding, "dilation": dilation}
    x, size, settings = _prepared(
        "conv_transpose2", x, weight, bias, 2, groups, output_padding, **sizes
    )
    return _with_bias(conv2_dx(x, weight, size=size, **settings, groups=groups), bias)


def conv_transpose1(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Any:
    """x (N, I, L), weight (I, O / groups, R), bias (O,) -> (N, O, P)."""
    _check("conv_transpose1", x, weight, bias, 3, groups)
    sizes = {"stride": stride, "padding": padding, "dilation": dilation}
    sizes["output_padding"] = output_padding
    return as_rows(conv_transpose2, x, weight, bias, **sizes, groups=groups)


def conv_transpose3(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """x (N, I, D, H, W), weight (I, O / groups, K, R, S), bias (O,) -> (N, O, M, P, Q)."""
    sizes = {"stride": stride, "padding": padding, "dilation": dilation}
    x, (depth, *size), settings = _prepared(
        "conv_transpose3", x, weight, bias, 3, groups, output_padding, **sizes
    )
    deep = {name: each[0] for name, each in settings.items()}
    n, inputs, d, h, w = x.shape
    _, share, k, r, s = weight.shape
    slices = reshape(permute_dims(x, axes=(0, 2, 1, 3, 4)), shape=(n * d, inputs, h, w))
    y = conv2_dx(
        slices,
        reshape(weight, shape=(inputs, share * k, r, s)),
        size=tuple(size),
        **{name: each[1:] for name, each in settings.items()},
        groups=groups,
    )
    y = permute_dims(reshape(y, shape=(n, d, share * groups, k, *size)), axes=(0, 2, 1, 4, 5, 3))
    y = from_windows(y, size=depth, axis=2, filter=k, **deep)
    return _with_bias(y, bias)
