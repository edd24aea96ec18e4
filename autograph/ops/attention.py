"""Scaled dot-product attention (Vaswani and others, 2017), block by block, so that the matrix of
all scores is never stored (Dao, Fu, Ermon, Rudra and Ré, 2022).

Shapes: q (..., L, E), k (..., S, E), v (..., S, D), y (..., L, D). `mask` broadcasts to
(..., L, S): where it is False nothing is seen, or it is added to the scores. `causal`: row i sees
columns up to i. A row that sees nothing answers zeros. `rate`: the share of weights that dropout
sets to zero, by throws that `key` and `counter` (2,) decide; each row begins a block of words.
"""

from functools import partial
from math import prod, sqrt

import numpy as np

from ..backends import CUDNN, CUPY, NATIVE, NUMPY, namespace
from ..errors import ScalarTypeError, SettingsError, ShapeError
from ..op import Op
from ..scalar_type import BOOL, ScalarType
from .broadcast import sum_to_arrays
from .declare import REQUIRED, alike, undoing
from .elementwise import add, multiply, where
from .matmul import matmul
from .random import check_counter, key_of
from .random.numpy_kernels import words_at
from .shape import copy, permute_dims
from .softmax import softmax

scaled_dot_product_attention = Op(
    "scaled_dot_product_attention",
    "q k v mask? counter?",
    saves="normaliser",
    promotes="q k v",
    floats=True,
)
attention_back = Op(
    "attention_back",
    "dy y q k v normaliser mask? counter?",
    outputs="dq dk dv",
    promotes="dy y q k v",
)
attention_dmask = Op(
    "attention_dmask", "dy y q k v normaliser mask counter?", promotes="dy y q k v"
)
attention_kept = Op("attention_kept", "counter", promotes="")

for _op in (scaled_dot_product_attention, attention_back):
    _op.kernels_from(NATIVE, ".native_attention_kernels")
    _op.kernels_from(CUDNN, ".cudnn_attention")

ROWS, COLUMNS = 256, 512  # of a block of scores; whole blocks of four words


@scaled_dot_product_attention.settings_by
def attention_settings(*, causal=False, scale=None, key=None, rate=0.0):
    if not 0 <= rate <= 1:
        raise SettingsError(
            f"scaled_dot_product_attention: rate is {rate!r}\n  write a number from 0 to 1"
        )
    key = None if key is None else key_of(key)
    return {"causal": causal, "scale": scale, "key": key, "rate": rate}


@scaled_dot_product_attention.outlined_by
def attention_outline(q, k, v, mask, counter, *, causal, scale, key, rate):
    if rate:
        if counter is None or key is None:
            raise SettingsError(
                f"scaled_dot_product_attention: dropout wants a counter and a key\n"
                f"  rate     {rate}\n  counter  {counter}\n  key      {key}"
            )
        check_counter("scaled_dot_product_attention", counter)
    fits = (
        min(q.ndim, k.ndim, v.ndim) >= 2
        and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
        and q.shape[-1] == k.shape[-1]
        and k.shape[-2] == v.shape[-2]
    )
    if not fits:
        raise ShapeError(
            f"scaled_dot_product_attention: q, k and v do not fit\n"
            f"  q  {q.shape}  ... L E\n  k  {k.shape}  ... S E\n  v  {v.shape}  ... S D"
        )
    if mask is not None:
        scores = (*q.shape[:-1], k.shape[-2])
        pairs = zip(mask.shape[::-1], scores[::-1], strict=False)
        if mask.ndim > len(scores) or any(m not in (1, size) for m, size in pairs):
            raise ShapeError(
                f"scaled_dot_product_attention: the mask does not broadcast to the scores\n"
                f"  mask    {mask.shape}\n  scores  {scores}"
            )
        if mask.scalar_type is not BOOL and not mask.scalar_type.is_float:
            raise ScalarTypeError(
                f"scaled_dot_product_attention: mask is {mask.scalar_type}\n"
                f"  write bools of what is seen, or floats that are added to the scores"
            )
    normaliser = q.like((*q.shape[:-1], 1), q.scalar_type.accumulator)
    return q.like(shape=(*q.shape[:-1], v.shape[-1])), normaliser


