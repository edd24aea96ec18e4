"""Blanks: tensors with an outline and no values, on which sizes are inferred."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import DeclarationError
from ..graph import Leaf
from ..op import Op
from ..outline import Outline
from ..plan import outlined, promoted
from .tensor import Buffer, Parameter, Tensor


class _Counter(threading.local):
    cost: int | None = None


_counter = _Counter()


@contextmanager
def counting() -> Iterator[list[int]]:
    """Within the block, count the multiply-adds of ops on blanks; the list gets the sum."""
    total: list[int] = []
    before = _counter.cost
    _counter.cost = 0
    try:
        yield total
    finally:
        total.append(_counter.cost)
        _counter.cost = None if before is None else before + _counter.cost


def apply_blank(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
    """What `op` would answer, without values."""
    given: list[Any] = []
    for each in inputs:
        if isinstance(each, Tensor):
            given.append(each.outline)
        elif isinstance(each, np.ndarray):
            given.append(Outline.of(each))
        elif isinstance(each, np.generic):
            given.append(type(each.item()))
        else:
            given.append(None if each is None else type(each))
    if not op.variable:
        given += [None] * (len(op.inputs) - len(given))
    op.names_of(given)
    complete = op.complete(settings)
    outlines, _ = promoted(op, given, None)
    results = outlined(op, outlines, complete)
    if op.cost is not None and _counter.cost is not None:
        _counter.cost += op.cost(*outlines, **complete)
    made = [blank(each) for each in results[: len(op.outputs)]]
    return None if not made else made[0] if len(made) == 1 else tuple(made)


class Blank(Tensor):
    """A tensor without values."""

    __slots__ = ()
    __apply__ = staticmethod(apply_blank)
    __apply_rank__ = 1

    def numpy(self) -> Any:
        raise DeclarationError(
            "forward: values are looked at while sizes are inferred, and there are none yet\n"
            "  write the layer so that its forward needs shapes alone, or give sizes by hand"
        )


class BlankParameter(Parameter):
    """A parameter without values."""

    __slots__ = ()
    __apply__ = staticmethod(apply_blank)
    __apply_rank__ = 1
    numpy = Blank.numpy


class BlankBuffer(Buffer):
    """A buffer without values."""

    __slots__ = ()
    __apply__ = staticmethod(apply_blank)
    __apply_rank__ = 1
    numpy = Blank.numpy


def blank(outline: Outline, cls: type[Tensor] = Blank) -> Any:
    """A tensor of this outline without values."""
    tensor = object.__new__(cls)
    tensor.outline, tensor.version = outline, None
    tensor.node = Leaf() if issubclass(cls, Parameter) else None
    return tensor
