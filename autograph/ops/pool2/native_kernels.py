"""2-d pooling and its gradients by the host engine, channels last or planes as x lies in memory."""

from math import prod

import numpy as np

from ...backends import NATIVE
from ...backends.host.buffers import empty
from ...backends.host.jit import kernel
from ...backends.host.product import scalar_of, shares
from ...backends.host.scalars import KINDS, f32, i32, u8
from ...outline import CHANNELS_LAST
from . import index_type, max_pool2, max_pool2_dx, mean_pool2, mean_pool2_dx, pooled_size


@kernel
def largest_of_windows(
    task, tasks: int, images: int, c: int, h: int, w: int, x_n: int, x_c: int, x_h: int, x_w: int,
    x: "T",
    p: int, q: int, stride_r: int, stride_s: int, pad_r: int, pad_s: int, y_n: int, y_c: int,
    y_h: int, y_w: int,
    y: "T", index: "I",
):  # fmt: skip
    """y, index: the largest of each window of R x S; the first of equals, but the last NaN."""
    for unit in range(task * images * p // tasks, (task + 1) * images * p // tasks):
        n, i = unit // p, unit % p
        row = i * stride_r - pad_r
        first_r, last_r = max(0, -row), min(R, h - row)
        if x_c == 1:
            for j in range(q):
                column = j * stride_s - pad_s
                first_s, last_s = max(0, -column), min(S, w - column)
                here, there = x + (n * x_n + row * x_h + column * x_w), n * y_n + i * y_h + j * y_w
                if (first_r == 0) & (last_r == R) & (first_s == 0) & (last_s == S):
                    for k in range(c):
                        largest(here + k, 0, R, 0, S, x_h, x_w, y, index, there + k)
                else:
                    for k in range(c):
                        largest(
                            here + k, first_r, last_r, first_s, last_s, x_h, x_w, y, index,
                            there + k,
                        )  # fmt: skip
        else:
            for k in range(c):
                for j in range(q):
                    column = j * stride_s - pad_s
                    first_s, last_s = max(0, -column), min(S, w - column)
                    here = x + (n * x_n + k * x_c + row * x_h + column * x_w)
                    there = n * y_n + k * y_c + i * y_h + j * y_w
                    largest(here, first_r, last_r, first_s, last_s, x_h, x_w, y, index, there)


def largest(here, first_r, last_r, first_s, last_s, line, step, y, index, there):
    """The largest of one window, and where it is."""
    best, place = here[first_r * line + first_s * step], i32(first_r * S + first_s)
    for r in range(first_r, last_r):
        for s in range(first_s, last_s):
            value = here[r * line + s * step]
            kept = (value <= best) | ((best != best) & (value == value))
            best = best if kept else value
            place = place if kept else i32(r * S + s)
    y[there] = best
    index[there] = place


@kernel
def spread_windows(
    task, tasks: int, images: int, c: int, h: int, w: int, dx_n: int, dx_c: int, dx_h: int,
    dx_w: int, dx: "T",
    p: int, q: int, stride_r: int, stride_s: int, pad_r: int, pad_s: int, dy_n: int, dy_c: int,
    dy_h: int, dy_w: int,
    dy: "T", i_n: int, i_c: int, i_h: int, i_w: int, index: "I", room: "A",
):  # fmt: skip
    """dx = dy where it was the largest, added up where windows overlap."""
    wide = room + task * h * w
    for unit in range(task * images * c // tasks, (task + 1) * images * c // tasks):
        n, k = unit // c, unit % c
        for i in range(h * w):
            wide[i] = 0.0
        for i in range(p):
            for j in range(q):
                place = index[n * i_n + k * i_c + i * i_h + j * i_w]
                at = (i * stride_r - pad_r + place // S) * w + j * stride_s - pad_s + place % S
                # from R * S on: none, where relu stopped the window; nor any outside of the image
                if (place < R * S) & ((TIGHT != 0) | ((at >= 0) & (at < h * w))):
                    wide[at] += dy[n * dy_n + k * dy_c + i * dy_h + j * dy_w]
        for i in range(h):
            for j in range(w):
                dx[n * dx_n + k * dx_c + i * dx_h + j * dx_w] = wide[i * w + j]


@kernel
def mean_of_windows(
    task, tasks: int, images: int, c: int, h: int, w: int, x: "T", p: int, q: int, stride_r: int,
    stride_s: int, pad_r: int, pad_s: int, high: int, wide: int, room: f32, y: "T",
):  # fmt: skip
    """y (N, P, Q, C) = the mean of each window of x (N, H, W, C), the border's zeros counted."""
    total = room + task * c
    for unit in range(task * images * p // tasks, (task + 1) * images * p // tasks):
        n, row = unit // p, unit % p * stride_r - pad_r
        for j in range(q):
            column = j * stride_s - pad_s
            for k in range(c):
                total[k] = 0.0
            for r in range(max(0, row), min(h, row + high)):
                for s in range(max(0, column), min(w, column + wide)):
                    here = x + ((n * h + r) * w + s) * c
                    for k in range(c):
                        total[k] += here[k]
            there = y + (unit * q + j) * c
            for k in range(c):
                there[k] = total[k] / float(high * wide)


@kernel
def spread_means(
    task, tasks: int, images: int, c: int, h: int, w: int, dx: "T", p: int, q: int, stride_r: int,
    stride_s: int, pad_r: int, pad_s: int, high: int, wide: int, room: f32, dy: "T",
):  # fmt: skip
    """dx = the shares of dy of the windows that cover a place."""
    total = room + task * h * w * c
    for n in range(task * images // tasks, (task + 1) * images // tasks):
        for k in range(h * w * c):
            total[k] = 0.0
        for i in range(p):
            for j in range(q):
                row, column = i * stride_r - pad_r, j * stride_s - pad_s
                here = dy + ((n * p + i) * q + j) * c
                for r in range(max(0, row), min(h, row + high)):
                    for s in range(max(0, column), min(w, column + wide)):
                        there = total + (r * w + s) * c
                        for k in range(c):
                            there[k] += here[k] / float(high * wide)
        for k in range(h * w * c):
            dx[n * h * w * c + k] = total[k]


def takes(x, *index, **settings):
    return x.scalar_type in KINDS


@max_pool2.kernel(NATIVE, when=takes, strided=True, halves=True)
def max_pool2_native(x, *, filter, stride, padding):
    (n, c, h, w), (p, q) = x.shape, pooled_size(x, filter, stride, padding)
    last, wanted = x.strides[1] == x.itemsize, index_type(filter).dtype
    y, index = (_image(n, c, p, q, dtype, last) for dtype in (x.dtype, wanted))
    tasks = shares(n * p, x.size)
    kind = u8 if wanted == np.uint8 else i32
    largest_of_windows.of(T=scalar_of(x), I=kind, R=filter[0], S=filter[1])(
        tasks, tasks, n, c, h, w, *_strides(x), x, p, q, *stride, *padding, *_strides(y), y, index
    )
    return y, index


@max_pool2_dx.kernel(NATIVE, when=takes, strided=True, halves=True)
def max_pool2_dx_native(dy, index, *, size, filter, stride, padding):
    (n, c, p, q), (h, w) = dy.shape, size
    dx = _image(n, c, h, w, dy.dtype, dy.strides[1] == dy.itemsize)
    tasks = shares(n * c, dx.size)
    kind = u8 if index.dtype == np.uint8 else i32
    room = empty((tasks * h * w,), np.float32)
    tight = int(kind is u8 and padding == (0, 0))  # no place is outside, whatever the index says
    kinds = {"T": scalar_of(dy), "I": kind, "A": scalar_of(room)}
    spread_windows.of(**kinds, R=filter[0], S=filter[1], TIGHT=tight)(
        tasks, tasks, n, c, h, w, *_strides(dx), dx, p, q, *stride, *padding, *_strides(dy), dy,
        *_strides(index), index, room,
    )  # fmt: skip
    return dx


@mean_pool2.kernel(NATIVE, when=takes, strided=CHANNELS_LAST, halves=True, made=True)
def mean_pool2_native(inputs, outputs, **settings):
    return _means(mean_of_windows, inputs[0], inputs[0], outputs[0], 1, **settings)


@mean_pool2_dx.kernel(NATIVE, when=takes, strided=CHANNELS_LAST, halves=True, made=True)
def mean_pool2_dx_native(inputs, outputs, *, size, **settings):
    return _means(spread_means, inputs[0], outputs[0], inputs[0], prod(size), **settings)


def _means(kernel, given, x, y, pixels, *, filter, stride, padding):
    """A function of one image array to another; x and y are outlines of the larger and the smaller
    of both."""
    (n, c, h, w), (p, q), last = x.shape, y.shape[2:], given.layout == CHANNELS_LAST
    images, length = (n, c) if last else (n * c, 1)
    tasks, launch = shares(images, x.size), kernel.of(T=KINDS[given.scalar_type])
    forward, dtype = kernel is mean_of_windows, given.scalar_type.dtype
    height, width = (p, q) if forward else (h, w)

    def run(array):
        out, room = _image(n, c, height, width, dtype, last), tasks * length * pixels
        both = (array, out) if forward else (out, array)
        launch(
            tasks, tasks, images, length, h, w, both[0], p, q, *stride, *padding, *filter,
            empty((room,), np.float32), both[1],
        )  # fmt: skip
        return out

    return run


def _image(n, c, h, w, dtype, last):
    """An image array, channels last in memory or not."""
    return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2) if last else empty((n, c, h, w), dtype)


def _strides(x):
    return tuple(step // x.itemsize for step in x.strides)
