"""The loops of relu and max pooling over a convolution that lies in scratch."""

from ...backends.host.scalars import i32
from ...backends.host.tiles import LANES
from ...backends.host.window_tiles import DEAD


def pool_image(
    room, pitch, p, q, o, stride_r, stride_s, pad_r, pad_s, pp, qq, end, first, y, index
):  # fmt: skip
    """relu and max_pool of an image (p, q, o) with rows of pixels, to y and index from `first` to
    `end`."""
    for i in range(pp):
        for j in range(qq):
            row, column = i * stride_r - pad_r, j * stride_s - pad_s
            there = first + (i * qq + j) * o
            inside = (row >= 0) & (column >= 0) & (row + WR <= p) & (column + WS <= q)
            if inside:
                here = room + (row * q + column) * pitch
                k = 0
                # lanes beyond o are written again by the next pixel
                while (k < o) & (there + k + LANES <= end):
                    for lane in range(LANES):
                        largest(
                            here, k + lane, 0, WR, 0, WS, q * pitch, pitch, y, index,
                            there + k + lane,
                        )  # fmt: skip
                    k += LANES
                while k < o:
                    largest(here, k, 0, WR, 0, WS, q * pitch, pitch, y, index, there + k)
                    k += 1
            else:
                first_r, last_r = max(0, -row), min(WR, p - row)
                first_s, last_s = max(0, -column), min(WS, q - column)
                here = room + (row * q + column) * pitch
                for k in range(o):
                    largest(
                        here, k, first_r, last_r, first_s, last_s, q * pitch, pitch, y, index,
                        there + k,
                    )  # fmt: skip


def largest(here, k, first_r, last_r, first_s, last_s, line, pitch, y, index, there):
    """relu of the largest of a window of channel k, and where it is: the first of equals, but
    the last NaN."""
    best, place = here[first_r * line + first_s * pitch + k], i32(first_r * WS + first_s)
    for r in range(first_r, last_r):
        for s in range(first_s, last_s):
            value = here[r * line + s * pitch + k]
            kept = (value <= best) | ((best != best) & (value == value))
            best = best if kept else value
            place = place if kept else i32(r * WS + s)
    y[there] = 0.0 if best <= 0.0 else best
    index[there] = DEAD if best <= 0.0 else place
