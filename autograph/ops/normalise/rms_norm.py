"""Root mean square normalisation: features divided by their root mean square, their mean left
where it is (Zhang and Sennrich, 2019).

Shapes: x (..., F), y the same; weight (F,), F being the last `axes` axes.
"""

from functools import partial

from ...backends import CUDA
from ...op import Op
from .layer_norm import feature_view
from .standardise import by_view, outlines

rms_norm = Op("rms_norm", "x weight?", saves="mean scale", floats=True)
rms_norm.kernels_from(CUDA, ".cuda_rows")


_view = partial(feature_view, "rms_norm", centre=False)


@rms_norm.outlined_by
def rms_norm_outline(x, weight, *, axes=1, epsilon=1e-6):
    return outlines("rms_norm", x, weight, None, _view(x, axes), x.shape[-axes:])


by_view(rms_norm, _view)


@rms_norm.sampled_by
def rms_norm_samples(rng):
    yield (rng.normal(size=(3, 5)), None), {}
    yield (rng.normal(size=(3, 5)) + 2, rng.normal(size=5)), {"epsilon": 1e-3}
    yield (rng.normal(size=(2, 3, 4)), rng.normal(size=(3, 4))), {"axes": 2}
