"""An average that follows a value: running statistics, and averages of weights."""

from ...backends import CUPY, NUMPY
from ...errors import ShapeError
from ...op import Op
from ...scalar_type import ScalarType

follow = Op("follow", "average value rate", writes="average", outputs="", promotes="")


@follow.outlined_by
def follow_outline(average, value, rate):
    """average = average + rate * (value - average), in place."""
    if average.shape != value.shape:
        raise ShapeError(
            f"follow: the average has another shape than the value\n"
            f"  average  {average.shape}\n  value    {value.shape}"
        )
    return ()


@follow.kernel(NUMPY, CUPY, halves=True)
def follow_arrays(average, value, rate):
    dtype = ScalarType.of(average).accumulator.dtype
    wide = average.astype(dtype, copy=False)
    rate = rate if isinstance(rate, float | int) else rate.astype(dtype, copy=False)
    average[...] = wide + rate * (value.astype(dtype, copy=False) - wide)


@follow.sampled_by
def follow_samples(rng):
    yield (rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), 0.1), {}
    yield (rng.normal(size=3), rng.normal(size=3), rng.uniform(size=())), {}
