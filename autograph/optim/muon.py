"""Muon: momentum made orthogonal, matrix by matrix."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from .. import ops
from ..settings import described
from ..tensor import Parameter, Tensor
from .optimizer import Optimizer, State
from .schedule import Schedule
from .sgd import Fraction, like_zeros


@described
class Muon(Optimizer):
    """velocity = momentum * velocity + (1 - momentum) * dw;
    w = w * (1 - learning_rate * weight_decay) - learning_rate * sqrt(max(1, outputs / inputs)) *
    orthogonal(velocity), after `iterations` of Newton and Schulz's.

    Jordan and others, 2024. As torch.optim.Muon, which rounds the iteration to bf16. Parameters
    that are no matrix, biases and scales, move as AdamW would by `vector_share` of the rate.

    >>> Muon().momentum
    0.95
    """

    learning_rate: NonNegativeFloat | Schedule = 1e-3
    momentum: Fraction = 0.95
    nesterov: bool = True
    iterations: PositiveInt = 5
    epsilon: PositiveFloat = 1e-7
    weight_decay: NonNegativeFloat = 0.1
    vector_share: PositiveFloat = 1.0
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    maximize: bool = False

    def remember(self, like: Tensor) -> State:
        names = ("velocity",) if like.ndim > 1 else ("moment1", "moment2")
        return {name: like_zeros(like) for name in names}

    def move(self, w: Parameter, dw: Tensor, rate: Tensor, state: State) -> None:
        shared = {"weight_decay": self.weight_decay, "maximize": self.maximize}
        if w.ndim > 1:
            ops.muon_update(
                w,
                dw,
                state["step"],
                rate,
                state["velocity"],
                state.get("master"),
                momentum=self.momentum,
                nesterov=self.nesterov,
                iterations=self.iterations,
                epsilon=self.epsilon,
                **shared,
            )
        else:
            ops.adam_update(
                w,
                dw,
                state["step"],
                rate * self.vector_share,
                state["moment1"],
                state["moment2"],
                None,
                state.get("master"),
                beta1=self.beta1,
                beta2=self.beta2,
                epsilon=1e-8,
                decoupled=True,
                **shared,
            )
