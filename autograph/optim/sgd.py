"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeFloat

from .. import ops
from ..errors import SettingsError
from ..op import Op
from ..settings import described
from ..tensor import Tensor
from .by_op import ByOp, like_zeros
from .optimizer import State
from .schedule import Schedule

Fraction = Annotated[float, Field(ge=0, lt=1)]


@described
class SGD(ByOp):
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

    op: ClassVar[Op] = ops.sgd_update

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise SettingsError(
                "SGD: nesterov wants a momentum and no dampening\n"
                f"  momentum   {self.momentum}\n  dampening  {self.dampening}"
            )

    def remember(self, like: Tensor) -> State:
        return {"velocity": like_zeros(like)} if self.momentum else {}
