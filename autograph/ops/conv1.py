"""1-d convolution: (N, C, L) -> (N, O, P), as a 2-d convolution of height 1."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from .conv2 import conv2
from .shape import reshape


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
    """x (N, C, L), weight (O, C / groups, R), bias (O,)."""
    if len(x.shape) != 3 or len(weight.shape) != 3:
        raise ShapeError(
            f"conv1: x and weight have 3 axes each\n"
            f"  x       {x.shape}  N C L\n  weight  {weight.shape}  O C R"
        )
    y = conv2(
        reshape(x, shape=(*x.shape[:2], 1, x.shape[2])),
        reshape(weight, shape=(*weight.shape[:2], 1, weight.shape[2])),
        bias,
        stride=(1, stride),
        padding=(0, padding),
        dilation=(1, dilation),
        groups=groups,
    )
    return reshape(y, shape=(*y.shape[:2], y.shape[3]))
