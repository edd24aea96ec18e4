"""RMSprop's step: the gradient over its root mean square (Hinton, 2012)."""

from __future__ import annotations

from ...backends import CUPY, NUMPY, namespace
from .moving import finish, follow, ready, update_op, update_samples

rmsprop_update = update_op("rmsprop_update", "squares mean? velocity?")


@rmsprop_update.outlined_by
def rmsprop_update_outline(
    *given, alpha=0.99, epsilon=1e-8, momentum=0.0, weight_decay=0.0, maximize=False
):
    return ()


@rmsprop_update.kernel(NUMPY, CUPY, halves=True)
def rmsprop_update_arrays(
    w, dw, step, rate, squares, mean, velocity, master, *, alpha, epsilon, momentum, weight_decay,
    maximize,
):  # fmt: skip
    """squares = alpha * squares + (1 - alpha) * dw², mean likewise of dw;
    velocity = momentum * velocity + dw / (sqrt(squares - mean²) + epsilon);
    w -= rate * velocity."""
    xp = namespace(w)
    target, dw = ready(w, dw, master, weight_decay, maximize)
    squares *= alpha
    squares += (1 - alpha) * dw * dw
    variance = squares
    if mean is not None:
        follow(mean, dw, alpha)
        variance = squares - mean * mean
    way = dw / (xp.sqrt(variance) + epsilon)
    if velocity is not None:
        velocity *= momentum
        velocity += way
        way = velocity
    target -= rate.astype(target.dtype) * way
    finish(w, master, step)


@rmsprop_update.sampled_by
def rmsprop_update_samples(rng):
    yield from update_samples(None, "absent", "absent")(rng)
    yield from update_samples(None, "absent", None, settings=({"momentum": 0.9},))(rng)
    for arrays, settings in update_samples(None, None, None, settings=({"momentum": 0.9},))(rng):
        arrays[4][...] += 2.0  # the mean's square is less than the mean of squares
        yield arrays, settings
