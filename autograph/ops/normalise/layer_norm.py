"""Layer normalisation: each sample over its own features (Ba, Kiros and Hinton, 2016).

Shapes: x (..., F), y the same; weight and bias (F,), F being the last `axes` axes.
"""

from functools import partial
from math import prod

from ...backends import CUDA, NATIVE
from ...errors import SettingsError
from ...op import Op
from .standardise import View, by_view, outlines

layer_norm = Op("layer_norm", "x weight? bias?", saves="mean scale", floats=True)
layer_norm.kernels_from(NATIVE, ".native_kernels")
layer_norm.kernels_from(CUDA, ".cuda_rows")


def feature_view(op, x, axes, centre=True):
    """(rows, features): the last `axes` axes of x as one."""
    if not 0 < axes <= len(x.shape):
        raise SettingsError(
            f"{op}: axes is {axes!r}\n  x  {x.shape}\n"
            f"  write 1 to {len(x.shape)}: how many at the end"
        )
    features = prod(x.shape[-axes:])
    return View((prod(x.shape[:-axes]), features), (1,), (1, features), centre)


@layer_norm.outlined_by
def layer_norm_outline(x, weight, bias, *, axes=1, epsilon=1e-5):
    view = feature_view("layer_norm", x, axes)
    return outlines("layer_norm", x, weight, bias, view, x.shape[-axes:])


by_view(layer_norm, partial(feature_view, "layer_norm"))


@layer_norm.sampled_by
def layer_norm_samples(rng):
    yield (rng.normal(size=(3, 5)), None, None), {}
    yield (rng.normal(size=(3, 5)) + 2, rng.normal(size=5), rng.normal(size=5)), {}
    yield (rng.normal(size=(2, 3, 4)), rng.normal(size=(3, 4)), None), {"axes": 2, "epsilon": 1e-3}
    yield (rng.normal(size=(2, 3, 4)), rng.normal(size=4), rng.normal(size=4)), {}
    yield (rng.normal(size=(0, 3)), rng.normal(size=3), None), {}
