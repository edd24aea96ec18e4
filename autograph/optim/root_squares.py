"""RMSprop, Adagrad and Adadelta: steps over the root of squared gradients."""

from __future__ import annotations

from typing import ClassVar

from pydantic import NonNegativeFloat, PositiveFloat

from .. import ops
from ..op import Op
from ..settings import described
from ..tensor import Tensor
from .by_op import ByOp, like_zeros
from .optimizer import State
from .schedule import Schedule
from .sgd import Fraction


@described
class RMSprop(ByOp):
    """squares = alpha * squares + (1 - alpha) * dw², mean likewise of dw if `centered`;
    velocity = momentum * velocity + dw / (sqrt(squares - mean²) + epsilon);
    w = w - learning_rate * velocity.

    Hinton, 2012; `weight_decay` adds weight_decay * w to dw. As torch.optim.RMSprop.

    >>> RMSprop().alpha
    0.99
    """

    learning_rate: NonNegativeFloat | Schedule = 1e-2
    alpha: Fraction = 0.99
    epsilon: PositiveFloat = 1e-8
    momentum: Fraction = 0.0
    centered: bool = False
    weight_decay: NonNegativeFloat = 0.0
    maximize: bool = False

    op: ClassVar[Op] = ops.rmsprop_update

    def remember(self, like: Tensor) -> State:
        names = ["squares"]
        names += ["mean"] if self.centered else []
        names += ["velocity"] if self.momentum else []
        return {name: like_zeros(like) for name in names}


@described
class Adagrad(ByOp):
    """squares = squares + dw²;
    w = w - learning_rate / (1 + (t - 1) * rate_decay) * dw / (sqrt(squares) + epsilon).

    Duchi, Hazan and Singer, 2011; squares start at `initial`. As torch.optim.Adagrad.

    >>> Adagrad().epsilon
    1e-10
    """

    learning_rate: NonNegativeFloat | Schedule = 1e-2
    rate_decay: NonNegativeFloat = 0.0
    initial: NonNegativeFloat = 0.0
    epsilon: PositiveFloat = 1e-10
    weight_decay: NonNegativeFloat = 0.0
    maximize: bool = False

    op: ClassVar[Op] = ops.adagrad_update

    def remember(self, like: Tensor) -> State:
        return {"squares": like_zeros(like) + self.initial}


@described
class Adadelta(ByOp):
    """squares = rho * squares + (1 - rho) * dw²;
    move = dw * sqrt((moves + epsilon) / (squares + epsilon));
    moves = rho * moves + (1 - rho) * move²;  w = w - learning_rate * move.

    Zeiler, 2012. As torch.optim.Adadelta.

    >>> Adadelta().rho
    0.9
    """

    learning_rate: NonNegativeFloat | Schedule = 1.0
    rho: Fraction = 0.9
    epsilon: PositiveFloat = 1e-6
    weight_decay: NonNegativeFloat = 0.0
    maximize: bool = False

    op: ClassVar[Op] = ops.adadelta_update
