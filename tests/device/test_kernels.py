"""Every device kernel against NumPy in float64. It needs a device: `pytest -m device`."""

from __future__ import annotations

import numpy as np
import pytest

from . import cases, net_cases, update_cases
from .cases import distance

cupy = pytest.importorskip("cupy", reason="device kernels need CuPy")

CASES = {**cases.CASES, **net_cases.CASES, **update_cases.CASES}

pytestmark = [
    pytest.mark.device,
    pytest.mark.skipif(not cupy.is_available(), reason="there is no CUDA device"),
]


@pytest.fixture(autouse=True)
def stream():
    from autograph.backends.cuda.stream import enter

    enter(0)


def to_host(array):
    """The values as float64; integers stay exact below 2**53."""
    return array.get().astype("f8")


@pytest.mark.parametrize("dtype", cases.FLOATS, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_kernels_agree_with_float64(case, dtype):
    wrong = [
        f"{name}: {found:.2g} apart, {tolerance:.2g} allowed"
        for name, got, expected, tolerance in CASES[case](cupy, dtype)
        if not (found := distance(to_host(got), expected)) <= tolerance
    ]

    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("dtype", cases.FLOATS, ids=str)
def test_products_without_a_library_agree_with_float64(dtype, monkeypatch):
    from autograph.backends.cuda import lt

    monkeypatch.setattr(lt, "is_faster", lambda *sizes: False)
    test_kernels_agree_with_float64("products", dtype)


@pytest.mark.parametrize("case", CASES)
def test_kernels_give_the_same_bits_again(case):
    def run():
        return [got.get() for _, got, _, _ in CASES[case](cupy, cases.F32)]

    for first, second in zip(run(), run(), strict=True):
        assert first.tobytes() == second.tobytes()


def test_a_class_out_of_range_is_reported_and_does_no_harm():
    from autograph.backends.cuda.words import check_faults
    from autograph.errors import IndexRangeError
    from autograph.ops.loss.cuda_kernels import (
        cross_entropy_loss_cuda,
        cross_entropy_loss_dx_cuda,
    )

    x = cupy.asarray(np.random.default_rng(0).standard_normal((9, 4)).astype("f4"))
    target = cupy.asarray(np.array([0, 1, 2, 3, 0, 4, 1, -7, 2]))
    loss, rows = cases.called(cross_entropy_loss_cuda, x, target)
    dx = cases.called(cross_entropy_loss_dx_cuda, cupy.ones((), "f4"), x, target, rows).get()

    assert np.isfinite(loss.get())
    assert not dx[[5, 7]].any()
    assert dx[[0, 1, 2, 3, 4, 6, 8]].any(axis=1).all()
    with pytest.raises(IndexRangeError, match=r"value     4\n  position  5"):
        check_faults(0)
    check_faults(0)


def test_a_sum_of_many_is_right():
    from autograph.ops.reduce.cuda_kernels import reduce_cuda

    x = np.random.default_rng(0).random(2**24).astype("f4")
    found = float(reduce_cuda(cupy.asarray(x), "Sum", (0,)).get())

    assert abs(found / x.astype("f8").sum() - 1) < 1e-6


@pytest.mark.parametrize("scalar_type", ["f4", "f8", "f2", "bfloat16"])
@pytest.mark.parametrize("transposed", ["nn", "tn", "nt"])
def test_cublaslt_agrees_with_float64(scalar_type, transposed):
    from autograph.backends.cuda import lt

    dtype = cases.BF16 if scalar_type == "bfloat16" else np.dtype(scalar_type)
    rng = np.random.default_rng(0)
    a, a8 = cases.numbers(rng, (300, 200), dtype)
    b, b8 = cases.numbers(rng, (200, 120), dtype)
    bias, bias8 = cases.numbers(rng, (120,), dtype)
    x = cupy.asarray(a.T.copy()).T if transposed[0] == "t" else cupy.asarray(a)
    weight = cupy.asarray(b.T.copy()).T if transposed[1] == "t" else cupy.asarray(b)

    assert distance(to_host(lt.matmul(x, weight)), a8 @ b8) < cases.TOLERANCE[dtype]
    found = lt.matmul(x, weight, cupy.asarray(bias))
    if found is None:
        assert dtype == cases.F64
    else:
        assert distance(to_host(found), a8 @ b8 + bias8) < cases.TOLERANCE[dtype]


@pytest.mark.parametrize("scalar_type", ["f4", "f2", "bfloat16"])
@pytest.mark.parametrize("sizes", [(300, 200, 128), (1024, 784, 512)])
def test_a_relu_of_cublaslt_hides_no_nan(scalar_type, sizes):
    from autograph.backends.cuda import lt

    dtype, (m, k, n) = cases.BF16 if scalar_type == "bfloat16" else np.dtype(scalar_type), sizes
    rng = np.random.default_rng(0)
    (a, _), (b, b8), (bias, bias8) = (
        cases.numbers(rng, shape, dtype) for shape in ((m, k), (k, n), (n,))
    )
    a[3, 5] = np.nan
    found = lt.matmul(*(cupy.asarray(each) for each in (a, b, bias)), relu=True)

    if found is None:  # its first algorithm hides it: then relu is a launch of our own
        assert dtype == cases.F32
    else:
        expected = np.maximum(a.astype("f8") @ b8 + bias8, 0)
        assert distance(to_host(found), expected) < cases.TOLERANCE[dtype]


@pytest.mark.parametrize("turned", [(), (0,), (1,), (0, 1)], ids=str)
def test_large_tf32_products_of_turned_operands(turned):
    from autograph.backends.cuda import lt
    from autograph.backends.precision import precision

    rng = np.random.default_rng(0)
    (a, a8), (b, b8) = (cases.numbers(rng, shape, cases.F32) for shape in ((640, 1030), (640, 520)))
    x, dy = (
        cupy.asfortranarray(cupy.asarray(each)) if i in turned else cupy.asarray(each)
        for i, each in enumerate((a, b))
    )
    with precision("tf32"):
        found = lt.matmul(x.T, dy)

    assert 1e-5 < distance(to_host(found), a8.T @ b8) < 2e-3


def test_cublaslt_multiplies_batches_and_in_other_precisions():
    from autograph.backends.cuda import lt
    from autograph.backends.precision import precision

    rng = np.random.default_rng(0)
    a, a8 = cases.numbers(rng, (6, 30, 64), cases.F32)
    b, b8 = cases.numbers(rng, (6, 64, 20), cases.F32)
    x, weight = cupy.asarray(a), cupy.asarray(b)

    assert distance(to_host(lt.matmul(x, weight)), a8 @ b8) < 2e-6
    with precision("tf32"):
        found = distance(to_host(lt.matmul(x, weight)), a8 @ b8)
    assert 1e-5 < found < 2e-3
    with precision("high"):
        found = distance(to_host(lt.matmul(x, weight)), a8 @ b8)
    assert found < 2e-5


def test_a_recorded_product_and_reduction_replay():
    from autograph.backends.cuda import lt
    from autograph.backends.cuda.stream import PrivateMemory, stream_of
    from autograph.ops.conv2.cuda_kernels import conv2_dweight_cuda
    from autograph.ops.loss.cuda_kernels import cross_entropy_loss_cuda

    rng = np.random.default_rng(0)
    x = cupy.asarray(rng.standard_normal((64, 32)).astype("f4"))
    w = cupy.asarray(rng.standard_normal((32, 10)).astype("f4"))
    target = cupy.asarray(rng.integers(0, 10, 64))
    image = cupy.asarray(rng.standard_normal((16, 4, 12, 12)).astype("f4"))
    slope = cupy.asarray(rng.standard_normal((16, 8, 10, 10)).astype("f4"))
    settings = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}

    def step():
        loss, _ = cases.called(cross_entropy_loss_cuda, lt.matmul(x, w), target)
        return loss, cases.called(conv2_dweight_cuda, slope, image, filter=(3, 3), **settings)

    expected = [each.get() for each in step()]
    stream, memory = stream_of(0), PrivateMemory()
    with memory.use():
        step()
        stream.synchronize()
        stream.begin_capture()
        results = step()
        graph = stream.end_capture()
    for _ in range(3):
        junk = cupy.full(1 << 20, np.nan, "f4")
        graph.launch(stream)
        del junk

    assert [each.get().tobytes() for each in results] == [each.tobytes() for each in expected]


def test_a_kernel_that_does_not_compile_names_its_line():
    from autograph.backends.cuda.launch import Kernel
    from autograph.errors import KernelError

    text = "template <class Spec> __global__ void wrong() {\n    int a = b;\n}"
    kernel = Kernel(text, "wrong", {})

    with pytest.raises(KernelError, match='generated, line 2: identifier "b" is undefined'):
        kernel(1)
