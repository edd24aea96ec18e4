"""Several devices in one process, and memory that runs out: `pytest -m device`, on devices."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from autograph import Tensor, ops
from autograph.capturing import capture
from autograph.device import Device
from autograph.errors import MemoryLimitError
from autograph.layers import Dense, Layer, Relu, sequential
from autograph.optim import SGD

pytestmark = pytest.mark.device


@sequential(input=(64,))
class Net(Layer):
    """Numbers (N, 64) -> class scores (N, 10)."""

    dense1: Dense = Dense.builder(outputs=512, bias=True)
    relu1: Relu
    dense2: Dense = Dense.builder(outputs=10, bias=True)


@pytest.fixture
def two() -> None:
    count = len([each for each in Device.available() if not each.is_host])
    if count < 2:
        pytest.skip(f"there are {count} CUDA devices, and this needs two")


def trained(device: str, steps: int = 6, scalar_type: str = "bf16") -> list[bytes]:
    """The parameters after some captured steps on a device."""
    rng = np.random.default_rng(0)
    model, optimizer = Net.build(device=device, scalar_type=scalar_type, seed=0), SGD(momentum=0.9)
    x = Tensor(rng.standard_normal((100, 64)).astype(np.float32), device=device).cast(scalar_type)
    t = Tensor(rng.integers(0, 10, 100), device=device)

    def step(x: Tensor, t: Tensor) -> Tensor:
        loss = model(x).cross_entropy_loss(t)
        loss.backward()
        model.update(optimizer)
        return loss

    run = capture(step, optimizer=optimizer)
    for _ in range(steps):
        run(x, t)
    assert not run.eager
    return [each.cast("f32").numpy().tobytes() for each in model.parameters()]


@pytest.mark.usefixtures("two")
def test_two_devices_take_turns():
    expected = trained("cuda:0")
    x, y = Tensor([1.0, 2.0], device="cuda:0"), Tensor([3.0, 4.0], device="cuda:1")

    assert trained("cuda:1") == expected
    assert trained("cuda:0") == expected
    assert (x + x).tolist() == [2.0, 4.0]
    assert (y + y).tolist() == [6.0, 8.0]
    assert (x.to("cuda:1") + y).device == Device.cuda(1)
    assert ((x.to("cuda:1") + y).to("cuda:0") * x).tolist() == [4.0, 12.0]


@pytest.mark.usefixtures("two")
def test_two_devices_train_in_two_threads():
    expected, found = trained("cuda:0"), {}

    def work(device: str) -> None:
        found[device] = trained(device)

    threads = [threading.Thread(target=work, args=(f"cuda:{i}",)) for i in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert found == {"cuda:0": expected, "cuda:1": expected}


@pytest.mark.usefixtures("two")
def test_a_class_out_of_range_is_reported_by_its_device():
    scores, other = (Tensor(np.zeros((4, 3), np.float32), device=f"cuda:{i}") for i in range(2))
    loss = other.cross_entropy_loss(Tensor([0, 1, 7, 2], device="cuda:1"))
    fine = scores.cross_entropy_loss(Tensor([0, 1, 2, 2], device="cuda:0"))

    assert fine.item() == pytest.approx(np.log(3), rel=1e-5)
    with pytest.raises(IndexError, match=r"value     7\n  position  2"):
        loss.item()


def test_training_goes_on_with_a_smaller_batch():
    model, optimizer = Net.build(device="cuda", seed=0), SGD()
    free, _ = Device("cuda").memory()
    row = Tensor(np.ones((1, 64), np.float32), device="cuda")

    def step(batch: int) -> float:
        x = row.broadcast_to((batch, 64)).copy()
        t = Tensor(np.zeros(1, np.int32), device="cuda").broadcast_to((batch,)).copy()
        loss = model(x).cross_entropy_loss(t)
        loss.backward()
        model.update(optimizer)
        return loss.item()

    first = step(100)
    with pytest.raises(MemoryLimitError, match=r"no memory for (an output of )?[0-9,]+ bytes"):
        step(free // 2100)  # its hidden numbers alone fill what is free

    assert step(100) < first
    assert all(each.grad is None for each in model.parameters())


def test_a_convolution_of_channels_last_images_needs_no_copy():
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((32, 64, 16, 16)), device="cuda").cast("bf16")
    w = Tensor(rng.standard_normal((64, 64, 3, 3)), device="cuda").cast("bf16")
    y = ops.conv2(x, w, padding=1)
    if y.outline.layout != "channels_last":
        pytest.skip("the extra cudnn is not installed")

    assert ops.relu(y).outline.layout == "channels_last"
    assert (y + y).outline.layout == "channels_last"
    assert y.mean(axis=(2, 3)).outline.layout == "contiguous"
    np.testing.assert_allclose(
        y.mean(axis=(2, 3)).cast("f32").numpy(),
        y.cast("f32").numpy().mean((2, 3)), rtol=1e-2, atol=1e-2,
    )  # fmt: skip


@pytest.mark.parametrize("sizes", [(64, 16, 24, 8), (16, 32, 16, 64), (3, 5, 9, 4)])
def test_gradients_of_convolutions_are_those_of_the_host(sizes):
    """By the library, where it is installed: its weight lies otherwise than ours, and what it adds
    up over many places is added up in parts."""
    n, c, side, o = sizes
    rng = np.random.default_rng(0)
    given = [rng.standard_normal(shape) for shape in ((n, c, side, side), (o, c, 3, 3))]
    slope = Tensor(rng.standard_normal((n, o, side, side)).astype(np.float32))
    found = []
    for device in ("host", "cuda"):
        x, w = (
            Tensor(each.astype(np.float32), device=device, requires_grad=True) for each in given
        )
        (ops.conv2(x, w, padding=1) * slope.to(device)).sum().backward()
        found.append([x.grad.numpy(), w.grad.numpy()])

    for there, here in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(there, here, rtol=0, atol=2e-5 * np.abs(here).max())
