"""Every op on a CUDA device against NumPy in float64. It needs a device: `pytest -m device`."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from autograph import Tensor, ops
from autograph.backends import CUDA, CUPY
from autograph.capturing import capture
from autograph.device import Device
from autograph.errors import IndexRangeError, MemoryLimitError
from autograph.layers import (
    BatchNorm2,
    Conv2,
    Dense,
    Flatten,
    Gelu,
    Layer,
    Relu,
    sequential,
)
from autograph.op import REGISTRY
from autograph.outline import Outline
from autograph.testing import all_ops, compare_kernels, samples_of

pytestmark = pytest.mark.device


# transfer leaves the device; svd and eigh are compared up to signs below
OPS = [op for op in all_ops() if op.samples and op.name not in ("transfer", "svd", "eigh")]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_an_op_agrees_with_numpy(op, monkeypatch):
    samples = op.samples

    def placed(rng):
        """Samples of arrays alone: one number of NumPy's would stay on the host."""
        for arrays, settings in samples(rng):
            yield tuple(np.asarray(x) if isinstance(x, np.generic) else x for x in arrays), settings

    monkeypatch.setattr(op, "samples", placed)
    compare_kernels(op, backends=[CUPY, CUDA])


@pytest.mark.parametrize("scalar_type", ["f32", "f64"])
def test_singular_vectors_agree_up_to_their_signs(scalar_type):
    for (x,), _ in samples_of(REGISTRY["svd"]):
        x = Tensor(x).cast(scalar_type)
        expected, found = ops.svd(x), ops.svd(x.to("cuda"))
        (u, s, vt), (u_host, s_host, vt_host) = (
            [each.numpy() for each in three] for three in (found, expected)
        )
        signs = np.sign((u * u_host).sum(axis=-2, keepdims=True))  # (..., 1, K)
        near = {"rtol": 0, "atol": 1e-5 if scalar_type == "f32" else 1e-12}

        np.testing.assert_allclose(s, s_host, **near)
        np.testing.assert_allclose(u * signs, u_host, **near)
        np.testing.assert_allclose(vt * np.swapaxes(signs, -1, -2), vt_host, **near)


@pytest.mark.parametrize("scalar_type", ["f32", "f64"])
def test_eigenvectors_agree_up_to_their_signs(scalar_type):
    for (x,), _ in samples_of(REGISTRY["eigh"]):
        x = Tensor(x).cast(scalar_type)
        expected, found = ops.eigh(x), ops.eigh(x.to("cuda"))
        (values, vectors), (values_host, vectors_host) = (
            [each.numpy() for each in two] for two in (found, expected)
        )
        signs = np.sign((vectors * vectors_host).sum(axis=-2, keepdims=True))
        near = {"rtol": 0, "atol": 1e-5 if scalar_type == "f32" else 1e-12}

        np.testing.assert_allclose(values, values_host, **near)
        np.testing.assert_allclose(vectors * signs, vectors_host, **near)


POOLED = [  # x, weight, settings: LeNet5's, more samples than blocks, and odd ones
    ((100, 1, 28, 28), (6, 1, 5, 5), {"filter": 2}),
    ((300, 6, 12, 12), (16, 6, 5, 5), {"filter": 2}),
    ((7, 3, 10, 11), (5, 3, 3, 2), {"filter": (3, 2), "padding": 1}),
    ((3, 2, 9, 9), (9, 2, 3, 3), {"filter": 2, "padding": (2, 1)}),
    ((2, 8, 6, 6), (8, 8, 3, 3), {"filter": (2, 3), "padding": 1}),
]


@pytest.mark.parametrize("shapes", POOLED, ids=str)
@pytest.mark.parametrize("name", ["", "_back", "_dweight"])
def test_a_pooled_convolution_in_one_launch(shapes, name, monkeypatch):
    op, (x, weight, settings) = REGISTRY[f"conv2_relu_max_pool2{name}"], shapes

    def samples(rng):
        given = rng.normal(size=x), rng.normal(size=weight), rng.normal(size=weight[0])
        if not name:
            yield given, settings
            yield (*given[:2], None), settings
        else:
            plan = REGISTRY["conv2_relu_max_pool2"].plan([Outline.of(a) for a in given], settings)
            y, index = REGISTRY["conv2_relu_max_pool2"].run(plan, list(given))[1]
            yield (rng.normal(size=y.shape), index, *given[:2]), settings

    monkeypatch.setattr(op, "samples", samples)
    assert compare_kernels(op, backends=[CUDA])["cuda"] >= 5


@pytest.mark.parametrize("channels", [(3, 64), (64, 64)])
def test_the_gradient_of_a_filter_is_right_where_its_sums_are_long(channels):
    from autograph.backends.cuda.cudnn import usable

    if not usable():
        pytest.skip("the extra cudnn is not installed")
    inputs, outputs = channels
    rng = np.random.default_rng(0)
    x = rng.standard_normal((128, inputs, 32, 32), np.float32)
    dy = rng.standard_normal((128, outputs, 32, 32), np.float32)
    weight = np.ones((outputs, inputs, 3, 3), np.float32)
    w = Tensor(weight, device="cuda:0", requires_grad=True)
    y = ops.conv2(Tensor(x, device="cuda:0"), w, None, stride=1, padding=1)
    y.backward(Tensor(dy, device="cuda:0"))

    padded = np.pad(x.astype("f8"), ((0, 0), (0, 0), (1, 1), (1, 1)))
    right = np.empty(weight.shape)
    for i, j in np.ndindex(3, 3):
        window = padded[:, :, i : i + 32, j : j + 32]
        right[:, :, i, j] = np.tensordot(dy.astype("f8"), window, ((0, 2, 3), (0, 2, 3)))
    # one float32 sum of these 131,072 products is off by 1e-5
    assert np.linalg.norm(w.grad.numpy() - right) < 2e-6 * np.linalg.norm(right)


