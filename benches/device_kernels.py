"""Microseconds of every device kernel: `python -m benches.device_kernels`.

"device" is the time in a recorded graph of many runs, "call" that of a call from Python when the
device is not waited for. Rates count each operand once. It writes $OUT/device_kernels.json.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path

import cupy
import ml_dtypes
import numpy as np

from autograph.backends.cuda import lt
from autograph.backends.cuda.pointwise import pointwise_kernel
from autograph.backends.cuda.stream import PrivateMemory, enter, stream_of
from autograph.expression import Program
from autograph.op import REGISTRY
from autograph.ops.batch_rows.cuda_kernels import gather_cuda
from autograph.ops.conv2.cuda_kernels import conv2_cuda, conv2_dweight_cuda, conv2_dx_cuda
from autograph.ops.linear.cuda_kernels import product_cuda
from autograph.ops.loss.cuda_kernels import cross_entropy_loss_cuda, cross_entropy_loss_dx_cuda
from autograph.ops.pool2.cuda_kernels import max_pool2_cuda, max_pool2_dx_cuda
from autograph.ops.reduce.cuda_kernels import reduce_cuda
from autograph.ops.update.cuda_kernels import adam_update_cuda, sgd_update_cuda
from autograph.outline import Outline
from autograph.plan import outlined

F32, BF16 = np.dtype("f4"), np.dtype(ml_dtypes.bfloat16)
PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
SAME = PLAIN | {"padding": (1, 1)}
POOL = {"filter": (2, 2), "stride": (2, 2), "padding": (0, 0)}
rng = np.random.default_rng(0)


def normal(*shape, dtype=F32):
    return cupy.asarray(rng.standard_normal(shape, np.float32).astype(dtype))


def bound(kernel, *arrays, **settings):
    """A run of a kernel that is made for a signature; it is named after its op."""
    op = REGISTRY[kernel.__name__.removesuffix("_cuda")]
    outlines = [None if each is None else Outline.of(each) for each in arrays]
    settings = op.complete(settings)
    made = kernel(outlines, outlined(op, outlines, settings), **settings)
    return lambda: made(*arrays)


def device_time(run, stream):
    """Microseconds of one run inside a graph of several."""
    memory = PrivateMemory()
    with memory.use():
        run()
        stream.synchronize()
        start = time.perf_counter()
        run()
        stream.synchronize()
        runs = max(2, min(50, int(0.01 / (time.perf_counter() - start))))
        stream.begin_capture()
        try:
            for _ in range(runs):
                run()
        finally:
            graph = stream.end_capture()
    times = []
    for _ in range(15):
        start = time.perf_counter()
        graph.launch(stream)
        graph.launch(stream)
        stream.synchronize()
        times.append((time.perf_counter() - start) * 1e6 / (2 * runs))
    return statistics.median(times[3:])


def call_time(run, stream):
    """Microseconds that Python is busy with one call."""
    times = []
    for _ in range(9):
        stream.synchronize()
        start = time.perf_counter()
        for _ in range(50):
            run()
        times.append((time.perf_counter() - start) * 1e6 / 50)
    return statistics.median(times)


def lenet(dtype):
    """(name, run, bytes, multiply-adds) of the kernels of LeNet5 at batch 100."""
    x = normal(100, 1, 28, 28, dtype=dtype)
    w1, w2 = normal(6, 1, 5, 5, dtype=dtype), normal(16, 6, 5, 5, dtype=dtype)
    a1, p1 = normal(100, 6, 24, 24, dtype=dtype), normal(100, 6, 12, 12, dtype=dtype)
    a2 = normal(100, 16, 8, 8, dtype=dtype)
    _, i1 = bound(max_pool2_cuda, a1, **POOL)()
    yield "conv1", bound(conv2_cuda, x, w1, None, **PLAIN), 0, 100 * 576 * 150
    yield "conv1 dweight", bound(conv2_dweight_cuda, a1, x, filter=(5, 5), **PLAIN), 0, 8640000
    yield "conv2", bound(conv2_cuda, p1, w2, None, **PLAIN), 0, 100 * 64 * 2400
    yield "conv2 dx", bound(conv2_dx_cuda, a2, w2, size=(12, 12), **PLAIN), 0, 15360000
    yield "conv2 dweight", bound(conv2_dweight_cuda, a2, p1, filter=(5, 5), **PLAIN), 0, 15360000
    yield "pool1", bound(max_pool2_cuda, a1, **POOL), a1.nbytes, 0
    yield "pool1 dx", bound(max_pool2_dx_cuda, p1, i1, size=(24, 24), **POOL), a1.nbytes, 0
    for n, (i, o) in enumerate(((256, 128), (128, 84), (84, 10)), 1):
        h, w, d = (
            normal(100, i, dtype=dtype),
            normal(i, o, dtype=dtype),
            normal(100, o, dtype=dtype),
        )
        work = 100 * i * o
        yield f"dense{n}", lambda h=h, w=w: product_cuda(h, w), 0, work
        yield f"dense{n} dx", lambda d=d, w=w: product_cuda(d, w.T), 0, work
        yield f"dense{n} dweight", lambda h=h, d=d: product_cuda(h.T, d), 0, work
    scores, target = normal(100, 10, dtype=dtype), cupy.asarray(rng.integers(0, 10, 100))
    loss, rows = bound(cross_entropy_loss_cuda, scores, target)()
    yield "cross entropy", bound(cross_entropy_loss_cuda, scores, target), 0, 0
    run = bound(cross_entropy_loss_dx_cuda, loss, scores, target, rows)
    yield "cross entropy dx", run, 0, 0
    data = cupy.asarray(rng.integers(0, 256, (60000, 784)).astype("u1"))
    index = cupy.asarray(rng.integers(0, 60000, 100))
    yield "gather", lambda: gather_cuda(data, index, dtype=dtype, scale=1 / 255), 0, 0
    yield "sgd 46920", sgd(46920, dtype), 0, 0


def sgd(size, dtype):
    w, dw, v = normal(size, dtype=dtype), normal(size, dtype=dtype), normal(size)
    master = None if dtype == F32 else normal(size)
    step, rate = cupy.zeros((), "i8"), cupy.full((), 1e-9)
    settings = {"momentum": 0.9, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0}
    return bound(sgd_update_cuda, w, dw, step, rate, v, master, **settings, maximize=False)


def large(dtype):
    """The same for sizes that fill the device."""
    many = 1 << 26
    x, y, row = normal(many, dtype=dtype), normal(many, dtype=dtype), normal(1024, dtype=dtype)
    size = dtype.itemsize
    relu = pointwise_kernel(
        Program.of(("x",), "where(x <= 0, 0.0, x)", {}), [dtype], [x.shape], dtype
    )
    add = Program.of(("a", "b"), "a + b", {})
    both = pointwise_kernel(add, [dtype, dtype], [x.shape] * 2, dtype)
    wide = x.reshape(-1, 1024)
    biased = pointwise_kernel(add, [dtype, dtype], [wide.shape, row.shape], dtype)
    yield "relu", lambda: relu(x), 2 * many * size, 0
    yield "add", lambda: both(x, y), 3 * many * size, 0
    yield "add a row", lambda: biased(wide, row), 2 * many * size, 0
    yield "sum of all", lambda: reduce_cuda(x, "Sum", (0,)), many * size, 0
    yield "sum of rows", lambda: reduce_cuda(wide, "Sum", (1,)), many * size, 0
    yield "sum of columns", lambda: reduce_cuda(wide, "Sum", (0,)), many * size, 0
    yield "argmax of rows", lambda: reduce_cuda(wide, "ArgMax", (1,), dtype="i8"), many * size, 0
    w, dw, step = (
        normal(many // 2, dtype=dtype),
        normal(many // 2, dtype=dtype),
        cupy.zeros((), "i8"),
    )
    first, second, rate = normal(many // 2), abs(normal(many // 2)), cupy.full((), 1e-9)
    master = None if dtype == F32 else normal(many // 2)
    settings = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0}
    moved = (16 + 2 * 2 * size + (0 if master is None else 8)) - size  # dw is only read
    yield (
        "adam",
        bound(adam_update_cuda, w, dw, step, rate, first, second, None, master, **settings,
              decoupled=False, maximize=False),
        moved * many // 2, 0,
    )  # fmt: skip
    image, weight = normal(128, 64, 32, 32, dtype=dtype), normal(64, 64, 3, 3, dtype=dtype)
    work = 128 * 1024 * 64 * 576
    yield "conv 64-64", bound(conv2_cuda, image, weight, None, **SAME), 0, work
    yield "conv 64-64 dx", bound(conv2_dx_cuda, image, weight, size=(32, 32), **SAME), 0, work
    dweight = bound(conv2_dweight_cuda, image, image, filter=(3, 3), **SAME)
    yield "conv 64-64 dweight", dweight, 0, work
    a, b, bias = (
        normal(1024, 4096, dtype=dtype),
        normal(4096, 4096, dtype=dtype),
        normal(4096, dtype=dtype),
    )
    work = 1024 * 4096 * 4096
    yield "lt 1024 4096 4096", lambda: lt.matmul(a, b), 0, work
    yield "lt with bias", lambda: lt.matmul(a, b, bias), 0, work
    yield "lt dx", lambda: lt.matmul(a, b.T), 0, work
    yield "lt dweight", lambda: lt.matmul(a.T, a), 0, work
    c, d = normal(512, 512, dtype=dtype), normal(512, 512, dtype=dtype)
    yield "lt 512", lambda: lt.matmul(c, d), 0, 2**27
    c2, d2 = c[:256, :256], d[:256, :256]
    yield "own 256", lambda: product_cuda(c2, d2), 0, 2**24
    yield "lt 256", lambda: lt.matmul(c2, d2), 0, 2**24


def main() -> None:
    enter(0)
    stream = stream_of(0)
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    rows = []
    for dtype in (F32, BF16):
        for kernels in (lenet, large):
            for kernel, run, nbytes, work in kernels(dtype):
                try:
                    took = device_time(run, stream)
                    called = call_time(run, stream) if kernels is lenet else float("nan")
                except Exception as error:  # one that fails must not hide the others
                    print(f"{dtype} {kernel}: {type(error).__name__}: {error}")
                    continue
                rate = nbytes / took / 1e6 if nbytes else 2 * work / took / 1e6
                rows.append(
                    (str(dtype), kernel, took, called, rate, "TB/s" if nbytes else "TFLOP/s")
                )
    print(f"{name}: microseconds")
    for dtype, kernel, took, called, rate, unit in rows:
        print(f"{dtype:9} {kernel:20} device {took:9.2f}  call {called:6.2f}  {rate:8.2f} {unit}")
    (Path(os.environ.get("OUT", ".")) / "device_kernels.json").write_text(
        json.dumps({"device": name, "rows": rows})
    )


if __name__ == "__main__":
    main()
