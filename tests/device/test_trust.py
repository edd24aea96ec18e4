"""Trust on a device: captured training is stopped, broken and gone on with, to the same bits. Also
on the fake device, which captures nothing; `pytest -m device` runs it on a CUDA device."""

from __future__ import annotations

import gc
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph.checkpoint import Checkpoint
from autograph.errors import DeviceError, MemoryLimitError, NonFiniteError
from autograph.layers import Layer
from autograph.optim import SGD, Adam, Cosine
from autograph.runs import Run
from autograph.runs import guard as guards
from autograph.tensor import Tensor
from autograph.train import fit as fit_

from ..fake_device import PLATFORM, fake_devices
from ..layers.test_every_kind import KNOWN, of_kind
from ..runs.test_not_finite import broken
from ..runs.trainings import DATA, TEST, Enough, Net, ends_at, events, fail, newest, steps
from ..test_resume import STEPS, Rows, cases, goes_on


@pytest.fixture(params=["fake:0", pytest.param("cuda:0", marks=pytest.mark.device)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name: str = request.param
    if name == "fake:0":
        with fake_devices():
            monkeypatch.setattr("autograph.train.capture", lambda step, optimizer, ranks: step)
            yield name
    else:
        yield name


def state(device: str, scalar_type: str = "f32") -> tuple[Layer, Adam]:
    """A fresh model and optimizer, equal each time."""
    model = Net.build(seed=1, scalar_type=scalar_type, device=device)
    return model, Adam(learning_rate=Cosine(peak=0.01))


def training(device: str, run: Any, scalar_type: str = "f32", **more: Any) -> Iterator[Any]:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 10, "run": run, **more}
    return fit_(*state(device, scalar_type), DATA, TEST, **settings)


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
@pytest.mark.parametrize("step", [2, 9, 11, 27])
def test_a_run_that_was_stopped_ends_in_the_same_bytes(
    step: int, scalar_type: str, device: str, tmp_path: Path
) -> None:
    list(training(device, tmp_path / "a", scalar_type))
    list(training(device, tmp_path / "again", scalar_type))
    run = Run(tmp_path / "b", every_steps=1)
    with pytest.raises(Enough):
        list(training(device, run, scalar_type, watch=ends_at(step, fail)))
    reports = list(training(device, run, scalar_type))

    assert "exact" == reports[0].resumed
    assert newest(tmp_path / "a") == newest(tmp_path / "again")
    assert newest(tmp_path / "a") == newest(tmp_path / "b")


def test_a_nan_is_found_in_its_batch(device: str, tmp_path: Path) -> None:
    model, optimizer = state(device)
    with pytest.raises(NonFiniteError) as caught:
        next(fit_(model, optimizer, broken(7), epochs=3, batch_size=10, run=tmp_path))

    assert "in step 7, epoch 1, batch 7" in str(caught.value)
    assert "layer  conv1" in str(caught.value)
    assert 6 == optimizer.count
    assert [6] == steps(tmp_path)
    assert all(np.isfinite(each.numpy()).all() for each in model.parameters())


def test_a_batch_with_a_nan_is_left_out_of_captured_steps(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for every in (4, 500):
        monkeypatch.setattr("autograph.runs.keeper.EVERY", every)
        model, optimizer = state(device)
        settings: dict[str, Any] = {"epochs": 2, "batch_size": 10, "nan_policy": "skip"}
        (report, last) = fit_(model, optimizer, broken(7), run=tmp_path / str(every), **settings)
        found.append(newest(tmp_path / str(every)))

        assert 100 == report.train.count
        assert 20 == optimizer.count
        assert np.isfinite(last.train.loss)

    assert found[0] == found[1]


def test_looking_waits_for_the_device_no_more_often_than_it_has_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("autograph.train.capture", lambda step, optimizer, ranks: step)
    reads = []
    with fake_devices():
        for batch_size in (10, 1):  # 11 steps, and 110
            before = PLATFORM.read
            next(fit_(*state("fake:0"), DATA, epochs=1, batch_size=batch_size))
            reads.append(PLATFORM.read - before)

    assert reads[0] == reads[1] < 12


def test_a_device_without_memory_in_a_run_is_an_error_that_is_gone_on_from(
    device: str, tmp_path: Path
) -> None:
    list(training(device, tmp_path / "a"))
    run = Run(tmp_path / "b", every_steps=1)

    def too_much() -> None:
        if device == "fake:0":
            raise MemoryLimitError("fake:0 has no memory")
        ag.ones((1 << 20, 1), device=device) + ag.ones((1, 1 << 20), device=device)

    with pytest.raises(MemoryLimitError):
        list(training(device, run, watch=ends_at(15, too_much)))

    assert "MemoryLimitError" in events(tmp_path / "b")[-1]["error"]
    list(training(device, run))
    assert newest(tmp_path / "a") == newest(tmp_path / "b")


def test_where_a_device_has_no_room_the_state_is_kept_on_the_host(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(training(device, tmp_path / "a"))

    def without_room(value: Any, *given: Any, **more: Any) -> Tensor:
        if isinstance(value, Tensor) and not value.device.is_host:
            raise MemoryLimitError(f"{value.device} has no memory")
        return Tensor(value, *given, **more)

    without_room.borrow = Tensor.borrow  # type: ignore[attr-defined]
    monkeypatch.setattr(guards, "Tensor", without_room)
    run = Run(tmp_path / "b", every_steps=1)
    with pytest.raises(Enough):
        list(training(device, run, watch=ends_at(15, fail)))
    list(training(device, run))

    assert newest(tmp_path / "a") == newest(tmp_path / "b")
    model, optimizer = state(device)
    with pytest.raises(NonFiniteError, match="in step 7"):
        next(fit_(model, optimizer, broken(7), epochs=1, batch_size=10))
    assert 6 == optimizer.count


@pytest.mark.device
def test_a_device_without_memory_says_what_was_asked_and_the_next_call_is_right() -> None:
    x = ag.ones((1 << 20, 1), device="cuda")
    with pytest.raises(MemoryLimitError) as caught:
        x + ag.ones((1, 1 << 20), device="cuda")

    assert "4398046511104" in str(caught.value).replace(",", "").replace("_", "") or (
        "4096" in str(caught.value)
    )
    assert 2.0 == (x + x).mean().item()
    free = ag.Device("cuda").memory()[0]
    assert free > 1 << 30


def touch(pipe: Any) -> None:
    try:
        ag.ones((2,), device="cuda")
        pipe.send("computed")
    except DeviceError as error:
        pipe.send(str(error))


@pytest.mark.device
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_device_is_not_touched_after_a_fork() -> None:
    ag.ones((2,), device="cuda").sum().item()
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=touch, args=(there,))
    child.start()

    assert here.poll(60)
    assert "CUDA does not survive a fork" in here.recv()
    child.join(60)


KILLED = """
import sys, time
from tests.device.test_trust import Run, training
print("begins", flush=True)
run = Run(sys.argv[1], every_steps=1, keep=2)
for _ in training("cuda:0", run, watch=lambda *_: time.sleep(0.01)):
    print("epoch", flush=True)
"""


@pytest.mark.device
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    list(training("cuda:0", tmp_path / "a"))
    call = [sys.executable, "-c", KILLED, str(tmp_path / "b")]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    assert "begins\n" == process.stdout.readline()
    assert "epoch\n" == process.stdout.readline()
    time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    reports = list(training("cuda:0", Run(tmp_path / "b", keep=2)))

    assert "exact" == reports[0].resumed
    assert newest(tmp_path / "a") == newest(tmp_path / "b")


def held() -> int:
    """Bytes that this process holds on the device: others may run beside it."""
    import cupy

    return int(cupy.get_default_memory_pool().total_bytes())


@pytest.mark.device
def test_memory_of_a_device_is_flat() -> None:
    model, optimizer = Net.build(device="cuda"), Adam(learning_rate=1e-3)
    x, t = ag.Tensor(DATA[0][:10], device="cuda"), ag.Tensor(DATA[1][:10], device="cuda")

    def run(steps: int) -> None:
        for _ in range(steps):
            model(x).cross_entropy_loss(t).backward()
            model.update(optimizer)

    run(100)
    gc.collect()
    before = held()
    run(1000)

    assert held() - before <= 4 << 20


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.device
def test_every_layer_goes_on(kind: str, scalar_type: str, tmp_path: Path) -> None:
    builder, x = of_kind(kind, scalar_type)
    rng = np.random.default_rng(1)
    inputs = [x.to("cuda")] * STEPS
    if x.scalar_type.is_float:
        draws = [rng.normal(size=x.shape) for _ in range(STEPS)]
        inputs = [ag.Tensor(each, scalar_type=scalar_type, device="cuda") for each in draws]

    def build(seed: int) -> Layer:
        model: Layer = builder.build(seed=seed, scalar_type=scalar_type, device="cuda")
        return model

    goes_on(build, lambda: SGD(learning_rate=0.01, momentum=0.9), inputs, tmp_path)


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
@pytest.mark.parametrize(("name", "settings"), cases())
@pytest.mark.device
def test_every_optimizer_and_schedule_goes_on(
    name: str, settings: dict[str, Any], scalar_type: str, tmp_path: Path
) -> None:
    from autograph.optim.describe import OPTIMIZERS

    rng = np.random.default_rng(1)
    draws = [rng.normal(size=(7, 5)) for _ in range(STEPS)]
    inputs = [ag.Tensor(each, scalar_type=scalar_type, device="cuda") for each in draws]

    def build(seed: int) -> Layer:
        return Rows.build(seed=seed, scalar_type=scalar_type, device="cuda")

    goes_on(build, lambda: OPTIMIZERS[name](**settings), inputs, tmp_path)


def test_a_checkpoint_of_one_device_goes_on_upon_another(device: str, tmp_path: Path) -> None:
    list(training(device, tmp_path, epochs=1))
    path = max((tmp_path / "checkpoints").glob("step-*"))
    with Checkpoint.open(path) as checkpoint:
        model, optimizer = state("host")
        found = checkpoint.compared(model, optimizer)
        checkpoint.restore(model, optimizer)

    assert found.startswith("not exact: ")
    assert "device" in found
    assert "host" == str(model.device)
