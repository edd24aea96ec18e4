"""Prepared: an op that moves many parameters step after step, put together once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

from ..op import Fixed, Op
from .staircase import version_of
from .tensor import Tensor


class Prepared:
    """The inputs of an op such as `ops.sgd_updates`: the rate, then of each parameter w, dw and its
    state, which is the same in each step. Of a step are the rate and the gradients alone.

    Who keeps one vouches that parameters and state are, and lie, as they were when it was made.
    """

    def __init__(
        self,
        op: Op,
        settings: Mapping[str, Any],
        parameters: Sequence[Tensor],
        states: Sequence[Sequence[Tensor | None]],
    ) -> None:
        self.op, self.states, self.width = op, states, 2 + len(states[0])
        self.settings = Fixed(settings)  # of this alone: plans are looked up by it
        self._outlines = [w.outline for w in parameters]
        self._parts: dict[tuple[int, ...], Prepared] = {}
        self._tensors: list[Any] = [None]  # parameters are not held on to
        for state in states:
            self._tensors += [None, None, *state]
        given = [*parameters, *self._tensors]
        self.versions = [version_of(each) for each in given if each is not None]  # of all it writes
        self._arrays = [None if each is None else each._array for each in self._tensors]
        self._moving = [*self._arrays]
        del self._moving[2 :: self.width]

    def inputs(self, rate: Tensor, parameters: Any, gradients: Any) -> list[Any]:
        """What the op takes in this step."""
        inputs = [*self._tensors]
        inputs[0] = rate
        inputs[1 :: self.width], inputs[2 :: self.width] = parameters, gradients
        return inputs

    def arrays(self, rate: Tensor, parameters: Any, gradients: Any = None) -> list[Any]:
        """The arrays of `inputs`; of all but the gradients, where there are none yet."""
        if gradients is None:
            arrays, width = [*self._moving], self.width - 1
        else:
            arrays, width = [*self._arrays], self.width
            arrays[2::width] = [dw._array for dw in gradients]
        arrays[0] = rate._array
        arrays[1::width] = [w._array for w in parameters]
        return arrays

    def fits(self, gradients: Sequence[Tensor]) -> bool:
        """Whether gradients lie as their parameters do."""
        return all(map(is_, [dw.outline for dw in gradients], self._outlines))

    def of(self, places: Sequence[int], parameters: Sequence[Tensor]) -> Prepared:
        """The same of the parameters at these places alone."""
        key = tuple(places)
        if key not in self._parts:
            states = [self.states[at] for at in places]
            self._parts[key] = Prepared(self.op, self.settings, parameters, states)
        return self._parts[key]

    def in_order(self, order: Sequence[int], parameters: Sequence[Tensor]) -> Prepared:
        """The same of parameters in another order."""
        return Prepared(self.op, self.settings, parameters, [self.states[at] for at in order])
