"""Lion, LAMB, Adafactor and Muon: for large models and batches."""

from __future__ import annotations

from typing import ClassVar

from pydantic import NonNegativeFloat, NonPositiveFloat, PositiveFloat, PositiveInt

from .. import ops
from ..op import Op
from ..settings import described
from ..tensor import Parameter, Tensor
from .by_op import ByOp, like_zeros
from .optimizer import Optimizer, State
from .schedule import Schedule
from .sgd import Fraction


@described
class Lion(ByOp):
    """w = w - learning_rate * (sign(beta1 * moment + (1 - beta1) * dw) + weight_decay * w);
    moment = beta2 * moment + (1 - beta2) * dw.

    Chen and others, 2023: every number moves by the learning rate, which is therefore three to
    ten times smaller than Adam's, and the decay as much larger.

    >>> Lion().beta2
    0.99
    """

    learning_rate: NonNegativeFloat | Schedule = 1e-4
    beta1: Fraction = 0.9
    beta2: Fraction = 0.99
    weight_decay: NonNegativeFloat = 0.0
    maximize: bool = False

    op: ClassVar[Op] = ops.lion_update


@described
class LAMB(ByOp):
    """way = unbiased moment1 / (sqrt(unbiased moment2) + epsilon) + weight_decay * w;
    w = w - learning_rate * |w| / |way| * way.

    Adam for large batches: a step is as long for each parameter as the parameter is (You and
    others, 2020).

    >>> LAMB().weight_decay
    0.01
    """

    learning_rate: NonNegativeFloat | Schedule = 1e-3
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-6
    weight_decay: NonNegativeFloat = 0.01
    maximize: bool = False

    op: ClassVar[Op] = ops.lamb_update


@described
class Adafactor(ByOp):
    """share = t ** decay;  rows, columns follow the means of dw² by share;
    way = dw / sqrt(rows @ columns / mean(rows)), at most clip long by its root mean square;
    w = w - max(epsilon2, root mean square of w) * min(learning_rate, 1 / sqrt(t)) * way.

    Shazeer and Stern, 2018: of a matrix it remembers a row and a column. `epsilon1` is the
    machine's unless said; a vector's squares are kept whole. As torch.optim.Adafactor.

    >>> Adafactor().decay
    -0.8
    """

    learning_rate: NonNegativeFloat | Schedule = 1e-2
    decay: NonPositiveFloat = -0.8
    epsilon1: PositiveFloat | None = None
    epsilon2: PositiveFloat = 1e-3
    clip: PositiveFloat = 1.0
    weight_decay: NonNegativeFloat = 0.0
    maximize: bool = False

    op: ClassVar[Op] = ops.adafactor_update

    def remember(self, like: Tensor) -> State:
        if like.ndim < 2:
            return {"squares": like_zeros(like)}
        return {"rows": like_zeros(like[..., :1]), "columns": like_zeros(like[..., :1, :])}


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
