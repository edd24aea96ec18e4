"""The nets of the device benches in torch, eager, compiled, and compiled and captured."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .device_lenet5 import captured_by_torch
from .device_models import BLOCKS, HEADS, PLACES, STEPS, WIDTH, WORDS


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Any) -> Any:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """Images (N, 3, 32, 32) -> class scores (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2),
                 (256, 256, 1), (256, 512, 2), (512, 512, 1)]  # fmt: skip
        self.conv, self.norm = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        self.blocks = nn.Sequential(*[Block(*each) for each in sizes])
        self.dense = nn.Linear(512, 10)

    def forward(self, x: Any) -> Any:
        y = self.blocks(F.relu(self.norm(self.conv(x))))
        return self.dense(y.mean((2, 3)))


class Attending(nn.Module):
    """Attention and two dense layers, each behind a norm and beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attention, self.output = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.dense1, self.dense2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Any) -> Any:
        n, length, size = x.shape
        packed = self.attention(self.norm1(x)).view(n, length, 3, HEADS, size // HEADS)
        q, k, v = packed.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(y.transpose(1, 2).reshape(n, length, size))
        return x + self.dense2(F.gelu(self.dense1(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    """Words (N, L) -> scores of the next (N, L, words)."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(PLACES, WIDTH)
        self.blocks = nn.Sequential(*[Attending() for _ in range(BLOCKS)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)

    def forward(self, x: Any, places: Any) -> Any:
        return self.head(self.norm(self.blocks(self.words(x) + self.places(places))))


def mlp() -> nn.Module:
    """Numbers (N, 784) -> class scores (N, 10)."""
    return nn.Sequential(
        nn.Linear(784, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 10)
    )


def step_of(
    net: str, batch: int, scalar_type: str, tf32: bool, variant: str, autocast: bool
) -> Callable[[], Any]:
    """A training step."""
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    half = scalar_type == "bf16"
    model: Any = {"MLP": mlp, "ResNet-18": ResNet18, "GPT": GPT}[net]().cuda()
    given: list[Any]
    if net == "GPT":
        x = torch.randint(0, WORDS, (batch, PLACES), device="cuda")
        given = [x, torch.arange(PLACES, device="cuda")]
        t = torch.randint(0, WORDS, (batch * PLACES,), device="cuda")
        optimizer: Any = torch.optim.AdamW(
            model.parameters(), lr=1e-4, weight_decay=0.01, fused=True, capturable=True
        )
    else:
        shape = (784,) if net == "MLP" else (3, 32, 32)
        x = torch.randn(batch, *shape, device="cuda")
        t = torch.randint(0, 10, (batch,), device="cuda")
        if net == "ResNet-18":
            x = x.contiguous(memory_format=torch.channels_last)
            model = model.to(memory_format=torch.channels_last)
        if half and not autocast:
            model, x = model.bfloat16(), x.bfloat16()
        given = [x]
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, fused=True)
    if half and not autocast and net == "GPT":
        raise ValueError("GPT in bf16 has f32 masters, as autocast has")

    def loss_of() -> Any:
        with torch.autocast("cuda", torch.bfloat16, enabled=half and autocast, cache_enabled=False):
            scores = model(*given)
            return F.cross_entropy(scores.float().reshape(t.numel(), -1), t)

    forward = torch.compile(loss_of) if "compiled" in variant else loss_of

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = forward()
        loss.backward()
        optimizer.step()
        return loss

    if "captured" not in variant:
        return step
    return captured_by_torch(step)


def run_of(
    net: str, batch: int, scalar_type: str, variant: str = "", tf32: bool = False,
    autocast: bool = False,
) -> Any:  # fmt: skip
    """Some steps, then a wait; and how many."""
    step = step_of(net, batch, scalar_type, tf32, variant, autocast)

    def run() -> None:
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize()

    run()
    return run, STEPS


def gradients(net: str, arrays: list[Any], scalar_type: str, given: list[Any]) -> list[Any]:
    """Of a model with these parameters, its loss and their gradients, in float64 or as autocast
    computes them."""
    model: Any = {"MLP": mlp, "ResNet-18": ResNet18, "GPT": GPT}[net]().cuda()
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), arrays, strict=True):
            parameter.copy_(array)
    *inputs, t = given
    if scalar_type == "f64":
        model = copy.deepcopy(model).double()
        inputs = [each.double() if each.is_floating_point() else each for each in inputs]
    with torch.autocast("cuda", torch.bfloat16, enabled=scalar_type == "bf16"):
        scores = model(*inputs)
        scores = scores if scalar_type == "f64" else scores.float()
        loss = F.cross_entropy(scores.reshape(t.numel(), -1), t)
    loss.backward()
    return [loss.detach(), *[each.grad for each in model.parameters()]]
