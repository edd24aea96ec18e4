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
average_end = Op("average_end", "flat", writes="flat", outputs="", promotes="")
exchange_parts = Op("exchange_parts", "*arrays", writes="arrays", outputs="", promotes="")
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


@average_end.outlined_by
def average_end_outline(flat: Any, *, bucket: Any = None) -> tuple[()]:
    """flat holds the sum, or the average, from now on."""
    return ()


@average_end.kernel(NUMPY, CUPY, halves=True)
def average_end_arrays(flat: Any, *, bucket: Any) -> None:
    if bucket is not None:
        bucket.end()


@average_end.sampled_by
def average_end_samples(rng: Any) -> Any:
    yield (rng.normal(size=9),), {}


@exchange_parts.outlined_by
def exchange_parts_outline(*arrays: Any, parts: Any = None) -> tuple[()]:
    """arrays are parameters, of which each rank has moved a part; all parts are moved then. Asked
    before the move, without `parts`, it says that they will be written as a whole."""
    return ()


@exchange_parts.kernel(NUMPY, CUPY, halves=True)
def exchange_parts_arrays(*arrays: Any, parts: Any) -> None:
    if parts is not None:
        parts.exchange(arrays)


@exchange_parts.sampled_by
def exchange_parts_samples(rng: Any) -> Any:
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
