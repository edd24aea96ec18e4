"""Scaled dot-product attention (Vaswani and others, 2017), block by block, so that the matrix of
all scores is never stored (Dao, Fu, Ermon, Rudra and Ré, 2022).

Shapes: q (..., L, E), k (..., S, E), v (..., S, D), y (..., L, D). `mask` broadcasts to
(..., L, S): where it is False nothing is seen, or it is added to the scores. `causal`: row i sees
columns up to i. A row that sees nothing answers zeros.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import ScalarTypeError, ShapeError
from ..op import Op
from ..scalar_type import BOOL
from .broadcast import sum_to_arrays
from .elementwise import add, multiply, where
from .matmul import matmul
from .shape import permute_dims
from .softmax import softmax

scaled_dot_product_attention = Op(
    "scaled_dot_product_attention", "q k v mask?", saves="normaliser", promotes="q k v", floats=True
)
attention_back = Op(
    "attention_back", "dy y q k v normaliser mask?", outputs="dq dk dv", promotes="dy y q k v"
)
attention_dmask = Op(
    "attention_dmask", "dy y q k v normaliser mask", promotes="dy y q k v"
)

ROWS, COLUMNS = 256, 512  # of a block of scores


@scaled_dot_product_attention.outlined_by
def attention_outline(q, k, v, mask, *, causal=False, scale=None):
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
        if len(mask.shape) > len(scores) or np.broadcast_shapes(scores, mask.shape) != scores:
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


def _blocks(size, step):
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def _scores(q, k, mask, rows, columns, causal, scale):
    """A block of scores, -inf where nothing is seen."""
    xp = namespace(q)
    scores = q[..., rows, :] @ k[..., columns, :].swapaxes(-1, -2)
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


def _seen(rows, size, causal):
    """The blocks of columns that some of these rows see."""
    return _blocks(min(size, rows.stop) if causal else size, COLUMNS)


@scaled_dot_product_attention.kernel(NUMPY, CUPY)
def attention_arrays(q, k, v, mask, *, causal, scale):
    """y = softmax(q @ k.T * scale + mask) @ v, with a running maximum and sum of each row."""
    xp, length = namespace(q), q.shape[-2]
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
            found = found * kept + power @ v[..., columns, :]
            largest = higher
        some = total != 0
        total = xp.where(some, total, q.dtype.type(1))
        y[..., rows, :] = xp.where(some, found / total, q.dtype.type(0))
        normaliser[..., rows, :] = xp.where(some, largest + xp.log(total), q.dtype.type(np.inf))
    return y, normaliser


@scaled_dot_product_attention.gradient("q", "k", "v")
def attention_gradient(y, q, k, v, mask, *, normaliser, causal, scale):
    return lambda dy: attention_back(
        dy, y, q, k, v, normaliser, mask, causal=causal, scale=scale
    )


@scaled_dot_product_attention.gradient("mask")
def attention_mask_gradient(y, q, k, v, mask, *, normaliser, causal, scale):
    return lambda dy: attention_dmask(
        dy, y, q, k, v, normaliser, mask, causal=causal, scale=scale
    )


# -- gradients: the weights of a block are made again from its scores --------------------------


def _deltas(dy, y, q, k, v, normaliser, mask, causal, scale):
    """(rows, columns, weights, gradient of the scores with mask) of every block."""
    xp = namespace(q)
    shared = (dy * y).sum(axis=-1, keepdims=True)
    for rows in _blocks(q.shape[-2], ROWS):
        for columns in _seen(rows, k.shape[-2], causal):
            scores = _scores(q, k, mask, rows, columns, causal, scale)
            weights = xp.exp(scores - normaliser[..., rows, :])
            deltas = dy[..., rows, :] @ v[..., columns, :].swapaxes(-1, -2)
            deltas -= shared[..., rows, :]
            deltas *= weights
            yield rows, columns, weights, deltas


@attention_back.outlined_by
def attention_back_outline(dy, y, q, k, v, normaliser, mask, *, causal, scale):
    return q.like(), k.like(), v.like()


@attention_back.kernel(NUMPY, CUPY)
def attention_back_arrays(dy, y, q, k, v, normaliser, mask, *, causal, scale):
    xp = namespace(q)
    dq, dk, dv = xp.zeros_like(q), xp.zeros_like(k), xp.zeros_like(v)
    factor = q.dtype.type(1 / sqrt(q.shape[-1]) if scale is None else scale)
    for rows, columns, weights, deltas in _deltas(dy, y, q, k, v, normaliser, mask, causal, scale):
        deltas *= factor
        dq[..., rows, :] += deltas @ k[..., columns, :]
        dk[..., columns, :] += deltas.swapaxes(-1, -2) @ q[..., rows, :]
        dv[..., columns, :] += weights.swapaxes(-1, -2) @ dy[..., rows, :]
    return dq, dk, dv


@attention_dmask.outlined_by
def attention_dmask_outline(dy, y, q, k, v, normaliser, mask, *, causal, scale):
    return mask.like()


@attention_dmask.kernel(NUMPY, CUPY)
def attention_dmask_arrays(dy, y, q, k, v, normaliser, mask, *, causal, scale):
    """The gradient of all scores, summed to the mask's shape: this one stores the matrix."""
    whole = namespace(q).zeros((*q.shape[:-1], k.shape[-2]), q.dtype)
    for rows, columns, _, deltas in _deltas(dy, y, q, k, v, normaliser, mask, causal, scale):
        whole[..., rows, columns] = deltas
    return sum_to_arrays(whole, shape=mask.shape)


# -- parts and samples -------------------------------------------------------------------


@scaled_dot_product_attention.composed_by
def attention_parts(q, k, v, mask=None, *, causal, scale):
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
    return matmul(softmax(scores, axis=-1), v)


def _beside(x, array):
    """An array of constants on the device of x."""
    return type(x)(array, device=x.device) if hasattr(x, "device") else array


@scaled_dot_product_attention.sampled_by
def attention_samples(rng):
    def normal(*shape):
        return rng.normal(size=shape)

    yield (normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 3), None), {}
    yield (normal(2, 2, 4, 3), normal(2, 2, 4, 3), normal(2, 2, 4, 3), None), {"causal": True}
    seen = normal(3, 5) > -0.5
    seen[:, 0] = True
    yield (normal(3, 4), normal(5, 4), normal(5, 2), seen), {"scale": 0.3}
    yield (normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 2), normal(3, 5)), {"causal": True}
    yield (normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 2), normal(2, 1, 5)), {}
