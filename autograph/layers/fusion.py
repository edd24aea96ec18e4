"""Which neighbours of a sequential layer run as one op. The fields stay what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import ops
from ..errors import AutographError
from ..tensor import Tensor
from . import Conv2, Dense, MaxPool2, Relu
from .base import Layer


def conv_relu_pool(conv: Conv2, relu: Relu, pool: MaxPool2) -> Callable[[Tensor], Tensor] | None:
    """Convolution, bias, relu and max pooling."""
    if pool.filter[0] * pool.filter[1] > 254:
        return None
    settings = {
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        "filter": pool.filter,
        "pool_stride": pool.stride,
        "pool_padding": pool.padding,
    }
    return lambda x: ops.conv2_relu_max_pool2(x, conv.weight, conv.bias, **settings)


def dense_relu(dense: Dense, relu: Relu) -> Callable[[Tensor], Tensor]:
    """Dense layer and relu."""
    return lambda x: ops.linear_relu(x, dense.weight, dense.bias)


# The longest match at a place is taken.
FUSIONS: tuple[tuple[tuple[type[Layer], ...], Callable[..., Any]], ...] = (
    ((Conv2, Relu, MaxPool2), conv_relu_pool),
    ((Dense, Relu), dense_relu),
)


def fused(layers: Sequence[Layer]) -> Iterator[Callable[[Any], Any]]:
    """What runs in place of the layers, one after the other."""
    at = 0
    while at < len(layers):
        for kinds, make in FUSIONS:
            here = layers[at : at + len(kinds)]
            if tuple(type(each) for each in here) == kinds and not any(map(is_watched, here)):
                run = make(*here)
                if run is not None:
                    yield _located(run, here)
                    at += len(here)
                    break
        else:
            yield layers[at]
            at += 1


def is_watched(layer: Layer) -> bool:
    """Whether somebody wants this layer's own output."""
    return "forward" in layer.__dict__


def _located(
    run: Callable[[Any], Any], layers: Sequence[Layer]
) -> Callable[[Any], Any]:
    """The fused run; where it fails the layers run one by one, so that the error has its place."""

    def call(x: Any) -> Any:
        try:
            return run(x)
        except AutographError:
            for layer in layers:
                x = layer(x)
            return x

    return call
