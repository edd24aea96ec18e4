"""Kernels of chains compiled for the host, with threads in any order."""

from __future__ import annotations

import numpy as np
import pytest

from autograph import ops
from autograph.ops.chain import chain_back, chain_parts, chain_step, cuda_kernels
from autograph.scalar_type import BF16, F32

from . import host_cupy, simulated
from .chain_nets import error

pytestmark = pytest.mark.skipif(bool(host_cupy.missing()), reason=host_cupy.missing())

POOL, OVERLAP = ("max_pool2", (2, 2), (2, 2)), ("max_pool2", (3, 3), (1, 1))
SIMULATED = {
    "pooled": (
        (3, 2, 8, 8),
        (
            ("conv2", (1, 1), (1, 1), False), ("relu",), POOL, ("relu",),
            ("conv2", (1, 1), (1, 1), False), OVERLAP, ("relu",), ("flatten",),
            ("linear", False), ("tanh",), ("linear", True),
        ),
        ((4, 2, 3, 3), (4, 4, 3, 3), (16, 6), (6, 4), (4,)),
    ),
    "strided": (
        (3, 2, 13, 11),
        (
            ("conv2", (3, 3), (2, 2), True), ("sigmoid",), ("mean_pool2", (2, 2), (1, 1)),
            ("conv2", (2, 2), (1, 1), False), ("relu",), ("flatten",), ("linear", True),
        ),
        ((5, 2, 3, 3), (5,), (6, 5, 3, 3), (24, 7), (7,)),
    ),
    "thin": (
        (3, 3, 9, 8),
        (
            ("conv2", (2, 1), (1, 0), False), ("tanh",), ("conv2", (1, 1), (1, 2), True),
            ("conv2", (1, 2), (0, 0), False), ("sigmoid",), ("flatten",), ("linear", True),
            ("tanh",), ("linear", False),
        ),
        ((1, 3, 3, 2), (4, 1, 3, 4), (4,), (9, 4, 2, 3), (108, 5), (5,), (5, 3)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIMULATED)
@pytest.mark.parametrize(
    ("scalar_type", "head", "block", "resident"),
    [
        (F32, "loss", (1, 128), True),
        (F32, "gradient", (2, 96), True),
        (BF16, "loss", (1, 128), False),
        (BF16, "gradient", (8, 96), True),
    ],
)
def test_kernels_agree_with_numpy_and_with_any_order_of_threads(
    name, scalar_type, head, block, resident, monkeypatch
):
    shape, layers, shapes = SIMULATED[name]
    rng, dtype = np.random.default_rng(1), scalar_type.dtype
    x = rng.standard_normal(shape).astype(dtype)
    fans = [np.prod(each[1:]) if len(each) == 4 else each[0] for each in shapes]
    parameters = [
        (rng.standard_normal(each) / np.sqrt(fan)).astype(dtype)
        for each, fan in zip(shapes, fans, strict=True)
    ]
    wide = [each.astype("f8") for each in parameters]
    y8 = chain_parts(x.astype("f8"), *wide, layers=layers)
    if head == "loss":
        given = rng.integers(0, y8.shape[1], len(x))
        _, left = chain_step(x.astype("f8"), given, *wide, layers=layers, has_dx=False)
        expected = [y8, None, left[:1], left[1:]]
    else:
        given = rng.standard_normal(y8.shape).astype(dtype)
        dx, *rest = chain_back(
            given.astype("f8"), x.astype("f8"), *wide, layers=layers, has_dx=True
        )
        expected = [None, dx, None, np.concatenate([each.ravel() for each in rest])]
    monkeypatch.setattr(host_cupy, "orders", (0, 1, 2, 7))
    y, dx, (loss, *gradients) = simulated.simulate(
        layers, x, parameters, head, given, block, resident
    )
    flat = np.concatenate([each.ravel() for each in gradients])
    for found, wanted in zip((y, dx, loss, flat), expected, strict=True):
        if wanted is not None:
            limit = 1e-6 if scalar_type is F32 else 1e-2
            assert error(found, wanted.reshape(found.shape)) < limit


@pytest.mark.parametrize("scalar_type", [F32, BF16], ids=str)
@pytest.mark.parametrize("op", [ops.sgd_update, ops.adam_update], ids=str)
def test_kernels_move_parameters_as_the_op_does(op, scalar_type):
    shape, layers, shapes = SIMULATED["pooled"]
    rng, dtype = np.random.default_rng(2), scalar_type.dtype
    x, target = rng.standard_normal(shape).astype(dtype), rng.integers(0, 4, shape[0])
    parameters = [rng.standard_normal(each).astype(dtype) for each in shapes]
    given = layers, x, parameters, "loss", target, (2, 64)
    _, _, (loss, *gradients) = simulated.simulate(*given)
    if op is ops.sgd_update:
        settings = {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1, "nesterov": False}
        part, states, make = [0, 0, 0], 1, cuda_kernels._sgd
    else:
        settings = {
            "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "weight_decay": 0.1, "decoupled": True
        }  # fmt: skip
        part, states, make = [0, 0, 0, 0, 0], 3, cuda_kernels._adam
    settings["maximize"] = False
    constants, numbers = make(part, **settings)
    constants |= {"states": states, "has_master": scalar_type is BF16}
    moving = [
        [
            w, np.array(3), *[rng.random(w.shape).astype("f4") for _ in range(states)],
            rng.standard_normal(w.shape).astype("f4") if scalar_type is BF16 else None,
        ]
        for w in parameters
    ]  # fmt: skip
    update = simulated.Update(constants, numbers, np.array(0.1), moving)
    _, _, (again, *moved) = simulated.simulate(*given, update=update)

    assert again.tobytes() == loss.tobytes()
    for (w, step, *rest), dw in zip(moving, gradients, strict=True):
        w = w.copy()
        op(w, dw, step, np.array(0.1), *rest, **settings)
        for expected in (w, step, *rest):
            if expected is not None:
                found = moved.pop(0)
                np.testing.assert_allclose(
                    found.astype("f8"), expected.astype("f8"), rtol=1e-5, atol=1e-6
                )


@pytest.mark.parametrize("scalar_type", [F32, BF16], ids=str)
def test_what_is_no_number_reaches_the_windows_it_stands_in_alone(scalar_type):
    layers = (("conv2", (1, 1), (0, 0), True), POOL, ("relu",), ("conv2", (1, 1), (1, 1), False))
    rng, dtype = np.random.default_rng(0), scalar_type.dtype
    x = rng.standard_normal((3, 1, 17, 15)).astype(dtype)
    parameters = [
        rng.standard_normal(each).astype(dtype) for each in ((6, 1, 4, 5), (6,), (3, 6, 3, 3))
    ]
    x[0, 0, 6, 4], x[1, 0, 9, 12], x[2, 0, 0, 0] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = chain_parts(x.astype("f4"), *[w.astype("f4") for w in parameters], layers=layers)
    found, _, _ = simulated.simulate(layers, x, parameters, "scores", np.zeros(3, int), (2, 64))
    found = found.reshape(expected.shape).astype("f4")

    assert np.isnan(expected).any()
    assert np.isfinite(expected).any()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isposinf(found), np.isposinf(expected))
