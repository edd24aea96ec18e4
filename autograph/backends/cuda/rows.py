"""How rows are shared out to threads that hold them in registers (`rows.cuh`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import divide_up

_MOST = 64  # numbers of a row that a thread holds


def row_constants(size: int, dtype: np.dtype[Any]) -> dict[str, int] | None:
    """The constants of rows of `size` numbers; None where they do not fit into registers."""
    pack = 16 // dtype.itemsize
    while size % pack:
        pack //= 2
    lanes = 32 if size <= 32 * max(pack, 4) * 4 else 256
    packs = divide_up(size, lanes * pack)
    if not 0 < packs * pack <= _MOST:
        return None
    return {"size": size, "lanes": lanes, "pack": pack, "packs": packs}
