"""Convolution, bias, relu and max pooling in one launch on a CUDA device, and back in two.

For windows that tile the image, stride and dilation 1 and one group, where an image, the weights
and the sums fit into the memory that a block shares; everything else runs by its parts.
"""

from pathlib import Path

import numpy as np

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, divide_up
from .pooled import (
    conv2_relu_max_pool2,
    conv2_relu_max_pool2_back,
    conv2_relu_max_pool2_dweight,
    pooled_outline,
)

_SOURCE = Path(__file__).with_name("pooled.cu")
_MEMORY = 96 * 1024  # bytes a block may share on every device since 8.6
_THREADS = 512
_BLOCKS = 256  # that share the samples on the way back: a constant, it orders the sums


def _plain(settings):
    return (
        settings["stride"] == settings["dilation"] == (1, 1)
        and settings["groups"] == 1
        and settings["pool_padding"] == (0, 0)
        and settings["pool_stride"] == settings["filter"]
    )


def _constants(x, weight, y, settings):
    (_, c, h, w), (o, _, r, s), (_, _, p, q) = x.shape, weight.shape, y.shape
    return {
        "Scalar": c_type(x.scalar_type.dtype),
        "C": c, "H": h, "W": w, "O": o, "R": r, "S": s, "P": p, "Q": q,
        "FH": settings["filter"][0], "FW": settings["filter"][1],
        "padding_h": settings["padding"][0], "padding_w": settings["padding"][1],
    }  # fmt: skip


def _image_size(size):
    rows, columns = size["H"] + 2 * size["padding_h"], size["W"] + 2 * size["padding_w"]
    return divide_up(size["C"] * rows * columns, 4) * 4


# -- forward ---------------------------------------------------------------------------


def _forward(x, weight, y, settings):
    """The constants of the forward kernel, and the bytes that a block shares."""
    size = _constants(x, weight, y, settings)
    window, places = size["FH"] * size["FW"], size["P"] * size["Q"]
    outputs = 4
    while outputs > 1 and (
        outputs * window > 32
        or divide_up(size["O"], outputs) * places * size["C"] < 384
        or divide_up(size["O"], outputs) * outputs > 1.2 * size["O"]
    ):
        outputs //= 2
    groups = divide_up(size["O"], outputs)
    shares = max(1, min(size["C"], _THREADS // (groups * places)))
    tasks = shares * groups * places
    size |= {
        "outputs": outputs, "OP": groups * outputs, "shares": shares,
        "threads": min(_THREADS, divide_up(tasks, 32) * 32),
    }  # fmt: skip
    depth = size["C"] * size["R"] * size["S"]
    numbers = _image_size(size) + depth * size["OP"]
    if shares > 1:
        numbers += shares * window * size["OP"] * places
    return size, numbers * x.scalar_type.accumulator.dtype.itemsize


def _takes(x, weight, bias, **settings):
    if not (x.scalar_type.is_float and x.size and _plain(settings)):
        return False
    y, _ = pooled_outline(x, weight, bias, **settings)
    size, memory = _forward(x, weight, y, settings)
    patch = (size["FH"] + size["R"] - 1) * (size["FW"] + size["S"] - 1)
    return memory <= _MEMORY and patch <= 64 and size["FH"] * size["FW"] <= 16


@conv2_relu_max_pool2.kernel(CUDA, when=_takes, made=True)
def pooled_cuda(inputs, outputs, **settings):
    from cupy import empty

    x, weight, bias = inputs
    size, memory = _forward(x, weight, outputs[0], settings)
    kernel = Kernel(
        _SOURCE, "pooled", size | {"has_bias": bias is not None},
        threads=size["threads"], shared=memory,
    )  # fmt: skip
    shape, dtype, blocks = outputs[0].shape, x.scalar_type.dtype, (x.shape[0],)

    def run(x, weight, bias):
        y, index = empty(shape, dtype), empty(shape, np.uint8)
        kernel(blocks, x, weight, NULL if bias is None else bias, y, index)
        return y, index

    return run


# -- back ------------------------------------------------------------------------------


def _back(dy, x, weight, settings, has_dx):
    """The constants of the backward kernel, and the bytes that a block shares."""
    size = _constants(x, weight, dy, settings)
    depth, places = size["C"] * size["R"] * size["S"], size["O"] * size["P"] * size["Q"]
    numbers = size["O"] * (depth + 1)
    splits = max(1, min(_THREADS // numbers, size["P"] * size["Q"]))
    piece = 4
    tasks = size["C"] * size["H"] * divide_up(size["W"], piece)
    dx_shares = max(1, min(size["O"], _THREADS // tasks))
    size |= {
        "splits": splits, "has_dx": has_dx, "dx_shares": dx_shares, "piece": piece,
        "threads": _THREADS,
    }  # fmt: skip
    shared = _image_size(size) + 2 * places
    parts = numbers * splits
    if has_dx:
        row = divide_up(size["W"] + size["S"], 4) * 4
        shared += size["O"] * ((size["H"] + size["R"] - 1) * row + depth)
        parts = max(parts, dx_shares * size["C"] * size["H"] * size["W"])
    return size, (shared + parts) * x.scalar_type.accumulator.dtype.itemsize


def _takes_back(has_dx):
    def takes(dy, index, x, weight, **settings):
        if not (x.scalar_type.is_float and x.size and _plain(settings)):
            return False
        size, memory = _back(dy, x, weight, settings, has_dx)
        inside = size["padding_h"] < size["R"] and size["padding_w"] < size["S"]
        each = divide_up(size["O"] * (size["C"] * size["R"] * size["S"] + 1), _THREADS)
        return memory <= _MEMORY and inside and each <= 16

    return takes


def _made_back(inputs, settings, has_dx):
    from cupy import empty

    dy, _, x, weight = inputs
    size, memory = _back(dy, x, weight, settings, has_dx)
    back = Kernel(_SOURCE, "pooled_back", size, threads=_THREADS, shared=memory)
    total = Kernel(_SOURCE, "pooled_sum", size)
    dtype, wide = x.scalar_type.dtype, x.scalar_type.accumulator.dtype
    x_shape, shape, channels = x.shape, weight.shape, weight.shape[:1]
    numbers = size["O"] * (size["C"] * size["R"] * size["S"] + 1)
    samples, blocks = np.int32(x.shape[0]), min(x.shape[0], _BLOCKS)
    grid, total_grid, count = (blocks,), (divide_up(numbers, 32),), np.int32(blocks)

    def run(dy, index, x, weight):
        dx = empty(x_shape, dtype) if has_dx else None
        partial = empty((blocks, numbers), wide)
        back(grid, dy, index, x, weight, NULL if dx is None else dx, partial, samples)
        dweight, dbias = empty(shape, dtype), empty(channels, dtype)
        total(total_grid, partial, dweight, dbias, count)
        return (dx, dweight, dbias) if has_dx else (dweight, dbias)

    return run


@conv2_relu_max_pool2_back.kernel(CUDA, when=_takes_back(True), made=True)
def pooled_back_cuda(inputs, outputs, **settings):
    return _made_back(inputs, settings, True)


@conv2_relu_max_pool2_dweight.kernel(CUDA, when=_takes_back(False), made=True)
def pooled_dweight_cuda(inputs, outputs, **settings):
    return _made_back(inputs, settings, False)
