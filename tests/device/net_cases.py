"""What the device kernels of larger nets are tested on, as `cases` says."""

from __future__ import annotations

import numpy as np

from autograph.outline import Outline

from .cases import F32, TOLERANCE, Case, called, numbers

IMAGES = [(6, 64, 5, 7), (3, 200, 4, 4), (40, 16, 9, 9), (700, 24)]  # N, C, ...
ROWS = [(9, 512), (3, 37), (2, 4096), (1, 8), (1000, 64)]


def last(xp, x):
    """An array with its channels last in memory, where it is one of images."""
    return xp.asarray(x).transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2) if x.ndim == 4 else x


def channels(xp, dtype):
    """Batch normalisation, with what follows it, and back."""
    from autograph.ops.normalise.cuda_channels import (
        batch_norm_back_cuda,
        batch_norm_cuda,
        batch_norm_plus_back_cuda,
        batch_norm_relu_cuda,
    )

    rng, near = np.random.default_rng(11), TOLERANCE[dtype]
    wide = np.dtype("f8" if dtype.itemsize == 8 else "f4")
    for shape in IMAGES:
        c, axes = shape[1], (0, *range(2, len(shape)))
        if c % (16 // dtype.itemsize):
            continue
        across = (1, c, *[1] * (len(shape) - 2))
        x, x8 = numbers(rng, shape, dtype)
        x, x8 = (x8 + 2).astype(dtype), (x8 + 2).astype(dtype).astype("f8")
        (plus, plus8), (dy, dy8), (second, second8) = (numbers(rng, shape, dtype) for _ in range(3))
        (weight, weight8), (bias, bias8) = (numbers(rng, (c,), dtype) for _ in range(2))
        mean = x8.mean(axes, keepdims=True)
        scale = 1 / np.sqrt(x8.var(axes, keepdims=True) + 1e-5)
        z = (x8 - mean) * scale
        line = z * weight8.reshape(across) + bias8.reshape(across)
        a, p, d, e = (last(xp, xp.asarray(each)) for each in (x, plus, dy, second))
        w, b = xp.asarray(weight), xp.asarray(bias)
        running = [xp.asarray(np.zeros(c, wide)) for _ in range(2)]
        name, small = f"batch norm {shape}", TOLERANCE[wide]

        y, found_mean, found_scale = called(batch_norm_cuda, a, w, b, *running)
        yield name, y, line, near
        yield f"{name} mean", found_mean.reshape(across), mean, small
        yield f"{name} scale", found_scale.reshape(across), scale, 4 * small
        count = x8.size // c
        yield f"{name} running mean", running[0], 0.1 * mean.reshape(-1), small
        unbiased = x8.var(axes) * count / (count - 1)
        yield f"{name} running variance", running[1], 0.1 * unbiased, small
        y = called(batch_norm_relu_cuda, a, w, b, *running, p)[0]
        yield f"{name} plus relu", y, np.maximum(line + plus8, 0), near
        yield (
            f"{name} relu",
            called(batch_norm_relu_cuda, a, w, b, *running, None)[0],
            np.maximum(line, 0),
            near,
        )

        slanted = weight8.reshape(across) * scale

        def back(slope, z=z, axes=axes, slanted=slanted):
            means = [each.mean(axes, keepdims=True) for each in (slope, slope * z)]
            dx = slanted * (slope - means[0] - z * means[1])
            return dx, (slope * z).sum(axes), slope.sum(axes)

        saved = [xp.asarray(each.reshape(1, c, 1).astype(wide)) for each in (mean, scale)]
        for rectified, other, other8 in ((False, None, 0), (True, None, 0), (True, e, second8)):
            slope = np.where(line.astype(dtype) <= 0, 0, dy8 + other8) if rectified else dy8
            found = called(batch_norm_back_cuda, d, a, *saved, w, b, other, rectified=rectified)
            for what, got, wanted in zip(["x", "w", "b"], found, back(slope), strict=True):
                yield f"{name} {rectified} {other is not None} d{what}", got, wanted, 4 * near
        y8 = rng.standard_normal(shape)
        given = last(xp, xp.asarray(y8.astype(dtype)))
        for other, other8 in ((None, 0), (e, second8)):
            slope = np.where(y8.astype(dtype) <= 0, 0, dy8 + other8)
            found = called(batch_norm_plus_back_cuda, d, given, a, *saved, w, b, other)
            for what, got, wanted in zip(
                ["x", "w", "b", "plus"], found, (*back(slope), slope), strict=True
            ):
                yield f"{name} plus {other is not None} d{what}", got, wanted, 4 * near


def rows(xp, dtype):
    """Layer and root mean square normalisation, and softmax, there and back."""
    from autograph.ops.cuda_softmax_kernels import KERNELS
    from autograph.ops.normalise.cuda_rows import (
        add_layer_norm_cuda,
        layer_norm_cuda,
        rms_norm_cuda,
        standardise_back_cuda,
        standardise_plus_back_cuda,
    )
    from autograph.ops.normalise.layer_norm import feature_view

    rng, near = np.random.default_rng(12), TOLERANCE[dtype]
    wide = np.dtype("f8" if dtype.itemsize == 8 else "f4")
    for n, size in ROWS:
        shape, name = (n, size), f"rows {n} {size}"
        (x, x8), (plus, plus8), (dy, dy8) = (numbers(rng, shape, dtype) for _ in range(3))
        (weight, weight8), (bias, bias8) = (numbers(rng, (size,), dtype) for _ in range(2))
        a, p, d, w, b = (xp.asarray(each) for each in (x, plus, dy, weight, bias))

        def standardised(x):
            return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)

        expected = standardised(x8) * weight8 + bias8
        yield f"{name} layer norm", called(layer_norm_cuda, a, w, b)[0], expected, near
        total, y, *_ = called(add_layer_norm_cuda, a, p, w, b)
        yield f"{name} sum", total, x8 + plus8, near
        yield f"{name} normed sum", y, standardised(x8 + plus8) * weight8 + bias8, near
        root = np.sqrt((x8**2).mean(1, keepdims=True) + 1e-6)
        yield f"{name} rms norm", called(rms_norm_cuda, a, w)[0], x8 / root * weight8, near

        mean, scale = x8.mean(1, keepdims=True), 1 / np.sqrt(x8.var(1, keepdims=True) + 1e-5)
        z, slope = (x8 - mean) * scale, dy8 * weight8
        means = [each.mean(1, keepdims=True) for each in (slope, slope * z)]
        dx = scale * (slope - means[0] - z * means[1])
        saved = [xp.asarray(each.astype(wide)) for each in (mean, scale)]
        view = feature_view("layer_norm", x, 1)
        for what, found, extra in (
            ("", called(standardise_back_cuda, d, a, *saved, w, view=view), 0),
            (" plus", called(standardise_plus_back_cuda, p, d, a, *saved, w, view=view), plus8),
        ):
            yield f"{name}{what} dx", found[0], dx + extra, 4 * near
            yield f"{name}{what} dweight", found[-2], (dy8 * z).sum(0), 4 * near
            yield f"{name}{what} dbias", found[-1], dy8.sum(0), 4 * near
        if dtype.itemsize == 2:  # the sum goes on in f32
            given, small = x8.astype("f4"), TOLERANCE[F32]
            c, more = xp.asarray(given), xp.asarray(plus8.astype("f4"))
            total, y, *_ = called(add_layer_norm_cuda, c, p, w, b)
            yield f"{name} wide sum", total, x8 + plus8, small
            yield f"{name} norm of it", y, standardised(x8 + plus8) * weight8 + bias8, near
            for d_sum, extra in ((more, plus8), (None, 0)):
                found = called(standardise_plus_back_cuda, d_sum, d, c, *saved, w, view=view)
                yield f"{name} wide dx", found[0], dx + extra, 4 * small
                yield f"{name} wide dplus", found[1], dx + extra, near
                yield f"{name} wide dweight", found[2], (dy8 * z).sum(0), 4 * near

        power = np.exp(x8 - x8.max(1, keepdims=True))
        share = power / power.sum(1, keepdims=True)
        part = share.astype(dtype).astype("f8")
        y = xp.asarray(part.astype(dtype))
        yield f"{name} softmax", called(KERNELS["softmax"], a, axis=-1), share, near
        yield f"{name} log softmax", called(KERNELS["log_softmax"], a, axis=-1), np.log(share), near
        back = part * (dy8 - (dy8 * part).sum(1, keepdims=True))
        yield f"{name} softmax dx", called(KERNELS["softmax_dx"], d, y, axis=-1), back, 4 * near
        back = dy8 - np.exp(part) * dy8.sum(1, keepdims=True)
        yield (
            f"{name} log softmax dx",
            called(KERNELS["log_softmax_dx"], d, y, axis=-1),
            back,
            (4 * near),
        )


