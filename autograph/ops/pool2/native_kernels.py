"""2-d max pooling and its gradient by the host engine, channels last or planes, as x lies in
memory."""

import numpy as np

from ...backends import NATIVE
from ...backends.host.buffers import empty
from ...backends.host.jit import kernel
from ...backends.host.product import scalar_of, shares
from ...backends.host.scalars import i32, u8
from ...scalar_type import BF16, F32
from . import max_pool2, max_pool2_dx


@kernel
def largest_of_windows(
    task, tasks: int, images: int, c: int, h: int, w: int, x_n: int, x_c: int, x_h: int, x_w: int,
    x: "T",
    p: int, q: int, stride_r: int, stride_s: int, pad_r: int, pad_s: int, y_n: int, y_c: int,
    y_h: int, y_w: int,
    y: "T", index: "I",
):  # fmt: skip
    """y, index: the first of the largest of each window of R x S, NaN before all."""
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
                            here + k,
                            first_r,
                            last_r,
                            first_s,
                            last_s,
                            x_h,
                            x_w,
                            y,
                            index,
                            there + k,
                        )
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
            better = (value > best) | ((value != value) & (best == best))
            best = value if better else best
            place = i32(r * S + s) if better else place
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
                if place < R * S:  # above it: none, where relu stopped the window
                    at = (i * stride_r - pad_r + place // S) * w + j * stride_s - pad_s + place % S
                    wide[at] += dy[n * dy_n + k * dy_c + i * dy_h + j * dy_w]
        for i in range(h):
            for j in range(w):
                dx[n * dx_n + k * dx_c + i * dx_h + j * dx_w] = wide[i * w + j]


def takes(x, *index, **settings):
    return x.scalar_type in (F32, BF16)


@max_pool2.kernel(NATIVE, when=takes, strided=True, halves=True)
def max_pool2_native(x, *, filter, stride, padding):
    n, c, h, w = x.shape
    p, q = (
        (s + 2 * a - f) // t + 1 for s, f, t, a in zip((h, w), filter, stride, padding, strict=True)
    )
    last = x.strides[1] == x.itemsize
    index_type = np.uint8 if filter[0] * filter[1] <= 254 else np.int32
    y, index = (_image(n, c, p, q, dtype, last) for dtype in (x.dtype, index_type))
    tasks = shares(n * p, x.size)
    kind = u8 if index_type is np.uint8 else i32
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
    spread_windows.of(T=scalar_of(dy), I=kind, A=scalar_of(room), R=filter[0], S=filter[1])(
        tasks,
        tasks,
        n,
        c,
        h,
        w,
        *_strides(dx),
        dx,
        p,
        q,
        *stride,
        *padding,
        *_strides(dy),
        dy,
        *_strides(index),
        index,
        room,
    )
    return dx


def _image(n, c, h, w, dtype, last):
    """An image array, channels last in memory or not."""
    return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2) if last else empty((n, c, h, w), dtype)


def _strides(x):
    return tuple(step // x.itemsize for step in x.strides)
