"""The loops of Winograd's way through convolution + bias + relu + max pooling, and back to the
places that the pooled gradient came from."""

from ...backends.host.intrinsics import bits, from_bits
from ...backends.host.jit import kernel
from ...backends.host.scalars import f32, i32, i64, u8
from ...backends.host.window_tiles import DEAD
from ...backends.host.winograd_tiles import OUTPUT
from .pooling_loops import pool_image
from .winograd_loops import WIDE, one_image


@kernel
def convolve_pool(
    task, tasks: int, images: int, x: "T", x_n: int, c: int, h: int, w: int, x_c: int, x_h: int,
    x_w: int, top: int, left: int, height: int, width: int, copies: int, scratch: f32,
    room_size: int, plan: i64, strip: int, forms: i64, columns: f32, phase: i64, weight: "T",
    w_o: int, w_c: int, w_r: int, w_s: int, o: int, bias: int, tile: i64, p: int, q: int,
    stride_r: int, stride_s: int, pad_r: int, pad_s: int, pp: int, qq: int, y: "T", index: u8,
):  # fmt: skip
    """y, index = relu and max_pool of the convolution; windows are WR x WS."""
    room = scratch + task * room_size
    for n in range(task * images // tasks, (task + 1) * images // tasks):
        one_image(
            x + n * x_n, c, h, w, x_c, x_h, x_w, top, left, height, width, copies,
            room + p * q * o, plan, strip, forms, WIDE + OUTPUT, columns, phase, weight, w_o, w_c,
            w_r, w_s, o, bias, tile, tile, 4, p, q, room,
        )  # fmt: skip
        pool_image(
            room, o, p, q, o, stride_r, stride_s, pad_r, pad_s, pp, qq, (n + 1) * pp * qq * o,
            n * pp * qq * o, y, index,
        )  # fmt: skip


@kernel
def unpool(
    task, shares: int, images: int, dy: "T", index: u8, p: int, q: int, o: int, stride_r: int,
    stride_s: int, pad_r: int, pad_s: int, pp: int, qq: int, deltas: "T", biases: f32,
):  # fmt: skip
    """The gradient behind relu and max_pool of windows that do not overlap, and what the images of
    a share add to the gradient of the bias."""
    bias = biases + task * o
    for k in range(o):
        bias[k] = 0.0
    for n in range(task * images // shares, (task + 1) * images // shares):
        image = deltas + n * p * q * o
        for i in range(p * q * o):
            image[i] = 0.0
        for window in range(pp * qq):
            row, column = window // qq * stride_r - pad_r, window % qq * stride_s - pad_s
            here = dy + (n * pp * qq + window) * o
            places = index + (n * pp * qq + window) * o
            for k in range(o):
                bias[k] += from_bits(i32(0) if places[k] == DEAD else bits(here[k]))
            for r in range(max(0, 0 - row), min(WR, p - row)):
                for s in range(max(0, 0 - column), min(WS, q - column)):
                    there, place = image + ((row + r) * q + column + s) * o, i32(r * WS + s)
                    for k in range(o):
                        there[k] = from_bits(bits(here[k]) if places[k] == place else i32(0))


@kernel
def sum_biases(task, shares: int, o: int, biases: f32, out: "T"):
    """The sum over shares, in order."""
    for k in range(o):
        total = f32(0.0)
        for share in range(shares):
            total += biases[share * o + k]
        out[k] = total
