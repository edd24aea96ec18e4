"""Optimizer steps in place on a CUDA device: one launch moves a parameter and counts its step."""

from functools import cache
from pathlib import Path

import numpy as np

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, divide_up
from ...backends.cuda.words import words
from ...scalar_type import F64, I64
from . import adam_update, sgd_update, tick

_SOURCE = Path(__file__).with_name("update.cu")


def _takes(w, dw, step, rate, *rest, **settings):
    return w.scalar_type.is_float and step.scalar_type is I64 and rate.scalar_type is F64


@sgd_update.kernel(CUDA, when=_takes)
def sgd_update_cuda(
    w, dw, step, rate, velocity, master, *, momentum, dampening, nesterov, weight_decay, maximize
):
    state = w.dtype if master is None else master.dtype
    kernel, blocks, size = _update(
        "sgd_update", w.size, w.dtype, dw.dtype, state, _aligned(w, dw, velocity, master),
        master is not None,
        (("has_momentum", velocity is not None), ("nesterov", nesterov),
         ("has_decay", weight_decay != 0), ("maximizes", maximize)),
    )  # fmt: skip
    kernel(
        blocks, w, dw, step, rate, _or_null(velocity), _or_null(master), float(momentum),
        float(dampening), float(weight_decay), words().finished, size,
    )  # fmt: skip


@adam_update.kernel(CUDA, when=_takes)
def adam_update_cuda(
    w, dw, step, rate, moment1, moment2, largest, master, *, beta1, beta2, epsilon, weight_decay,
    decoupled, maximize,
):  # fmt: skip
    state = w.dtype if master is None else master.dtype
    kernel, blocks, size = _update(
        "adam_update", w.size, w.dtype, dw.dtype, state,
        _aligned(w, dw, moment1, moment2, largest, master), master is not None,
        (("has_decay", weight_decay != 0), ("decoupled", decoupled),
         ("has_largest", largest is not None), ("maximizes", maximize)),
    )  # fmt: skip
    kernel(
        blocks, w, dw, step, rate, moment1, moment2, _or_null(largest), _or_null(master),
        float(beta1), float(beta2), float(epsilon), float(weight_decay), words().finished, size,
    )  # fmt: skip


@tick.kernel(CUDA)
def tick_cuda(rate, count, table):
    _tick()(1, rate, count, table, np.int64(table.size))


def _or_null(array):
    return NULL if array is None else array


def _aligned(*arrays):
    """Whether all can be read sixteen bytes at a time."""
    return not any(array is not None and array.data.ptr % 16 for array in arrays)


@cache
def _update(name, size, w, dw, state, aligned, has_master, settings):
    number = np.dtype("f4") if state.itemsize == 2 else state  # a half without a master
    pack = 16 // number.itemsize
    pack = pack if aligned and size % pack == 0 else 1
    kernel = Kernel(_SOURCE, name, {
        "Scalar": c_type(w), "Gradient": c_type(dw), "State": c_type(number), "pack": pack,
        "has_master": has_master,
    } | dict(settings))  # fmt: skip
    return kernel, divide_up(size, 256 * pack), np.int64(size)


@cache
def _tick():
    return Kernel(_SOURCE, "tick", {}, threads=1)
