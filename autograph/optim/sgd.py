"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, NonNegativeFloat

from .. import ops
from ..errors import SettingsError
from ..ops.update.together import in_turn
from ..settings import described
from ..tensor import Parameter, Tensor, zeros
from .optimizer import Moving, Optimizer, State
from .schedule import Schedule

Fraction = Annotated[float, Field(ge=0, lt=1)]


@described
class SGD(Optimizer):
    """velocity = momentum * velocity + (1 - dampening) * dw;  w = w - learning_rate * velocity.

    `weight_decay` adds weight_decay * w to dw; `nesterov` steps by dw + momentum * velocity.
    The first velocity is dw. As torch.optim.SGD.

    >>> SGD(learning_rate=0.1, momentum=0.9).momentum
    0.9
    """

    learning_rate: NonNegativeFloat | Schedule = 0.1
    momentum: Fraction = 0.0
    dampening: Fraction = 0.0
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0
    maximize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise SettingsError(
                "SGD: nesterov wants a momentum and no dampening\n"
                f"  momentum   {self.momentum}\n  dampening  {self.dampening}"
            )

    def remember(self, like: Tensor) -> State:
        return {"velocity": like_zeros(like)} if self.momentum else {}

    def move(self, w: Parameter, dw: Tensor, rate: Tensor, state: State) -> None:
        SGD.move_all(self, [(w, dw, state)], rate)

    def move_all(self, moving: Sequence[Moving], rate: Tensor) -> None:
        parts = [
            (w, dw, state["step"], state.get("velocity"), state.get("master"))
            for w, dw, state in moving
        ]
        for some in in_turn(parts):
            ops.sgd_updates(
                rate,
                *some,
                momentum=self.momentum,
                dampening=self.dampening,
                nesterov=self.nesterov,
                weight_decay=self.weight_decay,
                maximize=self.maximize,
            )


def like_zeros(like: Tensor) -> Tensor:
    """Zeros of the same shape, device and scalar type."""
    return zeros(like.shape, device=like.device, scalar_type=like.scalar_type)
