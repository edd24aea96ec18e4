"""Larger nets, trained and inferring: `python -m benches.nets [--quick] [--only "CNN train f32"]`.

MLP: 784-1024-1024-10 at batch 256. CNN: 3x3 convolutions 64-64-128-128 with padding at 32x32, a max
pooling before the last, the mean of all places and a dense layer, at batch 32. Transformer: a block
of 256 features, 4 causal heads and 1024 hidden features, on sequences of 128 at batch 16; its loss
is the mean of squares.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from .results import Row, raced, save, shown
from .timing import Contender

SHAPES = {"MLP": (256, 784), "CNN": (32, 64, 32, 32), "Transformer": (16, 128, 256)}
HEADS = 4  # of the transformer
VARIANTS: dict[str, dict[str, dict[str, bool]]] = {
    "MLP": {
        "torch": {},
        "torch foreach": {"foreach": True},
        "torch compiled": {"foreach": True, "compiled": True},
    },
    "CNN": {
        "torch": {},
        "torch channels_last foreach": {"channels_last": True, "foreach": True},
        "torch compiled": {"channels_last": True, "foreach": True, "compiled": True},
    },
}
VARIANTS["Transformer"] = VARIANTS["MLP"]


def arrays(net: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and labels of ten classes."""
    rng = np.random.default_rng(0)
    shape = SHAPES[net]
    return rng.standard_normal(shape, np.float32), rng.integers(0, 10, shape[0])


# -- autograph ---------------------------------------------------------------------------


def autograph_class(net: str) -> Any:
    """The declared layer."""
    from autograph.layers import (
        Conv2,
        Dense,
        Flatten,
        Gelu,
        Layer,
        LayerNorm,
        MaxPool2,
        MeanPool2,
        MultiheadAttention,
        Relu,
        layer,
        sequential,
    )  # fmt: skip

    @sequential(input=SHAPES["MLP"][1:])
    class MLP(Layer):
        """Numbers (N, 784) -> class scores (N, 10)."""

        dense1: Dense = Dense.builder(outputs=1024)
        relu1: Relu
        dense2: Dense = Dense.builder(outputs=1024)
        relu2: Relu
        dense3: Dense = Dense.builder(outputs=10, bias=True)

    @sequential(input=SHAPES["CNN"][1:])
    class CNN(Layer):
        """Images (N, 64, 32, 32) -> class scores (N, 10)."""

        conv1: Conv2 = Conv2.builder(outputs=64, filter=3, padding=1)
        relu1: Relu
        conv2: Conv2 = Conv2.builder(outputs=128, filter=3, padding=1)
        relu2: Relu
        pool2: MaxPool2 = MaxPool2.builder(filter=2)
        conv3: Conv2 = Conv2.builder(outputs=128, filter=3, padding=1)
        relu3: Relu
        pool3: MeanPool2 = MeanPool2.builder(filter=16)
        flatten: Flatten
        dense: Dense = Dense.builder(outputs=10, bias=True)

    @layer(input=SHAPES["Transformer"][1:])
    class Transformer(Layer):
        """Sequences (N, 128, 256) -> the same."""

        norm1: LayerNorm
        attention: MultiheadAttention = MultiheadAttention.builder(heads=HEADS, causal=True)
        norm2: LayerNorm
        dense1: Dense = Dense.builder(outputs=1024)
        gelu: Gelu = Gelu.builder(approximate=True)
        dense2: Dense = Dense.builder(outputs=256)

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.dense2(self.gelu(self.dense1(self.norm2(x))))

    return {"MLP": MLP, "CNN": CNN, "Transformer": Transformer}[net]


