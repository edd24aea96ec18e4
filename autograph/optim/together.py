"""Together: parameters of one device and scalar type that one optimizer moves at one rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any

from ..device import Device
from ..op import Op
from ..ops.update.together import SEVERAL, TOGETHER
from ..tensor import Parameter, Tensor
from ..tensor.chained import update
from ..tensor.prepared import Prepared

if TYPE_CHECKING:
    from .optimizer import Optimizer, State


class Together:
    """Who moves them, whose rate it is, where and which they are, and what is remembered of them.

    Where there is an op for several parameters, what it takes is put together once, and again
    where a setting or a tensor of the state is no longer the same object.
    """

    def __init__(self, mover: Optimizer, paced: Optimizer, device: Device) -> None:
        self.mover, self.paced, self.device = mover, paced, device
        self.paths: list[str] = []
        self.states: list[State] = []
        self._several = None if mover.by is None else SEVERAL.get(mover.by)
        self._prepared: list[Prepared] = []
        self._made_of: list[Any] = []
        if mover.by is not None:
            self._settings = attrgetter(*mover.by.complete({}))
            self._names = [name for name in mover.by.inputs if name not in ("w", "dw", "rate")]

    def move(self, parameters: Mapping[str, Parameter], slopes: Mapping[str, Tensor]) -> None:
        """Take a step: by one op for several, or one by one."""
        mover, rate = self.mover, self.paced.rate_on(self.device)
        ws, dws = [parameters[path] for path in self.paths], [slopes[path] for path in self.paths]
        several = self._several
        if several is None:
            for w, dw, kept in zip(ws, dws, self.states, strict=True):
                mover.move(w, dw, rate, kept)
            return
        tensors: Iterable[Tensor] = chain.from_iterable(map(dict.values, self.states))
        made_of = [*self._settings(mover), *tensors]
        if len(made_of) != len(self._made_of) or not all(map(is_, made_of, self._made_of)):
            self._prepared = self._prepare(several, ws)
            self._made_of = made_of
        for at, prepared in enumerate(self._prepared):
            some = slice(at * TOGETHER, (at + 1) * TOGETHER)
            update(prepared, rate, ws[some], dws[some])

    def _prepare(self, several: Op, ws: Sequence[Parameter]) -> list[Prepared]:
        """What the op for several takes, as many times as there are enough for."""
        settings = dict(zip(several.complete({}), self._settings(self.mover), strict=True))
        states = [list(map(kept.get, self._names)) for kept in self.states]
        return [
            Prepared(several, settings, ws[at : at + TOGETHER], states[at : at + TOGETHER])
            for at in range(0, len(ws), TOGETHER)
        ]
