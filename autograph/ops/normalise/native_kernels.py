"""Normalisations and their gradients by the host engine: rows, or channels of a batch.

A group is what one mean is taken of: `outer` pieces of `length` numbers, `skip` apart. Rows are
groups of one piece, whose numbers have a weight each; channels have one weight for all.
"""

import numpy as np

from ...backends import NATIVE
from ...backends.host.buffers import empty
from ...backends.host.intrinsics import plus, sqrt
from ...backends.host.jit import kernel
from ...backends.host.product import filling, shares
from ...backends.host.rows import add_up, sum_of
from ...backends.host.scalars import KINDS, f32, f64
from ...scalar_type import BF16, F32
from ..cast import cast
from .batch_norm import batch_norm, channel_view
from .layer_norm import feature_view, layer_norm
from .standardise import standardise_dweight, standardise_dx, statistics_shape


@kernel(reassociate=True)
def standardise(
    task, tasks: int, groups: int, outer: int, length: int, skip: int, step: int, epsilon: float,
    x: "T", weight: "T", bias: "T", y: "T", mean: f32, scale: f32, variance: f32,
):  # fmt: skip
    """y = (x - mean) * scale * weight + bias of each group; two passes for the statistics."""
    count = outer * length
    for group in range(task * groups // tasks, (task + 1) * groups // tasks):
        total, square, rest = f64(0.0), f64(0.0), f64(0.0)
        for i in range(outer):
            total += sum_of(group * step + i * skip, length, x)
        middle = f32(total / count)
        for i in range(outer):
            at, last = group * step + i * skip, group * step + i * skip + length
            while at < last:
                stop, part, off = min(last, at + 1024), f32(0.0), f32(0.0)
                for k in range(at, stop):
                    away = x[k] - middle
                    part += away * away
                    off += away
                square += part
                rest += off
                at = stop
        rest = rest / count  # what the first pass, in f32, has left
        middle = f32(middle + rest)
        spread = f32(square / count - rest * rest)
        rate = 1.0 / sqrt(spread + epsilon)
        mean[group] = middle
        scale[group] = rate
        variance[group] = spread
        for i in range(outer):
            here, there = x + (group * step + i * skip), y + (group * step + i * skip)
            slope, shift = rate, f32(0.0)
            if BY_GROUP:
                slope = rate * weight[group] if WEIGHT else rate
                shift = bias[group] if BIAS else f32(0.0)
            for k in range(length):
                z = (here[k] - middle) * slope
                z = z * weight[k] if WEIGHT & (not BY_GROUP) else z
                there[k] = z + (shift if BY_GROUP else bias[k]) if BIAS else z


@kernel(reassociate=True)
def standardise_back(
    task, tasks: int, groups: int, outer: int, length: int, skip: int, step: int, centre: int,
    dy: "T", x: "T", mean: f32, scale: f32, weight: "T", dx: "T",
):  # fmt: skip
    """g = dy * weight;  dx = scale * (g - mean(g) - z * mean(g * z)), z being standardised x."""
    for group in range(task * groups // tasks, (task + 1) * groups // tasks):
        middle, rate, total, along = mean[group], scale[group], f64(0.0), f64(0.0)
        whole = weight[group] if WEIGHT & BY_GROUP else f32(1.0)
        for i in range(outer):
            start, plain, both = group * step + i * skip, f32(0.0), f32(0.0)
            for k in range(length):
                g = dy[start + k] * weight[k] if WEIGHT & (not BY_GROUP) else dy[start + k]
                plain += g
                both += g * (x[start + k] - middle)
            total += plain
            along += both
        count = outer * length
        shift = f32(total / count) if centre else f32(0.0)
        slope = f32(along / count) * rate * rate
        for i in range(outer):
            start = group * step + i * skip
            for k in range(length):
                g = dy[start + k] * weight[k] if WEIGHT & (not BY_GROUP) else dy[start + k]
                away = x[start + k] - middle
                dx[start + k] = rate * whole * (g - shift - away * slope)


@kernel
def slopes(
    task, tasks: int, rows: int, length: int, dy: "T", x: "T", mean: f32, scale: f32, out: f32
):  # fmt: skip
    """out = dy * (x - mean) * scale, a mean and a scale for each row."""
    for row in range(task * rows // tasks, (task + 1) * rows // tasks):
        start, middle, rate = row * length, mean[row], scale[row]
        for k in range(start, start + length):
            out[k] = dy[k] * (x[k] - middle) * rate


@kernel
def slopes_of_channels(
    task, tasks: int, groups: int, outer: int, length: int, skip: int, step: int, dy: "T", x: "T",
    mean: f32, scale: f32, out: "T",
):  # fmt: skip
    """The sum of dy * (x - mean) * scale of each group."""
    for group in range(task * groups // tasks, (task + 1) * groups // tasks):
        middle, total = mean[group], f64(0.0)
        for i in range(outer):
            start, part = group * step + i * skip, f32(0.0)
            for k in range(start, start + length):
                part = plus(part, dy[k] * (x[k] - middle))
            total += part
        out[group] = f32(total) * scale[group]


@kernel
def follow(task, c: int, momentum: float, share: float, batch: f32, running: "T"):
    """running = running + momentum * (batch * share - running)."""
    for k in range(c):
        running[k] = running[k] + momentum * (batch[k] * share - running[k])


def takes(x, *others, **settings):
    return x.scalar_type in KINDS and x.size > 0


def groups_of(view):
    """(groups, outer, length, skip, step) and whether weights go by group; None if neither."""
    if view.axes == (1,) and len(view.shape) == 2 and view.weight[0] == 1:
        return (view.shape[0], 1, view.shape[1], 0, view.shape[1]), False
    if view.axes == (0, 2) and len(view.shape) == 3:
        n, c, pixels = view.shape
        return (c, n, pixels, c * pixels, pixels), True
    return None


def _standardised(x, weight, bias, view, epsilon):
    """A function to (y, mean, scale, variance) for these outlines."""
    (groups, *rest), by_group = groups_of(view)
    scalar, dtype, shape = KINDS[x.scalar_type], x.scalar_type.dtype, x.shape
    affine = {"WEIGHT": weight is not None, "BIAS": bias is not None}
    launch = standardise.of(T=scalar, BY_GROUP=by_group, **affine)
    tasks = shares(groups, 4 * x.size)
    saved = statistics_shape(view)

    def run(x, weight, bias):
        y = empty(shape, dtype)
        mean, scale, variance = (empty(saved, np.float32) for _ in range(3))
        launch(
            tasks, tasks, groups, *rest, float(epsilon), x, weight, bias, y, mean, scale, variance
        )
        return y, mean, scale, variance

    return run


@layer_norm.kernel(NATIVE, when=takes, halves=True, made=True)
def layer_norm_native(inputs, outputs, *, axes, epsilon):
    run = _standardised(*inputs, feature_view("layer_norm", inputs[0], axes), epsilon)
    return lambda x, weight, bias: run(x, weight, bias)[:3]


def takes_batch(x, weight, bias, *running, **settings):
    """Whether channels are long enough for vectors."""
    return (
        takes(x)
        and x.size >= 8 * x.shape[0] * x.shape[1]
        and x.size > x.shape[1]
        and all(each is None or each.scalar_type in KINDS for each in running)
    )


@batch_norm.kernel(NATIVE, when=takes_batch, halves=True, made=True)
def batch_norm_native(inputs, outputs, *, momentum, epsilon):
    x, running = inputs[0], inputs[3:]
    run_all = _standardised(*inputs[:3], channel_view(x), epsilon)
    c, count = x.shape[1], x.size // x.shape[1]
    follows = [None if each is None else follow.of(T=KINDS[each.scalar_type]) for each in running]

    def run(x, weight, bias, *running):
        y, mean, scale, variance = run_all(x, weight, bias)
        for launch, batch, share, kept in zip(
            follows, (mean, variance), (1.0, count / (count - 1)), running, strict=True
        ):
            if launch is not None:
                launch(1, c, float(momentum), share, batch, kept)
        return y, mean, scale

    return run


def takes_back(dy, x, mean, scale, *weight, view):
    in_f32 = mean.scalar_type is F32 and scale.scalar_type is F32
    return takes(x) and groups_of(view) is not None and in_f32


@standardise_dx.kernel(NATIVE, when=takes_back, halves=True, made=True)
def standardise_dx_native(inputs, outputs, *, view):
    x = inputs[1]
    (groups, *rest), by_group = groups_of(view)
    scalar, weight = KINDS[x.scalar_type], inputs[4] is not None
    launch = standardise_back.of(T=scalar, BY_GROUP=by_group, WEIGHT=weight)
    tasks = shares(groups, 4 * x.size)
    return filling(launch, outputs[0], tasks, tasks, groups, *rest, int(view.centre))


@standardise_dweight.kernel(
    NATIVE, halves=True, made=True,
    when=lambda dy, x, mean, scale, *, view: takes_back(dy, x, mean, scale, view=view),
)  # fmt: skip
def standardise_dweight_native(inputs, outputs, *, view):
    (groups, *rest), by_group = groups_of(view)
    scalar, tasks = KINDS[inputs[1].scalar_type], shares(groups, inputs[1].size)
    if by_group:
        return filling(slopes_of_channels.of(T=scalar), outputs[0], tasks, tasks, groups, *rest)
    launch, rows, length = slopes.of(T=scalar), groups, rest[1]

    def run(dy, x, mean, scale):
        each, out = empty((rows * length,), np.float32), empty(view.weight, np.float32)
        launch(tasks, tasks, rows, length, dy, x, mean, scale, each)
        add_up(each, f32, (1, rows, length), 1, out)
        return out if scalar is f32 else cast(out, scalar_type=BF16)

    return run
