"""Pointwise ops by the host engine against NumPy's kernels, in every type and layout it takes."""

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph import Tensor
from autograph.backends import NATIVE
from autograph.backends.host.pointwise import fits, make, takes
from autograph.device import HOST
from autograph.expression import Program
from autograph.op import REGISTRY, signature_of
from autograph.ops.pointwise import Pointwise
from autograph.outline import NUMBER, Outline
from autograph.plan import find_kernel
from autograph.scalar_type import F32, ScalarType

OPS = [op for op in REGISTRY.values() if isinstance(op, Pointwise) and takes(op.program)]
EXTREMES = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-30]


def run(op, arrays, dtype):
    inputs = [signature_of(each) for each in arrays]
    result = ScalarType.BOOL if op.boolean else ScalarType.of(np.empty(0, dtype))
    return make(op.program, inputs, inputs[0].like(scalar_type=result))(*arrays)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_pointwise_programs_agree_with_numpy(op, dtype):
    rng = np.random.default_rng(0)
    count = len(op.inputs)
    arrays = [rng.standard_normal((3, 7, 5, 11)).astype(dtype) for _ in range(count)]
    for i, each in enumerate(arrays):
        each.ravel()[: len(EXTREMES)] = np.roll(EXTREMES, i).astype(dtype)
    with np.errstate(all="ignore"):
        kernel = op._make_kernel([None] * count, [signature_of(arrays[0])])
        right = np.asarray(kernel(*[each.astype(np.float64) for each in arrays]))
        single = np.asarray(kernel(*[each.astype(np.float32) for each in arrays]))
        if not op.boolean:  # halves and f32 compute in f32, which overflows where f64 does not
            right = np.where(np.isfinite(single), right, single)
            right.ravel()[: len(EXTREMES)] = single.ravel()[: len(EXTREMES)]
        right = right if op.boolean else right.astype(np.float32).astype(dtype)
    tolerance = 3e-6 if dtype is np.float32 else 1.6e-2
    for last in (False, True):
        given = [
            np.ascontiguousarray(each.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else each
            for each in arrays
        ]
        y = run(op, given, dtype)

        assert y.strides == (given[0].strides if not op.boolean else y.strides)
        np.testing.assert_allclose(
            y.astype(np.float64), right.astype(np.float64), rtol=tolerance, atol=tolerance
        )


def test_numbers_are_passed_as_numbers_and_arrays_without_axes_read_when_it_runs():
    program = Program.of(("a", "x", "y"), "a * x + y", {})
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float32)
    number, array = Outline((), F32, HOST, NUMBER), Outline((), F32)
    by_number, by_array = (
        make(program, [each, signature_of(x), signature_of(x)], signature_of(x))
        for each in (number, array)
    )

    np.testing.assert_array_equal(by_number(2.0, x, y), 2 * x + y)
    np.testing.assert_array_equal(by_array(np.array(3.0, np.float32), x, y), 3 * x + y)


def test_operands_that_broadcast_or_lie_apart_are_left_to_others():
    x = signature_of(np.zeros((2, 3), np.float32))

    assert fits(x, x)
    assert not fits(x, signature_of(np.zeros(3, np.float32)))
    assert not fits(x, signature_of(np.zeros((2, 3), np.float64)))
    assert not fits(signature_of(np.zeros((3, 2), np.float32).T))


def test_a_gradient_of_another_layout_than_the_output_is_right():
    rng = np.random.default_rng(0)
    for _ in range(3):  # what is bound at the first is used from then on
        image = np.ascontiguousarray(rng.standard_normal((2, 5, 4, 3), np.float32))
        x = Tensor.borrow(image.transpose(0, 3, 1, 2))
        x.requires_grad = True
        dy = rng.standard_normal((2, 3, 5, 4), np.float32)
        y = x.relu()
        y.backward(Tensor(dy))

        assert y.outline.layout == "channels_last"
        np.testing.assert_array_equal(x.grad.numpy(), np.where(x.numpy() > 0, dy, 0))


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_operands_that_lie_apart_are_copied(dtype):
    x = np.arange(24).reshape(4, 6).astype(dtype)
    one, turned = np.broadcast_to(dtype(3), (4, 6)), np.arange(24).reshape(6, 4).astype(dtype).T
    for other in (one, turned):
        inputs = [signature_of(other), signature_of(x)]
        plan = REGISTRY["multiply"].plan(inputs, {})
        found = find_kernel(REGISTRY["multiply"], plan.inputs, {}, HOST)

        assert found.backend is NATIVE
        right = other.astype(np.float32) * x.astype(np.float32)
        y = REGISTRY["multiply"](other, x)
        np.testing.assert_array_equal(np.asarray(y), right.astype(dtype))
