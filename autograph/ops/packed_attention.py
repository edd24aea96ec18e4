"""Attention whose queries, keys and values come side by side out of one product.

Shapes: x (N, L, 3 * heads * E), the features of a place being q, k and v, each by head; y
(N, L, heads * E).
"""

from ..backends import CUDNN, CUPY, NUMPY
from ..errors import ShapeError
from ..op import Op
from ..outline import Outline
from .attention import attention_back, scaled_dot_product_attention
from .declare import REQUIRED, alike, asked
from .index import index
from .shape import permute_dims, reshape

packed_attention = Op("packed_attention", "x", saves="normaliser", floats=True)
packed_attention_back = Op("packed_attention_back", "dy y x normaliser", promotes="dy y x")
for _op in (packed_attention, packed_attention_back):
    _op.kernels_from(CUDNN, ".cudnn_attention")


@packed_attention.outlined_by
def packed_attention_outline(x, *, heads, causal=False, scale=None):
    if x.ndim != 3 or heads < 1 or x.shape[2] % (3 * heads):
        raise ShapeError(
            f"packed_attention: x holds q, k and v of every head\n"
            f"  x      {x.shape}  N L 3*heads*E\n  heads  {heads}"
        )
    n, length, size = x.shape
    saved = x.like((n, heads, length, 1), x.scalar_type.accumulator)
    return x.like(shape=(n, length, size // 3)), saved


def _apart(x, heads):
    """q, k and v (N, heads, L, E), views of an array x."""
    n, length, size = x.shape
    return x.reshape(n, length, 3, heads, size // (3 * heads)).transpose(2, 0, 3, 1, 4)


def _by_head(y, heads):
    """(N, L, heads * E) -> (N, heads, L, E), a view."""
    n, length, size = y.shape
    return y.reshape(n, length, heads, size // heads).transpose(0, 2, 1, 3)


def _run(op, given, settings):
    outlines = [None if each is None else Outline.of(each) for each in given]
    return op.run(op.plan(outlines, settings), given)[1]


@packed_attention.kernel(NUMPY, CUPY, halves=True)
def packed_attention_arrays(x, *, heads, **settings):
    given = [*_apart(x, heads), None]
    y, normaliser = _run(scaled_dot_product_attention, given, settings)
    n, length, size = x.shape
    return y.transpose(0, 2, 1, 3).reshape(n, length, size // 3), normaliser


@packed_attention.gradient("x")
def packed_attention_gradient(y, x, *, normaliser, **settings):
    return lambda dy: packed_attention_back(dy, y, x, normaliser, **settings)


alike(packed_attention_back, "x", heads=REQUIRED, causal=REQUIRED, scale=REQUIRED)


@packed_attention_back.kernel(NUMPY, CUPY, halves=True)
def packed_attention_back_arrays(dy, y, x, normaliser, *, heads, **settings):
    given = [_by_head(dy, heads), _by_head(y, heads), *_apart(x, heads), normaliser, None]
    found = _run(attention_back, given, {**settings, "key": None, "rate": 0.0})
    dx = x.copy()
    for place, part in zip(_apart(dx, heads), found, strict=True):
        place[...] = part
    return dx


@packed_attention.composed_by
def packed_attention_parts(x, *, heads, **settings):
    n, length, size = x.shape
    apart = permute_dims(
        reshape(x, shape=(n, length, 3, heads, size // (3 * heads))), axes=(2, 0, 3, 1, 4)
    )
    q, k, v = (index(apart, key=(i,)) for i in range(3))
    y = scaled_dot_product_attention(q, k, v, None, **settings)
    return reshape(permute_dims(y, axes=(0, 2, 1, 3)), shape=(n, length, size // 3))


@packed_attention.sampled_by
def packed_attention_samples(rng):
    yield (rng.normal(size=(2, 4, 18)),), {"heads": 3, "causal": True}
    yield (rng.normal(size=(1, 5, 6)),), {"heads": 1, "scale": 0.3}


asked(packed_attention_back, packed_attention)
