"""NAdam, RAdam and Adamax: Adam with another first step, or another measure."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat

from .. import ops
from ..settings import described
from ..tensor import Parameter, Tensor, ones
from .adam import Fraction
from .groups import GroupSettings
from .optimizer import Optimizer, State
from .schedule import Schedule
from .sgd import like_zeros


@described
class NAdam(Optimizer):
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
    clip_norm: PositiveFloat | None = None
    clip_value: PositiveFloat | None = None
    groups: GroupSettings = Field(default_factory=dict)

    def remember(self, like: Tensor) -> State:
        product = ones((), device=like.device, scalar_type=like.scalar_type)
        return {"moment1": like_zeros(like), "moment2": like_zeros(like), "product": product}

    def move(self, w: Parameter, dw: Tensor, rate: Tensor, state: State) -> None:
        ops.nadam_update(
            w,
            dw,
            state["step"],
            rate,
            state["moment1"],
            state["moment2"],
            state["product"],
            state.get("master"),
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            decoupled=self.decoupled,
            momentum_decay=self.momentum_decay,
            maximize=self.maximize,
        )


@described
class RAdam(Optimizer):
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
    clip_norm: PositiveFloat | None = None
    clip_value: PositiveFloat | None = None
    groups: GroupSettings = Field(default_factory=dict)

    def remember(self, like: Tensor) -> State:
        return {name: like_zeros(like) for name in ("moment1", "moment2")}

    def move(self, w: Parameter, dw: Tensor, rate: Tensor, state: State) -> None:
        ops.radam_update(
            w,
            dw,
            state["step"],
            rate,
            state["moment1"],
            state["moment2"],
            state.get("master"),
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            decoupled=self.decoupled,
            maximize=self.maximize,
        )


@described
class Adamax(Optimizer):
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
    clip_norm: PositiveFloat | None = None
    clip_value: PositiveFloat | None = None
    groups: GroupSettings = Field(default_factory=dict)

    def remember(self, like: Tensor) -> State:
        return {name: like_zeros(like) for name in ("moment1", "largest")}

    def move(self, w: Parameter, dw: Tensor, rate: Tensor, state: State) -> None:
        ops.adamax_update(
            w,
            dw,
            state["step"],
            rate,
            state["moment1"],
            state["largest"],
            state.get("master"),
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            maximize=self.maximize,
        )
