"""Steps over the root of squared gradients: of all so far in Adagrad (Duchi, Hazan and Singer,
2011), of an average of them in Adadelta (Zeiler, 2012) and RMSprop (Hinton, 2012)."""

from ...backends import namespace
from .moving import decayed, follow, follow_square, moving, update_samples


@moving("squares", update_samples(None, settings=({}, {"rate_decay": 0.1, "weight_decay": 0.1})))
def adagrad_update(w, dw, step, rate, squares, *, epsilon=1e-10, rate_decay=0.0, weight_decay=0.0):
    """squares = squares + dw²;
    w -= rate / (1 + step * rate_decay) * dw / (sqrt(squares) + epsilon)."""
    dw = decayed(w, dw, weight_decay)
    squares += dw * dw
    length = (rate / (1 + step * rate_decay)).astype(w.dtype)
    w -= length * dw / (namespace(w).sqrt(squares) + epsilon)


@moving("squares moves", update_samples(None, None, settings=({}, {"weight_decay": 0.1})))
def adadelta_update(w, dw, step, rate, squares, moves, *, rho=0.9, epsilon=1e-6, weight_decay=0.0):
    """squares = rho * squares + (1 - rho) * dw²;  move = dw * sqrt((moves + epsilon) /
    (squares + epsilon));  moves = rho * moves + (1 - rho) * move²;  w -= rate * move."""
    xp, dw = namespace(w), decayed(w, dw, weight_decay)
    follow_square(squares, dw, rho)
    move = xp.sqrt(moves + epsilon) / xp.sqrt(squares + epsilon) * dw
    follow_square(moves, move, rho)
    w -= rate.astype(w.dtype) * move


def rmsprop_samples(rng):
    yield from update_samples(None, "absent", "absent")(rng)
    yield from update_samples(None, "absent", None, settings=({"momentum": 0.9},))(rng)
    for arrays, settings in update_samples(None, None, None, settings=({"momentum": 0.9},))(rng):
        arrays[4][...] += 2.0  # the mean's square is less than the mean of squares
        yield arrays, settings


@moving("squares mean? velocity?", rmsprop_samples)
def rmsprop_update(
    w, dw, step, rate, squares, mean, velocity, *, alpha=0.99, epsilon=1e-8, momentum=0.0,
    weight_decay=0.0,
):  # fmt: skip
    """squares = alpha * squares + (1 - alpha) * dw², mean likewise of dw;
    velocity = momentum * velocity + dw / (sqrt(squares - mean²) + epsilon);
    w -= rate * velocity."""
    xp, dw = namespace(w), decayed(w, dw, weight_decay)
    follow_square(squares, dw, alpha)
    variance = squares
    if mean is not None:
        follow(mean, dw, alpha)
        variance = squares - mean * mean
    way = dw / (xp.sqrt(variance) + epsilon)
    if velocity is not None:
        velocity *= momentum
        velocity += way
        way = velocity
    w -= rate.astype(w.dtype) * way
