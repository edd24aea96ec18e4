"""A sum and its layer normalisation in one op, as behind a shortcut: the sum goes on, what comes
next sees it normalised.

Shapes: x, plus, sum and y (..., F); weight and bias (F,), F being the last `axes` axes. The sum has
the wider scalar type of x and plus, y that of weight: so what goes on may be f32 among halves.
"""

from ...backends import CUDA, CUPY, NUMPY
from ...errors import ShapeError
from ...op import Op
from ...outline import Outline
from ...scalar_type import promote
from ..cast import cast
from ..declare import REQUIRED, alike, asked
from ..elementwise import add
from .layer_norm import feature_view, layer_norm, layer_norm_outline
from .standardise import standardise_back

add_layer_norm = Op(
    "add_layer_norm",
    "x plus weight bias",
    outputs="sum y",
    saves="mean scale",
    promotes="weight bias",
    floats=True,
)
standardise_plus_back = Op(
    "standardise_plus_back",
    "dsum? dy x mean scale weight",
    outputs="dx dplus dweight dbias",
    promotes="",
)
for _op in (add_layer_norm, standardise_plus_back):
    _op.kernels_from(CUDA, ".cuda_rows")


@add_layer_norm.outlined_by
def add_layer_norm_outline(x, plus, weight, bias, *, axes=1, epsilon=1e-5):
    if plus.shape != x.shape:
        raise ShapeError(
            f"add_layer_norm: plus has another shape than x\n"
            f"  x     {x.shape}\n  plus  {plus.shape}"
        )
    total = x.like(scalar_type=promote(x.scalar_type, plus.scalar_type))
    y, *saved = layer_norm_outline(total, weight, bias, axes=axes, epsilon=epsilon)
    return total, y.like(scalar_type=weight.scalar_type), *saved


@add_layer_norm.composed_by
def add_layer_norm_parts(x, plus, weight, bias, **settings):
    total = add(x, plus)
    return total, cast(layer_norm(total, weight, bias, **settings), scalar_type=weight.scalar_type)


@add_layer_norm.kernel(NUMPY, CUPY)
def add_layer_norm_arrays(x, plus, weight, bias, **settings):
    total = add(x, plus)
    plan = layer_norm.plan([Outline.of(each) for each in (total, weight, bias)], settings)
    return total, *layer_norm.run(plan, [total, weight, bias])[1]


@add_layer_norm.gradient("x", "plus", "weight", "bias")
def add_layer_norm_gradient(own, x, plus, weight, bias, *, mean, scale, axes, epsilon):
    total, view = own[0], feature_view("add_layer_norm", x, axes)

    def rule(slopes):
        dsum, dy = slopes
        if dy is None:
            return _as(dsum, x), _as(dsum, plus), None, None
        dx, dplus, *affine = standardise_plus_back(dsum, dy, total, mean, scale, weight, view=view)
        return _as(dx, x), _as(dplus, plus), *affine

    return rule


def _as(dx, x):
    """dx in the scalar type of x."""
    return dx if dx.dtype == x.dtype else cast(dx, scalar_type=Outline.of(x).scalar_type)


alike(standardise_plus_back, "x dy weight weight", view=REQUIRED)


@standardise_plus_back.kernel(NUMPY, CUPY)
def standardise_plus_back_arrays(dsum, dy, x, mean, scale, weight, *, view):
    """dx with dsum added, and dplus, the same in the scalar type of dy."""
    dx, *affine = standardise_back(dy, x, mean, scale, weight, view=view)
    dx = dx if dsum is None else add(dsum, dx)
    return dx, dx, *affine


@add_layer_norm.sampled_by
def add_layer_norm_samples(rng):
    for shape in ((3, 5), (2, 3, 8)):
        x, plus = rng.normal(size=shape), rng.normal(size=shape)
        yield (x, plus, rng.normal(size=shape[-1]), rng.normal(size=shape[-1])), {}


asked(standardise_plus_back, add_layer_norm)
