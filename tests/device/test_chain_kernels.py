"""Kernels of chains: which nets run as one, planned and compiled anywhere."""

from __future__ import annotations

from typing import Any

import pytest

from autograph.backends.cuda import nvrtc
from autograph.backends.cuda.compile import compile_kernel
from autograph.layers import Conv2, Dense, Flatten, Layer, Relu, sequential
from autograph.layers.fusion import why_not_fused
from autograph.ops.chain.configure import first_for
from autograph.ops.chain.cuda_kernels import first_text, second_text
from autograph.ops.chain.matrix import Matrix
from autograph.ops.chain.scalar import Scalar
from autograph.outline import Outline
from autograph.scalar_type import BF16, F32
from examples.mnist.lenet5 import LeNet5

from .chain_nets import NETS, chain_of


def kernels_of(model: Any, x: Outline, heads: Any) -> Any:
    """(text, kernel, constants) of everything that a chain launches."""
    found = chain_of(model)
    outlines = [each.outline for each in found.parameters()]
    for head, has_dx in heads:
        first = first_for(x, outlines, found.kinds, head, has_dx)
        scalar = "float" if x.scalar_type is F32 else "bf16"
        yield first_text(first, scalar), "first", {"Target": "int64", "blocks": 1}
        if head == "loss":
            flags = dict.fromkeys(
                ("nesterov", "maximizes", "decoupled", "has_largest", "has_decay"), False
            )
            for moves, states in ((0, 0), (1, 1), (2, 3)):
                constants = {
                    "count": len(outlines), "shares": 1 + 2 * moves, "moves": moves,
                    "states": states, "counts": moves == 2, "has_momentum": True,
                    "has_master": x.scalar_type is BF16 and moves > 0,
                }  # fmt: skip
                yield second_text(first, scalar), "second", constants | flags


@pytest.mark.skipif(not nvrtc.available(), reason="nvidia-cuda-nvrtc is not installed")
@pytest.mark.parametrize(
    ("name", "scalar_type", "samples", "architecture", "heads"),
    [  # heads: scores, loss, gradient
        ("lenet", F32, 100, 90, "sl"),
        ("lenet", BF16, 100, 90, "sl"),
        ("overlapping", BF16, 1000, 80, "g"),
        ("perceptron", F32, 300, 80, "slg"),
        ("overlapping", F32, 1000, 100, "l"),
        ("strided", F32, 5, 90, "g"),
        ("odd", BF16, 300, 100, "lg"),
    ],
)
def test_every_kernel_compiles(name, scalar_type, samples, architecture, heads):
    net, shape = NETS[name]
    known = [("scores", False), ("loss", False), ("gradient", True)]
    heads = [each for each in known if each[0][0] in heads]
    x = Outline((samples, *shape), scalar_type)
    for text, kernel, constants in kernels_of(net.build(scalar_type=scalar_type), x, heads):
        assert compile_kernel(text, kernel, constants, architecture)[1][:4] == b"\x7fELF"


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("samples", [1, 100, 300, 1000])
def test_the_nets_are_one_op(name, samples):
    net, shape = NETS[name]

    assert why_not_fused(net.build(), (samples, *shape)) is None
    assert why_not_fused(net.build(), (samples, *shape), training=False) is None


@pytest.mark.parametrize("head", ["scores", "loss"])
@pytest.mark.parametrize("name", NETS)
def test_nets_of_bf16_run_on_tensor_cores(name, head):
    net, shape = NETS[name]
    for scalar_type, kind in ((F32, Scalar), (BF16, Matrix)):
        model = net.build(scalar_type=scalar_type)
        found = chain_of(model)
        outlines = [each.outline for each in found.parameters()]
        for samples in (1, 100, 1000):
            x = Outline((samples, *shape), scalar_type)
            assert type(first_for(x, outlines, found.kinds, head, False)) is kind


def test_what_is_not_fused_says_why():
    @sequential(input=(1, 8, 8))
    class Grouped(Layer):
        conv: Conv2 = Conv2.builder(outputs=4, filter=3, dilation=2)
        flatten: Flatten

    @sequential(input=(4096,))
    class Wide(Layer):
        dense1: Dense = Dense.builder(outputs=4096)
        relu: Relu
        dense2: Dense = Dense.builder(outputs=10)

    @sequential(input=(64, 32, 32))
    class Large(Layer):
        conv1: Conv2 = Conv2.builder(outputs=64, filter=3, padding=1)
        relu: Relu
        conv2: Conv2 = Conv2.builder(outputs=64, filter=3, padding=1)

    frozen = LeNet5.build()
    frozen.conv1.freeze()

    assert why_not_fused(Grouped.build(), (5, 1, 8, 8)) == "conv: it has groups or a dilation"
    assert "every block reads" in str(why_not_fused(Wide.build(), (5, 4096)))
    assert "bytes of shared memory" in str(why_not_fused(Large.build(), (5, 64, 32, 32)))
    assert why_not_fused(frozen, (5, 1, 28, 28)) == "some of its parameters are frozen"
    assert why_not_fused(frozen, (5, 1, 28, 28), training=False) is None
    assert why_not_fused(LeNet5.build(), (5, 784)) == "x has the shape (5, 784)"
    assert "f16" in str(why_not_fused(LeNet5.build(scalar_type="f16"), (5, 1, 28, 28)))
    with frozen.on_forward("relu1", lambda path, y: None):
        assert why_not_fused(frozen, (5, 1, 28, 28)) == "relu1: somebody watches what it answers"
