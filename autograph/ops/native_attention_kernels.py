"""Attention and its gradients by the host engine: for each head some rows of scores at a time, from
products to softmax and back while they are in the cache."""

from math import prod, sqrt

import numpy as np

from ..backends import NATIVE
from ..backends.host import pool, scalars
from ..backends.host.buffers import empty
from ..backends.host.functions import exp, log
from ..backends.host.intrinsics import larger, plus
from ..backends.host.jit import kernel
from ..backends.host.packing import pack_panel
from ..backends.host.product import shares
from ..backends.host.scalars import f32, i64, u8
from ..backends.host.small_product import places_of, steps_of, times_panel
from ..backends.host.tiles import ACCUMULATE, PANEL, ROWS, addresses
from ..scalar_type import BF16, BOOL, F32
from .attention import attention_back, scaled_dot_product_attention
from .shape import copy

KINDS = scalars.KINDS | {BOOL: u8}
BLOCK = 8 * ROWS  # rows at a time
SPREAD = 16  # tasks to make at least, where there are so many blocks
INFINITY = float("inf")


@kernel
def attend(
    task, tasks: int, heads: int, blocks: int, rows: int, length: int, seen: int, e: int, d: int,
    places: i64, q: "T", q_row: int, q_e: int, k: "T", k_row: int, k_e: int, v: "T", v_row: int,
    v_e: int, mask: "M", mask_row: int, mask_column: int, causal: int, scale: float, y: "T",
    y_row: int, normaliser: f32, tile: i64, scratch: f32, room: int,
):  # fmt: skip
    """y = softmax(q @ k.T * scale + mask) @ v of a block of rows, and log(sum(exp(scores)))."""
    key_panels, panels = (seen + PANEL - 1) // PANEL, (d + PANEL - 1) // PANEL
    pitch, y_pitch, packed = key_panels * PANEL, panels * PANEL, 0 - 1
    keys = scratch + task * room
    values = keys + pitch * e
    queries = values + y_pitch * seen
    scores = queries + rows * e
    out = scores + rows * pitch
    for unit in range(task * heads * blocks // tasks, (task + 1) * heads * blocks // tasks):
        head, first = unit // blocks, unit % blocks * rows
        here, last = places + head * 5, min(length, first + rows)
        count = last - first
        limit = min(seen, last) if causal else seen
        if packed != head:
            pack_all(k + here[1], seen, e, k_row, k_e, keys)
            pack_all(v + here[2], d, seen, v_e, v_row, values)
            packed = head
        gather(q + (here[0] + first * q_row), count, e, q_row, q_e, scale, queries)
        times_all(tile, queries, e, 1, keys, e, scores, pitch, count, limit, e, 0)
        for i in range(count):
            row = scores + i * pitch
            visible = min(limit, first + i + 1) if causal else limit
            hide(row, visible, mask + (here[3] + (first + i) * mask_row), mask_column)
            largest = f32(-INFINITY)
            for j in range(visible):
                largest = larger(largest, row[j])
            base = 0.0 if largest == -INFINITY else largest
            total = f32(0.0)
            for j in range(visible):
                power = exp(row[j] - base)
                row[j] = power
                total = plus(total, power)
            for j in range(visible, limit):
                row[j] = 0.0
            share = 0.0 if total == 0.0 else 1.0 / total
            for j in range(visible):
                row[j] = row[j] * share
            normaliser[head * length + first + i] = INFINITY if total == 0.0 else base + log(total)
        times_all(tile, scores, pitch, 1, values, seen, out, y_pitch, count, d, limit, 0)
        there = y + (here[4] + first * y_row)
        for i in range(count):
            for j in range(d):
                there[i * y_row + j] = out[i * y_pitch + j]


@kernel
def attend_back(
    task, tasks: int, heads: int, parts: int, blocks: int, rows: int, length: int, seen: int,
    e: int, d: int, places: i64, dy: "T", dy_row: int, dy_e: int,
    q: "T", q_row: int, q_e: int, k: "T", k_row: int, k_e: int, v: "T", v_row: int, v_e: int,
    normaliser: f32, mask: "M", mask_row: int, mask_column: int, causal: int, scale: float,
    dq: "T", dq_row: int, dk: "T", dk_row: int, dv: "T", dv_row: int, sums: f32, tile: i64,
    scratch: f32, room: int,
):  # fmt: skip
    """dq, and what a part of the rows adds to dk and dv; the weights are made again of the
    scores."""
    key_panels = (seen + PANEL - 1) // PANEL
    e_pitch, d_pitch = (e + PANEL - 1) // PANEL * PANEL, (d + PANEL - 1) // PANEL * PANEL
    pitch, packed = key_panels * PANEL, 0 - 1
    keys = scratch + task * room
    values = keys + pitch * e
    columns = values + pitch * d  # the keys again, to be multiplied from the right
    queries = columns + e_pitch * seen
    slopes = queries + rows * e
    weights = slopes + rows * d
    deltas = weights + rows * pitch
    right = deltas + rows * pitch
    out = right + rows * max(e_pitch, d_pitch)
    for unit in range(task * heads * parts // tasks, (task + 1) * heads * parts // tasks):
        head, part = unit // parts, unit % parts
        here = places + head * 9
        mine = sums + (task if parts == 1 else unit) * seen * (e_pitch + d_pitch)
        beside = mine + seen * e_pitch
        for i in range(seen * (e_pitch + d_pitch)):
            mine[i] = 0.0
        if packed != head:
            pack_all(k + here[3], seen, e, k_row, k_e, keys)
            pack_all(k + here[3], e, seen, k_e, k_row, columns)
            pack_all(v + here[4], seen, d, v_row, v_e, values)
            packed = head
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            first = block * rows
            last = min(length, first + rows)
            count = last - first
            limit = min(seen, last) if causal else seen
            gather(q + (here[2] + first * q_row), count, e, q_row, q_e, scale, queries)
            gather(dy + (here[0] + first * dy_row), count, d, dy_row, dy_e, 1.0, slopes)
            times_all(tile, queries, e, 1, keys, e, weights, pitch, count, limit, e, 0)
            times_all(tile, slopes, d, 1, values, d, deltas, pitch, count, limit, d, 0)
            for i in range(count):
                row, delta = weights + i * pitch, deltas + i * pitch
                visible = min(limit, first + i + 1) if causal else limit
                hide(row, visible, mask + (here[5] + (first + i) * mask_row), mask_column)
                along, length_of_row = f32(0.0), normaliser[head * length + first + i]
                for j in range(visible):
                    weight = exp(row[j] - length_of_row)
                    row[j] = weight
                    along = plus(along, weight * delta[j])  # dy * y, which may be rounded
                for j in range(visible):
                    delta[j] = row[j] * (delta[j] - along)
                for j in range(visible, limit):
                    row[j] = 0.0
                    delta[j] = 0.0
            times_all(tile, deltas, pitch, 1, columns, seen, out, e_pitch, count, e, limit, 0)
            there = dq + (here[6] + first * dq_row)
            for i in range(count):
                for j in range(e):
                    there[i * dq_row + j] = out[i * e_pitch + j] * scale
            pack_all(queries, e, count, 1, e, right)
            times_all(
                tile, deltas, 1, pitch, right, count, mine, e_pitch, limit, e, count, ACCUMULATE
            )
            pack_all(slopes, d, count, 1, d, right)
            times_all(
                tile, weights, 1, pitch, right, count, beside, d_pitch, limit, d, count, ACCUMULATE
            )
        if parts == 1:
            join(mine, 1, seen, e, e_pitch, 0, dk + here[7], dk_row)
            join(beside, 1, seen, d, d_pitch, 0, dv + here[8], dv_row)


@kernel
def join_parts(
    task, tasks: int, heads: int, parts: int, seen: int, e: int, d: int, places: i64, sums: f32,
    dk: "T", dk_row: int, dv: "T", dv_row: int,
):  # fmt: skip
    """dk and dv, from what the parts of the rows add, in order."""
    e_pitch, d_pitch = (e + PANEL - 1) // PANEL * PANEL, (d + PANEL - 1) // PANEL * PANEL
    step = seen * (e_pitch + d_pitch)
    for head in range(task * heads // tasks, (task + 1) * heads // tasks):
        here, mine = places + head * 9, sums + head * parts * step
        join(mine, parts, seen, e, e_pitch, step, dk + here[7], dk_row)
        join(mine + seen * e_pitch, parts, seen, d, d_pitch, step, dv + here[8], dv_row)


def join(sums, parts, rows, columns, pitch, step, out, out_row):
    """The sum of parts that lie a step apart."""
    for i in range(rows):
        for j in range(columns):
            total = f32(0.0)
            for part in range(parts):
                total += sums[part * step + i * pitch + j]
            out[i * out_row + j] = total


def gather(x, rows, columns, row, column, scale, out):
    """A matrix times a number, its rows side by side."""
    for i in range(rows):
        for j in range(columns):
            out[i * columns + j] = x[i * row + j * column] * scale


def hide(row, visible, mask, step):
    """-inf where a mask is false, or the mask added."""
    if MASK == 1:
        for j in range(visible):
            row[j] = row[j] if mask[j * step] != 0 else -INFINITY
    if MASK == 2:
        for j in range(visible):
            row[j] += mask[j * step]


def pack_all(source, columns, depth, column, step, out):
    """A matrix (depth, columns) in panels, with zeros beyond the last column."""
    for panel in range((columns + PANEL - 1) // PANEL):
        pack_panel(
            source + panel * PANEL * column, columns - panel * PANEL, PANEL, 1, 1, depth, 0, 0,
            step, column, out + panel * PANEL * depth,
        )  # fmt: skip


def times_all(tile, a, a_row, a_k, columns, height, c, c_row, rows, n, depth, flags):
    """c = a @ columns, n of them and `depth` of their `height`; rows of c are whole panels."""
    for panel in range((n + PANEL - 1) // PANEL):
        times_panel(
            tile, a, a_row, a_k, columns + panel * PANEL * height, c + panel * PANEL, c_row, rows,
            PANEL, depth, 0, flags,
        )  # fmt: skip


# -- Outlines and memory ------


def takes(q, k, v, mask=None, counter=None, *, rate=0.0, **settings):
    """Whether the engine computes with these scalar types, nothing is thrown away, and there is
    something to see."""
    return (
        not rate
        and q.scalar_type in (F32, BF16)
        and min(q.size, k.size, v.size) > 0
        and (mask is None or mask.scalar_type in KINDS)
    )


def takes_back(dy, y, q, k, v, normaliser, mask=None, counter=None, **settings):
    return takes(q, k, v, mask, **settings) and normaliser.scalar_type is F32


class Attention:
    """What the kernels need to know that depends on outlines alone."""

    def __init__(self, q, v, mask, causal, scale):
        (*batch, self.length, self.e), (self.seen, self.d) = q.shape, v.shape[-2:]
        self.batch, self.heads = tuple(batch), prod(batch)
        self.rows, self.blocks = BLOCK, -(-self.length // BLOCK)
        self.scores = (*batch, self.length, self.seen)
        self.names = {
            "T": KINDS[q.scalar_type],
            "M": u8 if mask is None else KINDS[mask.scalar_type],
            "MASK": 0 if mask is None else 1 if mask.scalar_type is BOOL else 2,
        }
        self.causal, self.scale = int(causal), 1 / sqrt(self.e) if scale is None else float(scale)
        self.work = self.heads * self.length * self.seen * (self.e + self.d)
        self.wide = [-(-n // PANEL) * PANEL for n in (self.seen, self.e, self.d)]

    def tasks(self, units):
        """How many tasks: each has a room, which is to stay in the caches."""
        return min(shares(units, self.work), 2 * pool.get_num_threads())

    def spread(self, mask):
        """A mask seen as one for all scores."""
        return None if mask is None else np.broadcast_to(mask, self.scores)

    def places(self, *arrays):
        """Where each head begins in each array."""
        none = (0,) * len(self.batch)
        return places_of(
            self.batch, *[none if each is None else steps_of(each)[:-2] for each in arrays]
        )


def matrix(array):
    """An array and the strides of its last two axes."""
    return (None, 0, 0) if array is None else (array, *steps_of(array)[-2:])


def copied(array):
    """The array in C order, itself if it is so."""
    return array if array.flags.c_contiguous else copy(array)


def lying_as(array, shape):
    """A new array whose axes but the last follow each other in memory as those of `array` do."""
    order = sorted(range(len(shape) - 1), key=lambda axis: -array.strides[axis])
    memory = empty((*[shape[axis] for axis in order], shape[-1]), array.dtype)
    return memory.transpose(*[order.index(axis) for axis in range(len(shape) - 1)], len(shape) - 1)


@scaled_dot_product_attention.kernel(NATIVE, when=takes, strided=True, halves=True, made=True)
def attention_native(inputs, outputs, *, causal, scale, **settings):
    found = Attention(inputs[0], inputs[2], inputs[3], causal, scale)
    length, seen, e, d, rows = found.length, found.seen, found.e, found.d, found.rows
    launch, units = attend.of(**found.names), found.heads * found.blocks
    pitch, _, y_pitch = found.wide
    room = pitch * (e + rows) + y_pitch * (seen + rows) + rows * e
    shape, kept = outputs[0].shape, outputs[1].shape

    def run(q, k, v, mask, counter):
        tasks = found.tasks(units)
        y, normaliser, mask = lying_as(q, shape), empty(kept, np.float32), found.spread(mask)
        launch(
            tasks, tasks, found.heads, found.blocks, rows, length, seen, e, d,
            found.places(q, k, v, mask, y), *matrix(q), *matrix(k), *matrix(v), *matrix(mask),
            found.causal, found.scale, y, steps_of(y)[-2], normaliser, addresses(),
            empty((tasks * room,), np.float32), room,
        )  # fmt: skip
        return y, normaliser

    return run


@attention_back.kernel(NATIVE, when=takes_back, strided=True, halves=True, made=True)
def attention_back_native(inputs, outputs, *, causal, scale, **settings):
    found = Attention(inputs[2], inputs[4], inputs[6], causal, scale)
    heads, length, seen, e, d = found.heads, found.length, found.seen, found.e, found.d
    rows, (pitch, e_pitch, d_pitch) = found.rows, found.wide
    parts = min(found.blocks, -(-SPREAD // heads))
    launch, joined = attend_back.of(**found.names), join_parts.of(T=found.names["T"])
    size = seen * (e_pitch + d_pitch)
    room = pitch * (e + d + 2 * rows) + e_pitch * (seen + rows) + rows * (e + d)
    room += rows * max(e_pitch, d_pitch)

    def run(dy, y, q, k, v, normaliser, mask, counter):
        tasks = found.tasks(heads * parts)
        dq, dk, dv = (lying_as(each, each.shape) for each in (q, k, v))
        normaliser, mask = copied(normaliser), found.spread(mask)
        places = found.places(dy, y, q, k, v, mask, dq, dk, dv)
        sums = empty(((heads * parts if parts > 1 else tasks) * size,), np.float32)
        (dk_row, dv_row) = (steps_of(each)[-2] for each in (dk, dv))
        launch(
            tasks, tasks, heads, parts, found.blocks, rows, length, seen, e, d, places,
            *matrix(dy), *matrix(q), *matrix(k), *matrix(v), normaliser, *matrix(mask),
            found.causal, found.scale, dq, steps_of(dq)[-2], dk, dk_row, dv, dv_row, sums,
            addresses(), empty((tasks * room,), np.float32), room,
        )  # fmt: skip
        if parts > 1:
            tasks_of_sums = shares(heads, heads * parts * size)
            joined(
                tasks_of_sums, tasks_of_sums, heads, parts, seen, e, d, places, sums, dk, dk_row,
                dv, dv_row,
            )  # fmt: skip
        return dq, dk, dv

    return run
