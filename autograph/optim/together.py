"""Together: parameters of one device and scalar type that one optimizer moves at one rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import ref

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

    Where there is an op for several parameters, what it takes is put together once.
    """

    def __init__(self, mover: Optimizer, paced: Optimizer, device: Device) -> None:
        self._mover, self._paced, self.device = ref(mover), ref(paced), device  # who hold this
        self.places: list[int] = []
        self.states: list[State] = []
        self._several = None if mover.by is None else SEVERAL.get(mover.by)
        self._prepared: list[tuple[slice, Prepared]] = []

    def move(self, ws: Sequence[Parameter], dws: Sequence[Tensor]) -> None:
        """Take a step of those among all that move: by one op for several, or one by one."""
        mover, paced = self._mover(), self._paced()
        assert mover is not None
        assert paced is not None
        rate = paced.rate_on(self.device)
        if len(self.places) < len(ws):
            ws, dws = [ws[at] for at in self.places], [dws[at] for at in self.places]
        if self._several is None:
            for w, dw, kept in zip(ws, dws, self.states, strict=True):
                mover.move(w, dw, rate, kept)
            return
        if not self._prepared:
            self._prepared = self._prepare(mover, self._several, ws)
        for some, prepared in self._prepared:
            update(prepared, rate, ws[some], dws[some])

    def _prepare(
        self, mover: Optimizer, several: Op, ws: Sequence[Parameter]
    ) -> list[tuple[slice, Prepared]]:
        """What the op for several takes, as many times as there are enough for."""
        settings = {name: getattr(mover, name) for name in several.complete({})}
        names = [name for name in mover.by.inputs if name not in ("w", "dw", "rate")]  # type: ignore[union-attr]
        states = [list(map(kept.get, names)) for kept in self.states]
        some = [slice(at, at + TOGETHER) for at in range(0, len(ws), TOGETHER)]
        return [(each, Prepared(several, settings, ws[each], states[each])) for each in some]