@pytest.mark.parametrize("sizes", [(100, 256, 128), (100, 128, 84), (128, 33, 10), (3, 300, 70)])
@pytest.mark.parametrize("name", ["", "_back", "_dweight"])
def test_a_dense_layer_with_relu_in_one_launch(sizes, name, monkeypatch):
    op, (n, i, o) = REGISTRY[f"linear_relu{name}"], sizes

    def samples(rng):
        x, weight, bias = rng.normal(size=(n, i)), rng.normal(size=(i, o)), rng.normal(size=o)
        y = np.maximum(x @ weight, 0)
        given = (rng.normal(size=y.shape), y, x, weight) if name else (x, weight, bias)
        yield given, {}

    monkeypatch.setattr(op, "samples", samples)
    assert compare_kernels(op, backends=[CUDA])["cuda"] >= 5


@pytest.mark.parametrize("sizes", [(100, 84, 10), (128, 33, 70), (3, 300, 70)])
def test_the_gradients_of_a_dense_layer_in_one_launch(sizes, monkeypatch):
    op, (n, i, o) = REGISTRY["linear_back"], sizes

    def samples(rng):
        yield (rng.normal(size=(n, o)), rng.normal(size=(n, i)), rng.normal(size=(i, o))), {}

    monkeypatch.setattr(op, "samples", samples)
    assert compare_kernels(op, backends=[CUDA])["cuda"] >= 5


def test_a_recording_outlives_the_plans_that_made_it():
    w = Tensor(np.ones((20, 5), np.float32), device="cuda")
    x = Tensor(np.ones((3, 20), np.float32), device="cuda")
    run = capture(lambda x: ops.linear_relu(x, w))
    expected = [run(x).tolist() for _ in range(4)][-1]
    for op in REGISTRY.values():
        op.plans.clear()
    gc.collect()

    assert run(x).tolist() == expected
    assert not run.eager


@sequential(input=(8, 6, 6))
class Neighbours(Layer):
    """Layers that run as one op with the next one on a device."""

    conv: Conv2 = Conv2.builder(outputs=16, filter=3, padding=1)
    norm: BatchNorm2
    relu: Relu
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=64, bias=True)
    gelu: Gelu = Gelu.builder(approximate=True)
    dense2: Dense = Dense.builder(outputs=5, bias=True)


@pytest.mark.parametrize("rows", [7, 600])
def test_neighbours_that_are_one_op_on_a_device_give_what_the_host_gives(rows):
    x = np.random.default_rng(0).normal(size=(rows, 8, 6, 6)).astype(np.float32)
    found = []
    for device in ("host", "cuda"):
        model = Neighbours.build(seed=1, device=device)
        y = model(Tensor(x, device=device))
        (y * y).mean().backward()
        named = {**model.named_parameters(), **model.named_buffers()}
        gradients = [w.grad.numpy() for w in model.parameters()]
        found.append([y.numpy(), *(each.numpy() for each in named.values()), *gradients])

    for there, here in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5 * np.abs(here).max())


def test_a_thread_of_its_own_computes_on_the_same_stream():
    x = Tensor(np.arange(1 << 16, dtype=np.float32), device="cuda")
    found = []

    def work() -> None:
        y = x
        for _ in range(50):
            y = (y * 2.0 + x) * 0.5
        found.append(y.numpy())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert all(each.tobytes() == found[0].tobytes() for each in found)
    np.testing.assert_allclose(found[0][:3], [0, 25 + 1, 2 * 26], rtol=1e-6)


def test_what_does_not_fit_is_refused_with_its_size():
    free, _ = Device("cuda").memory()
    side = int((free / 4) ** 0.5) * 2

    with pytest.raises(MemoryLimitError, match=r"cuda:0: no memory for [0-9,]+ bytes"):
        Tensor(np.float32(1.0), device="cuda").broadcast_to((side, side)).copy()
    assert (Tensor([1.0], device="cuda") + 1.0).tolist() == [2.0]


def test_a_class_out_of_range_is_named_when_the_device_is_read():
    scores = Tensor(np.zeros((4, 3), np.float32), device="cuda")
    loss = scores.cross_entropy_loss(Tensor([0, 1, 7, 2], device="cuda"))

    with pytest.raises(IndexRangeError, match=r"value     7\n  position  2"):
        loss.item()


@pytest.mark.parametrize("scalar_type", ["f16", "bf16", "f32", "f64", "u8", "i32", "i64", "bool"])
def test_one_number_is_put_without_a_transfer(scalar_type):
    x = Tensor([1.0]).cast(scalar_type)

    assert x.to("cuda").tolist() == x.tolist()
    assert ops.copy(x.to("cuda").array).get().tobytes() == x.numpy().tobytes()


def test_what_another_stream_makes_is_waited_for():
    import cupy

    with cupy.cuda.Stream(non_blocking=True):
        for _ in range(20):
            array = cupy.zeros(1 << 22, np.float32)
            for _ in range(10):
                array += 1.0
            y = Tensor.borrow(array) * 2.0
            assert y.sum().item() == 20.0 * (1 << 22)