def added(xp, dtype):
    """Rows added up by index, few and many of them to a row of the total; 33,000 are sorted."""
    from autograph.ops.batch_rows.cuda_added import added_rows_cuda

    rng, near = np.random.default_rng(13), 4 * TOLERANCE[dtype]
    for size, count, width, index in (
        (40, 3000, 96, "i4"), (5, 17, 3, "i8"), (70000, 300, 40, "i4"), (1, 2000, 1, "i8"),
        (3, 900, 2500, "u1"), (10, 33000, 8, "i8"),
    ):  # fmt: skip
        rows, rows8 = numbers(rng, (count, width), dtype)
        places = rng.integers(0 if index == "u1" else -size, size, count).astype(index)
        expected = np.zeros((size, width))
        np.add.at(expected, places, rows8)
        found = added_rows_cuda(size, xp.asarray(places), xp.asarray(rows))
        yield f"added {size} {count} {width}", found, expected, near


def sums(xp, dtype):
    """The gradient of a bias, behind a relu and without one, and dx turned besides."""
    from autograph.backends.cuda.columns import has_whole_tiles
    from autograph.ops.linear.cuda_back import column_sums, turned_sums

    rng, near = np.random.default_rng(14), 4 * TOLERANCE[dtype]
    for n, o in ((5000, 64), (3, 1000), (700, 8), (20, 10), (1088, 128), (64, 192)):
        (dy, dy8), (y, y8) = numbers(rng, (n, o), dtype), numbers(rng, (n, o), dtype)
        d, z = xp.asarray(dy), xp.asarray(y)
        yield f"column sums {n} {o}", column_sums(d)[1], dy8.sum(0), near
        if o % 8:
            continue  # that runs by other ops
        dx, dbias = column_sums(d, z)
        slope = np.where(y8 <= 0, 0, dy8)
        yield f"column sums {n} {o} relu dx", dx, slope, 0.0
        yield f"column sums {n} {o} relu", dbias, slope.sum(0), near
        if not has_whole_tiles((n, o), dtype):
            continue
        for seen, right in ((z, slope), (None, dy8)):
            name = f"turned sums {n} {o}{'' if seen is None else ' relu'}"
            dx, dbias, turned = turned_sums(d, seen)
            yield f"{name} dx", dx, right, 0.0
            yield name, turned, right, 0.0
            yield f"{name} alone", turned_sums(d, seen, has_dx=False)[2], right, 0.0
            yield f"{name} dbias", dbias, right.sum(0), near


