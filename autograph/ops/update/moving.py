"""What updates share: how they are declared, begun and ended.

`w` is the parameter, `dw` its gradient; `step` counts the steps of this parameter before this
one; `rate` is the learning rate in f64; then what is remembered, in f32 for bf16 and f16, and
`master`, the f32 copy where `w` is one of these. All are arrays and changed in place.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...backends import CUPY, NUMPY
from ...op import Op
from ...scalar_type import F32, F64, I64
from ..declare import taking


def moving(
    remembered: str, samples: Callable[..., Any], check: Callable[..., None] | None = None
) -> Callable[[Callable[..., Any]], Op]:
    """Make the op of a function (w, dw, step, rate, what is remembered, settings), by its name.

    The op has a `master` and the setting `maximize` beside: the function moves the master where
    there is one, and dw is as it should follow it.
    """

    def declare(function: Callable[..., Any]) -> Op:
        names = f"w dw step rate {remembered} master?"
        written = f"w step {remembered} master".replace("?", "")
        op = Op(function.__name__, names, writes=written, outputs="", promotes="")

        @taking(function, maximize=False)
        def outline(w, *rest, **settings):
            if check is not None:
                check(w)
            return ()

        def arrays(w, dw, step, rate, *rest, maximize, **settings):
            *state, master = rest
            master = wide(w, master)
            target, dw = ready(w, dw, master, maximize=maximize)
            function(target, dw, step, rate, *state, **settings)
            finish(w, master, step)

        op.outlined_by(outline)
        op.kernel(NUMPY, CUPY, halves=True)(arrays)
        op.sampled_by(samples)
        return op

    return declare


def wide(w, master):
    """What moves in the place of w: its master or, where 16 bits have none, a copy for one step."""
    return w.astype(F32.dtype) if master is None and w.dtype.itemsize == 2 else master


def ready(w, dw, master, weight_decay=0.0, maximize=False):
    """(where to compute, the gradient there), L2 decay included."""
    target = w if master is None else master
    dw = dw.astype(target.dtype, copy=False)
    if maximize:
        dw = -dw
    return target, decayed(target, dw, weight_decay)


def finish(w, master, step):
    """Round the master, and count the step."""
    if master is not None:
        w[...] = master.astype(w.dtype)
    step += 1


# -- what several do ---------------------------------------------------------------------


def decayed(w, dw, weight_decay):
    """dw with L2 decay."""
    return dw + weight_decay * w if weight_decay else dw


def shrink(w, rate, weight_decay):
    """w = w * (1 - rate * weight_decay): decay beside the gradient."""
    if weight_decay:
        w *= (1 - rate * weight_decay).astype(w.dtype)


def follow(average, value, beta):
    """average = beta * average + (1 - beta) * value."""
    average += (value - average) * (1 - beta)


def follow_square(average, value, beta):
    """average = beta * average + (1 - beta) * value²."""
    average *= beta
    average += (1 - beta) * value * value


def update_samples(*shapes, settings=({},), of=(3, 4)):
    """Samples of an update: what is remembered is positive, of these shapes (None: of w's)."""

    def samples(rng):
        for count, chosen in enumerate(settings):
            remembered = [
                None if each == "absent" else rng.uniform(0.5, 1.0, of if each is None else each)
                for each in shapes
            ]
            counters = np.asarray(7 * count, I64.dtype), np.asarray(0.1, F64.dtype)
            w, dw = rng.normal(size=(2, *of))
            yield (w, dw, *counters, *remembered, None), chosen

    return samples
