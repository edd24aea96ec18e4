"""Layer and root mean square normalisation on a CUDA device: rows in registers, no atomics."""

from pathlib import Path

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, aligned, divide_up, number
from ...backends.cuda.rows import row_constants
from .add_norm import add_layer_norm, standardise_plus_back
from .layer_norm import feature_view, layer_norm
from .rms_norm import rms_norm
from .standardise import standardise_back, standardise_dweight, standardise_dx

_SOURCE = Path(__file__).with_name("rows.cu")
_BLOCKS = 396  # that share the rows on the way back: a constant, it orders the sums


def _constants(x, size, **flags):
    found = row_constants(size, x.scalar_type.dtype)
    return found and {"Scalar": c_type(x.scalar_type.dtype), **found, **flags}


def _takes(op):
    def takes(x, *affine, axes, epsilon):
        size = feature_view(op.name, x, axes).shape[1]
        return x.scalar_type.is_float and x.size > 0 and _constants(x, size) is not None

    return takes


def _forward(x, weight, bias, saved, view, epsilon, has_plus=False):
    """The launch from x, plus, weight and bias to their sum (or None), y, mean and scale."""
    from cupy import empty

    rows, size = view.shape
    constants = _constants(
        x, size, centred=view.centre, has_weight=weight is not None, has_bias=bias is not None,
        has_plus=has_plus,
    )  # fmt: skip
    kernel = Kernel(_SOURCE, "standardise_rows", constants)
    blocks, count = divide_up(rows, 256 // constants["lanes"]), number(rows)
    shape, dtype = x.shape, x.scalar_type.dtype
    place, epsilon = (saved.shape, saved.scalar_type.dtype), float(epsilon)

    def run(x, plus, weight, bias):
        total = empty(shape, dtype) if has_plus else None
        y, mean, scale = empty(shape, dtype), empty(*place), empty(*place)
        given = (NULL if each is None else each for each in (total, weight, bias))
        plus = NULL if plus is None else aligned(plus)
        kernel(blocks, aligned(x), plus, *given, y, mean, scale, count, epsilon)
        return total, y, mean, scale

    return run


@layer_norm.kernel(CUDA, when=_takes(layer_norm), made=True)
def layer_norm_cuda(inputs, outputs, *, axes, epsilon):
    x, weight, bias = inputs
    view = feature_view("layer_norm", x, axes)
    run = _forward(x, weight, bias, outputs[1], view, epsilon)
    return lambda x, weight, bias: run(x, None, weight, bias)[1:]


@rms_norm.kernel(CUDA, when=_takes(rms_norm), made=True)
def rms_norm_cuda(inputs, outputs, *, axes, epsilon):
    x, weight = inputs
    view = feature_view("rms_norm", x, axes, centre=False)
    run = _forward(x, weight, None, outputs[1], view, epsilon)
    return lambda x, weight: run(x, None, weight, None)[1:]


@add_layer_norm.kernel(CUDA, when=_takes(add_layer_norm), made=True)
def add_layer_norm_cuda(inputs, outputs, *, axes, epsilon):
    x, _, weight, bias = inputs
    view = feature_view("add_layer_norm", x, axes)
    return _forward(x, weight, bias, outputs[2], view, epsilon, has_plus=True)


# -- back ------------------------------------------------------------------------------


def _takes_back(dy, x, mean, scale, *weight, view):
    by_row = len(view.shape) == 2 and view.axes == (1,) and view.weight[0] == 1
    wide = x.scalar_type.accumulator
    fits = by_row and x.scalar_type.is_float and mean.scalar_type is scale.scalar_type is wide
    return fits and x.size > 0 and _constants(x, view.shape[1]) is not None


def _back(x, weight, view, has_dx, has_affine, has_plus=False):
    """The launches to dx (plus dsum), dweight and dbias, of those that are wanted."""
    from cupy import empty

    rows, size = view.shape
    constants = _constants(
        x, size, centred=view.centre, has_weight=weight is not None, has_dx=has_dx,
        has_affine=has_affine, has_plus=has_plus,
    )  # fmt: skip
    back, total = (
        Kernel(_SOURCE, name, constants) for name in ("standardise_rows_back", "add_partials")
    )
    blocks = min(_BLOCKS, divide_up(rows, 256 // constants["lanes"]))
    shape, dtype, wide = x.shape, x.scalar_type.dtype, x.scalar_type.accumulator.dtype
    count, few, columns = number(rows), number(blocks), divide_up(2 * size, 32)

    def run(dy, x, mean, scale, weight, dweight=None, dbias=None, dsum=None):
        dx = empty(shape, dtype) if has_dx else NULL
        partial = empty((blocks, 2, size), wide) if has_affine else NULL
        given = NULL if weight is None else weight
        dsum = NULL if dsum is None else aligned(dsum)
        back(blocks, dsum, aligned(dy), aligned(x), mean, scale, given, dx, partial, count)
        if has_affine:
            total(columns, partial, dweight, NULL if dbias is None else dbias, few)
        return dx

    return run


@standardise_dx.kernel(CUDA, when=_takes_back, made=True)
def standardise_dx_cuda(inputs, outputs, *, view):
    return _back(inputs[1], inputs[4], view, True, False)


@standardise_dweight.kernel(CUDA, when=_takes_back, made=True)
def standardise_dweight_cuda(inputs, outputs, *, view):
    from cupy import empty

    run, place = _back(inputs[1], None, view, False, True), outputs[0]
    shape, dtype = place.shape, place.scalar_type.dtype

    def run_alone(dy, x, mean, scale):
        dweight = empty(shape, dtype)
        run(dy, x, mean, scale, None, dweight)
        return dweight

    return run_alone


@standardise_back.kernel(CUDA, when=_takes_back, made=True)
def standardise_back_cuda(inputs, outputs, *, view):
    from cupy import empty

    run, place = _back(inputs[1], inputs[4], view, True, True), outputs[1]
    shape, dtype = place.shape, place.scalar_type.dtype

    def run_all(dy, x, mean, scale, weight):
        dweight, dbias = empty(shape, dtype), empty(shape, dtype)
        return run(dy, x, mean, scale, weight, dweight, dbias), dweight, dbias

    return run_all


@standardise_plus_back.kernel(
    CUDA, when=lambda dsum, *rest, view: _takes_back(*rest, view=view), made=True
)
def standardise_plus_back_cuda(inputs, outputs, *, view):
    from cupy import empty

    run, place = _back(inputs[2], inputs[5], view, True, True, has_plus=True), outputs[1]
    shape, dtype = place.shape, place.scalar_type.dtype

    def run_all(dsum, dy, x, mean, scale, weight):
        dweight, dbias = empty(shape, dtype), empty(shape, dtype)
        return run(dy, x, mean, scale, weight, dweight, dbias, dsum), dweight, dbias

    return run_all
