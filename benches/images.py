"""Batches of real MNIST images as NumPy arrays, for every framework alike."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

COUNT = 10_000


@cache
def stored() -> str:
    """A file with images, read with autograph once, so that its peers need not import it."""
    from autograph.data.mnist_files import mnist_arrays

    images, labels = mnist_arrays().train
    path = Path(mkdtemp(prefix="autograph-benches-")) / "mnist.npz"
    np.savez(path, images=images[:COUNT], labels=labels[:COUNT])
    return str(path)


def batch(path: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 1, 28, 28) f32 from 0 to 1, and (N,) i64."""
    with np.load(path) as file:
        images = file["images"][:count].astype(np.float32) / np.float32(255)
        return images, file["labels"][:count].astype(np.int64)
