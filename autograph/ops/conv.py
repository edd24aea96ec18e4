"""Convolution of sequences and of volumes, by way of that of images: all gradients, and every
kernel of `conv2`, serve here too.

Shapes: x (N, C, L) or (N, C, D, H, W), weight (O, C / groups, R) or (O, C / groups, K, R, S), bias
(O,), y (N, O, P) or (N, O, M, P, Q), each size as in `conv2`.
"""

from typing import Any

from ..errors import ShapeError
from .axes import each_axis
from .conv2 import conv2
from .shape import permute_dims, reshape
from .windows import windows


def conv1(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Any:
    """x (N, C, L), weight (O, C / groups, R), bias (O,): images of height 1."""
    if len(x.shape) != 3 or len(weight.shape) != 3:
        raise ShapeError(
            f"conv1: x and weight have 3 axes each\n"
            f"  x       {x.shape}  N C L\n  weight  {weight.shape}  O C R"
        )
    sizes = {"stride": stride, "padding": padding, "dilation": dilation}
    return as_rows(conv2, x, weight, bias, **sizes, groups=groups)


def as_rows(op, x, weight, bias, *, groups, **sizes):
    """A convolution of sequences by one of images of height 1."""
    x, weight = (reshape(each, shape=(*each.shape[:2], 1, each.shape[2])) for each in (x, weight))
    pairs = {name: (int("padding" not in name), size) for name, size in sizes.items()}
    y = op(x, weight, bias, **pairs, groups=groups)
    return reshape(y, shape=(*y.shape[:2], y.shape[3]))


def conv3(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """x (N, C, D, H, W), weight (O, C / groups, K, R, S), bias (O,) -> (N, O, M, P, Q): images
    whose channels are those of all slices that a filter meets in depth."""
    if len(x.shape) != 5 or len(weight.shape) != 5:
        raise ShapeError(
            f"conv3: x and weight have 5 axes each\n"
            f"  x       {x.shape}  N C D H W\n  weight  {weight.shape}  O C K R S"
        )
    (sd, *stride), (pd, *padding), (dd, *dilation) = (
        each_axis("conv3", "stride", stride, 3),
        each_axis("conv3", "padding", padding, 3, least=0),
        each_axis("conv3", "dilation", dilation, 3),
    )
    outputs, channels, k, r, s = weight.shape
    met = windows(x, axis=2, filter=k, stride=sd, dilation=dd, padding=pd)  # (N, C, M, H, W, K)
    n, c, m, h, w, _ = met.shape
    slices = reshape(permute_dims(met, axes=(0, 2, 1, 5, 3, 4)), shape=(n * m, c * k, h, w))
    y = conv2(
        slices,
        reshape(weight, shape=(outputs, channels * k, r, s)),
        bias,
        stride=tuple(stride),
        padding=tuple(padding),
        dilation=tuple(dilation),
        groups=groups,
    )
    y = reshape(y, shape=(n, m, outputs, *y.shape[2:]))
    return permute_dims(y, axes=(0, 2, 1, 3, 4))
