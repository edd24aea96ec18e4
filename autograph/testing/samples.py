"""The samples that ops are tested on, and small questions about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..op import REGISTRY, Op
from ..ops.pointwise import Pointwise
from ..scalar_type import ScalarType
from ..tensor import Tensor

Sample = tuple[tuple[Any, ...], dict[str, Any]]

_derived: set[str] = set()


def all_ops() -> list[Op]:
    """Every registered op, with those that pointwise ops derive as their gradients, which get
    samples from the op that they are derived from."""
    for op in list(REGISTRY.values()):
        if isinstance(op, Pointwise) and op.samples is not None and op.name not in _derived:
            for rule in op.gradients:
                for position in rule.positions or ():
                    _derive(op, op.inputs[position])
    return list(REGISTRY.values())


def _derive(op: Pointwise, name: str) -> None:
    found, names = op.gradient_of(name)
    if found is None or found.samples is not None:
        return

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        assert op.samples is not None
        for arrays, settings in op.samples(rng):
            y = op(*arrays, **settings)
            if y.dtype.kind == "f":
                given = dict(zip(op.inputs, arrays, strict=True))
                y = np.where(y == 0, 0.02, y)  # relu's gradient is a step where y is 0
                kept = [given.get(each, y) for each in names]
                yield (rng.normal(size=y.shape), *kept), settings

    found.sampled_by(samples)
    _derived.add(found.name)


def samples_of(op: Op, seed: int = 0) -> list[Sample]:
    """The samples of an op, the same for the same seed; what NumPy made a scalar is 0-d again."""
    if op.samples is None:
        return []
    return [
        (tuple(np.asarray(a) if isinstance(a, np.generic) else a for a in arrays), settings)
        for arrays, settings in op.samples(np.random.default_rng(seed))
    ]


def shown(arrays: Sequence[Any], settings: dict[str, Any]) -> str:
    """A sample in a line."""
    inputs = [
        f"{ScalarType.of(each)} {each.shape}" if isinstance(each, np.ndarray) else repr(each)
        for each in arrays
    ]
    return ", ".join([*inputs, *(f"{name}={value!r}" for name, value in settings.items())])


def tuple_of(value: Any) -> tuple[Any, ...]:
    """One answer or several, as a tuple."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def wide(value: Any) -> Any:
    """Floats as a float64 array, everything else as it is."""
    if isinstance(value, Tensor):
        value = value.numpy()
    if isinstance(value, list):
        value = np.array(value)
    floating = isinstance(value, np.ndarray) and ScalarType.of(value).is_float
    return value.astype(np.float64) if floating else value


def is_float(value: Any) -> bool:
    """Whether this is an array of floats."""
    return isinstance(value, np.ndarray) and ScalarType.of(value).is_float