def _product(a, b):
    """a @ b; on a device by the op, because CuPy's own cannot be recorded."""
    return a @ b if namespace(a) is np else matmul(a, b)


def _blocks(size, step):
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def _scores(q, k, mask, rows, columns, causal, scale):
    """A block of scores, -inf where nothing is seen."""
    xp = namespace(q)
    scores = _product(q[..., rows, :], k[..., columns, :].swapaxes(-1, -2))
    scores *= q.dtype.type(1 / sqrt(q.shape[-1]) if scale is None else scale)
    hidden = q.dtype.type(-np.inf)
    if mask is not None:
        here = xp.broadcast_to(mask, (*q.shape[:-1], k.shape[-2]))[..., rows, columns]
        if mask.dtype == np.bool_:
            scores = xp.where(here, scores, hidden)
        else:
            scores += here.astype(scores.dtype)
    if causal and columns.stop > rows.start + 1:
        i, j = xp.arange(rows.start, rows.stop), xp.arange(columns.start, columns.stop)
        scores = xp.where(i[:, None] >= j, scores, hidden)
    return scores


def _kept(shape, rows, columns, counter, key, rate):
    """Which weights of a block dropout keeps."""
    xp = namespace(counter)
    *batch, length, size = shape
    room = -(-size // 4)
    first, last = columns.start // 4, -(-columns.stop // 4)
    samples = xp.arange(prod(batch), dtype=np.uint64).reshape(-1, 1, 1)
    row = xp.arange(rows.start, rows.stop, dtype=np.uint64)[:, None]
    blocks = (samples * np.uint64(length) + row) * np.uint64(room)
    blocks = blocks + xp.arange(first, last, dtype=np.uint64)
    words = words_at(counter, blocks, key).reshape(*batch, row.size, -1)
    words, limit = words[..., : columns.stop - columns.start], round(rate * 2**32)
    return words >= np.uint32(limit) if limit < 2**32 else words != words


def _dropped(x, shape, rows, columns, counter, key, rate):
    """A block with what dropout drops set to zero, and the rest made larger for it."""
    if rate:
        x = x * _kept(shape, rows, columns, counter, key, rate)
        x *= x.dtype.type(_larger(rate))
    return x


def _larger(rate):
    return 1 / (1 - rate) if rate < 1 else 0.0


def _seen(rows, size, causal):
    """The blocks of columns that some of these rows see."""
    return _blocks(min(size, rows.stop) if causal else size, COLUMNS)


@scaled_dot_product_attention.kernel(NUMPY, CUPY)
def attention_arrays(q, k, v, mask, counter, *, causal, scale, key, rate):
    """y = softmax(q @ k.T * scale + mask) @ v, with a running maximum and sum of each row."""
    xp, length, shape = namespace(q), q.shape[-2], (*q.shape[:-1], k.shape[-2])
    y = xp.zeros((*q.shape[:-1], v.shape[-1]), q.dtype)
    normaliser = xp.full((*q.shape[:-1], 1), -np.inf, q.dtype)  # log(sum(exp(scores)))
    for rows in _blocks(length, ROWS):
        largest = xp.full_like(normaliser[..., rows, :], -np.inf)
        total, found = xp.zeros_like(largest), xp.zeros_like(y[..., rows, :])
        for columns in _seen(rows, k.shape[-2], causal):
            scores = _scores(q, k, mask, rows, columns, causal, scale)
            higher = xp.maximum(largest, scores.max(axis=-1, keepdims=True))
            base = xp.where(higher == -np.inf, q.dtype.type(0), higher)  # where nothing is seen
            power, kept = xp.exp(scores - base), xp.exp(largest - base)
            total = total * kept + power.sum(axis=-1, keepdims=True)
            power = _dropped(power, shape, rows, columns, counter, key, rate)
            found = found * kept + _product(power, v[..., columns, :])
            largest = higher
        some = total != 0
        total = xp.where(some, total, q.dtype.type(1))
        y[..., rows, :] = xp.where(some, found / total, q.dtype.type(0))
        normaliser[..., rows, :] = xp.where(some, largest + xp.log(total), q.dtype.type(np.inf))
    return y, normaliser


@scaled_dot_product_attention.gradient("q", "k", "v")
def attention_gradient(y, q, k, v, mask, counter, *, normaliser, **settings):
    counter = _now(counter)
    return lambda dy: attention_back(dy, y, q, k, v, normaliser, mask, counter, **settings)


@scaled_dot_product_attention.gradient("mask")
def attention_mask_gradient(y, q, k, v, mask, counter, *, normaliser, **settings):
    counter = _now(counter)
    return lambda dy: attention_dmask(dy, y, q, k, v, normaliser, mask, counter, **settings)


def _now(counter):
    """The counter as it is at the forward: it moves on before the gradient throws again."""
    return None if counter is None else copy(counter)


# -- gradients: the weights of a block are made again from its scores --------------------------


def _deltas(dy, y, q, k, v, normaliser, mask, counter, causal, scale, key, rate):
    """(rows, columns, weights as dropout leaves them, gradient of the scores with mask) of every
    block. The gradient is weights * (d - sum of weights * d in the row), a sum that is also
    dy * y; where y is None, because it was rounded, each row is gone through twice."""
    xp, shape = namespace(q), (*q.shape[:-1], k.shape[-2])

    def block(rows, columns):
        scores = _scores(q, k, mask, rows, columns, causal, scale)
        weights = xp.exp(scores - normaliser[..., rows, :])
        deltas = _product(dy[..., rows, :], v[..., columns, :].swapaxes(-1, -2))
        drop = partial(
            _dropped, shape=shape, rows=rows, columns=columns, counter=counter, key=key, rate=rate
        )
        return weights, drop(weights), drop(deltas)

    for rows in _blocks(q.shape[-2], ROWS):
        seen = _seen(rows, k.shape[-2], causal)
        if y is None:
            both = (block(rows, columns)[::2] for columns in seen)
            shared = sum((a * b).sum(axis=-1, keepdims=True) for a, b in both)
        else:
            shared = (dy[..., rows, :] * y[..., rows, :]).sum(axis=-1, keepdims=True)
        for columns in seen:
            weights, dropped, deltas = block(rows, columns)
            yield rows, columns, dropped, (deltas - shared) * weights


def _widened(y, *arrays):
    """Halves as f32, and no y where it is a half."""
    half = ScalarType.of(y).is_half
    wide = ScalarType.of(y).accumulator.dtype
    given = (x if x is None or x.dtype == np.bool_ else x.astype(wide, copy=False) for x in arrays)
    return None if half else y, *given


alike(attention_back, "q k v", causal=REQUIRED, scale=REQUIRED, key=None, rate=0.0)
alike(attention_dmask, "mask", causal=REQUIRED, scale=REQUIRED, key=None, rate=0.0)
undoing(attention_back, scaled_dot_product_attention)
undoing(attention_dmask, scaled_dot_product_attention)


@attention_back.kernel(NUMPY, CUPY, halves=True)
def attention_back_arrays(dy, y, q, k, v, normaliser, mask, counter, *, scale, **settings):
    y, dy, q, k, v, mask = _widened(y, dy, q, k, v, mask)
    xp = namespace(q)
    dq, dk, dv = xp.zeros_like(q), xp.zeros_like(k), xp.zeros_like(v)
    factor = q.dtype.type(1 / sqrt(q.shape[-1]) if scale is None else scale)
    for rows, columns, weights, deltas in _deltas(
        dy, y, q, k, v, normaliser, mask, counter, scale=scale, **settings
    ):
        deltas *= factor
        dq[..., rows, :] += _product(deltas, k[..., columns, :])
        dk[..., columns, :] += _product(deltas.swapaxes(-1, -2), q[..., rows, :])
        dv[..., columns, :] += _product(weights.swapaxes(-1, -2), dy[..., rows, :])
    return dq, dk, dv


@attention_dmask.kernel(NUMPY, CUPY, halves=True)
def attention_dmask_arrays(dy, y, q, k, v, normaliser, mask, counter, **settings):
    """The gradient of all scores, summed to the mask's shape: this one stores the matrix."""
    y, dy, q, k, v, mask = _widened(y, dy, q, k, v, mask)
    whole = namespace(q).zeros((*q.shape[:-1], k.shape[-2]), q.dtype)
    for rows, columns, _, deltas in _deltas(dy, y, q, k, v, normaliser, mask, counter, **settings):
        whole[..., rows, columns] = deltas
    return sum_to_arrays(whole, shape=mask.shape)


# -- all throws at once, for the parts --------------------------------------------------------


@attention_kept.outlined_by
def attention_kept_outline(counter, *, shape, key, rate):
    check_counter("attention_kept", counter)
    return counter.like(shape=shape, scalar_type=BOOL)


@attention_kept.kernel(NUMPY, CUPY)
def attention_kept_arrays(counter, *, shape, key, rate):
    return _kept(shape, slice(0, shape[-2]), slice(0, shape[-1]), counter, key, rate)


@attention_kept.sampled_by
def attention_kept_samples(rng):
    counter = np.array([2, 3], np.uint64)
    yield (counter,), {"shape": (2, 3, 5), "key": 7, "rate": 0.4}
    yield (counter,), {"shape": (3, 4), "key": 7, "rate": 1.0}


# -- parts and samples -------------------------------------------------------------------


@scaled_dot_product_attention.composed_by
def attention_parts(q, k, v, mask=None, counter=None, *, causal, scale, key, rate):
    axes = (*range(len(k.shape) - 2), len(k.shape) - 1, len(k.shape) - 2)
    factor = 1 / sqrt(q.shape[-1]) if scale is None else scale
    scores = multiply(matmul(q, permute_dims(k, axes=axes)), factor)
    seen = None
    if mask is not None and str(mask.dtype) == "bool":
        seen = mask
    elif mask is not None:
        scores = add(scores, mask)
    if causal:
        below = np.tri(q.shape[-2], k.shape[-2], dtype=bool)
        scores = where(_beside(scores, below), scores, -np.inf)
    if seen is not None:
        scores = where(seen, scores, -np.inf)
    weights = softmax(scores, axis=-1)
    if rate:
        shape = (*q.shape[:-1], k.shape[-2])
        kept = attention_kept(counter, shape=shape, key=key, rate=rate)
        weights = where(kept, multiply(weights, _larger(rate)), 0.0)
    return matmul(weights, v)


def _beside(x, array):
    """An array of constants on the device of x."""
    return type(x)(array, device=x.device) if hasattr(x, "outline") else array


@scaled_dot_product_attention.sampled_by
def attention_samples(rng):
    def normal(*shape):
        return rng.normal(size=shape)

    yield (normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 3), None, None), {}
    yield (normal(2, 2, 4, 3), normal(2, 2, 4, 3), normal(2, 2, 4, 3), None, None), {"causal": True}
    seen = normal(3, 5) > -0.5
    seen[:, 0] = True
    yield (normal(3, 4), normal(5, 4), normal(5, 2), seen, None), {"scale": 0.3}
    yield (normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 2), normal(3, 5), None), {"causal": True}
    yield (normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 2), normal(2, 1, 5), None), {}
    counter, throws = np.array([0, 3], np.uint64), {"key": (1, 2), "rate": 0.4}
    yield (normal(2, 3, 4), normal(2, 6, 4), normal(2, 6, 2), None, counter), throws
    yield (normal(4, 2), normal(4, 2), normal(4, 2), normal(4, 4), counter), throws
