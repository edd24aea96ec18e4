"""Exact resume: every layer, optimizer and schedule that there is goes on in the same bits, whether
its steps are captured or not. They are walked by their registries, those to come included."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from dataclasses import MISSING
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph.capturing import capture
from autograph.checkpoint import Checkpoint, save
from autograph.errors import CheckpointError
from autograph.layers import Conv2, Dense, Flatten, Layer, MaxPool2, Relu, sequential
from autograph.optim import SGD, Adam, Constant, Cosine, Optimizer
from autograph.optim.describe import OPTIMIZERS
from autograph.optim.schedules import SCHEDULES

from .layers.test_every_kind import KNOWN, of_kind

STEPS, SAVED = 8, 4  # the fourth is saved; a captured step is recorded by then, and anew after


def run(
    model: Layer, optimizer: Optimizer, inputs: list[ag.Tensor], captured: bool
) -> Callable[[int], bytes]:
    """Trains a step on inputs[i], and answers the bytes that came out."""
    with ag.no_grad():
        shown = model(inputs[0]).copy()

    def step(x: ag.Tensor) -> None:
        y = model(x)
        shown[...] = y.detach()
        if y.requires_grad:
            (y * y).mean().backward()
            model.update(optimizer)

    stepped = optimizer if model.parameters() else None
    call = capture(step, optimizer=stepped) if captured else step

    def trained(i: int) -> bytes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what cannot be captured says so, and is eager
            call(inputs[i])
        return shown.numpy().tobytes()

    return trained


def goes_on(
    build: Callable[[int], Layer],
    optimizer: Callable[[], Optimizer],
    inputs: list[ag.Tensor],
    folder: Path,
) -> None:
    """Eager and captured, saved in between and gone on with: the same outputs and files."""
    found = []
    for captured in (False, True):
        model, used = build(1), optimizer()
        trained = run(model, used, inputs, captured)
        outputs = []
        for i in range(STEPS):
            if i == SAVED:
                save(folder / "half", model, used)
            outputs.append(trained(i))
        save(folder / "whole", model, used)
        found.append([*outputs, (folder / "half").read_bytes(), (folder / "whole").read_bytes()])
        checkpoint = Checkpoint.open(folder / "half")
        rebuilt, other = checkpoint.build(device=inputs[0].device), (build(2), optimizer())
        checkpoint.restore(*other)
        for again in ((rebuilt, checkpoint.build_optimizer(rebuilt)), other):
            trained = run(*again, inputs, captured)
            for i in range(SAVED, STEPS):
                assert outputs[i] == trained(i)
            save(folder / "again", *again)
            assert (folder / "whole").read_bytes() == (folder / "again").read_bytes()
    assert found[0] == found[1]


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
@pytest.mark.parametrize("kind", KNOWN)
def test_every_layer_goes_on(kind: str, scalar_type: str, tmp_path: Path) -> None:
    builder, x = of_kind(kind, scalar_type)
    rng = np.random.default_rng(1)
    inputs = [x] * STEPS
    if x.scalar_type.is_float:
        inputs = [
            ag.Tensor(rng.normal(size=x.shape), scalar_type=scalar_type) for _ in range(STEPS)
        ]

    def build(seed: int) -> Layer:
        model: Layer = builder.build(seed=seed, scalar_type=scalar_type)
        return model

    goes_on(build, lambda: SGD(learning_rate=0.01, momentum=0.9), inputs, tmp_path)


# -- optimizers and schedules ------------------------------------------------------------


@sequential(input=(5,))
class Rows(Layer):
    """Rows (N, 5) -> (N, 4)."""

    dense1: Dense = Dense.builder(outputs=6, bias=True)
    relu1: Relu
    dense2: Dense = Dense.builder(outputs=4)


# What a schedule that has no default for it is given; a new name is entered here.
GIVEN: dict[str, Any] = {
    "rate": 0.01,
    "initial": 0.02,
    "peak": 0.02,
    "every": 3,
    "factor": 0.5,
    "at": (2, 5),
    "rates": (0.02, 0.01, 0.005),
    "after": Constant(rate=0.01),
    "length": 3,
    "steps": 7,
}


def schedule(name: str) -> Any:
    """One of each kind."""
    kind: Any = SCHEDULES[name]
    wanted = [
        each.name
        for each in fields_of(kind)
        if each.name == "steps" or (each.default is MISSING and each.default_factory is MISSING)
    ]
    return kind(**{each: GIVEN[each] for each in wanted})


def cases() -> list[Any]:
    """Every optimizer, with each of its switches; every schedule; groups with schedules."""
    found = []
    for name, kind in OPTIMIZERS.items():
        found.append((name, {}, name))
        for each in fields_of(kind):  # type: ignore[arg-type]
            settings: dict[str, Any] | None = None
            if each.type in (bool, "bool"):
                settings = {each.name: not each.default}
                settings |= {"momentum": 0.5} if each.name == "nesterov" else {}
            elif each.name in ("momentum", "weight_decay", "clip_norm", "clip_value"):
                settings = {each.name: 0.1}
            if settings is not None:
                found.append((name, settings, f"{name}-{each.name}"))
    found += [
        (optimizer, {"learning_rate": schedule(name)}, f"{optimizer}-{name}")
        for name in SCHEDULES
        for optimizer in ("SGD", "AdamW")
    ]
    groups = {"*.bias": {"learning_rate": schedule("Cosine")}, "dense2.*": {"weight_decay": 0.5}}
    found.append(("AdamW", {"groups": groups, "learning_rate": schedule("Step")}, "groups"))
    return [pytest.param(name, settings, id=case) for name, settings, case in found]


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
@pytest.mark.parametrize(("name", "settings"), cases())
def test_every_optimizer_and_schedule_goes_on(
    name: str, settings: dict[str, Any], scalar_type: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    inputs = [ag.Tensor(rng.normal(size=(7, 5)), scalar_type=scalar_type) for _ in range(STEPS)]

    def build(seed: int) -> Layer:
        return Rows.build(seed=seed, scalar_type=scalar_type)

    goes_on(build, lambda: OPTIMIZERS[name](**settings), inputs, tmp_path)


@sequential(input=(1, 8, 8))
class Small(Layer):
    """Scores (N, 3) of images (N, 1, 8, 8), its neighbours fused."""

    conv: Conv2 = Conv2.builder(outputs=2, filter=3)
    relu: Relu
    pool: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dense: Dense = Dense.builder(outputs=3)


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
def test_copied_and_pickled_trainings_go_on_apart(scalar_type: str) -> None:
    """Each with the layers and the state of its own, in the bits of the first."""
    x = ag.Tensor(np.random.default_rng(0).normal(size=(4, 1, 8, 8)), scalar_type=scalar_type)
    rate = Cosine(peak=0.1, steps=6)
    optimizer = Adam(learning_rate=rate, groups={"dense.*": {"weight_decay": 0.1}})
    pair = Small.build(seed=0, scalar_type=scalar_type), optimizer

    def trained(pair: tuple[Layer, Optimizer]) -> list[bytes]:
        model, used = pair
        for _ in range(3):
            (model(x) ** 2).sum().backward()
            model.update(used)
        tensors = {**model.named_parameters(), **used.tensors()}
        return [each.numpy().tobytes() for each in tensors.values()]

    trained(pair)
    twins = [copy.deepcopy(pair), pickle.loads(pickle.dumps(pair))]
    expected = trained(pair)
    assert [expected, expected] == [trained(twin) for twin in twins]


def test_a_copied_optimizer_belongs_to_the_first_model_that_it_fits() -> None:
    optimizer = SGD(momentum=0.9)
    for inputs in (2, 3):
        model = Dense.builder(inputs=inputs, outputs=3).build()
        model(ag.ones((1, inputs))).sum().backward()
        if inputs == 2:
            model.update(optimizer)

    with pytest.raises(CheckpointError, match="weight does not fit"):
        model.update(copy.deepcopy(optimizer))


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
def test_what_was_written_into_a_model_is_saved(scalar_type: str, tmp_path: Path) -> None:
    """Also where a master of it is older."""
    x = ag.Tensor(np.random.default_rng(0).normal(size=(4, 3)).astype("f4")).cast(scalar_type)

    def begun() -> tuple[Layer, SGD]:
        return Dense.builder(inputs=3, outputs=2).build(scalar_type=scalar_type), SGD()

    def step(model: Layer, optimizer: SGD) -> None:
        y = model(x)
        (y * y).mean().backward()
        model.update(optimizer)

    model, optimizer = begun()
    step(model, optimizer)
    with ag.no_grad():
        model.weight[...] = 2.5  # type: ignore[attr-defined]
    save(tmp_path / "a.safetensors", model, optimizer)
    twin = begun()
    step(*twin)
    Checkpoint.open(tmp_path / "a.safetensors").restore(*twin)
    for each in ((model, optimizer), twin):
        step(*each)

    for w, other in zip(model.parameters(), twin[0].parameters(), strict=True):
        assert w.numpy().tobytes() == other.numpy().tobytes()
