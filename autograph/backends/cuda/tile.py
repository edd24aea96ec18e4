"""How large the tiles of a product are, and into how many shares its sum is cut.

Both are functions of the sizes alone, never of a timing or of the device: they decide in which
order numbers are added, and so the bits of the result.
"""

from __future__ import annotations

from .launch import divide_up

_BLOCKS = 256  # enough blocks to fill the largest devices about twice


def tile_of(rows: int, columns: int, batch: int = 1) -> tuple[int, int]:
    """Rows and columns a thread: the largest tile that still makes enough blocks.

    A block has 8 * rows by 32 * columns of them, and there are `batch` products.
    """
    tile = (1, 1)
    for i in (1, 2, 4, 8):
        for j in (1, 2, 4, 8):
            wasteful = (i > 1 and rows <= 4 * i) or (j > 1 and columns <= 16 * j)
            blocks = divide_up(rows, 8 * i) * divide_up(columns, 32 * j) * batch
            if i * j <= 32 and not wasteful and blocks >= _BLOCKS:
                tile = max(tile, (i, j), key=lambda each: (each[0] * each[1], min(each)))
    return tile


def is_thin(depth: int, itemsize: int) -> bool:
    """Whether a tile of one number a thread takes its sum in long pieces."""
    return depth >= 64 and itemsize == 4


def shares_of(blocks: int, depth: int, least: int) -> int:
    """Into how many shares sums of `depth` are cut, each at least `least` long."""
    return max(1, min(divide_up(_BLOCKS, max(1, blocks)), depth // least, 64))
