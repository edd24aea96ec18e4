"""Layer and root mean square normalisation on a CUDA device: rows in registers, no atomics."""

from pathlib import Path

from ...backends import CUDA
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, aligned, divide_up, number
from ...backends.cuda.rows import row_constants
from ...scalar_type import promote
from .add_norm import add_layer_norm, standardise_plus_back
from .layer_norm import feature_view, layer_norm
from .rms_norm import rms_norm
from .standardise import standardise_back, standardise_dweight, standardise_dx

_SOURCE = Path(__file__).with_name("rows.cu")
_BLOCKS = 264  # that share the rows on the way back: a constant, it orders the sums


def _constants(x, size, scalar=None, **flags):
    """Those of rows of x, whose weights have the type `scalar`, the same unless said."""
    long = x.scalar_type.dtype
    found = row_constants(size, long)
    return found and {"Scalar": c_type(scalar or long), "Long": c_type(long), **found, **flags}


def _takes(op):
    def takes(x, *affine, axes, epsilon):
        size = feature_view(op.name, x, axes).shape[1]
        return x.scalar_type.is_float and x.size > 0 and _constants(x, size) is not None

    return takes


def _forward(x, weight, bias, saved, view, epsilon, has_plus=False):
    """The launch from x, plus, weight and bias to their sum (or None), y, mean and scale."""
    from cupy import empty

    rows, size = view.shape
    long = x.scalar_type.dtype
    dtype = long if weight is None else weight.scalar_type.dtype
    constants = _constants(
        x, size, dtype, centred=view.centre, has_weight=weight is not None,
        has_bias=bias is not None, has_plus=has_plus,
    )  # fmt: skip
    kernel = Kernel(_SOURCE, "standardise_rows", constants)
    blocks, count, shape = divide_up(rows, 256 // constants["lanes"]), number(rows), x.shape
    place, epsilon = (saved.shape, saved.scalar_type.dtype), float(epsilon)

    def run(x, plus, weight, bias):
        total = empty(shape, long) if has_plus else None
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


def _takes_sum(x, plus, weight, bias, **settings):
    """What is read beside x has one type, x that or a wider one."""
    alike = plus.scalar_type is weight.scalar_type is bias.scalar_type
    wide = promote(x.scalar_type, plus.scalar_type) is x.scalar_type
    return alike and wide and _takes(add_layer_norm)(x, **settings)


@add_layer_norm.kernel(CUDA, when=_takes_sum, made=True)
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


def _back(x, dy, weight, view, has_dx, has_affine, has_plus=False):
    """The launches to dx (plus dsum), the same in the type of dy, dweight and dbias, of those
    that are wanted."""
    from cupy import empty

    rows, size = view.shape
    long, dtype = x.scalar_type.dtype, dy.scalar_type.dtype
    has_rounded = has_dx and long != dtype
    constants = _constants(
        x, size, dtype, centred=view.centre, has_weight=weight is not None, has_dx=has_dx,
        has_affine=has_affine, has_plus=has_plus, has_rounded=has_rounded,
    )  # fmt: skip
    back = Kernel(_SOURCE, "standardise_rows_back", constants)
    total = Kernel(_SOURCE, "add_partials", constants, threads=1024)
    blocks = min(_BLOCKS, divide_up(rows, 256 // constants["lanes"]))
    shape, wide = x.shape, x.scalar_type.accumulator.dtype
    count, few, columns = number(rows), number(blocks), divide_up(2 * size, 32)

    def run(dy, x, mean, scale, weight, dweight=None, dbias=None, dsum=None):
        dx = empty(shape, long) if has_dx else NULL
        rounded = empty(shape, dtype) if has_rounded else dx
        partial = empty((blocks, 2, size), wide) if has_affine else NULL
        given = NULL if weight is None else weight
        dsum = NULL if dsum is None else aligned(dsum)
        back(blocks, dsum, aligned(dy), aligned(x), mean, scale, given, dx, rounded, partial, count)
        if has_affine:
            total(columns, partial, dweight, NULL if dbias is None else dbias, few)
        return dx, rounded

    return run


@standardise_dx.kernel(CUDA, when=_takes_back, made=True)
def standardise_dx_cuda(inputs, outputs, *, view):
    run = _back(inputs[1], inputs[0], inputs[4], view, True, False)
    return lambda *given: run(*given)[0]


@standardise_dweight.kernel(CUDA, when=_takes_back, made=True)
def standardise_dweight_cuda(inputs, outputs, *, view):
    from cupy import empty

    run, place = _back(inputs[1], inputs[0], None, view, False, True), outputs[0]
    shape, dtype = place.shape, place.scalar_type.dtype

    def run_alone(dy, x, mean, scale):
        dweight = empty(shape, dtype)
        run(dy, x, mean, scale, None, dweight)
        return dweight

    return run_alone


@standardise_back.kernel(CUDA, when=_takes_back, made=True)
def standardise_back_cuda(inputs, outputs, *, view):
    from cupy import empty

    run, place = _back(inputs[1], inputs[0], inputs[4], view, True, True), outputs[1]
    shape, dtype = place.shape, place.scalar_type.dtype

    def run_all(dy, x, mean, scale, weight):
        dweight, dbias = empty(shape, dtype), empty(shape, dtype)
        return run(dy, x, mean, scale, weight, dweight, dbias)[0], dweight, dbias

    return run_all


def _takes_sum_back(dsum, dy, x, mean, scale, weight, *, view):
    alike = dy.scalar_type is weight.scalar_type
    alike = alike and (dsum is None or dsum.scalar_type is x.scalar_type)
    wide = promote(x.scalar_type, dy.scalar_type) is x.scalar_type
    return alike and wide and _takes_back(dy, x, mean, scale, weight, view=view)


@standardise_plus_back.kernel(CUDA, when=_takes_sum_back, made=True)
def standardise_plus_back_cuda(inputs, outputs, *, view):
    from cupy import empty

    dsum, dy, x, _, _, weight = inputs
    run = _back(x, dy, weight, view, True, True, has_plus=dsum is not None)
    shape, dtype = outputs[2].shape, outputs[2].scalar_type.dtype

    def run_all(dsum, dy, x, mean, scale, weight):
        dweight, dbias = empty(shape, dtype), empty(shape, dtype)
        return *run(dy, x, mean, scale, weight, dweight, dbias, dsum), dweight, dbias

    return run_all
