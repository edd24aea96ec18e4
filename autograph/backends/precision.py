"""How float32 is multiplied on devices: one setting, with a scope."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import SettingsError

PRECISIONS = ("strict", "high", "tf32")


class _Here(threading.local):
    name = "strict"


_here = _Here()


def current_precision() -> str:
    """What `precision` says in this thread."""
    return _here.name


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Within the block, in this thread, float32 is multiplied like this on devices.

    "strict" (the default) multiplies in float32. "high" multiplies matrices as three products of
    bfloat16 in the tensor cores, right to about 1e-5 of the largest; "tf32" multiplies matrices and
    convolves in their 10-bit mantissas. Sums are float32 always, and gradients follow what their
    walk stands in. On the host all are "strict".

    >>> with precision("tf32"):
    ...     current_precision()
    'tf32'
    """
    if name not in PRECISIONS:
        raise SettingsError(
            f"precision: there is no precision {name!r}\n  write one of  {', '.join(PRECISIONS)}"
        )
    before, _here.name = _here.name, name
    try:
        yield
    finally:
        _here.name = before
