"""Group normalisation: each sample over groups of its channels (Wu and He, 2018).

Shapes: x (N, C, ...), y the same; weight and bias (C,).
"""

from math import prod
from typing import Any

from ...errors import ShapeError
from ...op import Op
from ...scalar_type import ScalarType
from ..cast import cast
from ..reduce import mean as mean_of
from ..statistics import var
from ..update.follow import follow
from .standardise import View, by_view, check_affine, outlines

group_norm = Op("group_norm", "x weight? bias?", saves="mean scale", floats=True)


def _view(x, groups):
    """(N, groups, channels of a group, positions)."""
    n, c, *size = x.shape
    return View((n, groups, c // groups, prod(size)), (2, 3), (1, groups, c // groups, 1))


@group_norm.outlined_by
def group_norm_outline(x, weight, bias, *, groups, epsilon=1e-5):
    if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
        raise ShapeError(
            f"group_norm: the channels are not divided by the groups\n"
            f"  x       {x.shape}  N C ...\n  groups  {groups}"
        )
    return outlines("group_norm", x, weight, bias, _view(x, groups), x.shape[1:2])


by_view(group_norm, _view)


@group_norm.sampled_by
def group_norm_samples(rng):
    yield (rng.normal(size=(2, 4, 3)), None, None), {"groups": 2}
    x = rng.normal(size=(2, 6, 3, 2)) + 1
    yield (x, rng.normal(size=6), rng.normal(size=6)), {"groups": 3, "epsilon": 1e-3}
    yield (rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=4)), {"groups": 1}


def instance_norm(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    running_mean: Any = None,
    running_variance: Any = None,
    *,
    momentum: float = 0.1,
    epsilon: float = 1e-5,
) -> Any:
    """Each channel of each sample by itself (Ulyanov, Vedaldi and Lempitsky, 2016).

    The running statistics (C,), where given, follow the means over the batch of the samples'
    means and unbiased variances, as those of `batch_norm` do.
    """
    if len(x.shape) < 3 or prod(x.shape[2:]) == 1:
        raise ShapeError(
            f"instance_norm: a channel needs more than one position\n  x  {x.shape}  N C ..."
        )
    check_affine("instance_norm", x, running_mean, running_variance, tuple(x.shape[1:2]))
    y = group_norm(x, weight, bias, groups=x.shape[1], epsilon=epsilon)
    if running_mean is not None or running_variance is not None:
        seen = x.detach() if hasattr(x, "detach") else x  # statistics are no part of the graph
        seen = cast(seen, scalar_type=ScalarType.of(seen).accumulator)
        places = tuple(range(2, len(x.shape)))
        if running_mean is not None:
            follow(running_mean, mean_of(seen, axis=(0, *places)), momentum)
        if running_variance is not None:
            variance = mean_of(var(seen, axis=places, correction=1), axis=0)
            follow(running_variance, variance, momentum)
    return y
