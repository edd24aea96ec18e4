"""Transposed convolution: the gradient of a convolution in its input, used forward.

Shapes: x (N, I, H, W), weight (I, O / groups, R, S), bias (O,), y (N, O, P, Q) with
P = (H - 1) * stride - 2 * padding + dilation * (R - 1) + output_padding + 1, and Q likewise; over
sequences and volumes with one axis less and one more. As torch's, whose weights it shares.
"""

from __future__ import annotations

from typing import Any

from ..errors import SettingsError, ShapeError
from .axes import each_axis, pair
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


def _sizes(op, sizes, filter, stride, padding, dilation, extra):
    """The sizes of the output."""
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise SettingsError(
            f"{op}: output_padding is less than the stride or the dilation\n"
            f"  output_padding  {extra}\n  stride          {stride}\n  dilation        {dilation}"
        )
    found = tuple(
        (n - 1) * s - 2 * p + d * (f - 1) + e + 1
        for n, f, s, p, d, e in zip(sizes, filter, stride, padding, dilation, extra, strict=True)
    )
    if min(found) < 1:
        raise ShapeError(f"{op}: nothing is left of the output\n  size  {found}")
    return found


def _reaching(x, extra, stride):
    """x with zeros after it, where the output goes on for a stride or more."""
    more = [e // s for e, s in zip(extra, stride, strict=True)]
    return pad_constant(x, widths=((0, 0), (0, 0), *((0, m) for m in more))) if any(more) else x


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
    op = "conv_transpose2"
    _check(op, x, weight, bias, 4, groups)
    settings = {
        "stride": pair(op, "stride", stride),
        "padding": pair(op, "padding", padding, least=0),
        "dilation": pair(op, "dilation", dilation),
    }
    extra = pair(op, "output_padding", output_padding, least=0)
    size = _sizes(op, x.shape[2:], weight.shape[2:], **settings, extra=extra)
    x = _reaching(x, extra, settings["stride"])
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
    y = conv_transpose2(
        reshape(x, shape=(*x.shape[:2], 1, x.shape[2])),
        reshape(weight, shape=(*weight.shape[:2], 1, weight.shape[2])),
        bias,
        stride=(1, stride),
        padding=(0, padding),
        output_padding=(0, output_padding),
        dilation=(1, dilation),
        groups=groups,
    )
    return reshape(y, shape=(*y.shape[:2], y.shape[3]))


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
    op = "conv_transpose3"
    _check(op, x, weight, bias, 5, groups)
    stride = each_axis(op, "stride", stride, 3)
    padding = each_axis(op, "padding", padding, 3, least=0)
    dilation = each_axis(op, "dilation", dilation, 3)
    extra = each_axis(op, "output_padding", output_padding, 3, least=0)
    depth, *size = _sizes(op, x.shape[2:], weight.shape[2:], stride, padding, dilation, extra)
    x = _reaching(x, extra, stride)
    n, inputs, d, h, w = x.shape
    _, share, k, r, s = weight.shape
    slices = reshape(permute_dims(x, axes=(0, 2, 1, 3, 4)), shape=(n * d, inputs, h, w))
    y = conv2_dx(
        slices,
        reshape(weight, shape=(inputs, share * k, r, s)),
        size=tuple(size),
        stride=stride[1:],
        padding=padding[1:],
        dilation=dilation[1:],
        groups=groups,
    )
    y = permute_dims(reshape(y, shape=(n, d, share * groups, k, *size)), axes=(0, 2, 1, 4, 5, 3))
    y = from_windows(
        y, size=depth, axis=2, filter=k, stride=stride[0], dilation=dilation[0], padding=padding[0]
    )
    return _with_bias(y, bias)
