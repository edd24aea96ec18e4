"""Optimizer steps in place on a CUDA device: one launch moves parameters and counts their steps;
of Adam, a small one before it does that."""

from ctypes import c_uint64
from functools import cache, reduce
from itertools import accumulate
from operator import or_
from pathlib import Path

import numpy as np
from cupy import empty

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import Kernel, divide_up
from ...backends.cuda.words import words
from ...scalar_type import F64, I64
from . import adam_update, sgd_update, tick
from .together import adam_updates, parts_of, sgd_updates

_SOURCE = Path(__file__).with_name("update.cu")


def _takes(w, dw, step, rate, *state, **settings):
    return w.scalar_type.is_float and step.scalar_type is I64 and rate.scalar_type is F64


def _takes_all(op):
    def takes(rate, *moving, **settings):
        """Whether the parameters are alike but for their shapes."""
        parts = parts_of(op, moving)
        kinds = {tuple(each and each.scalar_type for each in part) for part in parts}
        return len(kinds) == 1 and _takes(*parts[0][:3], rate)

    return takes


@sgd_update.kernel(CUDA, when=_takes, made=True)
def sgd_update_cuda(inputs, outputs, **settings):
    return _alone(_sgd([[*inputs[:3], *inputs[4:]]], **settings))


@adam_update.kernel(CUDA, when=_takes, made=True)
def adam_update_cuda(inputs, outputs, **settings):
    return _alone(_adam([[*inputs[:3], *inputs[4:]]], **settings))


@sgd_updates.kernel(CUDA, when=_takes_all(sgd_update), made=True)
def sgd_updates_cuda(inputs, outputs, **settings):
    return _sgd(parts_of(sgd_update, inputs[1:]), **settings)


@adam_updates.kernel(CUDA, when=_takes_all(adam_update), made=True)
def adam_updates_cuda(inputs, outputs, **settings):
    return _adam(parts_of(adam_update, inputs[1:]), **settings)


def _alone(run):
    return lambda w, dw, step, rate, *state: run(rate, w, dw, step, *state)


def _sgd(parts, *, momentum, dampening, nesterov, weight_decay, maximize):
    flags = {
        "has_momentum": parts[0][3] is not None, "nesterov": nesterov,
        "has_decay": weight_decay != 0, "maximizes": maximize,
    }  # fmt: skip
    return _made("sgd_update", parts, flags, (momentum, dampening, weight_decay, 0))


def _adam(parts, *, beta1, beta2, epsilon, weight_decay, decoupled, maximize):
    flags = {
        "has_decay": weight_decay != 0, "decoupled": decoupled,
        "has_largest": parts[0][5] is not None, "maximizes": maximize,
    }  # fmt: skip
    return _made("adam_update", parts, flags, (beta1, beta2, epsilon, weight_decay))


def _made(name, parts, flags, numbers):
    """The launch for the rate, then w, dw, step, what is remembered, and master of each."""
    w, dw, _, *remembered, master = parts[0]
    state = (w if master is None else master).scalar_type.accumulator.dtype
    constants = {
        "Scalar": c_type(w.scalar_type.dtype), "Gradient": c_type(dw.scalar_type.dtype),
        "State": c_type(state), "has_master": master is not None, "count": len(parts),
        "states": len(remembered), **flags,
    }  # fmt: skip
    sizes = [part[0].size for part in parts]
    kernels = []
    for pack in (1, 16 // state.itemsize):
        blocks = [divide_up(size, 256 * pack) for size in sizes]
        *first, total = accumulate(blocks, initial=0)
        head = np.array(numbers, np.float64).view(np.uint64).tolist() + sizes + first
        kernel = Kernel(_SOURCE, name, constants | {"pack": pack}, struct=True)
        kernels.append((kernel, (max(1, total),), head))
    given = len(parts) * len(parts[0])
    table = c_uint64 * (3 + len(head) + given)
    paces = None
    if name == "adam_update":
        paces = Kernel(_SOURCE, "adam_paces", constants | {"pack": 1}, threads=64, struct=True)

    def run(rate, *moving):
        pointers = [0 if each is None else each.data.ptr for each in moving[:given]]
        kernel, blocks, head = kernels[not reduce(or_, pointers) % 16]
        room = None if paces is None else empty(2 * len(parts), np.float64)
        place = 0 if room is None else room.data.ptr
        words_of = table(rate.data.ptr, words().finished.data.ptr, place, *head, *pointers)
        if paces is not None:
            paces((1,), words_of)
        kernel(blocks, words_of)

    return run


def _takes_tick(rate, count, table):
    return rate.scalar_type is table.scalar_type is F64


@tick.kernel(CUDA, when=_takes_tick, made=True)
def tick_cuda(inputs, outputs):
    kernel, size = _tick(), np.int64(inputs[2].size)
    return lambda rate, count, table: kernel((1,), rate, count, table, size)


@cache
def _tick():
    return Kernel(_SOURCE, "tick", {}, threads=1)
