"""Writes a checkpoint in today's format, for later versions to read. Run by hand when it changes:

    python -m tests.golden.make_checkpoint

Files of earlier formats stay where they are: `tests/test_checkpoint.py` reads them all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import autograph as ag
from autograph.checkpoint import save
from autograph.files import FORMAT
from autograph.layers import BatchNorm1, Dense, Dropout, Layer, Relu, sequential
from autograph.optim import Adam, Cosine

FOLDER = Path(__file__).parent
X = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)


@sequential(input=(3,))
class Kept(Layer):
    """Rows (N, 3) -> (N, 2)."""

    dense1: Dense = Dense.builder(outputs=4, bias=True)
    norm1: BatchNorm1
    relu1: Relu
    dropout1: Dropout
    dense2: Dense = Dense.builder(outputs=2)


if __name__ == "__main__":
    model, optimizer = Kept.build(seed=7), Adam(learning_rate=Cosine(peak=0.01, steps=9))
    for _ in range(3):
        (model(ag.Tensor(X)) ** 2.0).mean().backward()
        model.update(optimizer)
    with ag.no_grad():
        outputs = model(ag.Tensor(X)).tolist()
    save(FOLDER / f"checkpoint-{FORMAT}.safetensors", model, optimizer, {"outputs": outputs})
