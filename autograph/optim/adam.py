"""Adam and its kin: steps scaled by the first and second moments of the gradient."""

from __future__ import annotations

from typing import ClassVar

from pydantic import NonNegativeFloat, PositiveFloat

from .. import ops
from ..op import Op
from ..settings import described
from ..tensor import Tensor, ones
from .by_op import ByOp, like_zeros
from .optimizer import State
from .schedule import Schedule
from .sgd import Fraction


@described
class Adam(ByOp):
    """moment1 = beta1 * moment1 + (1 - beta1) * dw;  moment2 = beta2 * moment2 + (1 - beta2) * dw²;
    w = w - learning_rate * (moment1 / (1 - beta1^t)) / (sqrt(moment2 / (1 - beta2^t)) + epsilon).

    Kingma and Ba, 2015. `weight_decay` adds weight_decay * w to dw; `amsgrad` keeps the largest
    moment2 (Reddi, Kale and Kumar, 2018). As torch.optim.Adam.

    >>> Adam().learning_rate
    0.001
    """

    learning_rate: NonNegativeFloat | Schedule = 1e-3
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.0
    amsgrad: bool = False
    maximize: bool = False

    decoupled: ClassVar[bool] = False  # whether the decay leaves the moments alone

    op: ClassVar[Op] = ops.adam_update

    def remember(self, like: Tensor) -> State:
        names = ["moment1", "moment2", *(["largest"] if self.amsgrad else [])]
        return {name: like_zeros(like) for name in names}


@described
class AdamW(Adam):
    """Adam with decoupled decay: w = w * (1 - learning_rate * weight_decay) before the step.

    Loshchilov and Hutter, 2019. As torch.optim.AdamW.

    >>> AdamW().weight_decay
    0.01
    """

    weight_decay: NonNegativeFloat = 0.01

    decoupled: ClassVar[bool] = True


@described
class NAdam(ByOp):
    """mu = beta1 * (1 - 0.96 ** (t * momentum_decay) / 2);  product = product * mu;
    w = w - learning_rate * ((1 - mu) / (1 - product) * dw + next mu / (1 - product * next mu) *
    moment1) / (sqrt(moment2 / (1 - beta2 ** t)) + epsilon).

    Adam that looks ahead (Dozat, 2016). `decoupled` decays as AdamW does. As torch.optim.NAdam.

    >>> NAdam().learning_rate
    0.002
    """

    learning_rate: NonNegativeFloat | Schedule = 2e-3
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.0
    decoupled: bool = False
    momentum_decay: NonNegativeFloat = 4e-3
    maximize: bool = False

    op: ClassVar[Op] = ops.nadam_update

    def remember(self, like: Tensor) -> State:
        product = ones((), device=like.device, scalar_type=like.scalar_type)
        return {"moment1": like_zeros(like), "moment2": like_zeros(like), "product": product}


@described
class RAdam(ByOp):
    """known = limit - 2 * t * beta2 ** t / (1 - beta2 ** t);
    w = w - learning_rate * moment1 / (1 - beta1 ** t), and where known > 5 times the rectified
    sqrt(1 - beta2 ** t) / (sqrt(moment2) + epsilon).

    Adam without a need for warm-up (Liu and others, 2020). As torch.optim.RAdam.

    >>> RAdam().beta2
    0.999
    """

    learning_rate: NonNegativeFloat | Schedule = 1e-3
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.0
    decoupled: bool = False
    maximize: bool = False

    op: ClassVar[Op] = ops.radam_update


@described
class Adamax(ByOp):
    """largest = max(beta2 * largest, |dw| + epsilon);
    w = w - learning_rate / (1 - beta1 ** t) * moment1 / largest.

    Kingma and Ba, 2015. As torch.optim.Adamax.

    >>> Adamax().learning_rate
    0.002
    """

    learning_rate: NonNegativeFloat | Schedule = 2e-3
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.0
    maximize: bool = False

    op: ClassVar[Op] = ops.adamax_update
