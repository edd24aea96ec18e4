"""Optimizers that are one op: its inputs name what is remembered, its settings are theirs."""

from __future__ import annotations

from typing import ClassVar

from ..op import Op
from ..tensor import Parameter, Tensor, zeros
from .optimizer import Optimizer, State

SHARED = 4  # inputs that every update has first: w, dw, step and learning_rate


class ByOp(Optimizer):
    """Base class of optimizers that move each parameter by `op`."""

    op: ClassVar[Op]

    @property
    def by(self) -> Op | None:
        return self.op if type(self).move is ByOp.move else None

    def remember(self, like: Tensor) -> State:
        names = self.op.inputs[SHARED:-1]  # the last one is the f32 master
        return {name: like_zeros(like) for name in names}

    def move(self, w: Parameter, dw: Tensor, rate: Tensor, state: State) -> None:
        remembered = [state.get(name) for name in self.op.inputs[SHARED:]]
        settings = {name: getattr(self, name) for name in self.op.complete({})}
        self.op(w, dw, state["step"], rate, *remembered, **settings)


def like_zeros(like: Tensor) -> Tensor:
    """Zeros of the same shape, device and scalar type."""
    return zeros(like.shape, device=like.device, scalar_type=like.scalar_type)
