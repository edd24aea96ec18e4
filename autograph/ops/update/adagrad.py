"""Steps over the root of all squared gradients so far, or of a window of them: Adagrad (Duchi,
Hazan and Singer, 2011) and Adadelta (Zeiler, 2012)."""

from __future__ import annotations

from ...backends import CUPY, NUMPY, namespace
from .moving import finish, ready, update_op, update_samples

adagrad_update = update_op("adagrad_update", "squares")
adadelta_update = update_op("adadelta_update", "squares moves")


@adagrad_update.outlined_by
def adagrad_update_outline(*given, epsilon=1e-10, rate_decay=0.0, weight_decay=0.0, maximize=False):
    return ()


@adagrad_update.kernel(NUMPY, CUPY, halves=True)
def adagrad_update_arrays(
    w, dw, step, rate, squares, master, *, epsilon, rate_decay, weight_decay, maximize
):
    """squares = squares + dw²;
    w -= rate / (1 + step * rate_decay) * dw / (sqrt(squares) + epsilon)."""
    target, dw = ready(w, dw, master, weight_decay, maximize)
    squares += dw * dw
    length = (rate / (1 + step * rate_decay)).astype(target.dtype)
    target -= length * dw / (namespace(w).sqrt(squares) + epsilon)
    finish(w, master, step)


adagrad_update.sampled_by(
    update_samples(None, settings=({}, {"rate_decay": 0.1, "weight_decay": 0.1}))
)


@adadelta_update.outlined_by
def adadelta_update_outline(*given, rho=0.9, epsilon=1e-6, weight_decay=0.0, maximize=False):
    return ()


@adadelta_update.kernel(NUMPY, CUPY, halves=True)
def adadelta_update_arrays(
    w, dw, step, rate, squares, moves, master, *, rho, epsilon, weight_decay, maximize
):
    """squares = rho * squares + (1 - rho) * dw²;  move = dw * sqrt((moves + epsilon) /
    (squares + epsilon));  moves = rho * moves + (1 - rho) * move²;  w -= rate * move."""
    xp = namespace(w)
    target, dw = ready(w, dw, master, weight_decay, maximize)
    squares *= rho
    squares += (1 - rho) * dw * dw
    move = xp.sqrt(moves + epsilon) / xp.sqrt(squares + epsilon) * dw
    moves *= rho
    moves += (1 - rho) * move * move
    target -= rate.astype(target.dtype) * move
    finish(w, master, step)


adadelta_update.sampled_by(update_samples(None, None, settings=({}, {"weight_decay": 0.1})))