def few(xp, dtype):
    """Dense layers with few outputs, there and back."""
    from autograph.ops.linear import cuda_few, linear, linear_back, linear_dweight
    from autograph.plan import outlined

    rng, near = np.random.default_rng(16), 4 * TOLERANCE[dtype]
    for n, i, o in ((1000, 256, 10), (70, 2056, 3), (5, 520, 16), (300, 512, 1), (9, 4112, 12)):
        if o * dtype.itemsize > 64:
            continue
        (x, x8), (dy, dy8) = numbers(rng, (n, i), dtype), numbers(rng, (n, o), dtype)
        (weight, weight8), (bias, bias8) = numbers(rng, (i, o), dtype), numbers(rng, (o,), dtype)
        a, w, b, d = (xp.asarray(each) for each in (x, weight, bias, dy))

        def run(op, kernel, *arrays):
            outlines = [None if each is None else Outline.of(each) for each in arrays]
            return kernel(outlines, outlined(op, outlines, {}))(*arrays)

        name, y8, back = f"few {n} {i} {o}", x8 @ weight8, (x8.T @ dy8, dy8.sum(0))
        yield name, run(linear, cuda_few.linear_few_cuda, a, w, None), y8, near
        yield f"{name} bias", run(linear, cuda_few.linear_few_cuda, a, w, b), y8 + bias8, near
        dx, *found = run(linear_back, cuda_few.linear_few_back_cuda, d, a, w)
        yield f"{name} dx", dx, dy8 @ weight8.T, near
        alone = run(linear_dweight, cuda_few.linear_few_dweight_cuda, d, a)
        for got, again, expected in zip(found, alone, back, strict=True):
            yield f"{name} back", got, expected, near
            yield f"{name} back alone", again, expected, near


