"""Every op on a CUDA device against NumPy in float64. It needs a device: `pytest -m device`."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from autograph import Tensor, ops
from autograph.backends import CUDA, CUPY
from autograph.device import Device
from autograph.errors import IndexRangeError, MemoryLimitError
from autograph.testing import all_ops, compare_kernels

pytestmark = pytest.mark.device


OPS = [op for op in all_ops() if op.samples and op.name != "transfer"]  # that leaves the device


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_an_op_agrees_with_numpy(op, monkeypatch):
    samples = op.samples

    def placed(rng):
        """Samples of arrays alone: one number of NumPy's would stay on the host."""
        for arrays, settings in samples(rng):
            yield tuple(np.asarray(x) if isinstance(x, np.generic) else x for x in arrays), settings

    monkeypatch.setattr(op, "samples", placed)
    compare_kernels(op, backends=[CUPY, CUDA])


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
