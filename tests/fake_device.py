"""A second device without hardware: arrays of a type of their own, which NumPy cannot read, and a
backend that borrows NumPy's kernels by unwrapping and wrapping.

What runs on it has run on no other device: a kernel that is handed an array of the host, or of
another index, says so, and whoever reads values off the device is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from autograph.backends import NUMPY, Backend
from autograph.backends.arrays import adapt_arrays
from autograph.device import HOST
from autograph.layers.fusion import Chain
from autograph.op import Op
from autograph.outline import Outline
from autograph.plan import FoundKernel
from autograph.platforms import PLATFORMS, register_platform


class FakeArray:
    """An array of the fake device. It has neither `__array__` nor arithmetic."""

    __array_ufunc__ = None

    def __init__(self, inner: np.ndarray[Any, Any], index: int, base: FakeArray | None = None):
        self.inner, self.index, self.base = inner, index, base

    shape = property(lambda self: self.inner.shape)
    dtype = property(lambda self: self.inner.dtype)
    ndim = property(lambda self: self.inner.ndim)
    size = property(lambda self: self.inner.size)
    nbytes = property(lambda self: self.inner.nbytes)
    strides = property(lambda self: self.inner.strides)
    flags = property(lambda self: self.inner.flags)
    T = property(lambda self: FakeArray(self.inner.T, self.index, self))
    T = property(lambda self: self.transpose())

    def transpose(self, *axes: int) -> FakeArray:
        return FakeArray(self.inner.transpose(*axes), self.index, self)


class FakePlatform:
    """Two devices, `fake:0` and `fake:1`. `read` counts how often values went to the host."""

    name = "fake"

    def __init__(self) -> None:
        self.read = 0

    def owns(self, array_type: type) -> bool:
        return issubclass(array_type, FakeArray)

    def index_of(self, array: FakeArray) -> int:
        return array.index

    def check(self, index: int) -> None:
        assert index < 2

    def put(self, array: np.ndarray[Any, Any], index: int) -> FakeArray:
        assert isinstance(array, np.ndarray)
        return FakeArray(array.copy(order="C"), index)

    def get(self, array: FakeArray) -> np.ndarray[Any, Any]:
        self.read += 1
        return array.inner.copy()

    def move(self, array: FakeArray, index: int) -> FakeArray:
        return FakeArray(array.inner.copy(order="C"), index)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], index: int) -> FakeArray:
        return FakeArray(np.empty(shape, dtype), index)

    def cast(self, array: FakeArray, dtype: np.dtype[Any]) -> FakeArray:
        with np.errstate(all="ignore"):
            return FakeArray(array.inner.astype(dtype, order="C"), array.index)

    def contiguous(self, array: FakeArray) -> FakeArray:
        if array.flags.c_contiguous:
            return array
        return FakeArray(array.inner.copy(order="C"), array.index)

    def synchronize(self, index: int) -> None:
        pass

    def memory(self, index: int) -> tuple[int, int]:
        return 0, 0

    def describe(self, index: int) -> dict[str, str]:
        return {"name": "fake"}

    def count(self) -> int:
        return 2


def borrow(kernel: Any, inputs: Any, outputs: Any, halves: bool) -> Any:
    """NumPy's kernel over the arrays inside, its answers where the outlines say they are."""
    here = {each.device for each in inputs if each is not None} or {outputs[0].device}
    run = adapt_arrays(kernel, inputs, outputs, halves)

    def on_device(*arrays: Any, **settings: Any) -> Any:
        (device,) = here
        plain = []
        for array in arrays:
            if isinstance(array, FakeArray):
                assert array.index == device.index, f"an array of fake:{array.index} on {device}"
                plain.append(array.inner)
            else:
                assert not hasattr(array, "shape"), f"a {type(array).__name__} on {device}"
                plain.append(array)

        def placed(y: Any, outline: Any) -> Any:
            if outline.device.kind != "fake" or isinstance(y, FakeArray):
                return y
            sources = [each for each in arrays if isinstance(each, FakeArray)]
            shared = [each for each in sources if np.may_share_memory(each.inner, y)]
            return FakeArray(y, outline.device.index, shared[0] if shared else None)

        y = run(*plain, **settings)
        if len(outputs) < 2:
            return placed(y, outputs[0]) if outputs else None
        return tuple(placed(each, outline) for each, outline in zip(y, outputs, strict=True))

    return on_device


def at_home(maker: Any) -> Any:
    """A maker of kernels, which is told of arrays of the host, as the kernel gets them."""

    def inner(outline: Any) -> Any:
        if not isinstance(outline, Outline):
            return outline
        return Outline(outline.shape, outline.scalar_type, HOST, outline.layout)

    def made(inputs: Any, outputs: Any, **settings: Any) -> Any:
        return maker(list(map(inner, inputs)), list(map(inner, outputs)), **settings)

    return made


PLATFORM = FakePlatform()  # one for all: a device keeps the platform that it was made with
FAKE = Backend("fake", kind="fake", rank=0, module="numpy", adapt=borrow)


@contextmanager
def fake_devices() -> Iterator[FakePlatform]:
    """Within the block there are `fake:0` and `fake:1`, on which every op runs."""
    candidates, reason = Op.candidates, Chain.reason

    def borrowed(self: Op, kind: str) -> list[FoundKernel]:
        if kind != "fake":
            return candidates(self, kind)
        return [
            FoundKernel(
                FAKE,
                at_home(each.function) if each.made else each.function,
                each.when,
                each.strided,
                each.halves,
                False,
                each.made,
            )
            for each in candidates(self, "host")
            if each.backend is NUMPY and not each.out
        ]

    def apart(self: Chain, x: Outline, *given: Any) -> str:
        return "chains are kernels of CUDA" if x.device.kind == "fake" else reason(self, x, *given)

    PLATFORM.read = 0
    register_platform(PLATFORM)
    Op.candidates, Chain.reason = borrowed, apart
    try:
        yield PLATFORM
    finally:
        Op.candidates, Chain.reason = candidates, reason
        del PLATFORMS["fake"]