def autograph_runs(net: str, mode: str, scalar_type: str, captured: bool = False) -> Any:
    import autograph as ag
    from autograph.optim import SGD

    model, optimizer = autograph_class(net).build(scalar_type=scalar_type), SGD(learning_rate=1e-3)
    images, labels = arrays(net)
    x, t = ag.Tensor(images).cast(scalar_type), ag.Tensor(labels)
    ag.Tensor(np.ones(8, np.float32)).relu()  # loads the engine, before memory is looked at

    def train(x: Any, t: Any) -> Any:
        y = model(x)
        loss = y.cross_entropy_loss(t) if y.ndim == 2 else y.square().mean()
        loss.backward()
        model.update(optimizer)
        return loss.detach()

    def infer() -> None:
        with ag.no_grad():
            model(x)

    if mode == "infer":
        return infer
    step = ag.capture(train, optimizer=optimizer) if captured else train
    return lambda: step(x, t)


# -- torch -------------------------------------------------------------------------------


def torch_runs(
    net: str, mode: str, scalar_type: str, channels_last: bool = False, foreach: bool | None = None,
    compiled: bool = False,
) -> Any:  # fmt: skip
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(256), nn.LayerNorm(256)
            self.qkv, self.output = (nn.Linear(256, n, bias=False) for n in (768, 256))
            self.dense1 = nn.Linear(256, 1024, bias=False)
            self.dense2 = nn.Linear(1024, 256, bias=False)

        def forward(self, x: Any) -> Any:
            qkv = self.qkv(self.norm1(x)).view(*x.shape[:2], 3, HEADS, 256 // HEADS)
            y = scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4), is_causal=True)
            x = x + self.output(y.transpose(1, 2).reshape(x.shape))
            return x + self.dense2(gelu(self.dense1(self.norm2(x)), approximate="tanh"))

    nets = {
        "MLP": lambda: nn.Sequential(
            nn.Linear(784, 1024, bias=False),
            nn.ReLU(),
            nn.Linear(1024, 1024, bias=False),
            nn.ReLU(),
            nn.Linear(1024, 10),
        ),
        "CNN": lambda: nn.Sequential(
            nn.Conv2d(64, 64, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(128, 128, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.AvgPool2d(16),
            nn.Flatten(),
            nn.Linear(128, 10),
        ),
        "Transformer": Transformer,
    }
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[scalar_type]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model: Any = nets[net]().to(dtype=dtype, memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, foreach=foreach)
    images, labels = arrays(net)
    x = torch.from_numpy(images).to(dtype).contiguous(memory_format=layout)
    t = torch.from_numpy(labels)
    if compiled:
        model = torch.compile(model)

    def train() -> None:
        y = model(x)
        (cross_entropy(y, t) if y.ndim == 2 else y.square().mean()).backward()
        optimizer.step()
        optimizer.zero_grad()

    def infer() -> None:
        with torch.inference_mode():
            model(x)

    return train if mode == "train" else infer


# -- JAX ---------------------------------------------------------------------------------


def jax_runs(net: str, mode: str, scalar_type: str) -> Any:
    import jax
    import jax.numpy as jnp
    from jax import lax

    dtype = {"f32": jnp.float32, "bf16": jnp.bfloat16}[scalar_type]
    shapes = {
        "MLP": [(784, 1024), (1024, 1024), (1024, 10), (10,)],
        "CNN": [(3, 3, 64, 64), (3, 3, 64, 128), (3, 3, 128, 128), (128, 10), (10,)],
        "Transformer": [
            (256,), (256,), (256, 768), (256, 256), (256,), (256,), (256, 1024), (1024, 256)
        ],
    }[net]  # fmt: skip
    keys = jax.random.split(jax.random.key(0), len(shapes))
    weights = [
        (jax.random.normal(key, shape) * 0.05).astype(dtype)
        for key, shape in zip(keys, shapes, strict=True)
    ]

    def conv(x: Any, w: Any) -> Any:
        return jax.nn.relu(
            lax.conv_general_dilated(
                x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        )

    def norm(x: Any, w: Any, b: Any) -> Any:
        away = x - x.mean(-1, keepdims=True)
        return away * lax.rsqrt((away * away).mean(-1, keepdims=True) + 1e-5) * w + b

    def block(weights: Any, x: Any) -> Any:
        g1, b1, qkv, output, g2, b2, w1, w2 = weights
        parts = (norm(x, g1, b1) @ qkv).reshape(*x.shape[:2], 3, HEADS, -1)
        y = jax.nn.dot_product_attention(*parts.transpose(2, 0, 1, 3, 4), is_causal=True)
        x = x + y.reshape(x.shape) @ output
        return x + jax.nn.gelu(norm(x, g2, b2) @ w1) @ w2

    def forward(weights: Any, x: Any) -> Any:
        if net == "Transformer":
            return block(weights, x)
        if net == "MLP":
            w1, w2, w3, b3 = weights
            return jax.nn.relu(jax.nn.relu(x @ w1) @ w2) @ w3 + b3
        w1, w2, w3, w4, b4 = weights
        x = conv(conv(x, w1), w2)
        lowest = np.array(-np.inf, x.dtype)
        x = lax.reduce_window(x, lowest, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return conv(x, w3).mean((1, 2)) @ w4 + b4

    def loss_of(weights: Any, x: Any, t: Any) -> Any:
        y = forward(weights, x).astype(jnp.float32)
        if y.ndim == 3:
            return jnp.square(y).mean()
        scores = jax.nn.log_softmax(y)
        return -jnp.take_along_axis(scores, t[:, None], axis=1).mean()

    @jax.jit
    def step(weights: Any, x: Any, t: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, t)
        move = lambda w, dw: w - (1e-3 * dw).astype(w.dtype)  # noqa: E731
        return jax.tree.map(move, weights, gradients), loss

    images, labels = arrays(net)
    images = images.transpose(0, 2, 3, 1) if net == "CNN" else images
    x, t = jnp.asarray(images, dtype), jnp.asarray(labels)
    if mode == "train":
        return lambda: jax.block_until_ready(step(weights, x, t))
    infer = jax.jit(forward)
    return lambda: jax.block_until_ready(infer(weights, x))


# -- the tables --------------------------------------------------------------------------


def operations(net: str, mode: str) -> float:
    """Floating point operations of a step."""
    from autograph.layers import summary

    told = summary(autograph_class(net))
    count = 2.0 * SHAPES[net][0]
    first = next(row.multiply_adds for row in told.rows if row.multiply_adds)
    forward = count * told.multiply_adds
    return 3 * forward - count * first if mode == "train" else forward


def contenders(net: str, mode: str, scalar_type: str) -> Iterator[Contender]:
    timed = {"net": net, "mode": mode, "scalar_type": scalar_type}
    yield Contender("autograph", "benches.nets:autograph_runs", timed)
    if mode == "train":
        replayed = {**timed, "captured": True}
        yield Contender("autograph captured", "benches.nets:autograph_runs", replayed)
    for name, options in VARIANTS[net].items():
        yield Contender(name, "benches.nets:torch_runs", {**timed, **options})
    yield Contender("JAX jit", "benches.nets:jax_runs", timed)


def measured(rounds: int = 8, only: str = "") -> list[Row]:
    """All rows."""
    rows: list[Row] = []
    for net in SHAPES:
        for scalar_type in ("f32", "bf16"):
            for mode in ("train", "infer"):
                name = f"{net} {mode} {scalar_type}"
                if only in name:
                    rows += raced(
                        f"{name} b{SHAPES[net][0]}",
                        list(contenders(net, mode, scalar_type)),
                        operations=operations(net, mode),
                        scalar_type=scalar_type,
                        rounds=rounds,
                        seconds=0.5,
                    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help='a part of a name such as "CNN train f32"')
    options = parser.parse_args()
    rows = measured(3 if options.quick else 8, options.only)
    print(shown(rows))
    if not options.only and not options.quick:
        save("nets", rows)


if __name__ == "__main__":
    main()
