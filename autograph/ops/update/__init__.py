"""How optimizers move a parameter: one op a step and parameter, everything in place.

`w` is the parameter; `master` its f32 copy where `w` is bf16 or f16 (computed there, rounded
once); `step` counts the steps of this parameter; `rate` is the learning rate in f64. Numbers
that change from step to step are arrays, so that a captured step can be replayed.
"""

import numpy as np

from ...backends import CUDA, CUPY, NATIVE, NUMPY
from ...op import Op
from ...scalar_type import F32
from .moving import update_samples

sgd_update = Op(
    "sgd_update",
    "w dw step rate velocity? master?",
    writes="w step velocity master",
    outputs="",
    promotes="",
)
adam_update = Op(
    "adam_update",
    "w dw step rate moment1 moment2 largest? master?",
    writes="w step moment1 moment2 largest master",
    outputs="",
    promotes="",
)
tick = Op("tick", "rate count table", writes="rate count", outputs="", promotes="")

for _op in (sgd_update, adam_update, tick):
    for _backend in (NUMPY, CUPY):
        _op.kernels_from(_backend, ".numpy_kernels")
    _op.kernels_from(NATIVE, ".native_kernels")
    _op.kernels_from(CUDA, ".cuda_kernels")


@sgd_update.outlined_by
def sgd_update_outline(
    *given,
    momentum=0.0,
    dampening=0.0,
    nesterov=False,
    weight_decay=0.0,
    maximize=False,
):
    return ()


@adam_update.outlined_by
def adam_update_outline(
    *given,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    weight_decay=0.0,
    decoupled=False,
    maximize=False,
):
    return ()


@tick.outlined_by
def tick_outline(rate, count, table):
    """rate = table[count], its last entry from then on; count = count + 1."""
    return ()


@sgd_update.sampled_by
def sgd_update_samples(rng):
    yield from update_samples("absent")(rng)
    by = (
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
    )
    yield from update_samples(None, settings=by)(rng)
    for (w, dw, step, rate, *state, _), settings in update_samples("absent")(rng):
        half = F32.dtype.type
        yield (w.astype(half), dw.astype(half), step, rate, *state, w.astype(half)), settings


@adam_update.sampled_by
def adam_update_samples(rng):
    yield from update_samples(None, None, "absent")(rng)
    way = {"weight_decay": 0.1, "decoupled": True, "maximize": True}
    yield from update_samples(None, None, None, settings=(way,))(rng)


@tick.sampled_by
def tick_samples(rng):
    yield (np.zeros(()), np.array(2), np.linspace(1.0, 0.0, 5)), {}
    yield (np.zeros(()), np.array(7), np.linspace(1.0, 0.0, 5)), {}
