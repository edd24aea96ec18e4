"""Averages of weights: a second model in the shadow of the first, which follows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from pydantic import Field

from .. import ops
from ..errors import CheckpointError, GraphError
from ..settings import Described, described
from ..tensor import Parameter, Tensor, no_grad
from .sgd import Fraction


class Model(Protocol):
    """What an average follows: a layer."""

    def named_parameters(self) -> dict[str, Parameter]: ...


@described
class Average(Described):
    """The exponential moving average of weights: average = decay * average + (1 - decay) * w.

    Give it to `fit`, or call `update(model)` after the optimizer's step; look at the model with
    these weights inside `with average.applied(model)`. The first average is the first weights.
    Checkpoints hold it: `save(path, model, optimizer, average=average)`.

    >>> Average(decay=0.999).decay
    0.999
    """

    decay: Fraction = 0.999

    values: dict[str, Tensor] = Field(default_factory=dict, init=False, repr=False)

    def update(self, model: Model) -> None:
        """Follow the model's weights."""
        with no_grad():
            for path, w in model.named_parameters().items():
                value = self.values.get(path)
                if value is None:
                    self.values[path] = w.detach().cast(w.scalar_type.accumulator).copy()
                else:
                    ops.follow(value, w, 1 - self.decay)

    @contextmanager
    def applied(self, model: Model) -> Iterator[None]:
        """Within the block the model has the averaged weights."""
        if not self.values:
            raise GraphError("Average: there is none yet\n  call  average.update(model)  first")
        named = model.named_parameters()
        before = {path: w.detach().copy() for path, w in named.items()}
        _put(named, self.values)
        try:
            yield
        finally:
            _put(named, before)

    def describe(self) -> dict[str, object]:
        return {"kind": self.kind, "decay": self.decay}

    def tensors(self) -> dict[str, Tensor]:
        """The averages by path."""
        return dict(self.values)

    def restore(self, tensors: Mapping[str, Tensor], parameters: Mapping[str, Parameter]) -> None:
        """Take over saved averages of these parameters; refused as a whole where one is missing,
        or is not like its parameter."""
        here = {path: w.shape for path, w in parameters.items()}
        there = {path: each.shape for path, each in tensors.items()}
        for path in [*here, *there]:
            if there and here.get(path) != there.get(path):
                raise CheckpointError(
                    f"Average: the file's average of {path} does not fit\n"
                    f"  here  {here.get(path, 'none')}\n  file  {there.get(path, 'none')}"
                )
        self.values = {
            path: tensors[path].to(w.device).cast(w.scalar_type.accumulator).copy()
            for path, w in parameters.items()
            if there
        }


def _put(named: Mapping[str, Parameter], values: Mapping[str, Tensor]) -> None:
    with no_grad():
        for path, w in named.items():
            w[...] = values[path].to(w.device).cast(w.scalar_type)
