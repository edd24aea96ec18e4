"""Chains by the ops of their layers: what runs where there is no kernel, and what kernels are held
to. A step leaves the loss and its gradients, one after the other."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from ...backends import CUPY, NUMPY, namespace
from ...op import signature_of
from ..loss import cross_entropy_loss
from ..update.together import parts_of
from . import UPDATES, chain, chain_back, chain_gradients, chain_parts, chain_step, run_parts

chain.kernel(NUMPY, CUPY, halves=True)(chain_parts)


class _Walk:
    """Ops on arrays, and their gradient rules in the order that undoes them."""

    def __init__(self):
        self.steps = []

    def run(self, op, *inputs, **settings):
        plan = op.plan(list(map(signature_of, inputs)), settings)
        arrays, results = op.run(plan, inputs)
        y = op.own(plan, results)
        saved = dict(zip(op.saves, results[len(op.outputs) :], strict=True)) if op.saves else {}
        self.steps.append((op, inputs, y, arrays, saved | plan.settings))
        return y

    def back(self, dy):
        """The gradient in the first input, and those in the other inputs, the first first."""
        found: list[Any] = []
        for op, inputs, y, arrays, known in reversed(self.steps):
            slopes: dict[int, Any] = {}
            for positions, rule, into, asks in op.gradients:
                there = tuple(at < len(inputs) and inputs[at] is not None for at in positions)
                if any(there):
                    back = rule(y, *arrays, **known, **({"needs": there} if asks else {}))
                    slope = back(dy, None) if into else back(dy)
                    several = slope if len(positions) > 1 else [slope]
                    slopes |= dict(zip(positions, several, strict=True))
            found = [slopes[at] for at in range(1, len(inputs)) if inputs[at] is not None] + found
            dy = slopes[0]
        return dy, found


@chain_back.kernel(NUMPY, CUPY, halves=True)
def chain_back_composed(dy, x, *parameters, layers, has_dx):
    walk = _Walk()
    run_parts(x, parameters, layers, walk.run)
    dx, found = walk.back(dy)
    return (*[dx][:has_dx], *found)


@chain_step.kernel(NUMPY, halves=True)
def chain_step_composed(x, target, *parameters, layers, has_dx):
    walk, xp = _Walk(), namespace(x)
    y = run_parts(x, parameters, layers, walk.run)
    head = _Walk()
    loss = head.run(cross_entropy_loss, y, target)
    dy = head.steps[0][0].gradients[0].function(loss, *head.steps[0][3], **head.steps[0][4])
    dx, found = walk.back(dy(xp.ones((), y.dtype)))
    wide = np.float64 if x.dtype == np.float64 else np.float32
    left = xp.concatenate([each.astype(wide).reshape(-1) for each in (loss, *found)])
    return (y, left, dx) if has_dx else (y, left)


def _gradients(left, parameters):
    ends = list(accumulate((each.size for each in parameters), initial=1))
    return [
        left[ends[i] : ends[i + 1]].reshape(each.shape).astype(each.dtype)
        for i, each in enumerate(parameters)
    ]


@chain_gradients.kernel(NUMPY, halves=True)
def chain_gradients_composed(x, left, *parameters, layers, has_dx):
    return (left[0].astype(x.dtype), *_gradients(left, parameters))


def _updates(op):
    def updates(x, left, rate, *moving, layers, has_dx, **settings):
        parts = parts_of(op, moving, beside=2)
        gradients = _gradients(left, [part[0] for part in parts])
        for (w, step, *rest), dw in zip(parts, gradients, strict=True):
            op(w, dw, step, rate, *rest, **settings)
        return left[0].astype(x.dtype)

    return updates


for _whole, _op in UPDATES.items():
    _whole.kernel(NUMPY, halves=True)(_updates(_op))
