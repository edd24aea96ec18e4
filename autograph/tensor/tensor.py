"""Tensor: an array, where it lives, and how it was made."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..device import HOST, Device
from ..errors import DeviceError, GraphError, ScalarTypeError, ShapeError
from ..graph import Leaf, Node, Version
from ..outline import Outline
from ..platforms import Array
from ..scalar_type import ScalarType
from ..words import TENSOR, unknown
from .exchange import Exchange
from .methods import Methods
from .staircase import apply, install, version_of
from .state import goes_short

_NATURAL: dict[str, np.dtype[Any]] = {
    "f": np.dtype(np.float32),
    "i": np.dtype(np.int64),
    "u": np.dtype(np.int64),
}


class Tensor(Methods, Exchange):
    """A device-tagged array of one scalar type, with a node if gradients flow through it.

    Made from an array (whose values are copied and whose scalar type is kept), or from numbers
    and nested lists, where floats are f32 and integers i64.

    >>> x = Tensor([[-1.0, 2.0]])
    >>> x.relu()
    Tensor(host f32 (1, 2) [[0., 2.]])
    """

    __slots__ = ("__weakref__", "_array", "consumed", "node", "outline", "version")

    __apply__ = staticmethod(apply)
    __apply_rank__ = 0
    __array_ufunc__ = None  # so that ndarray * tensor asks the tensor
    __hash__ = object.__hash__

    _array: Array
    outline: Outline
    node: Node | None
    version: Version | None
    consumed: str  # the op whose graph a backward from here has used up; unset before

    def __init__(
        self,
        data: Any,
        *,
        device: Device | str | None = None,
        scalar_type: ScalarType | str | None = None,
        requires_grad: bool = False,
    ) -> None:
        if isinstance(data, Tensor):
            array = data._array if device is None else Device(device).put(data._array)
            array = ops.copy(array) if array is data._array else array
        else:
            array = _array_of(data)
            array = array if device is None else Device(device).put(array)
        if scalar_type is not None:
            array = ops.cast(array, scalar_type=ScalarType(scalar_type))
        self._array, self.outline = array, Outline.of(array)
        self.node = self.version = None
        if requires_grad:
            self.requires_grad = True

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise unknown("Tensor", name, TENSOR, self)

    @classmethod
    def borrow(cls, array: Array) -> Tensor:
        """A tensor over the array's own memory: writing to one changes the other."""
        return _make(np.asarray(array) if isinstance(array, np.ndarray) else array)

    # -- what it is --------------------------------------------------------------------

    @property
    def array(self) -> Array:
        """The array itself: numpy.ndarray on the host, cupy.ndarray on a CUDA device."""
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.outline.shape

    @property
    def ndim(self) -> int:
        return len(self.outline.shape)

    @property
    def size(self) -> int:
        return self.outline.size

    @property
    def nbytes(self) -> int:
        return self.outline.nbytes

    @property
    def scalar_type(self) -> ScalarType:
        return self.outline.scalar_type

    @property
    def dtype(self) -> np.dtype[Any]:
        """The scalar type as NumPy's dtype."""
        return self.outline.scalar_type.dtype

    @property
    def device(self) -> Device:
        return self.outline.device

    @property
    def T(self) -> Tensor:
        """The axes reversed, without a copy."""
        return self.permute_dims()

    # -- values ------------------------------------------------------------------------

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values on the host: this tensor's own memory if it is there, else a copy, for
        which the device is waited for."""
        array = self._array
        return array if type(array) is np.ndarray else self.device.platform.get(array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def item(self) -> float | int | bool:
        """The one value as a Python number."""
        if self.size != 1:
            raise ShapeError(
                f"item: a number is wanted, and x has {self.size} elements\n"
                f"  x  {self.shape}\n  write  x.tolist(), or reduce it: x.sum().item()"
            )
        return self.numpy().reshape(()).item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self.numpy().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __index__(self) -> int:
        if self.scalar_type.is_float:
            raise TypeError(f"index: a {self.scalar_type} tensor is not an integer")
        return int(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    # -- moving ------------------------------------------------------------------------

    def to(self, device: Device | str) -> Tensor:
        """This tensor on a device; itself if it is there already."""
        target = Device(device)
        return self if target is self.device else ops.transfer(self, device=target)

    def detach(self) -> Tensor:
        """The value alone, without its graph: the same memory, no copy."""
        y = _make(self._array)
        y.version = version_of(self)
        return y

    # -- gradients ---------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow into or through this tensor. Setting it makes, or unmakes, a
        leaf: a tensor whose gradient adds up in `grad`."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted == self.requires_grad:
            return
        if wanted and not self.scalar_type.is_float:
            raise GraphError(
                f"requires_grad: a {self.scalar_type} tensor has no gradient\n"
                f"  write  x.cast('f32') first"
            )
        if not wanted and not isinstance(self.node, Leaf):
            raise GraphError("requires_grad: this tensor was computed\n  write  x.detach()")
        self.node = Leaf() if wanted else None

    @property
    def grad(self) -> Tensor | None:
        """The gradient gathered by `backward`, of leaves alone; None before any."""
        return self.node.grad if isinstance(self.node, Leaf) else None

    @grad.setter
    def grad(self, gradient: Tensor | np.ndarray[Any, Any] | None) -> None:
        if not isinstance(self.node, Leaf):
            if gradient is None:
                return  # it has none
            raise GraphError(
                "grad: only leaves keep a gradient\n  make one with requires_grad=True"
            )
        if gradient is not None:
            if not isinstance(gradient, Tensor):
                gradient = Tensor(gradient, device=self.device)
            check_gradient("grad", self, gradient)
        self.node.grad = gradient

    def backward(
        self, gradient: Tensor | np.ndarray[Any, Any] | None = None, *, retain_graph: bool = False
    ) -> None:
        """Add the gradient of this tensor to `grad` of every leaf that it depends on.

        `gradient` is the gradient in this tensor (1 for a scalar). The graph is used up unless
        `retain_graph`, and this tensor becomes a constant.

        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        Tensor(host f32 (2,) [2., 4.])
        """
        _walk().backward(self, gradient, retain_graph=retain_graph)

    # -- writing -----------------------------------------------------------------------

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write into this tensor's memory, and that of its views: `x[...] = y`.

        Writing is not recorded: a tensor that was computed in a graph, or a value that was, is
        refused while recording; write under `no_grad`, or build the value with `where` or
        `concat`.
        """
        from .indexing import put

        put(self, key, value)

    # -- copying -----------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.node is not None and not isinstance(self.node, Leaf):
            raise GraphError("copy: this tensor is part of a graph\n  write  x.detach()")
        array = ops.copy(self._array)  # of what is pending this makes a Tensor
        twin = memo[id(self)] = object.__new__(type(self))
        twin._array = array
        twin.outline, twin.version = Outline.of(twin._array), None
        twin.node = None if self.node is None else Leaf()
        return twin

    def __reduce__(self) -> Any:
        return _unpickled, (type(self), self.numpy(), self.device.name, self.requires_grad)

    # -- showing -----------------------------------------------------------------------

    def __repr__(self) -> str:
        """Device, scalar type and shape; the values too, where they are few and on the host."""
        values = ""
        if self.size <= 32 and self.device.is_host:
            array = self._array.astype(np.float32) if self.scalar_type.is_half else self._array
            values = " " + np.array2string(array, separator=", ", precision=4, max_line_width=80)
            if "\n" in values:
                values = "\n" + values[1:]
        return f"{type(self).__name__}({self.device} {self.scalar_type} {self.shape}{values})"

    def __format__(self, form: str) -> str:
        """`f"{loss:.3f}"`: a single number as Python writes it; without a form, the repr."""
        return format(self.item(), form) if form else repr(self)

    def _repr_html_(self) -> str:
        """For notebooks."""
        from ..html import tensor_html

        return tensor_html(self)


