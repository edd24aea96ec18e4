"""Averages of weights in checkpoints and runs: a training that has one goes on bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph.errors import CheckpointError
from autograph.layers import Dense, Layer, Relu, sequential
from autograph.optim import Adam, Average


@sequential(input=(6,))
class Net(Layer):
    first: Dense = Dense.builder(outputs=8, bias=True)
    relu: Relu
    last: Dense = Dense.builder(outputs=3)


EPOCHS = 3


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(90, 6)).astype(np.float32), rng.integers(0, 3, size=90)


def training(run: Path | None, scalar_type: str, watch: Any = None) -> dict[str, bytes]:
    """What a training, or the rest of one, ends in: model, optimizer and average."""
    model, optimizer = Net.build(scalar_type=scalar_type), Adam(learning_rate=0.01)
    average = Average(decay=0.9)
    place = None if run is None else ag.Run(run, every_steps=4)
    for _ in ag.fit(
        model, optimizer, data(), epochs=EPOCHS, batch_size=10, run=place, average=average,
        watch=watch,
    ):  # fmt: skip
        pass
    named = {**model.named_parameters(), **optimizer.tensors()}
    named |= {f"average.{path}": each for path, each in average.tensors().items()}
    return {path: each.numpy().tobytes() for path, each in named.items()}


def until(batch: int) -> Any:
    """A watch that raises after so many batches of an epoch."""

    def watch(name: str, done: int, count: int) -> None:
        if done == batch:
            raise KeyboardInterrupt

    return watch


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
def test_a_training_with_an_average_goes_on_in_mid_epoch(scalar_type: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "run", scalar_type, until(5))

    assert training(tmp_path / "run", scalar_type) == training(None, scalar_type)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.optim.test_average import training

seen = []

def watch(name, done, count):
    seen.append(done)
    if len(seen) == 15:
        os.kill(os.getpid(), signal.SIGKILL)

training(Path(sys.argv[1]), "f32", watch)
"""


def test_a_killed_training_with_an_average_goes_on(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "run")], cwd=root)

    assert done.returncode == -signal.SIGKILL
    assert training(tmp_path / "run", "f32") == training(None, "f32")


def test_a_batch_that_is_left_out_leaves_nothing_in_the_average() -> None:
    x, t = data()
    x[17] = np.nan
    model, average = Net.build(), Average(decay=0.9)

    for _ in ag.fit(
        model, Adam(learning_rate=0.01), (x, t), epochs=1, batch_size=10, nan_policy="skip",
        average=average,
    ):  # fmt: skip
        pass
    assert all(np.isfinite(each.numpy()).all() for each in average.tensors().values())


def averaged(scalar_type: str = "f32") -> tuple[Net, Average]:
    model, average = Net.build(scalar_type=scalar_type), Average(decay=0.5)
    average.update(model)
    for w in model.parameters():
        w[...] = w.detach() + 1
    average.update(model)
    return model, average


def test_a_checkpoint_alone_gives_the_averaged_weights(tmp_path: Path) -> None:
    model, average = averaged("bf16")
    ag.save(tmp_path / "c", model, average=average)

    with ag.Checkpoint.open(tmp_path / "c") as checkpoint:
        again = checkpoint.build()
        found = checkpoint.build_average(again)
        restored = Average(decay=0.5)
        checkpoint.restore(again, average=restored)
    assert found.decay == 0.5
    for path, value in average.tensors().items():
        assert str(found.tensors()[path].scalar_type) == "f32"
        np.testing.assert_array_equal(found.tensors()[path].numpy(), value.numpy())
        np.testing.assert_array_equal(restored.tensors()[path].numpy(), value.numpy())
    x = ag.Tensor(data()[0], scalar_type="bf16")
    with ag.no_grad(), average.applied(model), found.applied(again):
        np.testing.assert_array_equal(model(x).numpy(), again(x).numpy())


def test_a_file_without_the_average_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    model, average = averaged()
    ag.save(tmp_path / "c", model)
    before = {path: w.numpy().copy() for path, w in model.named_parameters().items()}
    for w in model.parameters():
        w[...] = 0

    with (
        ag.Checkpoint.open(tmp_path / "c") as checkpoint,
        pytest.raises(CheckpointError, match="it holds no average"),
    ):
        checkpoint.restore(model, average=average)
    assert all(not w.numpy().any() for w in model.parameters())
    assert before.keys() == average.tensors().keys()


def test_averages_of_another_model_are_refused() -> None:
    _, average = averaged()
    other = Dense.builder(inputs=2, outputs=2).build()

    with pytest.raises(CheckpointError, match="the file's average of weight does not fit"):
        Average().restore(average.tensors(), other.named_parameters())


def test_another_decay_is_named(tmp_path: Path) -> None:
    (model, average), optimizer = averaged(), Adam(learning_rate=0.01)
    ag.save(tmp_path / "c", model, optimizer, average=average)

    with ag.Checkpoint.open(tmp_path / "c") as checkpoint:
        assert checkpoint.compared(model, optimizer, average=average) == "exact"
        told = checkpoint.compared(model, optimizer, average=Average(decay=0.9))
    assert told == "not exact: average.decay 0.5 -> 0.9"
