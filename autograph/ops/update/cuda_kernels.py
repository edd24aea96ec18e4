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


@sgd_update.kernel(CUDA, when=_takes, made=True)
def sgd_update_cuda(inputs, outputs, *, momentum, dampening, nesterov, weight_decay, maximize):
    flags = {
        "has_momentum": inputs[4] is not None, "nesterov": nesterov,
        "has_decay": weight_decay != 0, "maximizes": maximize,
    }  # fmt: skip
    numbers = float(momentum), float(dampening), float(weight_decay)
    return _made("sgd_update", inputs, flags, numbers)


@adam_update.kernel(CUDA, when=_takes, made=True)
def adam_update_cuda(
    inputs, outputs, *, beta1, beta2, epsilon, weight_decay, decoupled, maximize
):
    flags = {
        "has_decay": weight_decay != 0, "decoupled": decoupled,
        "has_largest": inputs[6] is not None, "maximizes": maximize,
    }  # fmt: skip
    numbers = float(beta1), float(beta2), float(epsilon), float(weight_decay)
    return _made("adam_update", inputs, flags, numbers)


def _made(name, inputs, flags, numbers):
    """The launch for w, dw, step, rate, what is remembered, and master."""
    w, dw, _, _, *_, master = inputs
    state = (w if master is None else master).scalar_type.accumulator.dtype
    size, pack = w.size, 16 // state.itemsize
    constants = {
        "Scalar": c_type(w.scalar_type.dtype), "Gradient": c_type(dw.scalar_type.dtype),
        "State": c_type(state), "has_master": master is not None, **flags,
    }  # fmt: skip
    kernels = [
        (Kernel(_SOURCE, name, constants | {"pack": each}), (divide_up(size, 256 * each),))
        for each in (1, pack if size % pack == 0 else 1)
    ]
    count = np.int64(size)

    def run(w, dw, step, rate, *state):
        aligned = not (w.data.ptr | dw.data.ptr) % 16
        given = [w, dw, step, rate]
        for each in state:
            if each is None:
                given.append(NULL)
            else:
                aligned = aligned and not each.data.ptr % 16
                given.append(each)
        kernel, blocks = kernels[aligned]
        kernel(blocks, *given, *numbers, words().finished, count)

    return run


@tick.kernel(CUDA)
def tick_cuda(rate, count, table):
    _tick()(1, rate, count, table, np.int64(table.size))


@cache
def _tick():
    return Kernel(_SOURCE, "tick", {}, threads=1)
