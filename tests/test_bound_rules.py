"""Gradient rules that are bound to a signature answer what their closures answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import ops
from autograph.op import REGISTRY, Op, signature_of
from autograph.outline import Outline
from autograph.tensor.symbols import bound_to

SINGLE = [
    ops.conv2, ops.conv2_relu_max_pool2, ops.cross_entropy_loss, ops.linear, ops.linear_relu,
    ops.max_pool2, ops.permute_dims, ops.reshape,
]  # fmt: skip


def compared(op: Op, scalar_type: str, rules: set[Any]) -> None:
    """Compare each rule of an op that is bound, on all samples, and note it."""
    rng = np.random.default_rng(0)
    for given, settings in op.samples(rng) if op.samples and op.gradients else ():
        arrays = [
            each if each is None or not hasattr(each, "dtype") or each.dtype.kind != "f"
            else np.asarray(each).astype(scalar_type, order="C")
            for each in given
        ]  # fmt: skip
        plan = op.plan([signature_of(each) for each in arrays], settings)
        if not plan.exact or not plan.settled or len(op.outputs) != 1 or op.writes:
            continue
        ready, results = op.run(plan, arrays)
        own, *saved = results if op.saves else (results,)
        outputs = [Outline.of(each) for each in (own, *saved)]
        for positions, rule, into, asks in op.gradients:
            if into or positions is None or hasattr(rule, "bound"):
                continue
            for needs in ((True,) * len(positions), (False, *(True,) * (len(positions) - 1))):
                if not any(needs) or (not asks and not all(needs)):
                    continue
                more: dict[str, Any] = {**plan.settings, **({"needs": needs} if asks else {})}
                found = bound_to(rule, op, plan.inputs, outputs, more)
                if found is not None:
                    rules.add(rule)
                    dy = np.asarray(rng.normal(size=own.shape)).astype(own.dtype)
                    closure = rule(own, *ready, **dict(zip(op.saves, saved, strict=True)), **more)
                    check(found, closure, dy, (own, *ready, *saved))


def check(found: Any, closure: Callable[..., Any], dy: Any, values: Any) -> None:
    run, places = found
    for slope in (dy, np.asarray(dy, order="F")):
        right, answer = closure(slope), run(slope, *[values[at] for at in places])
        pairs = [(right, answer)]
        if isinstance(right, tuple | list):
            pairs = list(zip(right, answer, strict=True))
        for expected, actual in pairs:
            assert (expected is None) == (actual is None)
            if expected is not None:
                assert expected.dtype == actual.dtype
                np.testing.assert_array_equal(expected, actual)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_rule_that_is_one_op_answers_what_its_closure_does(name: str) -> None:
    compared(REGISTRY[name], "f4", set())


@pytest.mark.parametrize("op", SINGLE, ids=str)
def test_rules_of_a_step_are_single_ops(op: Op) -> None:
    found: set[Any] = set()
    compared(op, "f4", found)

    assert found


def test_a_rule_that_looks_at_values_keeps_its_closure() -> None:
    outlines = [Outline.of(np.ones((2, 3), np.float32))]
    looking: list[Callable[..., Any]] = [
        lambda y, x: lambda dy: ops.multiply(dy, y > 0),
        lambda y, x: lambda dy: ops.multiply(dy, 2.0) if (x == 0).any() else dy,
        lambda y, x: lambda dy: ops.multiply(dy, np.exp(x)),
        lambda y, x: lambda dy: ops.multiply(dy, 3.0),
        lambda y, x: lambda dy: ops.multiply(ops.multiply(dy, x), x),
        lambda y, x: lambda dy: ops.multiply(x, x),
        lambda y, x: lambda dy: ops.reshape(dy, shape=(len(x), 3)),
        lambda y, x: lambda dy: dy,
    ]
    for rule in looking:
        assert bound_to(rule, ops.relu, outlines, outlines, {}) is None
    assert bound_to(lambda y, x: lambda dy: ops.multiply(x, dy), ops.relu, outlines, outlines, {})


def test_a_gradient_that_lies_otherwise_than_before_is_taken_as_it_lies() -> None:
    x = ag.Tensor(np.random.default_rng(0).normal(size=(2, 3, 4, 4)), requires_grad=True)
    weight = ag.Tensor(np.random.default_rng(1).normal(size=(5, 3, 3, 3)), requires_grad=True)
    slopes = np.random.default_rng(2).normal(size=(2, 2, 2, 5)).transpose(0, 3, 1, 2)
    found = []
    for slope in (np.ascontiguousarray(slopes), slopes, slopes[::-1][::-1], slopes):
        y = ops.conv2(x, weight)
        found.append(ag.grad(y, [x, weight], ag.Tensor.borrow(slope)))

    for each in found[1:]:
        np.testing.assert_allclose(each[0].numpy(), found[0][0].numpy(), rtol=1e-12)
        np.testing.assert_allclose(each[1].numpy(), found[0][1].numpy(), rtol=1e-12)


def test_an_op_whose_settings_are_fixed_is_the_op() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6))
    pool, wider = ops.max_pool2.fixed(filter=2), ops.max_pool2.fixed(filter=3)
    tensor = ag.Tensor(x, requires_grad=True)

    np.testing.assert_array_equal(pool(x), ops.max_pool2(x, filter=2))
    for _ in range(2):
        for run, filter in ((pool, 2), (wider, 3)):
            y = run(tensor)
            right = ops.max_pool2(tensor, filter=filter)
            np.testing.assert_array_equal(y.numpy(), right.numpy())
            (dx,), (right_dx,) = ag.grad(y.sum(), [tensor]), ag.grad(right.sum(), [tensor])
            assert dx is not None
            assert right_dx is not None
            np.testing.assert_array_equal(dx.numpy(), right_dx.numpy())
