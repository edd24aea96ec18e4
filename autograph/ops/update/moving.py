"""What updates share: how they are declared, begun and ended.

`w` is the parameter, `dw` its gradient; `step` counts the steps of this parameter before this
one; `rate` is the learning rate in f64; then what is remembered, in f32 for bf16 and f16, and
`master`, the f32 copy where `w` is one of these. All are arrays and changed in place.
"""

from __future__ import annotations

import numpy as np

from ...op import Op
from ...scalar_type import F64, I64


def update_op(name, remembered):
    """An op that moves w and what is remembered in place."""
    written = f"w step {remembered} master".replace("?", "")
    inputs = f"w dw step rate {remembered} master?"
    return Op(name, inputs, writes=written, outputs="", promotes="")


def ready(w, dw, master, weight_decay=0.0, maximize=False):
    """(where to compute, the gradient there), L2 decay included."""
    target = w if master is None else master
    dw = dw.astype(target.dtype, copy=False)
    if maximize:
        dw = -dw
    if weight_decay:
        dw = dw + weight_decay * target
    return target, dw


def follow(average, value, beta):
    """average = beta * average + (1 - beta) * value."""
    average += (value - average) * (1 - beta)


def finish(w, master, step):
    """Round the master, and count the step."""
    if master is not None:
        w[...] = master.astype(w.dtype)
    step += 1


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
