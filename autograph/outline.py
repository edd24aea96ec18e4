"""Outline: what is known of an array without its values: shape, scalar type, device, layout."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from .device import HOST, Device
from .platforms import Array
from .scalar_type import ScalarType

CONTIGUOUS, CHANNELS_LAST, STRIDED = "contiguous", "channels_last", "strided"
NUMBER = "number"  # no array at all: a Python number among the inputs of a kernel
LIMIT = 4096  # outlines kept; beyond it the table starts anew, which costs time and nothing else

_OUTLINES: dict[tuple[Any, ...], Outline] = {}
OF_HOST: dict[tuple[Any, ...], Outline] = {}  # by shape, dtype and strides
_OF_DEVICES: dict[tuple[Any, ...], Outline] = {}  # by type of array and index of device as well
_INDEX_OF: dict[type, Callable[[Array], int]] = {}  # of the device, by the type of array


class Outline:
    """Shape, scalar type, device and memory layout of an array; equal ones are one object.

    `layout` is "contiguous" (C order), "channels_last" (a logical (N, C, H, W) whose memory
    runs N H W C) or "strided" (anything else).
    """

    __slots__ = ("device", "layout", "scalar_type", "shape", "size")

    shape: tuple[int, ...]
    scalar_type: ScalarType
    device: Device
    layout: str
    size: int

    def __new__(
        cls,
        shape: tuple[int, ...],
        scalar_type: ScalarType,
        device: Device = HOST,
        layout: str = CONTIGUOUS,
    ) -> Outline:
        key = (shape, scalar_type, device, layout)
        outline = _OUTLINES.get(key)
        if outline is None:
            if len(_OUTLINES) >= LIMIT:
                _OUTLINES.clear()
            outline = object.__new__(cls)
            outline.shape, outline.scalar_type = shape, scalar_type
            outline.device, outline.layout = device, layout
            outline.size = prod(shape)
            outline = _OUTLINES.setdefault(key, outline)
        return outline

    @staticmethod
    def of(array: Array) -> Outline:
        """The outline of an array on any device."""
        if type(array) is np.ndarray:
            key: tuple[Any, ...] = (array.shape, array.dtype, array.strides)
            outline = OF_HOST.get(key)
            if outline is None:
                if len(OF_HOST) >= LIMIT:
                    OF_HOST.clear()
                outline = OF_HOST[key] = Outline(
                    array.shape, ScalarType.of(array), HOST, layout_of(array)
                )
            return outline
        kind = type(array)
        index_of = _INDEX_OF.get(kind)
        if index_of is None:
            index_of = _INDEX_OF[kind] = Device.of(array).platform.index_of  # refuses no array
        key = (array.shape, array.dtype, array.strides, kind, index_of(array))
        outline = _OF_DEVICES.get(key)
        if outline is None:
            if len(_OF_DEVICES) >= LIMIT:
                _OF_DEVICES.clear()
            outline = _OF_DEVICES[key] = Outline(
                array.shape, ScalarType.of(array), Device.of(array), layout_of(array)
            )
        return outline

    def like(
        self, shape: tuple[int, ...] | None = None, scalar_type: ScalarType | None = None
    ) -> Outline:
        """A contiguous outline on the same device, with another shape or scalar type."""
        return Outline(
            self.shape if shape is None else shape, scalar_type or self.scalar_type, self.device
        )

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.scalar_type.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        return self.layout == CONTIGUOUS

    def __reduce__(self) -> Any:
        return Outline, (self.shape, self.scalar_type, self.device, self.layout)

    def __repr__(self) -> str:
        layout = "" if self.is_contiguous else f" {self.layout}"
        return f"Outline({self.device} {self.scalar_type} {self.shape}{layout})"


def layout_of(array: Array) -> str:
    """How the array lies in memory."""
    if array.flags.c_contiguous:
        return CONTIGUOUS
    if array.ndim == 4 and array.transpose(0, 2, 3, 1).flags.c_contiguous:
        return CHANNELS_LAST
    return STRIDED
