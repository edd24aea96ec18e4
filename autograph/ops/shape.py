"""Ops that change how elements are arranged: reshape, axes, joining."""

from itertools import accumulate
from math import prod

from ..backends import CUDA, CUPY, NATIVE, NUMPY, namespace
from ..errors import SettingsError, ShapeError
from ..op import Op
from ..outline import CONTIGUOUS, STRIDED, Outline
from ..plan import broadcast_outline
from .axes import axis_of

reshape = Op("reshape", "x", view=True)
permute_dims = Op("permute_dims", "x", view=True)
concat = Op("concat", "*arrays")
copy = Op("copy", "x")
reshape.kernels_from(NATIVE, ".native_shape_kernels")
copy.kernels_from(NATIVE, ".native_shape_kernels")
copy.kernels_from(CUDA, ".cuda_cast")

# -- reshape -------------------------------------------------------------------------


@reshape.settings_by
def reshape_settings(*, shape):
    return {"shape": (shape,) if isinstance(shape, int) else tuple(shape)}


@reshape.outlined_by
def reshape_outline(x, *, shape):
    sizes = list(shape)
    known = prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known and x.size % known == 0:
        sizes[sizes.index(-1)] = x.size // known
    if any(size < 0 for size in sizes) or prod(sizes) != x.size:
        raise ShapeError(
            f"reshape: {x.size} elements do not fill the shape\n"
            f"  x      {x.shape}\n  shape  {shape}"
        )
    return x.like(shape=tuple(sizes))


@reshape.kernel(NUMPY, CUPY, halves=True, made=True)
def reshape_arrays(inputs, outputs, *, shape):
    sizes = outputs[0].shape
    return lambda x: x.reshape(sizes)


@reshape.gradient("x")
def reshape_dx(y, x, *, shape):
    before = x.shape
    return lambda dy: reshape(dy, shape=before)


@reshape.sampled_by
def reshape_samples(rng):
    yield (rng.normal(size=(2, 6)),), {"shape": (3, -1)}
    yield (rng.normal(size=()),), {"shape": (1, 1)}
    yield (rng.normal(size=(0, 3)),), {"shape": (3, 0)}


# -- permute_dims --------------------------------------------------------------------


@permute_dims.settings_by
def permute_dims_settings(*, axes=None):
    return {"axes": None if axes is None else tuple(axes)}


@permute_dims.outlined_by
def permute_dims_outline(x, *, axes):
    order = _order(x, axes)
    layout = CONTIGUOUS if order == tuple(range(x.ndim)) else STRIDED
    return Outline(tuple(x.shape[i] for i in order), x.scalar_type, x.device, layout)


def _order(x, axes):
    if axes is None:
        return tuple(reversed(range(x.ndim)))
    order = tuple(axis_of("permute_dims", x.ndim, axis) for axis in axes)
    if sorted(order) != list(range(x.ndim)):
        raise SettingsError(
            f"permute_dims: axes {axes} are not the axes of x\n"
            f"  x  {x.shape}\n  write each of 0 to {x.ndim - 1} once"
        )
    return order


@permute_dims.kernel(NUMPY, CUPY, halves=True, made=True)
def permute_dims_arrays(inputs, outputs, *, axes):
    return lambda x: x.transpose(axes)


@permute_dims.gradient("x")
def permute_dims_dx(y, x, *, axes):
    order = _order(x, axes)
    inverse = tuple(sorted(range(len(order)), key=order.__getitem__))
    return lambda dy: permute_dims(dy, axes=inverse)


@permute_dims.sampled_by
def permute_dims_samples(rng):
    yield (rng.normal(size=(2, 3, 4)),), {"axes": (2, 0, 1)}
    yield (rng.normal(size=(2, 3)),), {}
    yield (rng.normal(size=()),), {}


# -- concat --------------------------------------------------------------------------


@concat.outlined_by
def concat_outline(*arrays, axis=0):
    if not arrays:
        raise ShapeError("concat: there is nothing to join\n  write  concat([a, b], axis=0)")
    first = arrays[0]
    at = axis_of("concat", first.ndim, axis)
    shapes = [(*each.shape[:at], *each.shape[at + 1 :]) for each in arrays]
    if first.ndim == 0 or any(a.ndim != first.ndim for a in arrays) or len(set(shapes)) > 1:
        sides = "\n".join(f"  arrays[{i}]  {each.shape}" for i, each in enumerate(arrays))
        raise ShapeError(f"concat: shapes differ outside axis {axis}\n{sides}")
    joined = sum(each.shape[at] for each in arrays)
    return first.like(shape=(*first.shape[:at], joined, *first.shape[at + 1 :]))


@concat.kernel(NUMPY, CUPY, halves=True)
def concat_arrays(*arrays, axis):
    return namespace(arrays[0]).concatenate(arrays, axis=axis)


@concat.gradient("*arrays")
def concat_darrays(y, *arrays, axis):
    at = axis_of("concat", arrays[0].ndim, axis)
    ends = list(accumulate(each.shape[at] for each in arrays))
    before = (slice(None),) * at
    parts = [
        (*before, slice(end - each.shape[at], end)) for each, end in zip(arrays, ends, strict=True)
    ]
    from .index import index

    return lambda dy: [index(dy, key=part) for part in parts]


@concat.sampled_by
def concat_samples(rng):
    yield (rng.normal(size=(2, 3)), rng.normal(size=(2, 1)), rng.normal(size=(2, 0))), {"axis": -1}
    yield (rng.normal(size=(2, 3)),), {}


# -- copy ----------------------------------------------------------------------------


@copy.outlined_by
def copy_outline(x):
    return broadcast_outline(copy, [x])


@copy.kernel(NUMPY, CUPY, halves=True)
def copy_arrays(x):
    return x.copy(order="C")


@copy.gradient("x")
def copy_dx(y, x):
    return lambda dy: dy


@copy.sampled_by
def copy_samples(rng):
    yield (rng.normal(size=(2, 3)),), {}
