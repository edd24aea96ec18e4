"""Winograd's convolutions against plain sums in float64, and where these differ: at infinities."""

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.backends import NATIVE, NUMPY, using
from autograph.backends.host import pool
from autograph.op import signature_of
from autograph.ops.conv2 import conv2, conv2_dweight, conv2_dx
from autograph.ops.conv2 import pooled as pooled_ops
from autograph.plan import find_kernel

from .compared import channels_last, wide

TYPES = {"f32": (np.float32, 2e-6), "bf16": (ml_dtypes.bfloat16, 1e-2)}
SHAPES = [  # images, channels, height, width, outputs, padding
    (3, 32, 8, 8, 48, (1, 1)),
    (2, 48, 7, 10, 32, (0, 2)),
    (1, 32, 31, 5, 32, (2, 1)),
    (10, 64, 16, 16, 32, (1, 1)),
]


def normal(shape, dtype=np.float32):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


def run(backend, op, *arrays, **settings):
    """What a backend's kernel says, and what it saves."""
    with using(backend):
        plan = op.plan([signature_of(each) for each in arrays], settings)
        if backend is NATIVE:
            found = find_kernel(op, plan.inputs, plan.settings, plan.outputs[0].device)
            assert "winograd" in found.function.__name__
        found = op.run(plan, arrays)[1]
        return found if isinstance(found, (tuple, list)) else (found,)


def close(found, right, tolerance):
    for one, two in zip(found, right, strict=True):
        one, two = one.astype(np.float64), two.astype(np.float64)
        np.testing.assert_allclose(one, two, rtol=0, atol=tolerance * np.abs(two).max())


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("lie", [channels_last, np.ascontiguousarray])
@pytest.mark.parametrize("shape", SHAPES)
def test_convolution_and_its_gradients(shape, lie, name):
    (n, c, h, w, o, padding), (dtype, tolerance) = shape, TYPES[name]
    x, weight, bias = (normal(s, dtype) for s in ((n, c, h, w), (o, c, 3, 3), (o,)))
    dy = normal((n, o, h + 2 * padding[0] - 2, w + 2 * padding[1] - 2), dtype)
    filter, size = (3, 3), (h, w)
    for op, arrays, more in (
        (conv2, (lie(x), weight, bias), {}),
        (conv2_dx, (lie(dy), weight), {"size": size}),
        (conv2_dweight, (lie(dy), lie(x)), {"filter": filter}),
    ):
        found = run(NATIVE, op, *arrays, padding=padding, **more)
        close(found, run(NUMPY, op, *wide(*arrays), padding=padding, **more), tolerance)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(
    "pooling",
    [{"filter": 2}, {"filter": (2, 3), "pool_padding": (0, 1)}, {"filter": 2, "pool_stride": 3}],
)
def test_with_relu_and_pooling(pooling, name):
    dtype, tolerance = TYPES[name]
    x, weight, bias = (normal(s, dtype) for s in ((9, 32, 9, 10), (40, 32, 3, 3), (40,)))
    settings = {**pooling, "padding": 1}
    forward = pooled_ops.conv2_relu_max_pool2
    y, index = run(NATIVE, forward, channels_last(x), weight, bias, **settings)
    right = run(NUMPY, forward, *wide(x, weight, bias), **settings)
    close([y], right[:1], tolerance)
    dy = normal(y.shape, dtype)
    back = pooled_ops.conv2_relu_max_pool2_back
    found = run(NATIVE, back, dy, index, channels_last(x), weight, **settings)
    given = [dy.astype(np.float64), np.ascontiguousarray(index), *wide(x, weight)]
    close(found, run(NUMPY, back, *given, **settings), tolerance)
    rest = run(
        NATIVE, pooled_ops.conv2_relu_max_pool2_dweight, dy, index, channels_last(x), weight,
        **settings,
    )  # fmt: skip

    for one, two in zip(found[1:], rest, strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2e38])
@pytest.mark.parametrize("place", [(0, 0), (3, 8), (9, 9)])
def test_what_is_not_finite_comes_out_where_it_belongs(place, value):
    x, weight, dy = normal((2, 32, 10, 10)), normal((32, 32, 3, 3)), normal((2, 32, 10, 10))
    weight[:, :, 0, 1] = 0  # zero times infinity
    x[1, 3][place] = value
    x, dy = channels_last(x), channels_last(dy)
    with np.errstate(all="ignore"):
        for op, arrays, more in (
            (conv2, (x, weight, None), {}),
            (conv2_dx, (x, weight), {"size": (10, 10)}),
            (conv2_dweight, (dy, x), {"filter": (3, 3)}),
            (conv2_dweight, (x, dy), {"filter": (3, 3)}),
        ):
            (found,) = run(NATIVE, op, *arrays, padding=1, **more)
            (right,) = run(NUMPY, op, *arrays, padding=1, **more)

            assert np.array_equal(np.isnan(found), np.isnan(right))
            assert np.array_equal(found[np.isinf(found)], right[np.isinf(found)])
            assert np.array_equal(np.isinf(found), np.isinf(right))


def test_results_depend_neither_on_threads_nor_on_the_rest_of_a_batch():
    x, weight, dy = normal((9, 32, 12, 12)), normal((32, 32, 3, 3)), normal((9, 32, 12, 12))
    x, dy, threads = channels_last(x), channels_last(dy), pool.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            pool.set_num_threads(count)
            y = run(NATIVE, conv2, x, weight, None, padding=1)[0]
            dweight = run(NATIVE, conv2_dweight, dy, x, filter=(3, 3), padding=1)[0]
            found.append(y.tobytes() + dweight.tobytes())
    finally:
        pool.set_num_threads(threads)
    alone = run(NATIVE, conv2, x[4:5], weight, None, padding=1)[0]

    assert len(set(found)) == 1
    assert np.array_equal(alone[0], y[4])
