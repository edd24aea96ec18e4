"""Optimizer steps in place on a CUDA device, over one parameter or an arena of them.

`master` is the parameter in the type of the state, where w is a rounded copy of it, or None.
Learning rate and step count are 0-d device arrays: they change in captured steps.
"""

from functools import cache
from pathlib import Path

import numpy as np

from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, divide_up

_SOURCE = Path(__file__).with_name("update.cu")


def sgd_update_cuda(
    w, master, dw, velocity, learning_rate, *, momentum=0.0, nesterov=False, dampening=0.0,
    weight_decay=0.0,
):  # fmt: skip
    """velocity is None where momentum is 0."""
    state = state_type(w, master, velocity)
    kernel, blocks, size = _update(
        "sgd_update", w.size, w.dtype, dw.dtype, state, learning_rate.dtype, None,
        master is not None, _aligned(w, master, dw, velocity),
        (("has_momentum", velocity is not None), ("nesterov", nesterov),
         ("has_decay", weight_decay != 0)),
    )  # fmt: skip
    kernel(
        blocks, w, _or_null(master), dw, _or_null(velocity), learning_rate, float(momentum),
        float(dampening), float(weight_decay), size,
    )  # fmt: skip


def adam_update_cuda(
    w, master, dw, mean, square, learning_rate, count, *, beta1=0.9, beta2=0.999, eps=1e-8,
    weight_decay=0.0, decoupled=False,
):  # fmt: skip
    """count holds the number of this step, the first being 1."""
    kernel, blocks, size = _update(
        "adam_update", w.size, w.dtype, dw.dtype, mean.dtype, learning_rate.dtype, count.dtype,
        master is not None, _aligned(w, master, dw, mean, square),
        (("has_decay", weight_decay != 0), ("decoupled", decoupled)),
    )  # fmt: skip
    kernel(
        blocks, w, _or_null(master), dw, mean, square, learning_rate, count, float(beta1),
        float(beta2), float(eps), float(weight_decay), size,
    )  # fmt: skip


def state_type(w, master, velocity):
    """The type that an update computes in."""
    if master is not None:
        return master.dtype
    if velocity is not None:
        return velocity.dtype
    return np.dtype("f8" if w.dtype.itemsize == 8 else "f4")


def _or_null(array):
    return NULL if array is None else array


def _aligned(*arrays):
    """Whether all can be read sixteen bytes at a time."""
    return not any(array is not None and array.data.ptr % 16 for array in arrays)


@cache
def _update(name, size, w, dw, state, rate, count, has_master, aligned, settings):
    pack = 16 // state.itemsize
    pack = pack if aligned and size % pack == 0 else 1
    constants = {
        "Scalar": c_type(w), "Gradient": c_type(dw), "State": c_type(state), "Rate": c_type(rate),
        "pack": pack, "has_master": has_master,
    } | dict(settings)  # fmt: skip
    if count is not None:
        constants["Count"] = c_type(count)
    return Kernel(_SOURCE, name, constants), divide_up(size, 256 * pack), np.int64(size)
