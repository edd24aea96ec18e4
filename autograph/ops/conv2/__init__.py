"""2-d convolution and its two gradients.

Shapes: x (N, C, H, W), weight (O, C / groups, R, S), bias (O,), y (N, O, P, Q) with
P = (H + 2 * padding - dilation * (R - 1) - 1) // stride + 1, and Q likewise. As everywhere in
the field this is the cross-correlation: the filter is not flipped.
"""

from ...backends import CUDA, CUDNN, CUPY, NATIVE, NUMPY, REFERENCE
from ...errors import SettingsError, ShapeError
from ...op import Op
from ..axes import pair
from ..declare import REQUIRED, asked, taking
from ..reduce import sum
from .read import as_read

conv2 = Op("conv2", "x weight bias?")
conv2_dx = Op("conv2_dx", "dy weight")
conv2_dweight = Op("conv2_dweight", "dy x")

for _op in (conv2, conv2_dx, conv2_dweight):
    _op.kernels_from(NUMPY, ".numpy_kernels")
    _op.kernels_from(CUPY, ".numpy_kernels")
    _op.kernels_from(REFERENCE, ".numpy_kernels")
    _op.kernels_from(NATIVE, ".native_kernels")
    _op.kernels_from(CUDA, ".cuda_kernels")
    _op.kernels_from(CUDNN, ".cudnn_kernels")


def _settings(op, *first):
    """Settings of windows, and before them sizes by these names."""

    @op.settings_by
    @taking(**dict.fromkeys(first, REQUIRED))
    def settings(*, stride=1, padding=0, dilation=1, groups=1, **sizes):
        if not isinstance(groups, int) or groups < 1:
            raise SettingsError(f"{op.name}: groups is {groups!r}\n  write an int of at least 1")
        return {
            **{name: pair(op.name, name, size, least=0) for name, size in sizes.items()},
            "stride": pair(op.name, "stride", stride),
            "padding": pair(op.name, "padding", padding, least=0),
            "dilation": pair(op.name, "dilation", dilation),
            "groups": groups,
        }

    return settings


conv2_settings = _settings(conv2)
_settings(conv2_dx, "size")
_settings(conv2_dweight, "filter")


def output_size(size, filter, stride, padding, dilation):
    """(P, Q) of an image of (H, W)."""
    return tuple(
        (n + 2 * p - d * (f - 1) - 1) // s + 1
        for n, f, s, p, d in zip(size, filter, stride, padding, dilation, strict=True)
    )


# -- conv2 ---------------------------------------------------------------------------


@conv2.outlined_by
def conv2_outline(x, weight, bias, *, stride, padding, dilation, groups):
    sides = f"\n  x       {x.shape}  N C H W\n  weight  {weight.shape}  O C R S"
    if x.ndim != 4 or weight.ndim != 4:
        raise ShapeError(f"conv2: x and weight have 4 axes each{sides}")
    outputs, channels = weight.shape[:2]
    if x.shape[1] != channels * groups:
        grouped = f" in each of {groups} groups" if groups > 1 else ""
        raise ShapeError(
            f"conv2: weight takes {channels} channels{grouped}, but x has {x.shape[1]}{sides}"
        )
    if outputs % groups:
        raise ShapeError(f"conv2: {outputs} outputs are not divided by {groups} groups{sides}")
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(
            f"conv2: bias does not fit the outputs of weight{sides}\n  bias    {bias.shape}  O"
        )
    size = output_size(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    if min(size) < 1:
        raise ShapeError(f"conv2: the filter is larger than the padded image{sides}")
    return x.like(shape=(x.shape[0], outputs, *size))


@conv2.gradient("x")
def conv2_gradient_x(y, x, weight, bias, **settings):
    size, weights = x.shape[2:], (weight, as_read(y, weight))  # held: it must not be written
    return lambda dy: conv2_dx(dy, weights[1], size=size, **settings)


@conv2.gradient("weight")
def conv2_gradient_weight(y, x, weight, bias, **settings):
    filter = weight.shape[2:]
    return lambda dy: conv2_dweight(dy, x, filter=filter, **settings)


@conv2.gradient("bias")
def conv2_gradient_bias(y, x, weight, bias, **settings):
    return lambda dy: sum(dy, axis=(0, 2, 3))


@conv2.costed_by
def conv2_cost(x, weight, bias, **settings):
    return conv2_outline(x, weight, bias, **settings).size * weight.size // weight.shape[0]


# -- its gradients, which are each other's ------------------------------------------------


@conv2_dx.outlined_by
def conv2_dx_outline(dy, weight, *, size, stride, padding, dilation, groups):
    return dy.like(shape=(dy.shape[0], weight.shape[1] * groups, *size))


@conv2_dx.gradient("dy")
def conv2_dx_gradient_dy(dx, dy, weight, *, size, **settings):
    return lambda ddx: conv2(ddx, weight, None, **settings)


@conv2_dx.gradient("weight")
def conv2_dx_gradient_weight(dx, dy, weight, *, size, **settings):
    filter = weight.shape[2:]
    return lambda ddx: conv2_dweight(dy, ddx, filter=filter, **settings)


@conv2_dweight.outlined_by
def conv2_dweight_outline(dy, x, *, filter, stride, padding, dilation, groups):
    return dy.like(shape=(dy.shape[1], x.shape[1] // groups, *filter))


@conv2_dweight.gradient("dy")
def conv2_dweight_gradient_dy(dweight, dy, x, *, filter, **settings):
    return lambda ddweight: conv2(x, ddweight, None, **settings)


@conv2_dweight.gradient("x")
def conv2_dweight_gradient_x(dweight, dy, x, *, filter, **settings):
    size = x.shape[2:]
    return lambda ddweight: conv2_dx(dy, ddweight, size=size, **settings)


# -- samples -------------------------------------------------------------------------


@conv2.sampled_by
def conv2_samples(rng):
    for i, (shape, weight, settings) in enumerate(
        (
            ((2, 3, 6, 7), (4, 3, 3, 2), {}),
            ((2, 3, 6, 7), (4, 3, 3, 2), {"stride": (2, 1), "padding": (1, 2)}),
            ((1, 4, 9, 8), (6, 2, 2, 3), {"dilation": (2, 3), "groups": 2, "padding": (1, 0)}),
            ((2, 3, 7, 7), (3, 1, 3, 3), {"groups": 3, "stride": (3, 2), "dilation": (1, 2)}),
            ((0, 1, 5, 5), (2, 1, 5, 5), {}),
        )
    ):
        bias = rng.normal(size=weight[0]) if i % 2 else None
        yield (rng.normal(size=shape), rng.normal(size=weight), bias), settings


asked(conv2_dx, conv2)
asked(conv2_dweight, conv2)
