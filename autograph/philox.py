"""Keyed random numbers: Philox4x32-10, a function of a key and a counter, with no state.

Salmon, Moraes, Dror and Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np

Words = np.ndarray[Any, np.dtype[np.uint32]]

_MULTIPLY = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_BUMP = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_AT_ONCE = 1 << 13  # counters, whose words stay in the second cache


def stream(seed: int, *names: str | int) -> tuple[int, int]:
    """The key of the stream that a seed and names (a path, a purpose, a number) choose.

    >>> stream(0, "conv1.weight") == stream(0, "conv1.weight") != stream(1, "conv1.weight")
    True
    """
    text = "\0".join(map(str, (seed, *names))).encode()
    digest = blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(key: tuple[int, int], counters: tuple[Any, Any, Any, Any]) -> Words:
    """Four words for each counter: (n, 4) from four arrays or numbers of n."""
    a, b, c, d = np.broadcast_arrays(*[np.asarray(each, np.uint64) for each in counters])
    k0, k1 = key
    for _ in range(10):
        p, q = a * _MULTIPLY[0], c * _MULTIPLY[1]
        a, b, c, d = (
            (q >> _HALF) ^ b ^ np.uint64(k0),
            q & _LOW,
            (p >> _HALF) ^ d ^ np.uint64(k1),
            p & _LOW,
        )
        k0, k1 = (k0 + _BUMP[0]) & 0xFFFFFFFF, (k1 + _BUMP[1]) & 0xFFFFFFFF
    return np.stack([a, b, c, d], axis=-1).astype(np.uint32)


def words(key: tuple[int, int], count: int, start: int = 0) -> Words:
    """`count` words of a stream, from its word number `4 * start`."""
    made, end = np.empty((-(-count // 4), 4), np.uint32), start + -(-count // 4)
    for first in range(start, end, _AT_ONCE):
        blocks = np.arange(first, min(first + _AT_ONCE, end), dtype=np.uint64)
        made[first - start :][: len(blocks)] = philox(
            key, (blocks & _LOW, blocks >> _HALF, np.uint64(0), np.uint64(0))
        )
    return made.reshape(-1)[:count]


def uniforms(key: tuple[int, int], count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """`count` numbers in [0, 1), of 53 bits each, from two words each."""
    pairs = words(key, 2 * count).reshape(-1, 2).astype(np.uint64)
    bits = (pairs[:, 1] << _HALF | pairs[:, 0]) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def normals(key: tuple[int, int], count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """`count` normal numbers, by Box and Muller's transform of pairs of uniforms."""
    u = uniforms(key, 2 * ((count + 1) // 2)).reshape(-1, 2)
    radius = np.sqrt(-2.0 * np.log1p(-u[:, 0]))
    angle = 2.0 * np.pi * u[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1)[:count]


def permutation(key: tuple[int, int], count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The numbers 0 to count - 1 in the order that the stream gives them.

    >>> sorted(permutation(stream(0, "epoch", 1), 4).tolist())
    [0, 1, 2, 3]
    """
    pairs = words(key, 2 * count).reshape(-1, 2).astype(np.uint64)
    return np.argsort(pairs[:, 1] << _HALF | pairs[:, 0], kind="stable")