def gelus(xp, dtype):
    """A dense layer and its gelu, there and back, by products of a library."""
    from autograph.ops.linear.cuda_back import column_sums
    from autograph.ops.linear.cuda_relu import linear_gelu_tanh_cuda

    rng, near = np.random.default_rng(17), 4 * TOLERANCE[dtype]
    (x, x8), (weight, weight8) = numbers(rng, (70, 64), dtype), numbers(rng, (64, 72), dtype)
    bias, bias8 = numbers(rng, (72,), dtype)
    y, before = called(linear_gelu_tanh_cuda, *(xp.asarray(each) for each in (x, weight, bias)))
    yield "gelu before", before, x8 @ weight8 + bias8, near
    given8 = (x8 @ weight8 + bias8).astype(dtype).astype("f8")
    yield "gelu", y, gelu(given8), near
    dy, dy8 = numbers(rng, (70, 72), dtype)
    before8 = np.concatenate([rng.standard_normal((69, 72)) * 3, np.full((1, 72), -60.0)])
    before = before8.astype(dtype)
    dx, dbias = column_sums(xp.asarray(dy), xp.asarray(before), "gelu")
    step, before8 = 1e-5, before.astype("f8")
    slope = dy8 * (gelu(before8 + step) - gelu(before8 - step)) / (2 * step)
    yield "gelu dx", dx, slope, max(near, 1e-9)
    yield "gelu dbias", dbias, slope.sum(0), max(near, 1e-9)


def gelu(x):
    """In float64."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def layouts(xp, dtype):
    """Copies in another order."""
    from autograph.backends.cuda.arrange import arranged, channels_first, channels_last

    rng = np.random.default_rng(15)
    for shape in ((64, 64), (1028, 1032), (100, 136), (70, 47), (33, 784)):
        x, x8 = numbers(rng, shape, dtype)
        yield f"turned {shape}", arranged(xp.asarray(x).T), x8.T, 0.0
    for shape in ((3, 5, 33, 31), (2, 64, 3, 3), (4, 3, 20, 20), (1, 40, 40, 40), (2, 1, 4, 4)):
        x, x8 = numbers(rng, shape, dtype)
        a, there = xp.asarray(x), x8.transpose(0, 2, 3, 1)
        yield f"channels last {shape}", channels_last(a), there, 0.0
        filled = channels_last(a, shape[1] + 5)
        yield f"filled {shape}", filled, np.pad(there, [(0, 0)] * 3 + [(0, 5)]), 0.0
        yield f"channels first {shape}", channels_first(filled, shape[1]), x8, 0.0
        yield f"turned {shape}", arranged(a.transpose(3, 1, 0, 2)), x8.transpose(3, 1, 0, 2), 0.0
        yield f"a part {shape}", arranged(a[:, :, ::2, 1:]), x8[:, :, ::2, 1:], 0.0
        yield f"backwards {shape}", arranged(a[::-1, ..., ::-1]), x8[::-1, ..., ::-1], 0.0
        single = arranged(a.transpose(0, 2, 3, 1), F32)
        yield f"as float32 {shape}", single, there.astype("f4"), 0.0


CASES: dict[str, Case] = {
    each.__name__: each for each in (channels, rows, added, sums, few, gelus, layouts)
}
