"""What the device kernels of updates, batches and random words are tested on, as `cases` says."""

from __future__ import annotations

import numpy as np

from .cases import F32, TOLERANCE, Case, called, numbers

# -- Updates -------------------------------------------------------------------------------

SGD = (
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"momentum": 0.8, "dampening": 0.1, "maximize": True},
)
ADAM = (
    {},
    {"weight_decay": 0.1, "maximize": True},
    {"weight_decay": 0.1, "decoupled": True, "largest": True},
)


def updates(xp, dtype):
    from autograph.ops.update.cuda_kernels import adam_update_cuda, sgd_update_cuda, tick_cuda

    rng = np.random.default_rng(6)
    half = dtype.itemsize == 2
    state = F32 if half else dtype
    rate, near = 0.1, TOLERANCE[state]
    for size in (46920, 7):
        for settings in SGD:
            given = {"momentum": 0.0, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0,
                     "maximize": False} | settings  # fmt: skip
            w8, v8 = rng.standard_normal(size).astype(dtype).astype("f8"), np.zeros(size)
            w, step, pace = _moving(xp, w8, dtype, rate)
            master = xp.asarray(w8.astype(state)) if half else None
            velocity = xp.asarray(v8.astype(state)) if given["momentum"] else None
            for count in range(3):
                dw, dw8 = numbers(rng, (size,), dtype)
                called(sgd_update_cuda, w, xp.asarray(dw), step, pace, velocity, master, **given)
                sgd_reference(w8, dw8, v8, rate, count, **given)
            name = f"sgd {size} {settings}"
            yield name, w if master is None else master, w8, near
            yield f"{name} rounded", w, w8, TOLERANCE[dtype]
            yield f"{name} counted", step, 3, 0.0
        for settings in ADAM:
            given = {"weight_decay": 0.0, "decoupled": False, "maximize": False} | settings
            has_largest = given.pop("largest", False)
            w8, m8 = rng.standard_normal(size).astype(dtype).astype("f8"), np.zeros((3, size))
            w, step, pace = _moving(xp, w8, dtype, rate)
            master = xp.asarray(w8.astype(state)) if half else None
            first, second, top = (xp.asarray(each.astype(state)) for each in m8)
            largest = top if has_largest else None
            for count in range(3):
                dw, dw8 = numbers(rng, (size,), dtype)
                called(
                    adam_update_cuda, w, xp.asarray(dw), step, pace, first, second, largest,
                    master, beta1=0.9, beta2=0.999, epsilon=1e-8, **given,
                )  # fmt: skip
                adam_reference(w8, dw8, m8, rate, count + 1, has_largest, **given)
            name = f"adam {size} {settings}"
            yield name, w if master is None else master, w8, 4 * near
            yield f"{name} rounded", w, w8, TOLERANCE[dtype]
    table, count = xp.asarray(np.array([0.5, 0.25])), xp.asarray(np.array(0))
    pace = xp.asarray(np.array(0.0))
    for _ in range(3):
        called(tick_cuda, pace, count, table)
    yield "tick", pace, 0.25, 0.0
    yield "tick counts", count, 3, 0.0


def product_steps(xp, dtype):
    """What goes into a product that is added to a weight."""
    from autograph.ops.update.cuda_product import factors, scaling

    rng, rate, near = np.random.default_rng(12), 0.1, TOLERANCE[dtype]
    for shape in ((24, 40), (3, 5), (700, 8)):
        for maximize in (False, True):
            x, x8 = numbers(rng, shape, dtype)
            _, step, pace = _moving(xp, x8, dtype, rate)
            scaled, scale = scaling(xp.asarray(x), maximize)
            scale(pace, step)
            yield f"scaled {shape} {maximize}", scaled, (rate if maximize else -rate) * x8, near
            yield f"scaled {shape} counted", step, 1, 0.0
            found = factors(pace, step, maximize)
            yield f"factors {maximize}", found, [rate if maximize else -rate, 1], 1e-7
            yield f"factors {maximize} counted", step, 2, 0.0


