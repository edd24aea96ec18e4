"""The nets of the device benches in autograph: an MLP, ResNet-18 for small images, and a GPT."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import autograph as ag
from autograph import ops
from autograph.capturing import capture
from autograph.layers import (
    BatchNorm2,
    Conv2,
    Dense,
    Embedding,
    Layer,
    LayerNorm,
    Relu,
    layer,
    sequential,
)
from autograph.optim import SGD, AdamW

WORDS, PLACES, WIDTH, HEADS, BLOCKS = 1024, 256, 512, 8, 6
STEPS = 10  # of a run, after which the device is waited for


@sequential(input=(784,))
class MLP(Layer):
    """Numbers (N, 784) -> class scores (N, 10)."""

    dense1: Dense = Dense.builder(outputs=4096, bias=True)
    relu1: Relu
    dense2: Dense = Dense.builder(outputs=4096, bias=True)
    relu2: Relu
    dense3: Dense = Dense.builder(outputs=10, bias=True)


def rectified(norm: BatchNorm2, x: ag.Tensor) -> ag.Tensor:
    """relu(norm(x)) in one op."""
    y: ag.Tensor = ops.batch_norm_relu(
        x, norm.weight, norm.bias, norm.running_mean, norm.running_variance,
        momentum=norm.momentum, epsilon=norm.epsilon,
    )  # fmt: skip
    return y


def forked(
    norm: BatchNorm2, x: ag.Tensor, plus: ag.Tensor | None = None
) -> tuple[ag.Tensor, ag.Tensor]:
    """relu(norm(x) + plus) in one op, for the next convolution and for its shortcut."""
    found: tuple[ag.Tensor, ag.Tensor] = ops.batch_norm_relu_pair(
        x, norm.weight, norm.bias, norm.running_mean, norm.running_variance, plus,
        momentum=norm.momentum, epsilon=norm.epsilon,
    )  # fmt: skip
    return found


def _block(inputs: int, outputs: int, stride: int) -> type[Layer]:
    """The class of a block of two convolutions and a shortcut."""

    @layer
    class Block(Layer):
        conv1: Conv2 = Conv2.builder(
            inputs=inputs, outputs=outputs, filter=3, stride=stride, padding=1
        )
        norm1: BatchNorm2 = BatchNorm2.builder(inputs=outputs)
        conv2: Conv2 = Conv2.builder(inputs=outputs, outputs=outputs, filter=3, padding=1)
        norm2: BatchNorm2 = BatchNorm2.builder(inputs=outputs)

        def forward(self, x: ag.Tensor, beside: ag.Tensor) -> tuple[ag.Tensor, ag.Tensor]:
            y = self.conv2(rectified(self.norm1, self.conv1(x)))
            return forked(self.norm2, y, beside)

    @layer
    class Narrowing(Layer):
        conv1: Conv2 = Conv2.builder(
            inputs=inputs, outputs=outputs, filter=3, stride=stride, padding=1
        )
        norm1: BatchNorm2 = BatchNorm2.builder(inputs=outputs)
        conv2: Conv2 = Conv2.builder(inputs=outputs, outputs=outputs, filter=3, padding=1)
        norm2: BatchNorm2 = BatchNorm2.builder(inputs=outputs)
        shortcut: Conv2 = Conv2.builder(inputs=inputs, outputs=outputs, filter=1, stride=stride)
        norm3: BatchNorm2 = BatchNorm2.builder(inputs=outputs)

        def forward(self, x: ag.Tensor, beside: ag.Tensor) -> tuple[ag.Tensor, ag.Tensor]:
            y = self.conv2(rectified(self.norm1, self.conv1(x)))
            return forked(self.norm2, y, self.norm3(self.shortcut(beside)))

    return Block if stride == 1 and inputs == outputs else Narrowing


@layer
class ResNet18(Layer):
    """Images (N, 3, 32, 32) -> class scores (N, 10). He, Zhang, Ren and Sun, 2016."""

    conv: Conv2 = Conv2.builder(inputs=3, outputs=64, filter=3, padding=1)
    norm: BatchNorm2 = BatchNorm2.builder(inputs=64)
    block1: Layer = _block(64, 64, 1).builder()
    block2: Layer = _block(64, 64, 1).builder()
    block3: Layer = _block(64, 128, 2).builder()
    block4: Layer = _block(128, 128, 1).builder()
    block5: Layer = _block(128, 256, 2).builder()
    block6: Layer = _block(256, 256, 1).builder()
    block7: Layer = _block(256, 512, 2).builder()
    block8: Layer = _block(512, 512, 1).builder()
    dense: Dense = Dense.builder(inputs=512, outputs=10, bias=True)

    def forward(self, x: ag.Tensor) -> ag.Tensor:
        x, beside = forked(self.norm, self.conv(x))
        for i in range(1, 9):
            x, beside = getattr(self, f"block{i}")(x, beside)
        return self.dense(x.mean(axis=(2, 3)))


@layer
class Block(Layer):
    """Attention and two dense layers, each behind a norm and beside a shortcut."""

    norm1: LayerNorm = LayerNorm.builder(inputs=WIDTH)
    attention: Dense = Dense.builder(inputs=WIDTH, outputs=3 * WIDTH, bias=True)
    output: Dense = Dense.builder(inputs=WIDTH, outputs=WIDTH, bias=True)
    norm2: LayerNorm = LayerNorm.builder(inputs=WIDTH)
    dense1: Dense = Dense.builder(inputs=WIDTH, outputs=4 * WIDTH, bias=True)
    dense2: Dense = Dense.builder(inputs=4 * WIDTH, outputs=WIDTH, bias=True)

    def forward(self, x: ag.Tensor, plus: ag.Tensor) -> tuple[ag.Tensor, ag.Tensor]:
        """What comes in, as two summands, and what goes out, likewise."""
        x, y = added(self.norm1, x, plus)
        y = self.output(ops.packed_attention(self.attention(y), heads=HEADS, causal=True))
        x, y = added(self.norm2, x, y)
        y = ops.linear_gelu_tanh(y, self.dense1.weight, self.dense1.bias)
        return x, self.dense2(y)


def added(norm: LayerNorm, x: ag.Tensor, plus: ag.Tensor) -> tuple[ag.Tensor, ag.Tensor]:
    """x + plus, and its norm."""
    found: tuple[ag.Tensor, ag.Tensor] = ops.add_layer_norm(
        x, plus, norm.weight, norm.bias, axes=norm.axes, epsilon=norm.epsilon
    )
    return found


@layer
class GPT(Layer):
    """Words (N, L) -> scores of the next (N, L, words)."""

    words: Embedding = Embedding.builder(rows=WORDS, outputs=WIDTH)
    places: Embedding = Embedding.builder(rows=PLACES, outputs=WIDTH)
    block1: Layer = Block.builder()
    block2: Layer = Block.builder()
    block3: Layer = Block.builder()
    block4: Layer = Block.builder()
    block5: Layer = Block.builder()
    block6: Layer = Block.builder()
    norm: LayerNorm = LayerNorm.builder(inputs=WIDTH)
    head: Dense = Dense.builder(inputs=WIDTH, outputs=WORDS)

    def forward(self, x: ag.Tensor, places: ag.Tensor) -> ag.Tensor:
        y = self.words(x).cast("f32")  # what goes around the blocks is added up in f32
        plus = self.places(places).broadcast_to(y.shape)
        for i in range(1, BLOCKS + 1):
            y, plus = getattr(self, f"block{i}")(y, plus)
        return self.head(added(self.norm, y, plus)[1])


def step_of(
    net: str, batch: int, scalar_type: str, masters: bool = True, seed: int = 0
) -> tuple[Callable[..., Any], list[Any], Any]:
    """A training step, its inputs, which are drawn from a seed, and the optimizer."""
    rng, device = np.random.default_rng(seed), "cuda:0"
    optimizer: Any = SGD(learning_rate=1e-3, masters=masters)
    build: dict[str, Any] = {"device": device, "scalar_type": scalar_type, "seed": 0}
    if net == "GPT":
        words = rng.integers(0, WORDS, (2, batch, PLACES)).astype(np.int32)
        x, t = (ag.Tensor(each, device=device) for each in words)
        places = ag.Tensor(np.arange(PLACES, dtype=np.int32), device=device)
        model, optimizer = GPT.build(**build), AdamW(learning_rate=1e-4)
        given = [x, places, t.reshape(batch * PLACES)]
    else:
        shape = (784,) if net == "MLP" else (3, 32, 32)
        images = rng.standard_normal((batch, *shape)).astype(np.float32)
        model = (MLP if net == "MLP" else ResNet18).build(**build)
        given = [
            ag.Tensor(images, device=device).cast(scalar_type),
            ag.Tensor(rng.integers(0, 10, batch).astype(np.int32), device=device),
        ]

    def step(*given: Any) -> Any:
        *inputs, t = given
        scores = model(*inputs)
        loss = scores.reshape(t.size, scores.shape[-1]).cross_entropy_loss(t)
        loss.backward()
        model.update(optimizer)
        return loss

    step.model = model  # type: ignore[attr-defined]
    return step, given, optimizer


def run_of(
    net: str, batch: int, scalar_type: str, name: str = "strict", captured: bool = True,
    masters: bool = True,
) -> Any:  # fmt: skip
    """Some steps, then a wait; and how many. A captured step is replayed over inputs that stay
    where they are."""
    step, given, optimizer = step_of(net, batch, scalar_type, masters)
    once: Any = capture(step, optimizer=optimizer) if captured else partial(step, *given)
    device = ag.Device.cuda(0)
    if captured:
        with ag.precision(name):
            for _ in range(4):
                once(*given)
        (recording,) = once._entries.values() or [None]
        if recording is None:
            raise RuntimeError("the step is not captured")
        once = recording.tape.replay

    def run() -> None:
        with ag.precision(name):
            for _ in range(STEPS):
                once()
        device.synchronize()

    run()
    return run, STEPS
