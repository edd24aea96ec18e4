"""RMSprop, Adagrad and Adadelta: steps over the root of squared gradients."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat

from .. import ops
from ..settings import described
from ..tensor import Parameter, Tensor
from .adam import Fraction
from .groups import GroupSettings
from .optimizer import Optimizer, State
from .schedule import Schedule
from .sgd import like_zeros


@described
class RMSprop(Optimizer):
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
    clip_norm: PositiveFloat | None = None
    clip_value: PositiveFloat | None = None
    groups: GroupSettings = Field(default_factory=dict)

    def remember(self, like: Tensor) -> State:
        names = ["squares"]
        names += ["mean"] if self.centered else []
        names += ["velocity"] if self.momentum else []
        return {name: like_zeros(like) for name in names}

    def move(self, w: Parameter, dw: Tensor, rate: Tensor, state: State) -> None:
        ops.rmsprop_update(
            w,
            dw,
            state["step"],
            rate,
            state["squares"],
            state.get("mean"),
            state.get("velocity"),
            state.get("master"),
            alpha=self.alpha,
            epsilon=self.epsilon,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            maximize=self.maximize,
        )


@described
class Adagrad(Optimizer):
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
    clip_norm: PositiveFloat | None = None
    clip_value: PositiveFloat | None = None
    groups: GroupSettings = Field(default_factory=dict)

    def remember(self, like: Tensor) -> State:
        return {"squares": like_zeros(like) + self.initial}

    def move(self, w: Parameter, dw: Tensor, rate: Tensor, state: State) -> None:
        ops.adagrad_update(
            w,
            dw,
            state["step"],
            rate,
            state["squares"],
            state.get("master"),
            epsilon=self.epsilon,
            rate_decay=self.rate_decay,
            weight_decay=self.weight_decay,
            maximize=self.maximize,
        )


@described
class Adadelta(Optimizer):
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
    clip_norm: PositiveFloat | None = None
    clip_value: PositiveFloat | None = None
    groups: GroupSettings = Field(default_factory=dict)

    def remember(self, like: Tensor) -> State:
        return {name: like_zeros(like) for name in ("squares", "moves")}

    def move(self, w: Parameter, dw: Tensor, rate: Tensor, state: State) -> None:
        ops.adadelta_update(
            w,
            dw,
            state["step"],
            rate,
            state["squares"],
            state["moves"],
            state.get("master"),
            rho=self.rho,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            maximize=self.maximize,
        )