class Parameter(Tensor):
    """A tensor that a layer owns and an optimizer changes: a leaf of every graph it is in.

    Frozen with `requires_grad = False`: no gradient is computed for it then.
    """

    __slots__ = ()

    def __init__(
        self,
        data: Any,
        *,
        device: Device | str | None = None,
        scalar_type: ScalarType | str | None = None,
    ) -> None:
        super().__init__(data, device=device, scalar_type=scalar_type, requires_grad=True)


class Buffer(Tensor):
    """A tensor that a layer owns and no optimizer changes, such as running statistics: saved,
    moved and cast with the layer."""

    __slots__ = ()


@cache
def _walk() -> Any:
    """The module of walks, which needs this one."""
    from . import walk

    return walk


install(Tensor)
goes_short(Tensor, Parameter, Buffer)
_new = object.__new__


def _make(array: Array, node: Node | None = None) -> Tensor:
    """A tensor around an array, without copy or check."""
    tensor = _new(Tensor)
    tensor._array, tensor.outline = array, Outline.of(array)
    tensor.node, tensor.version = node, None
    return tensor


def _array_of(data: Any) -> Array:
    if isinstance(data, np.ndarray):
        ScalarType.of(data)
        return np.array(data, order="C")  # no subclass: a memmap, a matrix
    if isinstance(data, np.generic):
        return np.array(data)
    if isinstance(data, bool | int | float | list | tuple | range):
        try:
            array = np.asarray(_plain(data))
        except ValueError:
            raise ShapeError(
                "Tensor: rows of different lengths\n  write lists of one length"
            ) from None
        if array.dtype.kind == "u" and (array > np.iinfo(np.int64).max).any():
            return array
        natural: np.dtype[Any] = _NATURAL.get(array.dtype.kind, array.dtype)
        return array.astype(natural)
    if type(data).__module__.startswith("cupy"):
        return data.copy()
    if hasattr(data, "__array__"):
        return np.array(data, order="C")
    try:
        device = Device.of(data)
    except DeviceError:
        raise ScalarTypeError(
            f"Tensor: a {type(data).__name__} is no array\n"
            f"  write numbers, nested lists of them, or an array"
        ) from None
    return np.array(data) if device is HOST else ops.copy(data)


def _plain(data: Any) -> Any:
    """Nested lists with tensors among the numbers, as NumPy takes them."""
    if isinstance(data, Tensor):
        return data.numpy()
    return [_plain(each) for each in data] if isinstance(data, list | tuple) else data


def check_gradient(op: str, x: Tensor, gradient: Tensor) -> None:
    """Refuse a gradient that is not of x's shape, scalar type and device."""
    if gradient.outline is not x.outline and (
        (gradient.shape, gradient.scalar_type, gradient.device)
        != (x.shape, x.scalar_type, x.device)
    ):
        raise ShapeError(
            f"{op}: the gradient is not like the tensor\n"
            f"  tensor    {x.device} {x.scalar_type} {x.shape}\n"
            f"  gradient  {gradient.device} {gradient.scalar_type} {gradient.shape}"
        )


def _unpickled(cls: type, array: np.ndarray[Any, Any], device: str, leaf: bool) -> Tensor:
    tensor: Tensor = object.__new__(cls)
    tensor._array = Device(device).put(array)
    tensor.outline, tensor.version = Outline.of(tensor._array), None
    tensor.node = Leaf() if leaf else None
    return tensor
