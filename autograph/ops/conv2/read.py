"""The weight of the last convolution, as it lay while it was read.

A kernel that lays a weight out anew tells so, and the rule of the gradient, which is made right
after it ran, keeps that copy: on the way back it need not be made again.
"""

from threading import local
from typing import Any
from weakref import ref


class _Last(local):
    answer: Any = None  # a weak reference to what was answered
    read: Any = None  # the weight


_last = _Last()


def was_read(y: Any, weight: Any) -> None:
    """Tell how the weight lay of which y was made."""
    _last.answer, _last.read = ref(y), weight


def as_read(y: Any, weight: Any) -> Any:
    """The weight of which y was made, as it lay if that was the last one; asked once."""
    found = _last.read if _last.answer is not None and _last.answer() is y else weight
    _last.answer = _last.read = None
    return found
