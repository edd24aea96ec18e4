"""Pixel shuffle: channels laid out as pixels of a finer image, and back (Shi and others, 2016)."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from .shape import permute_dims, reshape


def pixel_shuffle(x: Any, *, factor: int) -> Any:
    """(N, C * factor², H, W) -> (N, C, H * factor, W * factor)."""
    if len(x.shape) != 4 or x.shape[1] % (factor * factor):
        raise ShapeError(
            f"pixel_shuffle: the channels are not divided by factor²\n"
            f"  x       {tuple(x.shape)}  N C H W\n  factor  {factor}"
        )
    n, c, h, w = x.shape
    c //= factor * factor
    y = permute_dims(reshape(x, shape=(n, c, factor, factor, h, w)), axes=(0, 1, 4, 2, 5, 3))
    return reshape(y, shape=(n, c, h * factor, w * factor))


def pixel_unshuffle(x: Any, *, factor: int) -> Any:
    """(N, C, H * factor, W * factor) -> (N, C * factor², H, W)."""
    if len(x.shape) != 4 or x.shape[2] % factor or x.shape[3] % factor:
        raise ShapeError(
            f"pixel_unshuffle: height and width are not divided by the factor\n"
            f"  x       {tuple(x.shape)}  N C H W\n  factor  {factor}"
        )
    n, c, h, w = x.shape
    h, w = h // factor, w // factor
    y = permute_dims(reshape(x, shape=(n, c, h, factor, w, factor)), axes=(0, 1, 3, 5, 2, 4))
    return reshape(y, shape=(n, c * factor * factor, h, w))
