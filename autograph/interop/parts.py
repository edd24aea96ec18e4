"""What exporters share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import SettingsError
from ..layers import Layer
from ..tensor import Tensor


def refuse_own_statistics(layer: Any, path: str) -> None:
    """Refuse a batch normalisation that has no running statistics to infer by."""
    if layer.running_mean is None:
        raise SettingsError(
            f"export: {path} standardises every batch by itself, and files hold statistics\n"
            f"  write  running=True, and train"
        )


def sizes(value: int | tuple[int, ...], ndim: int) -> list[int]:
    """A size for each axis behind (N, C), of an array of `ndim` axes, from one number or each."""
    return [value] * (ndim - 2) if isinstance(value, int) else list(value)


def array_of(w: Tensor) -> np.ndarray[Any, Any]:
    """A parameter as an f32 array on the host."""
    return np.ascontiguousarray(w.detach().cast("f32").numpy())


def input_of(model: Layer, input: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of a sample, as declared unless said."""
    shape = input or getattr(model._builder, "input", None)
    if shape is None:
        raise SettingsError(
            f"export: the shape of a sample of {type(model).__name__} is not known\n"
            f"  write  input=(1, 28, 28)"
        )
    return tuple(shape)
