"""Convolution, bias, relu and max pooling as one op: the unpooled image is never stored.

Shapes: x (N, C, H, W), weight (O, C / groups, R, S), bias (O,), y (N, O, P, Q) after pooling.
Saved: the place of each y in its window, 255 where relu stopped it.
"""

from __future__ import annotations

from ...backends import CUDA, CUPY, NATIVE, NUMPY
from ...errors import SettingsError
from ...op import Op
from ..declare import asked
from ..elementwise import relu
from ..pool2 import max_pool2, max_pool2_outline, max_pool2_settings
from . import conv2, conv2_cost, conv2_outline, conv2_settings

STOPPED = 255  # the index where relu let nothing through

conv2_relu_max_pool2 = Op("conv2_relu_max_pool2", "x weight bias?", saves="index")
conv2_relu_max_pool2_back = Op(
    "conv2_relu_max_pool2_back",
    "dy index x weight",
    outputs="dx dweight dbias",
    promotes="dy x weight",
)
conv2_relu_max_pool2_dweight = Op(
    "conv2_relu_max_pool2_dweight",
    "dy index x weight",
    outputs="dweight dbias",
    promotes="dy x weight",
)

for _op in (conv2_relu_max_pool2, conv2_relu_max_pool2_back, conv2_relu_max_pool2_dweight):
    for _backend in (NUMPY, CUPY):
        _op.kernels_from(_backend, ".numpy_pooled")
    _op.kernels_from(NATIVE, ".native_pooled")
    _op.kernels_from(CUDA, ".cuda_pooled")


@conv2_relu_max_pool2.settings_by
def pooled_settings(
    *, filter, pool_stride=None, pool_padding=0, stride=1, padding=0, dilation=1, groups=1
):
    pool = max_pool2_settings(filter=filter, stride=pool_stride, padding=pool_padding)
    if pool["filter"][0] * pool["filter"][1] > 254:
        raise SettingsError(
            f"conv2_relu_max_pool2: a window of {pool['filter']} has more than 254 places\n"
            f"  write  max_pool2(relu(conv2(x, weight, bias)), filter=...)"
        )
    return {
        **conv2_settings(stride=stride, padding=padding, dilation=dilation, groups=groups),
        "filter": pool["filter"],
        "pool_stride": pool["stride"],
        "pool_padding": pool["padding"],
    }


conv2_relu_max_pool2_back.settings_by(pooled_settings)
conv2_relu_max_pool2_dweight.settings_by(pooled_settings)


def apart(settings):
    """The settings of the convolution, and those of the pooling."""
    pool = {
        "filter": settings["filter"],
        "stride": settings["pool_stride"],
        "padding": settings["pool_padding"],
    }
    names = ("stride", "padding", "dilation", "groups")
    return {name: settings[name] for name in names}, pool


@conv2_relu_max_pool2.outlined_by
def pooled_outline(x, weight, bias, **settings):
    conv, pool = apart(settings)
    return max_pool2_outline(conv2_outline(x, weight, bias, **conv), **pool)


@conv2_relu_max_pool2_back.outlined_by
def pooled_back_outline(dy, index, x, weight, **settings):
    return x.like(), weight.like(), weight.like(shape=weight.shape[:1])


@conv2_relu_max_pool2_dweight.outlined_by
def pooled_dweight_outline(dy, index, x, weight, **settings):
    return weight.like(), weight.like(shape=weight.shape[:1])


@conv2_relu_max_pool2.costed_by
def pooled_cost(x, weight, bias, **settings):
    return conv2_cost(x, weight, bias, **apart(settings)[0])


@conv2_relu_max_pool2.composed_by
def pooled_parts(x, weight, bias=None, **settings):
    conv, pool = apart(settings)
    return max_pool2(relu(conv2(x, weight, bias, **conv)), **pool)


@conv2_relu_max_pool2.gradient("x", "weight", "bias")
def pooled_gradient(y, x, weight, bias, *, index, needs, **settings):
    if needs[0]:
        return lambda dy: conv2_relu_max_pool2_back(dy, index, x, weight, **settings)
    return lambda dy: (None, *conv2_relu_max_pool2_dweight(dy, index, x, weight, **settings))


# -- samples -------------------------------------------------------------------------

SETTINGS = (
    ((2, 1, 9, 9), (3, 1, 3, 3), {"filter": 2}),
    ((2, 3, 8, 9), (4, 3, 3, 2), {"filter": (2, 3), "pool_stride": (1, 2), "padding": 1}),
    ((1, 4, 9, 8), (2, 2, 3, 3), {"filter": 3, "pool_padding": 1, "groups": 2, "stride": (1, 2)}),
)


@conv2_relu_max_pool2.sampled_by
def pooled_samples(rng):
    for i, (shape, filter, settings) in enumerate(SETTINGS):
        bias = rng.normal(size=filter[0]) if i != 1 else None
        yield (rng.normal(size=shape), rng.normal(size=filter), bias), settings


asked(conv2_relu_max_pool2_back, conv2_relu_max_pool2)
asked(conv2_relu_max_pool2_dweight, conv2_relu_max_pool2)