def updates_together(xp, dtype):
    """What updates of one parameter after the other give, to the bit."""
    from autograph.ops.update.cuda_kernels import (
        adam_update_cuda,
        adam_updates_cuda,
        sgd_update_cuda,
        sgd_updates_cuda,
    )

    rng = np.random.default_rng(10)
    half = dtype.itemsize == 2
    state = F32 if half else dtype
    sgd = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    adam = {"weight_decay": 0.1, "decoupled": True}
    for one, whole, remembered, settings in (
        (sgd_update_cuda, sgd_updates_cuda, 1, sgd),
        (adam_update_cuda, adam_updates_cuda, 3, adam),
    ):
        sizes, alone, together = (46920, 7, 1, 4096, 1025), [], []
        for i, size in enumerate(sizes):
            w8 = rng.standard_normal(size)
            values = [w8.astype(dtype), rng.standard_normal(size).astype(dtype), np.array(i % 2)]
            values += [abs(rng.standard_normal(size)).astype(state) for _ in range(remembered)]
            values.append(w8.astype(dtype).astype(state) if half else None)
            for parts in (alone, together):
                parts.append([None if each is None else xp.asarray(each) for each in values])
        rate = xp.asarray(np.array(0.1))
        for _ in range(2):
            for w, dw, step, *rest in alone:
                called(one, w, dw, step, rate, *rest, **settings)
            called(whole, rate, *[each for part in together for each in part], **settings)
        for size, part, expected in zip(sizes, together, alone, strict=True):
            for i, (got, wanted) in enumerate(zip(part, expected, strict=True)):
                if got is not None:
                    wanted = wanted.get() if hasattr(wanted, "get") else wanted
                    yield f"{whole.__name__} {size} {i}", got, wanted.astype("f8"), 0.0


def _moving(xp, w8, dtype, rate):
    return xp.asarray(w8.astype(dtype)), xp.asarray(np.array(0)), xp.asarray(np.array(rate))


def sgd_reference(w, dw, v, rate, count, momentum, dampening, nesterov, weight_decay, maximize):
    dw = (-dw if maximize else dw) + weight_decay * w
    if momentum:
        v *= momentum
        v += (1 - dampening if count else 1) * dw
        dw = dw + momentum * v if nesterov else v
    w -= rate * dw


def adam_reference(w, dw, moments, rate, step, has_largest, weight_decay, decoupled, maximize):
    dw = -dw if maximize else dw
    if decoupled:
        w *= 1 - rate * weight_decay
    else:
        dw = dw + weight_decay * w
    moments[0] += (1 - 0.9) * (dw - moments[0])
    moments[1] += (1 - 0.999) * (dw * dw - moments[1])
    moments[2] = np.maximum(moments[2], moments[1])
    size = np.sqrt(moments[2 if has_largest else 1] / (1 - 0.999**step)) + 1e-8
    w -= rate * (moments[0] / (1 - 0.9**step)) / size


# -- Batches and random words --------------------------------------------------------------


def batches(xp, dtype):
    from autograph.ops.batch_rows.cuda_kernels import gather_cuda

    rng = np.random.default_rng(7)
    for shape in ((500, 28, 28), (300, 5), (40,)):
        x = rng.integers(0, 256, shape).astype("u1")
        index = rng.integers(0, len(x), 100)
        a, i = xp.asarray(x), xp.asarray(index)
        expected = x[index].astype("f8")
        found = gather_cuda(a, i, dtype=dtype, scale=1 / 255, shift=-0.5)
        yield f"gather {shape} scaled", found, expected / 255 - 0.5, TOLERANCE[dtype]
        yield f"gather {shape}", gather_cuda(a, i), expected, 0.0


def random_words(xp, dtype):
    from autograph.ops.random.cuda_kernels import random_words_cuda

    counter = xp.asarray(np.array([5, 9], "u8"))
    key = 0x123456789ABCDEF0
    for size in (4096, 7):
        found = called(random_words_cuda, counter, key=key, size=size)
        yield f"random words {size}", found, philox_reference(5, 9, key, size), 0.0


def philox_reference(first, stream, key, size):
    """Philox 4x32-10 in Python's whole numbers."""
    words, mask = [], 0xFFFFFFFF
    for i in range(first, first + -(-size // 4)):
        a, b, c, d = i & mask, i >> 32, stream & mask, stream >> 32
        key0, key1 = key & mask, key >> 32
        for _ in range(10):
            high0, low0 = divmod(0xD2511F53 * a, 1 << 32)
            high1, low1 = divmod(0xCD9E8D57 * c, 1 << 32)
            a, b, c, d = high1 ^ b ^ key0, low1, high0 ^ d ^ key1, low0
            key0, key1 = (key0 + 0x9E3779B9) & mask, (key1 + 0xBB67AE85) & mask
        words += [a, b, c, d]
    return np.array(words[:size], "u4")


CASES: dict[str, Case] = {
    each.__name__: each
    for each in (updates, product_steps, updates_together, batches, random_words)
}
