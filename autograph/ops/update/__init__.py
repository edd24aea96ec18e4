"""How optimizers move a parameter: one op a step and parameter, everything in place.

`w` is the parameter; `master` its f32 copy where `w` is bf16 or f16 (computed there, rounded
once); `step` counts the steps of this parameter; `rate` is the learning rate in f64. Numbers
that change from step to step are arrays, so that a captured step can be replayed.
"""

from __future__ import annotations

import numpy as np

from ...backends import CUDA, CUPY, NATIVE, NUMPY
from ...op import Op
from ...scalar_type import F32, F64, I64

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


def _counters(step, rate):
    return np.asarray(step, I64.dtype), np.asarray(rate, F64.dtype)


@sgd_update.sampled_by
def sgd_update_samples(rng):
    def normal():
        return rng.normal(size=(3, 4))

    yield (normal(), normal(), *_counters(0, 0.1), None, None), {}
    yield (
        (normal(), normal(), *_counters(3, 0.1), normal(), None),
        {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
    )
    first = (normal(), normal(), *_counters(0, 0.1), normal(), None)
    yield first, {"momentum": 0.9, "nesterov": True}
    half, master = F32.dtype.type, normal().astype(F32.dtype)
    yield (normal().astype(half), normal().astype(half), *_counters(1, 0.1), None, master), {}


@adam_update.sampled_by
def adam_update_samples(rng):
    def normal():
        return rng.normal(size=(3, 4))

    yield (normal(), normal(), *_counters(0, 0.1), normal(), normal() ** 2, None, None), {}
    yield (
        (normal(), normal(), *_counters(4, 0.1), normal(), normal() ** 2, normal() ** 2, None),
        {"weight_decay": 0.1, "decoupled": True, "maximize": True},
    )


@tick.sampled_by
def tick_samples(rng):
    yield (np.zeros(()), np.array(2), np.linspace(1.0, 0.0, 5)), {}
    yield (np.zeros(()), np.array(7), np.linspace(1.0, 0.0, 5)), {}
