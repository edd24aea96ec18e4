"""What the device kernels are tested on: each case runs kernels and says what they should give.

A case is a generator of (name, got, expected in float64, tolerance). The same cases are run with
a device, to compare, and without one, to compile every kernel that they would launch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

from .references import conv2_reference, max_pool2_reference, mean_pool2_reference

Check = tuple[str, Any, Any, float]
Case = Callable[[Any, np.dtype], Iterator[Check]]

F32, F64 = np.dtype("f4"), np.dtype("f8")
F16, BF16 = np.dtype("f2"), np.dtype(ml_dtypes.bfloat16)
FLOATS = (F32, F64, BF16, F16)

# how far a result may be from float64, as a share of the largest value
TOLERANCE = {F32: 2e-6, F64: 1e-13, BF16: 1e-2, F16: 2e-3}


def distance(got, expected):
    """The largest difference, as a share of the largest value; infinite where NaN differs."""
    got, expected = np.asarray(got, "f8"), np.asarray(expected, "f8")
    if got.shape != expected.shape or not np.array_equal(np.isnan(got), np.isnan(expected)):
        return np.inf
    finite = np.isfinite(expected)
    if not np.array_equal(got[~finite], expected[~finite], equal_nan=True):
        return np.inf
    largest = max(1e-3, float(np.abs(expected[finite]).max(initial=0)))
    return float(np.abs(got[finite] - expected[finite]).max(initial=0)) / largest


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """Normal numbers in `dtype`, and the same in float64."""
    x = rng.standard_normal(shape).astype(dtype)
    return x, x.astype("f8")


def called(kernel: Any, *arrays: Any, **settings: Any) -> Any:
    """Run a kernel that is made for a signature; it is named after its op."""
    from autograph.op import REGISTRY
    from autograph.outline import Outline
    from autograph.plan import outlined

    op = REGISTRY[kernel.__name__.removesuffix("_cuda")]
    outlines = [None if each is None else Outline.of(each) for each in arrays]
    settings = op.complete(settings)
    return kernel(outlines, outlined(op, outlines, settings), **settings)(*arrays)


# -- Convolution ---------------------------------------------------------------------------

CONVOLUTIONS = [  # x, outputs, filter, stride, padding, dilation, groups
    ((100, 1, 28, 28), 6, (5, 5), (1, 1), (0, 0), (1, 1), 1),
    ((100, 6, 12, 12), 16, (5, 5), (1, 1), (0, 0), (1, 1), 1),
    ((3, 5, 11, 9), 7, (3, 2), (2, 3), (1, 0), (1, 2), 1),
    ((2, 8, 13, 10), 12, (3, 3), (1, 2), (2, 1), (2, 1), 4),
    ((4, 6, 9, 9), 6, (3, 3), (2, 2), (1, 1), (1, 1), 6),
    ((8, 64, 16, 16), 72, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((1, 3, 5, 5), 2, (5, 5), (1, 1), (0, 0), (1, 1), 1),
    ((2, 3, 8, 8), 4, (1, 1), (3, 3), (0, 0), (1, 1), 1),
]


def convolutions(xp, dtype):
    from autograph.ops.conv2.cuda_kernels import conv2_cuda, conv2_dweight_cuda, conv2_dx_cuda

    rng = np.random.default_rng(1)
    for shape, outputs, filter, stride, padding, dilation, groups in CONVOLUTIONS:
        settings = {
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
        }  # fmt: skip
        size = tuple(
            (shape[2 + i] + 2 * padding[i] - dilation[i] * (filter[i] - 1) - 1) // stride[i] + 1
            for i in (0, 1)
        )
        x, x8 = numbers(rng, shape, dtype)
        weight, weight8 = numbers(rng, (outputs, shape[1] // groups, *filter), dtype)
        bias, bias8 = numbers(rng, (outputs,), dtype)
        dy, dy8 = numbers(rng, (shape[0], outputs, *size), dtype)
        y, dx, dweight = conv2_reference(x8, weight8, dy8, stride, padding, dilation, groups)
        a, b, c, d = (xp.asarray(each) for each in (x, weight, bias, dy))
        name, tolerance = f"conv2 {shape} {filter} {settings}", TOLERANCE[dtype]
        yield name, called(conv2_cuda, a, b, c, **settings), y + bias8[:, None, None], tolerance
        yield f"{name} without bias", called(conv2_cuda, a, b, None, **settings), y, tolerance
        yield f"{name} dx", called(conv2_dx_cuda, d, b, size=shape[2:], **settings), dx, tolerance
        found = called(conv2_dweight_cuda, d, a, filter=filter, **settings)
        yield f"{name} dweight", found, dweight, tolerance


# -- Pooling -------------------------------------------------------------------------------

POOLS = [  # x, filter, stride, padding
    ((100, 6, 24, 24), (2, 2), (2, 2), (0, 0)),
    ((3, 4, 17, 15), (3, 3), (2, 2), (1, 1)),
    ((2, 3, 9, 8), (3, 2), (1, 1), (1, 0)),
    ((2, 2, 11, 7), (2, 2), (3, 3), (0, 0)),
    ((1, 1, 20, 20), (17, 16), (2, 3), (8, 8)),
]


def pools(xp, dtype):
    from autograph.ops.pool2.cuda_kernels import (
        max_pool2_cuda,
        max_pool2_dx_cuda,
        mean_pool2_cuda,
        mean_pool2_dx_cuda,
    )

    rng = np.random.default_rng(2)
    for shape, filter, stride, padding in POOLS:
        x, x8 = numbers(rng, shape, dtype)
        x.reshape(-1)[7], x8.reshape(-1)[7] = np.nan, np.nan
        x[0, 0, 2:4, 2:4] = x8[0, 0, 2:4, 2:4] = 1.5  # equals: the first wins
        size = tuple((shape[2 + i] + 2 * padding[i] - filter[i]) // stride[i] + 1 for i in (0, 1))
        dy, dy8 = numbers(rng, (*shape[:2], *size), dtype)
        y, index, dx = max_pool2_reference(x8, dy8, filter, stride, padding)
        settings = {"filter": filter, "stride": stride, "padding": padding}
        a, d = xp.asarray(x), xp.asarray(dy)
        name, tolerance = f"max_pool2 {shape} {settings}", TOLERANCE[dtype]
        found, found_index = called(max_pool2_cuda, a, **settings)
        yield name, found, y, 0.0
        yield f"{name} index", found_index, index, 0.0
        found = called(max_pool2_dx_cuda, d, found_index, size=shape[2:], **settings)
        yield f"{name} dx", found, dx, tolerance

        finite8 = np.nan_to_num(x8)
        finite = xp.asarray(finite8.astype(dtype))
        y, dx = mean_pool2_reference(finite8, dy8, filter, stride, padding)
        name = f"mean_pool2 {shape} {settings}"
        yield name, called(mean_pool2_cuda, finite, **settings), y, tolerance
        yield f"{name} dx", called(mean_pool2_dx_cuda, d, size=shape[2:], **settings), dx, tolerance


# -- Products ------------------------------------------------------------------------------

PRODUCTS = [  # leading axes of a and of b, M, K, N
    ((), (), 100, 256, 128),
    ((), (), 100, 84, 10),
    ((), (), 1, 7, 1),
    ((), (), 33, 2000, 17),
    ((), (), 700, 65, 300),
    ((5,), (5,), 9, 20, 40),
    ((2, 3), (3,), 8, 16, 12),
    ((4,), (), 6, 5, 3),
]


def products(xp, dtype):
    from autograph.ops.linear.cuda_kernels import linear_cuda, matmul_cuda
    from autograph.ops.reduce.cuda_kernels import sum_to_cuda

    rng = np.random.default_rng(3)
    for a_lead, b_lead, m, k, n in PRODUCTS:
        a, a8 = numbers(rng, (*a_lead, m, k), dtype)
        b, b8 = numbers(rng, (*b_lead, k, n), dtype)
        x, weight, tolerance = xp.asarray(a), xp.asarray(b), TOLERANCE[dtype]
        name = f"matmul {a.shape} {b.shape}"
        yield name, called(matmul_cuda, x, weight), a8 @ b8, tolerance
        if a_lead or b_lead:
            continue
        bias, bias8 = numbers(rng, (n,), dtype)
        dy, dy8 = numbers(rng, (m, n), dtype)
        slope = xp.asarray(dy)
        name = f"linear {m} {k} {n}"
        yield name, called(linear_cuda, x, weight, xp.asarray(bias)), a8 @ b8 + bias8, tolerance
        yield f"{name} dx", called(matmul_cuda, slope, weight.T), dy8 @ b8.T, tolerance
        yield f"{name} dweight", called(matmul_cuda, x.T, slope), a8.T @ dy8, tolerance
        yield f"{name} of one", called(linear_cuda, x[0], weight, None), a8[0] @ b8, tolerance
        yield f"{name} dbias", called(sum_to_cuda, slope, shape=(n,)), dy8.sum(0), tolerance


BACKS = [(100, 84, 10), (1, 7, 1), (33, 300, 70), (100, 256, 128)]  # N, I, O


def backs(xp, dtype):
    from autograph.ops.linear.cuda_back import (
        linear_back_cuda,
        linear_dweight_cuda,
        linear_relu_back_cuda,
        linear_relu_dweight_cuda,
    )

    rng = np.random.default_rng(9)
    for n, i, o in BACKS:
        (x, x8), (weight, weight8) = numbers(rng, (n, i), dtype), numbers(rng, (i, o), dtype)
        (dy, dy8), (y, y8) = numbers(rng, (n, o), dtype), numbers(rng, (n, o), dtype)
        a, b, d, z = (xp.asarray(each) for each in (x, weight, dy, y))
        for name, slope8, whole, part, given in (
            ("linear", dy8, linear_back_cuda, linear_dweight_cuda, (d,)),
            (
                "linear relu", dy8 * (y8 > 0), linear_relu_back_cuda, linear_relu_dweight_cuda,
                (d, z),
            ),
        ):  # fmt: skip
            expected = slope8 @ weight8.T, x8.T @ slope8, slope8.sum(0)
            found = called(whole, *given, a, b)
            rest = called(part, *given, a, *([b] if name == "linear relu" else []))
            for what, got, wanted in zip(
                ("dx", "dweight", "dbias", "dweight alone", "dbias alone"),
                (*found, *rest), (*expected, *expected[1:]), strict=True,
            ):  # fmt: skip
                yield f"{name} {n} {i} {o} {what}", got, wanted, TOLERANCE[dtype]


# -- Reductions ----------------------------------------------------------------------------

REDUCTIONS = [  # shape, axes
    ((100, 10), (1,)),
    ((100, 10), (0,)),
    ((8, 6, 24, 24), (0, 2, 3)),
    ((4, 5, 6, 7), (1, 3)),
    ((3, 70, 5), (1,)),
    ((100003,), (0,)),
    ((3, 100000), (1,)),
    ((50000, 3), (0,)),
    ((2, 1, 3), (1,)),
    ((6, 4), ()),
]


def reductions(xp, dtype):
    from autograph.ops.reduce.cuda_kernels import reduce_cuda

    rng = np.random.default_rng(4)
    for shape, axes in REDUCTIONS:
        x, x8 = numbers(rng, shape, dtype)
        a = xp.asarray(x)
        name = f"{shape} {axes}"
        # numbers of either sign cancel: what is left is small beside what was added
        cancelled = np.abs(x8).sum(axes).max() / np.abs(x8.sum(axes)).max()
        near = TOLERANCE[dtype] * float(cancelled) ** 0.5
        yield f"sum {name}", reduce_cuda(a, "Sum", axes), x8.sum(axes), near
        mean = x8.mean(axes, keepdims=True)
        yield f"mean {name}", reduce_cuda(a, "Mean", axes, True), mean, near
        yield f"max {name}", reduce_cuda(a, "Max", axes), x8.max(axes), 0.0
        yield f"min {name}", reduce_cuda(a, "Min", axes), x8.min(axes), 0.0
        if len(axes) == 1:
            found = reduce_cuda(a, "ArgMax", axes, dtype="i8")
            yield f"argmax {name}", found, x8.argmax(axes[0]), 0.0
    x = rng.standard_normal((4, 300)).astype(dtype)
    x[1, 5] = x[1, 9] = np.nan
    x[2, 3] = x[2, 8] = 9
    x8, a = x.astype("f8"), xp.asarray(x)
    yield "max keeps NaN", reduce_cuda(a, "Max", (1,)), x8.max(1), 0.0
    yield "the first of equals", reduce_cuda(a, "ArgMax", (1,), dtype="i8"), x8.argmax(1), 0.0
    whole = rng.integers(-100, 100, (30, 400)).astype("i4")
    b = xp.asarray(whole)
    yield "integers", reduce_cuda(b, "Sum", (1,), dtype="i8"), whole.sum(1), 0.0
    truth = xp.asarray(whole > 98)
    yield "any", reduce_cuda(truth, "Any", (1,), dtype="?"), (whole > 98).any(1), 0.0
    yield "all", reduce_cuda(truth, "All", (0,), dtype="?"), (whole > 98).all(0), 0.0
    factors = (1 + x8[:, :40] / 10)[[0, 3]].astype(dtype)
    found = reduce_cuda(xp.asarray(factors), "Product", (1,))
    yield "product", found, factors.astype("f8").prod(1), 20 * TOLERANCE[dtype]


# -- Loss ----------------------------------------------------------------------------------


def losses(xp, dtype):
    from autograph.ops.loss.cuda_kernels import (
        cross_entropy_loss_cuda,
        cross_entropy_loss_dx_cuda,
        tally_cuda,
    )

    rng = np.random.default_rng(5)
    for n, c, index in ((100, 10, "i8"), (1, 1, "i4"), (1000, 33, "u1"), (37, 5000, "i4"),
        (9, 1024, "i8"), (3, 20001, "i8"), (1100, 7, "i4"),
    ):  # fmt: skip
        x = rng.standard_normal((n, c)).astype(dtype) * dtype.type(30)
        x8 = x.astype("f8")
        target = rng.integers(0, min(c, 256), n).astype(index)
        shifted = x8 - x8.max(1, keepdims=True)
        log_probability = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        expected = -log_probability[np.arange(n), target].mean()
        slope = np.exp(log_probability)
        slope[np.arange(n), target] -= 1
        slope *= 0.5 / n
        a, t, dy = xp.asarray(x), xp.asarray(target), xp.asarray(np.array(0.5, dtype))
        loss, rows = called(cross_entropy_loss_cuda, a, t)
        near = TOLERANCE[dtype]
        yield f"cross entropy {n} {c}", loss, expected, near
        wide = min(near, 20 * TOLERANCE[F32])  # exp of differences that float32 rounds
        yield f"largest of rows {n} {c}", rows[0], x8.max(1), 0.0
        yield f"sums of rows {n} {c}", rows[1], np.exp(shifted).sum(1), wide
        found = called(cross_entropy_loss_dx_cuda, dy, a, t, rows)
        yield f"cross entropy {n} {c} dx", found, slope, max(near, wide)
        sums = xp.asarray(np.array([7.0, 1.0, 2.0]))
        called(tally_cuda, sums, loss, a, t)
        hits = float((x8.argmax(1) == target).sum())
        yield f"tally {n} {c}", sums, np.array([7 + n, 1 + expected * n, 2 + hits]), near


# -- Pointwise -----------------------------------------------------------------------------

POINTWISE = [  # inputs, expression, parts, NumPy's way
    ("x", "x / (1 + exp(-x))", {}, lambda x: x / (1 + np.exp(-x))),
    ("x", "where(x <= 0, 0.0, x)", {}, lambda x: np.where(x <= 0, 0.0, x)),
    (
        "dy x",
        "dy * s * (1 + x * (1 - s))",
        {"s": "1 / (1 + exp(-x))"},
        lambda dy, x: dy / (1 + np.exp(-x)) * (1 + x * (1 - 1 / (1 + np.exp(-x)))),
    ),
    ("a b", "maximum(a, b) + a * b - minimum(a, 0.25)", {}, lambda a, b: (
        np.maximum(a, b) + a * b - np.minimum(a, 0.25)
    )),
    ("a b c", "where(a > b, a, c) * 2", {}, lambda a, b, c: np.where(a > b, a, c) * 2),
    ("a b", "a // b + a % b + abs(a) ** 1.5", {}, lambda a, b: a // b + a % b + abs(a) ** 1.5),
    ("x", "erf(x) + log1p(abs(x)) + tanh(x) + rsqrt(1 + x * x)", {}, lambda x: (
        np.vectorize(__import__("math").erf)(x) + np.log1p(abs(x)) + np.tanh(x)
        + 1 / np.sqrt(1 + x * x)
    )),
]  # fmt: skip

BROADCASTS = [  # one shape an input, as many as are needed
    ((1001,), (1001,), (1001,)),
    ((16, 6, 8, 8), (6, 1, 1), (16, 6, 8, 8)),
    ((32, 64), (64,), ()),
    ((32, 64), (32, 1), (1, 64)),
    ((7, 5, 3), (5, 1), (7, 1, 3)),
    ((), (), ()),
]


def pointwise(xp, dtype):
    from autograph.backends.cuda.pointwise import pointwise_kernel
    from autograph.expression import Program

    rng = np.random.default_rng(8)
    for names, text, parts, reference in POINTWISE:
        program = Program.of(tuple(names.split()), text, parts)
        for shapes in BROADCASTS if "c" in names or names == "a b" else BROADCASTS[:2]:
            given = [numbers(rng, shape, dtype) for shape in shapes[: len(names.split())]]
            arrays = [xp.asarray(x) for x, _ in given]
            run = pointwise_kernel(
                program, [dtype] * len(given), [x.shape for x, _ in given], dtype
            )
            expected = reference(*[x8 for _, x8 in given])
            # // may fall on either side of a whole number, and % with it
            yield f"{text} {shapes}", run(*arrays), expected, 4 * TOLERANCE[dtype]
    program = Program.of(("x", "rate"), "x * rate", {})
    x, x8 = numbers(rng, (33,), dtype)
    run = pointwise_kernel(program, [dtype, None], [(33,), ()], dtype)
    yield "a number", run(xp.asarray(x), 0.5), x8 * 0.5, TOLERANCE[dtype]
    program = Program.of(("a", "b"), "(a > b) & ~(a == b)", {})
    y, y8 = numbers(rng, (33,), dtype)
    run = pointwise_kernel(program, [dtype, dtype], [(33,), (33,)], "?")
    yield "a test", run(xp.asarray(x), xp.asarray(y)), (x8 > y8) & ~(x8 == y8), 0.0


CASES: dict[str, Case] = {
    each.__name__: each
    for each in (convolutions, pools, products, backs, reductions, losses, pointwise)
}
