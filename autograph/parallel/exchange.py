"""Ops over all ranks: averages of gradients, and a sum that gradients flow through.

They are ops so that a captured step asks for them again when it is replayed. How it is done is in
the bucket, a setting.
"""

from __future__ import annotations

from typing import Any

from ..backends import CUPY, NUMPY
from ..op import Op
from .host import pack

# Of arrays without names of their own the first is written.
average_begin = Op("average_begin", "*arrays", writes="arrays arrays[0]", outputs="", promotes="")
exchange = Op("exchange", "*arrays", writes="arrays", outputs="", promotes="")
all_sum = Op("all_sum", "x")


@average_begin.outlined_by
def average_begin_outline(*arrays: Any, bucket: Any = None) -> tuple[()]:
    """arrays are the bucket's memory, and what is packed into it; the sum is on its way then."""
    return ()


@average_begin.kernel(NUMPY, CUPY, halves=True)
def average_begin_arrays(flat: Any, *arrays: Any, bucket: Any) -> None:
    if bucket is None:  # alone: one after the other
        pack(flat, arrays, [sum(each.size for each in arrays[:i]) for i in range(len(arrays))])
    else:
        bucket.begin(arrays)


@average_begin.sampled_by
def average_begin_samples(rng: Any) -> Any:
    yield (rng.normal(size=9), rng.normal(size=(2, 3)), rng.normal(size=3)), {}


@exchange.outlined_by
def exchange_outline(*arrays: Any, run: Any = None) -> tuple[()]:
    """arrays are what `run` writes: sums, or parameters of which each rank has moved a part. Asked
    before a move, without `run`, it says that they will be written as a whole."""
    return ()


@exchange.kernel(NUMPY, CUPY, halves=True)
def exchange_arrays(*arrays: Any, run: Any) -> None:
    if run is not None:
        run(*arrays)


@exchange.sampled_by
def exchange_samples(rng: Any) -> Any:
    yield (rng.normal(size=(2, 3)), rng.normal(size=3)), {}


@all_sum.outlined_by
def all_sum_outline(x: Any, *, bucket: Any = None) -> Any:
    return x.like()


@all_sum.kernel(NUMPY, CUPY)
def all_sum_arrays(x: Any, *, bucket: Any) -> Any:
    """y = x summed over the ranks; x itself where there is no other."""
    if bucket is None:
        return x.copy()
    bucket.begin([x])
    bucket.end()
    return bucket.flat.reshape(x.shape).astype(x.dtype)  # a copy: the bucket is used again


@all_sum.gradient("x")
def all_sum_dx(y: Any, x: Any, *, bucket: Any) -> Any:
    """The loss is the sum of the ranks' losses: dx = dy summed over the ranks."""
    return lambda dy: all_sum(dy, bucket=bucket)


@all_sum.sampled_by
def all_sum_samples(rng: Any) -> Any:
    yield (rng.normal(size=(2, 3)),), {}
