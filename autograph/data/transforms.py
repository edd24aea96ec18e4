"""Transforms of batches: ops on the device of the batch, each sample's chance keyed by its place.

    train = transformed(data.train, RandomCrop(padding=2), RandomRotation(degrees=10), seed=0)

What happens to a sample follows from the seed, the epoch and its place in the data set alone, so
that a resumed run sees what the first one would have seen, whatever the size of its batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import pi
from typing import Any, ClassVar

import numpy as np
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from .. import ops
from ..device import Device
from ..errors import SettingsError, ShapeError
from ..settings import Described, Share, frozen
from ..tensor import Tensor, no_grad
from .dataset import Batch

QUANTILES = 4096  # of mixup's distribution


class Transform(Described):
    """What is done to a batch. Subclass it with `@frozen`, say how many `words` of chance a
    sample needs, and write `__call__`."""

    words: ClassVar[int] = 0

    def __call__(self, batch: Batch, words: Tensor) -> Batch:
        """The batch changed; words (N, self.words) are random u32, a row for each sample."""
        raise NotImplementedError(f"{type(self).__name__} does not define __call__")


@frozen
class Normalise(Transform):
    """(x - mean) / deviation, each a number or one for each channel."""

    mean: float | tuple[float, ...]
    deviation: PositiveFloat | tuple[PositiveFloat, ...]

    def __call__(self, batch: Batch, words: Tensor) -> Batch:
        x = batch.inputs
        mean, deviation = (_by_channel(each, x) for each in (self.mean, self.deviation))
        return Batch((x - mean) / deviation, batch.targets)


@frozen
class Pad(Transform):
    """`padding` more pixels on every side: (N, C, H, W) -> (N, C, H + 2p, W + 2p)."""

    padding: PositiveInt
    value: float = 0.0

    def __call__(self, batch: Batch, words: Tensor) -> Batch:
        check_images("Pad", batch.inputs)
        around = (self.padding, self.padding)
        padded = ops.pad(batch.inputs, ((0, 0), (0, 0), around, around), value=self.value)
        return Batch(padded, batch.targets)


@frozen
class RandomCrop(Transform):
    """Each image moved by up to `padding` pixels each way, zeros coming in: padded and cropped."""

    padding: NonNegativeInt

    words: ClassVar[int] = 2

    def __call__(self, batch: Batch, words: Tensor) -> Batch:
        check_images("RandomCrop", batch.inputs)
        shift = (uniform(words) * (2 * self.padding + 1)).floor() - self.padding
        zero = shift[:, 0] * 0
        rows = (zero + 1, zero, shift[:, 0]), (zero, zero + 1, shift[:, 1])
        return Batch(warped(batch.inputs, rows, smooth=False), batch.targets)


@frozen
class RandomFlip(Transform):
    """Each image turned left to right, with a chance."""

    chance: Share = 0.5

    words: ClassVar[int] = 1

    def __call__(self, batch: Batch, words: Tensor) -> Batch:
        x = batch.inputs
        check_images("RandomFlip", x)
        turned = (uniform(words) < self.chance).reshape(-1, 1, 1, 1)
        return Batch(ops.where(turned, ops.flip(x, axis=3), x), batch.targets)


@frozen
class RandomRotation(Transform):
    """Each image turned around its middle by up to `degrees` each way, between pixels by
    bilinear interpolation, zeros coming in."""

    degrees: PositiveFloat

    words: ClassVar[int] = 1

    def __call__(self, batch: Batch, words: Tensor) -> Batch:
        check_images("RandomRotation", batch.inputs)
        angle = (uniform(words[:, 0]) * 2 - 1) * (self.degrees * pi / 180)
        cosine, sine, zero = angle.cos(), angle.sin(), angle * 0
        rows = (cosine, sine, zero), (-sine, cosine, zero)
        return Batch(warped(batch.inputs, rows), batch.targets)


@frozen
class Cutout(Transform):
    """A square of zeros somewhere in each image (DeVries and Taylor, 2017); of its middle any
    pixel may be it, so that the square may be cut off."""

    size: PositiveInt

    words: ClassVar[int] = 2

    def __call__(self, batch: Batch, words: Tensor) -> Batch:
        x = batch.inputs
        check_images("Cutout", x)
        inside = []
        for axis in (2, 3):
            length = x.shape[axis]
            start = (uniform(words[:, axis - 2]) * length).floor() - self.size // 2
            start = start.reshape(-1, 1, 1, 1)
            place = _places(length, axis, 4, x.device)
            inside.append((place >= start) & (place < start + self.size))
        return Batch(ops.masked_fill(x, inside[0] & inside[1], 0.0), batch.targets)


@frozen
class Mixup(Transform):
    """Each sample mixed with another of its batch, inputs and targets alike: share * a +
    (1 - share) * b, share from Beta(alpha, alpha) (Zhang, Cisse, Dauphin and Lopez-Paz, 2018).

    Class indices (N,) become probabilities (N, classes): `fit(..., loss=ag.ops.cross_entropy)`.
    """

    classes: PositiveInt
    alpha: PositiveFloat = 0.2

    words: ClassVar[int] = 2

    def __call__(self, batch: Batch, words: Tensor) -> Batch:
        x, targets = batch
        place = (uniform(words[:, 0]) * QUANTILES).floor().cast("i64")
        share = ops.take(_quantiles(self.alpha, x.device), place).cast(x.scalar_type)
        other = ops.argsort(words[:, 1].cast("i64"), axis=0)
        if targets.ndim == 1:
            targets = ops.one_hot(targets, classes=self.classes, scalar_type=x.scalar_type)
        mixed = []
        for each in (x, targets.cast(x.scalar_type)):
            weight = share.reshape(-1, *[1] * (each.ndim - 1))
            mixed.append(ops.lerp(ops.take(each, other, axis=0), each, weight))
        return Batch(*mixed)


def uniform(words: Tensor) -> Tensor:
    """Words as f32 in [0, 1)."""
    return ops.scaled_cast(ops.bitwise_right_shift(words, 8), scalar_type="f32", scale=2.0**-24)


def check_images(name: str, x: Tensor) -> None:
    """Refuse what is no batch of images."""
    if x.ndim != 4:
        raise ShapeError(f"{name}: a batch of images is (N, C, H, W)\n  inputs  {x.shape}")


def warped(
    x: Tensor, rows: Sequence[tuple[Tensor, Tensor, Tensor]], *, smooth: bool = True
) -> Tensor:
    """Images (N, C, H, W) read at other places: pixel (i, j), counted from the middle, is what
    was at (a*i + b*j + c, d*i + e*j + f), rows being (a, b, c) and (d, e, f) of each image (N,).

    What was outside is 0. `smooth` interpolates between pixels; else the nearest is taken.
    """
    n, c, h, w = x.shape
    middle = (h - 1) / 2, (w - 1) / 2
    i = _places(h, 1, 3, x.device) - middle[0]
    j = _places(w, 2, 3, x.device) - middle[1]
    place = []
    for (a, b, shift), centre in zip(rows, middle, strict=True):
        a, b, shift = (each.reshape(-1, 1, 1) for each in (a, b, shift))
        place.append(a * i + b * j + shift + centre)

    def read(at: tuple[Tensor, Tensor]) -> Tensor:
        """The pixels at whole places (N, H, W) in floats; 0 outside."""
        there = (at[0] >= 0) & (at[0] < h) & (at[1] >= 0) & (at[1] < w)
        index = at[0].clip(0, h - 1) * w + at[1].clip(0, w - 1)
        index = index.cast("i64").reshape(n, 1, h * w).broadcast_to((n, c, h * w))
        found = ops.take_along_axis(x.reshape(n, c, h * w), index, axis=2).reshape(n, c, h, w)
        return ops.where(there.reshape(n, 1, h, w), found, 0.0)

    if not smooth:
        return read(((place[0] + 0.5).floor(), (place[1] + 0.5).floor()))
    low = [each.floor() for each in place]
    share = [
        (p - q).cast(x.scalar_type).reshape(n, 1, h, w) for p, q in zip(place, low, strict=True)
    ]
    top = ops.lerp(read((low[0], low[1])), read((low[0], low[1] + 1)), share[1])
    bottom = ops.lerp(read((low[0] + 1, low[1])), read((low[0] + 1, low[1] + 1)), share[1])
    return ops.lerp(top, bottom, share[0])


@cache
def _places(length: int, axis: int, ndim: int, device: Device) -> Tensor:
    """0, 1, ... along one of so many axes, f32; kept, since nothing from the host may be put on a
    device while a step is recorded."""
    shape = [1] * ndim
    shape[axis] = length
    return Tensor(np.arange(length, dtype=np.float32).reshape(shape), device=device)


@cache
def _channels(value: tuple[float, ...], ndim: int, device: Device, scalar_type: Any) -> Tensor:
    array = np.array(value, np.float32).reshape(-1, *[1] * (ndim - 2))
    return Tensor(array, device=device, scalar_type=scalar_type)


def _by_channel(value: float | tuple[float, ...], x: Tensor) -> Any:
    if not isinstance(value, tuple):
        return value
    if x.ndim < 2 or len(value) != x.shape[1]:
        raise SettingsError(
            f"Normalise: a number for each channel is wanted\n"
            f"  inputs  {x.shape}\n  given   {len(value)} numbers"
        )
    return _channels(value, x.ndim, x.device, x.scalar_type)


@cache
def _quantiles(alpha: float, device: Device) -> Tensor:
    return Tensor(_beta_quantiles(alpha), device=device)


def _beta_quantiles(alpha: float) -> np.ndarray[Any, Any]:
    """The value below which a share (i + 0.5) / QUANTILES of Beta(alpha, alpha) lies, for each i.

    With t = sin(u)^2 the density is smooth in u but at the ends, where t^alpha is taken exactly.
    """
    u = np.linspace(0, pi / 2, 1 << 18)
    inner = (u[1:] + u[:-1]) / 2
    weight = np.diff(np.sin(u) ** (2 * alpha)) / np.maximum(2 * alpha, 1e-9)
    density = weight * np.cos(inner) ** (2 * alpha - 2)
    half = np.sin(u) ** 2 <= 0.5
    total = np.concatenate([[0.0], np.cumsum(density)])
    below = total[half] / total[half][-1] / 2
    shares = (np.arange(QUANTILES // 2) + 0.5) / QUANTILES
    low = np.interp(shares, below, np.sin(u[half]) ** 2)
    return np.concatenate([low, 1 - low[::-1]]).astype(np.float32)


def apply_all(transforms: Sequence[Transform], batch: Batch, words: Tensor | None) -> Batch:
    """One transform after the other, each with its words (N, ...) of the row."""
    first = 0
    with no_grad():
        for each in transforms:
            end = first + each.words
            mine = words[:, first:end] if words is not None and each.words else None
            batch, first = each(batch, mine), end  # type: ignore[arg-type]
    return batch
