"""A transformer that writes, letter by letter, like the texts of this repository:
python -m examples.char_transformer --help.

After Vaswani and others, 2017, with the norms before the blocks as in GPT-2.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import autograph as ag
from autograph import Tensor, ops
from autograph.layers import (
    Dense,
    Embedding,
    Gelu,
    Layer,
    LayerNorm,
    MultiheadAttention,
    PositionalEncoding,
    Repeat,
    Residual,
    layer,
    sequential,
)
from autograph.optim import AdamW, Cosine

ROOT = Path(__file__).parents[1]
SIZE, LENGTH = 64, 64  # features of a letter; letters that are seen at once


@sequential
class Attention(Layer):
    """What each place takes from those before it: (N, L, E) the same."""

    norm: LayerNorm = LayerNorm.builder(inputs=SIZE)
    look: MultiheadAttention = MultiheadAttention.builder(inputs=SIZE, heads=4, causal=True)


@sequential
class Thought(Layer):
    """What each place makes of it by itself: (N, L, E) the same."""

    norm: LayerNorm = LayerNorm.builder(inputs=SIZE)
    wide: Dense = Dense.builder(inputs=SIZE, outputs=4 * SIZE, bias=True)
    gelu: Gelu
    narrow: Dense = Dense.builder(inputs=4 * SIZE, outputs=SIZE, bias=True)


@sequential
class Block(Layer):
    """Both, each added to what it sees: (N, L, E) the same."""

    attention: Residual = Residual.builder(body=Attention.builder())
    thought: Residual = Residual.builder(body=Thought.builder())


@layer
class Writer(Layer):
    """Letters (N, L) -> scores of the letter after each (N, L, V)."""

    letters: Embedding = Embedding.builder(rows=128, outputs=SIZE)
    places: PositionalEncoding
    blocks: Repeat = Repeat.builder(body=Block.builder(), times=2)
    norm: LayerNorm = LayerNorm.builder(inputs=SIZE)
    head: Dense = Dense.builder(inputs=SIZE, outputs=128)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.places(self.letters(x)))))


def text() -> np.ndarray:
    """The ASCII letters of the texts at the top of the repository."""
    paths = sorted([*ROOT.glob("*.md"), *ROOT.glob("LICENSE-*")])
    whole = "\n".join(path.read_text() for path in paths)
    return np.frombuffer(whole.encode("ascii", "ignore"), np.uint8).astype(np.int64)


def continued(model: Layer, start: str, count: int = 80) -> str:
    """The start and the letters that the model finds likeliest after it."""
    letters = [*start.encode()]
    with ag.no_grad():
        for _ in range(count):
            seen = Tensor(np.array([letters[-LENGTH:]]), device=model.device)
            letters.append(int(model(seen)[0, -1].argmax()))
    return bytes(letters).decode("ascii", "replace")


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, and answer the loss of each step."""
    parser = argparse.ArgumentParser(prog="python -m examples.char_transformer")
    parser.add_argument("--device", default="host", help="host, cuda or cuda:N")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args(arguments)
    data, rng = text(), np.random.default_rng(0)
    model = Writer.build(device=options.device, seed=0)
    optimizer = AdamW(learning_rate=Cosine(peak=1e-2, steps=options.steps, warmup=10))
    print(f"{model.parameter_count:,} parameters on {model.device}, {len(data):,} letters")
    losses = []
    for step in range(options.steps):
        starts = rng.integers(0, len(data) - LENGTH - 1, (options.batch_size, 1))
        rows = data[starts + np.arange(LENGTH + 1)]  # (N, L + 1)
        x, t = (Tensor(each, device=options.device) for each in (rows[:, :-1], rows[:, 1:]))
        scores = ops.reshape(model(x), shape=(-1, 128))
        loss = scores.cross_entropy_loss(t.reshape(-1))
        loss.backward()
        model.update(optimizer)
        losses.append(float(loss))
        if step % 50 == 0:
            print(f"step {step:>5}  loss {losses[-1]:.4f}")
    print(continued(model, "Licensed under the "))
    return losses


if __name__ == "__main__":
    main()
