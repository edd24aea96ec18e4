"""A step of many parameters as one op: `sgd_updates` and `adam_updates`.

The inputs are the rate, then of each parameter what `sgd_update` or `adam_update` takes, in its
order and without the rate: w, dw, step, what is remembered, master. Settings are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ...backends import CUDA, CUPY, NATIVE, NUMPY
from ...op import Op
from . import (
    adam_update,
    adam_update_outline,
    adam_update_samples,
    sgd_update,
    sgd_update_outline,
    sgd_update_samples,
)

TOGETHER = 32  # parameters that one op moves


def _several(op: Op) -> Op:
    """The op that does what `op` does, for up to TOGETHER parameters."""
    inputs, names = ["rate"], _names(op)
    for i in range(TOGETHER):
        for name in names:
            absent = i or op.inputs.index(name) in op.optional
            inputs.append(f"{name}{i}?" if absent else f"{name}{i}")
    writes = [f"{name}{i}" for i in range(TOGETHER) for name in names if name in op.writes]
    return Op(f"{op.name}s", " ".join(inputs), writes=" ".join(writes), outputs="", promotes="")


def _names(op: Op) -> list[str]:
    return [name for name in op.inputs if name != "rate"]


def parts_of(op: Op, moving: Sequence[Any], beside: int = 1) -> list[Sequence[Any]]:
    """What there is of each parameter, all inputs of `op` but those `beside` it, as the rate."""
    width = len(op.inputs) - beside
    starts = range(0, len(moving), width)
    return [moving[at : at + width] for at in starts if moving[at] is not None]


sgd_updates, adam_updates = _several(sgd_update), _several(adam_update)
SEVERAL = {sgd_update: sgd_updates, adam_update: adam_updates}  # by the op of one parameter

sgd_updates.outlined_by(sgd_update_outline)
adam_updates.outlined_by(adam_update_outline)


def _prepared(op, plan, *arrays):
    op.run(plan, arrays)


def _one_by_one(op):
    """The kernel that runs the op of one parameter after the other, each with its best kernel."""

    at, width = op.inputs.index("rate"), len(op.inputs) - 1

    def made(inputs, outputs, **settings):
        runs = []
        for i, part in enumerate(parts_of(op, inputs[1:])):
            plan = op.plan([*part[:at], inputs[0], *part[at:]], settings)
            move = plan.kernel if plan.prepare is None else partial(_prepared, op, plan)
            runs.append((width * i, width * i + at, width * (i + 1), move))

        def run(rate, *moving):
            for first, middle, last, move in runs:
                move(*moving[first:middle], rate, *moving[middle:last])

        return run

    return made


def _by_launches(op):
    """Whether the host engine moves each of the parameters."""

    def when(rate, *moving, **settings):
        at = op.inputs.index("rate")
        given = [[*part[:at], rate, *part[at:]] for part in parts_of(op, moving)]
        return all(op.plan(each, settings).native for each in given)

    return when


for _op, _whole in SEVERAL.items():
    _whole.kernel(NATIVE, when=_by_launches(_op), strided=True, halves=True, made=True)(
        _one_by_one(_op)
    )
    _whole.kernel(NUMPY, CUPY, halves=True, made=True)(_one_by_one(_op))
    _whole.kernels_from(CUDA, ".cuda_kernels")


def _samples(op, samples):
    """Every sample of the op twice, at the rate of the first."""

    def sampled(rng):
        at, absent = op.inputs.index("rate"), [None] * (len(op.inputs) - 1) * (TOGETHER - 2)
        for (given, settings), (other, _) in zip(samples(rng), samples(rng), strict=True):
            parts = *given[:at], *given[at + 1 :], *other[:at], *other[at + 1 :]
            yield (given[at], *parts, *absent), settings

    return sampled


sgd_updates.sampled_by(_samples(sgd_update, sgd_update_samples))
adam_updates.sampled_by(_samples(adam_update, adam_update_samples))
