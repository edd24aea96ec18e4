"""Tensors and the arrays of other libraries over the same memory: DLPack, CUDA arrays, and the
array API standard.

Nothing is copied, so what is written on one side is seen on the other. Such a write raises no
version, as the one through `x.numpy()` does not: do not write between a forward that needs the
value and its backward. bf16 is in none of NumPy's exports: cast it, or copy it as f32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..device import Device
from ..errors import DeviceError, ScalarTypeError
from ..outline import Outline
from ..platforms import Array
from ..scalar_type import BF16

if TYPE_CHECKING:
    from .tensor import Tensor

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13  # DLPack's kinds of devices


class Exchange:
    """What other libraries ask a tensor for."""

    __slots__ = ()

    if TYPE_CHECKING:
        _array: Array
        outline: Outline

        @property
        def device(self) -> Device: ...

        def permute_dims(self, *axes: int | tuple[int, ...]) -> Tensor: ...
        def to(self, device: Device | str) -> Tensor: ...

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """The memory of this tensor as a DLPack capsule, for `torch.from_dlpack(x)`, say."""
        if self.outline.scalar_type is BF16:
            raise BufferError("dlpack: bf16 is not exported\n  write  x.cast('f32')")
        asked = {
            "stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy,
        }  # fmt: skip
        given = {name: value for name, value in asked.items() if value is not None}
        export = self._array.__dlpack__
        around = getattr(self.device.platform, "around", None)  # the host has none
        return (export if around is None else around(export, self.device.index))(**given)

    def __dlpack_device__(self) -> tuple[int, int]:
        kind, index = self._array.__dlpack_device__()
        return int(kind), int(index)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The memory of this tensor on a CUDA device, for CuPy, Numba and torch."""
        if self.device.kind != "cuda":
            raise AttributeError(f"a tensor on {self.device} is no CUDA array")
        told = getattr(self.device.platform, "around")(  # noqa: B009
            lambda: self._array.__cuda_array_interface__, self.device.index
        )
        found: dict[str, Any] = told()
        return found

    # -- the array API standard ------------------------------------------------------------

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """The functions of the array API standard for tensors: `autograph.namespace`."""
        from .. import namespace

        if api_version is not None and api_version not in namespace.VERSIONS:
            raise ValueError(
                f"__array_namespace__: version {api_version} is not offered\n"
                f"  offered  {', '.join(namespace.VERSIONS)}"
            )
        return namespace

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged, without a copy."""
        axes = tuple(range(len(self.outline.shape)))
        return self.permute_dims(*axes[:-2], axes[-1], axes[-2])

    def to_device(self, device: Device | str, /, *, stream: Any = None) -> Tensor:
        """`to`, by the standard's name."""
        return self.to(device)


def from_dlpack(
    x: Any, /, *, device: Device | str | None = None, copy: bool | None = None
) -> Tensor:
    """A tensor over the memory of another library's array: NumPy's, torch's, CuPy's, JAX's.

    It is copied only where `copy=True` or another `device` asks for it; `copy=False` refuses to.

    >>> array = np.zeros(2, np.float32)
    >>> x = from_dlpack(array)
    >>> array[0] = 7
    >>> x
    Tensor(host f32 (2,) [7., 0.])
    """
    from .tensor import Tensor

    kind, _ = x.__dlpack_device__()
    try:
        if kind in (CPU, CUDA_HOST):
            array = np.from_dlpack(x)
        elif kind in (CUDA, CUDA_MANAGED):
            import cupy

            array = cupy.from_dlpack(x)
        else:
            raise DeviceError(f"from_dlpack: devices of DLPack's kind {kind} are not known here")
    except (BufferError, TypeError, RuntimeError) as error:
        if isinstance(error, DeviceError):
            raise
        raise ScalarTypeError(
            f"from_dlpack: this {type(x).__name__} is not exported: {error}\n"
            f"  write  Tensor(...) around a copy that NumPy takes"
        ) from None
    y = Tensor.borrow(array)
    target = y.device if device is None else Device(device)
    if target is y.device:
        return y.copy() if copy else y
    if copy is False:
        raise DeviceError(
            f"from_dlpack: another device wants a copy\n"
            f"  x       {y.device}\n  wanted  {target}\n  leave out copy=False"
        )
    return y.to(target)
