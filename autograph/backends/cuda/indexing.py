"""CUDA text that turns the number of an element into its place in memory."""

from __future__ import annotations

from collections.abc import Sequence


def decode(
    name: str, dimensions: Sequence[tuple[int, int]], offset: str, argument: str = "i"
) -> str:
    """A function from the index of an element, in C order over `dimensions`, to its place.

    Dimensions are (size, stride). The size of the first is not in the text, so that batches of
    any size share a kernel; the others are constants, and divisions by them multiplications.

    >>> decode("at", [(100, 50), (6, 5)], "int32")
    'static __device__ int32 at(int32 i) { return i % 6 * 5 + i / 6 * 50; }'
    """
    terms, below = [], 1
    for position, (size, stride) in reversed(list(enumerate(dimensions))):
        index = argument if below == 1 else f"{argument} / {below}"
        if position > 0:
            index += f" % {size}"
        if stride:
            terms.append(index if stride == 1 else f"{index} * {stride}")
        below *= size
    place = " + ".join(terms) or "0"
    return f"static __device__ {offset} {name}({offset} {argument}) {{ return {place}; }}"
