"""`x[key]` and `x[key] = y`: ints, slices, newaxis and ellipsis, with masks and index tensors.

Ints, slices and newaxis make a view first, as in PyTorch; masks and index tensors then choose
from the view. Several of them broadcast together, a mask over m axes as one row of places; what
they choose stands in their place, or in front if they are not neighbours.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import ops
from ..errors import DeviceError, GraphError, IndexRangeError, SettingsError
from ..graph import Leaf
from ..scalar_type import BOOL
from .state import state

if TYPE_CHECKING:
    from .tensor import Tensor


class Choice(NamedTuple):
    """A view, and the places in some of its axes that are chosen (None: all of it)."""

    view: Tensor
    axes: tuple[int, ...]
    places: Tensor | None


def get(x: Tensor, key: Any) -> Tensor:
    """x[key]: a view where the key has neither masks nor index tensors, else a copy."""
    view, axes, places = _chosen(x, key)
    if places is None:
        return view
    if len(axes) == 1:
        return ops.take(view, places, axis=axes[0])
    return ops.index_at(view, places, axes=axes)


def put(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value: into the memory of x and of its views, not recorded.

    A tensor that was computed in a graph, or a value that was, is refused while recording. The
    value is broadcast, and cast to the scalar type of x; where several values go to one place
    the last one stays.
    """
    from .tensor import Tensor

    if state.recording:
        computed = x.node is not None and not isinstance(x.node, Leaf)
        if computed or (isinstance(value, Tensor) and value.node is not None):
            raise GraphError(
                "assign: writing into a tensor is not recorded\n"
                "  write  ag.ops.where(mask, y, x), or write under  with ag.no_grad():"
            )
    if x.device.is_host and not x._array.flags.writeable:
        raise GraphError("assign: the memory of x can only be read\n  write  x = x.copy()  first")
    if not isinstance(value, bool | int | float):
        value = value if isinstance(value, Tensor) else Tensor(value, device=x.device)
        if value.device is not x.device:
            raise DeviceError(
                f"assign: the value is on another device\n"
                f"  x      {x.device}\n  value  {value.device}\n  write  value.to(x.device)"
            )
        value = value.cast(x.scalar_type).detach()
    parts = key if isinstance(key, tuple) else (key,)
    if not any(_is_choice(each) for each in parts):
        ops.assign(x, value, key=ops.frozen_key(parts))
        return
    view, axes, places = _chosen(x.detach(), key)
    if places is not None:
        if len(axes) == 1:
            places = ops.flat_index(places, sizes=(view.shape[axes[0]],))
        ops.assign_at(view, value, places, axes=axes)


def _is_choice(part: Any) -> bool:
    """Whether a part of a key is a mask or an index tensor; a 0-d tensor of integers is an int."""
    from .tensor import Tensor

    if isinstance(part, bool | np.bool_):
        raise SettingsError("index: a bool is no index\n  write  x[None], or a mask of x's shape")
    if isinstance(part, Tensor):
        return part.shape != () or part.scalar_type is BOOL
    return isinstance(part, list | np.ndarray) and not (
        isinstance(part, np.ndarray) and part.ndim == 0 and part.dtype != bool
    )


def _chosen(x: Tensor, key: Any) -> Choice:
    """The view of x by the basic parts of a key, and what the others choose from it."""
    parts = list(key) if isinstance(key, tuple) else [key]
    choices = [_tensor(part, x) if _is_choice(part) else None for part in parts]
    used = sum(
        _covered(choice) if choice is not None else part is not None and part is not Ellipsis
        for part, choice in zip(parts, choices, strict=True)
    )
    basic: list[Any] = []
    found: list[tuple[int, Tensor]] = []  # the axis of the view where each choice begins
    source = axis = 0  # of x, of the view
    for part, choice in zip(parts, choices, strict=True):
        if choice is not None:
            count = _covered(choice)
            if choice.scalar_type is BOOL and choice.shape != x.shape[source : source + count]:
                raise IndexRangeError(
                    f"index: the mask does not fit axes {source} to {source + count - 1}\n"
                    f"  x     {x.shape}\n  mask  {choice.shape}"
                )
            basic += [slice(None)] * count
            found.append((axis, choice))
            source, axis = source + count, axis + count
            continue
        basic.append(part)
        if part is Ellipsis:
            rest = max(len(x.shape) - used, 0)
            source, axis = source + rest, axis + rest
        elif part is None:
            axis += 1
        else:
            source, axis = source + 1, axis + isinstance(part, slice)
    view: Tensor = ops.index(x, key=ops.frozen_key(tuple(basic)))
    if not found:
        return Choice(view, (), None)
    axes = tuple(at + i for at, choice in found for i in range(_covered(choice)))
    if len(axes) == 1 and found[0][1].scalar_type is not BOOL:
        return Choice(view, axes, found[0][1])
    rows = [ops.nonzero_flat(c) if c.scalar_type is BOOL else c for _, c in found]
    if len(rows) == 1 and found[0][1].scalar_type is BOOL:
        return Choice(view, axes, rows[0])
    sizes = tuple(prod(view.shape[at : at + _covered(choice)]) for at, choice in found)
    return Choice(view, axes, ops.flat_index(*rows, sizes=sizes))


def _covered(choice: Tensor) -> int:
    """How many axes a mask or an index tensor stands for."""
    return len(choice.shape) if choice.scalar_type is BOOL else 1


def _tensor(part: Any, x: Tensor) -> Tensor:
    from .tensor import Tensor

    if isinstance(part, Tensor):
        chosen = part
    else:
        array = np.array(part, np.int64) if isinstance(part, list) and not part else part
        chosen = Tensor(array, device=x.device)
    if chosen.shape == () and chosen.scalar_type is BOOL:
        raise SettingsError("index: a bool is no index\n  write  x[None], or a mask of x's shape")
    return chosen
