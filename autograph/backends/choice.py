"""Choice: a kernel that was found for arrays that lie in one way, and who finds another where they
lie otherwise. What is chosen between again and again is looked at natively."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from .backend import NATIVE, enabled, lookups

# A choice is a list of these, as native code reads it. The kernel is right where `thread.name` is
# the key and the array at a place lies like another; else other(choice, *arrays) answers.
THREAD, NAME, KEY, PLACE, LIKE, KERNEL, OTHER, LIKE_OF = range(8)
Choice = list[Any]


def chosen(
    other: Callable[..., Any], place: int, on_host: bool, like_of: Callable[[Any], Any]
) -> partial[Any]:
    """The function of arrays that asks `other` until that has settled the choice. `like_of` an
    array is one and the same for all that lie alike."""
    run: Callable[..., Any] = _choose
    if on_host and enabled(NATIVE):
        from .host import pool

        run, like_of = pool.start().choose, _sample
    return partial(run, [lookups, "key", lookups.limit, place, None, None, other, like_of])


def settle(choice: Choice, array: Any, kernel: Callable[..., Any]) -> None:
    """From now on the kernel is right for arrays that lie like this one."""
    choice[LIKE:OTHER] = choice[LIKE_OF](array), kernel


def _sample(array: Any) -> Any:
    """An array that lies like another, without its memory; None for what is no array."""
    return _lying(array.shape, array.dtype, array.strides) if type(array) is ndarray else None


@lru_cache(4096)
def _lying(shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...]) -> Any:
    return as_strided(np.empty(1, dtype), shape, strides)


def _choose(choice: Choice, *arrays: Any) -> Any:
    _, _, key, place, like, kernel, other, like_of = choice
    if lookups.key is key and like_of(arrays[place]) is like:
        try:
            return kernel(*arrays)
        except MemoryError:
            pass  # the other way tells whose it is
    return other(choice, *arrays)
