"""Chains of layers on a CUDA device."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import Tensor, no_grad, ops
from autograph.ops.chain import chain_step, run_parts
from autograph.optim import SGD, Adam
from autograph.scalar_type import BF16, F32
from autograph.tensor.deferred import Pending
from examples.mnist.lenet5 import LeNet5

from .chain_nets import NETS, chain_of, error

pytestmark = pytest.mark.device

DEVICE = "cuda:0"


class Smooth:
    """Runs a chain in float64 and finds samples that stand near a kink of relu or max pool."""

    def __init__(self, samples: int) -> None:
        self.near = np.zeros(samples, bool)

    def run(self, op: Any, x: Any, *rest: Any, **settings: Any) -> Any:
        y = op(x, *rest, **settings)
        axes = tuple(range(1, x.ndim))
        if op is ops.relu:
            self.near |= (np.abs(x) < 3e-6).any(axis=axes)
        if op is ops.max_pool2:
            nudged = op(np.where(_is_largest(x, y, settings), x - 3e-6, x), **settings)
            self.near |= (nudged > y - 2.5e-6).any(axis=axes)
        return y


def _is_largest(x: Any, y: Any, settings: Any) -> Any:
    (kh, kw), (sy, sx) = settings["filter"], settings["stride"]
    found = np.zeros(x.shape, bool)
    for i in range(kh):
        for j in range(kw):
            seen = (..., slice(i, i + sy * (y.shape[2] - 1) + 1, sy),
                    slice(j, j + sx * (y.shape[3] - 1) + 1, sx))  # fmt: skip
            found[seen] |= x[seen] == y
    return found


def step_of(name: str, scalar_type: Any, samples: int) -> Any:
    """A model on the device, a batch for it, and loss and gradients in float64."""
    net, shape = NETS[name]
    rng = np.random.default_rng(samples)
    model = net.build(device=DEVICE, scalar_type=scalar_type, seed=1)
    found = chain_of(model)
    numbers = [w.numpy().astype("f8") for w in found.parameters()]
    x = rng.standard_normal((samples, *shape)).astype("f4").astype(scalar_type.dtype)
    for _ in range(20 if scalar_type is F32 else 0):
        smooth = Smooth(samples)
        run_parts(x.astype("f8"), numbers, found.kinds, smooth.run)
        if not smooth.near.any():
            break
        x[smooth.near] = rng.standard_normal((smooth.near.sum(), *shape)).astype("f4")
    classes = 7 if name == "odd" else 10
    target = rng.integers(0, classes, samples)
    y, left, dx = chain_step(x.astype("f8"), target, *numbers, layers=found.kinds, has_dx=True)
    t = Tensor(target, device=DEVICE)
    return model, Tensor(x, device=DEVICE), t, (y, left[0], left[1:], dx)


def flat(model: Any) -> Any:
    parts = [w.grad.numpy().astype("f8").ravel() for w in model.parameters()]
    return np.concatenate(parts)


def limits(model: Any, x: Any, t: Any, truth: Any) -> list[float]:
    """How far y, loss, gradients and dx may be from the truth. In bf16 a value near a kink of relu
    or max pool falls to the other side where it is rounded, by any road: so about as far as the
    layers one by one, which round in the same places."""
    if model.scalar_type is F32:
        return [1e-6] * 4
    x.requires_grad, y = True, x
    for run in chain_of(model).apart:
        y = run(y)
    loss = y.cross_entropy_loss(t)
    loss.backward()
    found = y, loss, flat(model), x.grad
    x.requires_grad, x.grad = False, None
    for w in model.parameters():
        w.grad = None
    return [max(1e-2, 1.5 * error(a, b)) for a, b in zip(found, truth, strict=True)]


@pytest.mark.parametrize("scalar_type", [F32, BF16], ids=str)
@pytest.mark.parametrize("samples", [1, 37, 300, 1000])
@pytest.mark.parametrize("name", NETS)
def test_a_step_agrees_with_float64(name, samples, scalar_type):
    model, x, t, truth = step_of(name, scalar_type, samples)
    y8, loss8, gradients8, dx8 = truth
    of_y, of_loss, of_gradients, of_dx = limits(model, x, t, truth)
    runs = []
    for _ in range(2):
        y = model(x)
        loss = y.cross_entropy_loss(t)
        assert (type(y), type(loss)) == (Pending, Pending)
        loss.backward()
        assert error(y, y8) < of_y
        assert error(loss, loss8) < of_loss
        assert error(flat(model), gradients8) < of_gradients
        runs.append([y.numpy().tobytes(), loss.numpy().tobytes(), flat(model).tobytes()])
        for w in model.parameters():
            w.grad = None
    assert runs[0] == runs[1]

    x.requires_grad = True
    model(x).cross_entropy_loss(t).backward()
    assert error(x.grad, dx8) < of_dx
    assert error(flat(model), gradients8) < of_gradients
    x.requires_grad = False
    for w in model.parameters():
        w.grad = None
    y = model(x)
    y.numpy()
    y.cross_entropy_loss(t).backward()  # somebody looked: the gradient of y is given
    assert error(flat(model), gradients8) < of_gradients
    with no_grad():
        y = model(x)
    assert type(y) is Tensor
    assert error(y, y8) < of_y


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(learning_rate=0.1),
        SGD(learning_rate=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
        SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
        Adam(learning_rate=0.01),
    ],
    ids=["plain", "momentum", "nesterov", "adam"],
)
def test_an_update_in_the_kernel_gives_the_bits_of_separate_ops(optimizer, scalar_type):
    def parameters(look: bool) -> Any:
        model = LeNet5.build(device=DEVICE, scalar_type=scalar_type, seed=0)
        own = copy.deepcopy(optimizer)
        rng = np.random.default_rng(0)
        x = Tensor(rng.random((100, 1, 28, 28), np.float32), device=DEVICE).cast(scalar_type)
        t = Tensor(np.arange(100) % 10, device=DEVICE)
        for _ in range(4):
            loss = model(x).cross_entropy_loss(t)
            loss.backward()
            if look:
                flat(model)
            model.update(own)
        return [w.numpy().astype("f4") for w in model.parameters()], loss.numpy()

    for a, b in zip(parameters(False)[0], parameters(True)[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert parameters(False)[1] == parameters(True)[1]


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
def test_a_captured_step_gives_the_bits_of_an_eager_one(scalar_type, recwarn):
    def parameters(is_captured: bool) -> Any:
        model = LeNet5.build(device=DEVICE, scalar_type=scalar_type, seed=0)
        optimizer = SGD(learning_rate=0.1, momentum=0.9)
        rng = np.random.default_rng(0)
        x = Tensor(rng.random((100, 1, 28, 28), np.float32), device=DEVICE).cast(scalar_type)
        t = Tensor(np.arange(100) % 10, device=DEVICE)

        def step(x: Tensor, t: Tensor) -> Tensor:
            loss = model(x).cross_entropy_loss(t)
            loss.backward()
            model.update(optimizer)
            return loss

        run = ag.capture(step, optimizer=optimizer) if is_captured else step
        losses = [run(x, t).numpy() for _ in range(8)]
        if is_captured:
            assert "1 recordings" in repr(run)
        return [*losses, *[w.numpy() for w in model.parameters()]]

    for a, b in zip(parameters(True), parameters(False), strict=True):
        assert a.tobytes() == b.tobytes()
    assert not [each for each in recwarn if "capture" in str(each.message)]


def test_a_nan_passes_and_a_class_out_of_range_is_reported():
    model = LeNet5.build(device=DEVICE, seed=0)
    x = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    x[1, 0, 14, 14] = np.nan
    y = model(Tensor(x, device=DEVICE)).numpy()
    apart = [x_ for x_ in y]

    assert np.isnan(apart[1]).all()
    assert np.isfinite(y[[0, 2, 3]]).all()
    x[1] = 0
    loss = model(Tensor(x, device=DEVICE)).cross_entropy_loss(
        Tensor(np.array([1, 2, 10, 3]), device=DEVICE)
    )
    loss.backward()
    with pytest.raises(ag.errors.IndexRangeError, match="position  2"):
        loss.numpy()
