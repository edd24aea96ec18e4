"""Checkpoints: what was saved is restored to the bit, and what does not fit changes nothing."""

from __future__ import annotations

import copy
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import layers as rooms
from autograph.checkpoint import Checkpoint, Snapshot, load, save
from autograph.errors import AutographError, CheckpointError, SettingsError
from autograph.files import read, write
from autograph.layers import Conv2, Dense, Flatten, Layer, MaxPool2, Relu, layer, sequential
from autograph.optim import Cosine, Optimizer
from autograph.optim.describe import OPTIMIZERS
from autograph.train import Progress, fit

from .fake_device import fake_devices
from .golden import make_checkpoint
from .layers.test_every_kind import KNOWN, of_kind

rng = np.random.default_rng(0)
IMAGES = rng.normal(size=(70, 1, 8, 8)).astype(np.float32)
CLASSES = rng.integers(0, 4, 70)


@sequential(input=(1, 8, 8))
class Net(Layer):
    """Images (N, 1, 8, 8) -> class scores (N, 4)."""

    conv1: Conv2 = Conv2.builder(outputs=3, filter=3)
    relu1: Relu
    pool1: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=4, bias=True)


@sequential(input=(1, 8, 8))
class Wider(Net):
    """A net that does not fit Net's files."""

    conv1: Conv2 = Conv2.builder(outputs=5, filter=3)


@layer(input=(6,))
class Residual(Layer):
    """x (N, 6) -> x + dense(x) * scale, a forward that is code."""

    dense: Dense = Dense.builder(inputs=6, outputs=6)
    scale: float = 0.5

    def forward(self, x: Any) -> Any:
        return x + self.dense(x) * self.scale


@sequential(input=(6,), tie={"dense2.weight": "dense1.weight"})
class Tied(Layer):
    """Two layers with one weight."""

    dense1: Dense = Dense.builder(outputs=6)
    block: Residual
    dense2: Dense = Dense.builder(outputs=6, bias=True)


def values(*trained: Any) -> dict[str, bytes]:
    """All of a training state, to the bit."""
    return {name: each.tobytes() for name, each in Snapshot.of(*trained).arrays.items()}


def trained(optimizer: Any, scalar_type: str = "f32") -> Layer:
    """A net after an epoch."""
    model = Net.build(seed=1, scalar_type=scalar_type)
    next(fit(model, optimizer, (IMAGES, CLASSES), epochs=2, batch_size=20))
    return model


def message_of(call: Callable[[], Any], kind: type[Exception] = CheckpointError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


# -- models ----------------------------------------------------------------------------


def test_a_model_is_rebuilt_without_its_class(tmp_path: Path) -> None:
    model = Net.build(seed=1)
    model.save(tmp_path / "f")
    found = ag.load(tmp_path / "f")

    assert not isinstance(found, Net)
    assert "Net" == type(found).__name__
    assert model.describe() == found.describe()
    assert values(model) == values(found)
    assert model(ag.Tensor(IMAGES)).tolist() == found(ag.Tensor(IMAGES)).tolist()


def test_a_process_that_does_not_know_the_class_computes_the_same(tmp_path: Path) -> None:
    model = Net.build(seed=1)
    model.save(tmp_path / "f")
    code = (
        "import autograph as ag, numpy as np, sys; model = ag.load(sys.argv[1]);"
        "x = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8);"
        "print(model(ag.Tensor(x)).numpy().tobytes().hex())"
    )
    call = [sys.executable, "-c", code, tmp_path / "f"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    x = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)

    assert model(ag.Tensor(x)).numpy().tobytes().hex() == done.stdout.strip()


def test_a_class_loads_its_own_files(tmp_path: Path) -> None:
    model = Net.build(seed=1)
    model.save(tmp_path / "f")
    found: Net = Net.load(tmp_path / "f")

    assert type(found) is Net
    assert values(model) == values(found)
    found(ag.Tensor(IMAGES[:20])).cross_entropy_loss(ag.Tensor(CLASSES[:20])).backward()
    found.update(OPTIMIZERS["SGD"]())

    assert values(model) != values(found)


def test_a_file_of_another_model_is_refused_with_what_differs(tmp_path: Path) -> None:
    Net.build().save(tmp_path / "f")

    assert message_of(lambda: Wider.load(tmp_path / "f")) == (
        f"load: {tmp_path}/f: it does not fit Wider\n"
        "  name\n    here  Wider\n    file  Net\n"
        "  fields.conv1.outputs\n    here  5\n    file  3\n"
        "  fields.dense1.inputs\n    here  45\n    file  27"
    )
    assert "it holds another layer" in message_of(lambda: Dense.load(tmp_path / "f"))


def test_own_layers_are_given_and_never_imported(tmp_path: Path) -> None:
    model = Residual.build(seed=1)
    model.save(tmp_path / "f")

    assert "layers=[Residual]" in message_of(lambda: ag.load(tmp_path / "f"))
    assert values(model) == values(ag.load(tmp_path / "f", layers=[Residual]))
    assert values(model) == values(Residual.load(tmp_path / "f"))


def test_a_tied_parameter_is_saved_once_and_stays_tied(tmp_path: Path) -> None:
    model = Tied.build(seed=1)
    model.save(tmp_path / "f")
    found: Any = Tied.load(tmp_path / "f", layers=[Residual])

    assert "model.dense2.weight" not in read(tmp_path / "f").entries
    assert found.dense1.weight is found.dense2.weight
    assert values(model) == values(found)


def test_frozen_parameters_stay_frozen(tmp_path: Path) -> None:
    model: Any = Net.build()
    model.conv1.freeze()
    model.save(tmp_path / "f")
    found: Any = ag.load(tmp_path / "f")

    assert not found.conv1.weight.requires_grad
    assert found.dense1.weight.requires_grad


@pytest.mark.parametrize("stored", ["f32", "bf16", "f16", "f64"])
@pytest.mark.parametrize("asked", [None, "f32", "bf16"])
def test_scalar_types_are_kept_unless_one_is_asked_for(
    stored: str, asked: str | None, tmp_path: Path
) -> None:
    model = Net.build(seed=1, scalar_type=stored)
    model.save(tmp_path / "f")
    found = ag.load(tmp_path / "f", scalar_type=asked)

    assert (asked or stored) == str(found.scalar_type)
    assert values(model.cast(asked or stored)) == values(found)


def test_a_model_moves_between_devices_through_a_file(tmp_path: Path) -> None:
    with fake_devices():
        model = Net.build(seed=1, device="fake:1")
        save(tmp_path / "f", model)
        save(tmp_path / "g", Net.build(seed=1))
        found = ag.load(tmp_path / "f", device="fake:0")

        assert (tmp_path / "f").read_bytes() == (tmp_path / "g").read_bytes()
        assert "fake:0" == str(found.device)
        assert values(model) == values(found)
        assert values(model) == values(ag.load(tmp_path / "f"))


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("checkpoint-*")), ids=lambda path: path.stem)
def test_files_of_every_format_are_read(path: Path) -> None:
    with Checkpoint.open(path) as checkpoint:
        model = checkpoint.build()
        optimizer = checkpoint.build_optimizer(model)
        made, other = make_checkpoint.Kept.build(seed=1), optimizer_like(optimizer)
        checkpoint.restore(made, other)
        outputs = checkpoint.progress["outputs"]
    with ag.no_grad():
        for each in (model, made):
            found = each(ag.Tensor(make_checkpoint.X)).numpy()
            np.testing.assert_allclose(found, outputs, rtol=1e-6)

    assert 3 == optimizer.count == other.count
    assert values(model, optimizer) == values(made, other)


def optimizer_like(optimizer: Optimizer) -> Optimizer:
    return type(optimizer)(learning_rate=optimizer.learning_rate)


def test_settings_that_came_later_have_their_defaults(tmp_path: Path) -> None:
    model = Net.build(seed=1)
    snapshot = Snapshot.of(model)
    document = json.loads(json.dumps(snapshot.document))
    for setting in ("groups", "dilation"):
        del document["model"]["fields"]["conv1"][setting]
    write(tmp_path / "f", snapshot.arrays, document)
    other = Net.build(seed=2)
    Checkpoint.open(tmp_path / "f").restore(other)

    assert values(model) == values(other) == values(Net.load(tmp_path / "f"))
    with pytest.raises(CheckpointError, match=r"conv1.outputs\n    here  5\n    file  3"):
        Wider.load(tmp_path / "f")


def test_what_makes_a_resume_inexact_is_named(tmp_path: Path) -> None:
    optimizer = OPTIMIZERS["Adam"](learning_rate=0.01)
    model = trained(optimizer)
    save(tmp_path / "f", model, optimizer)
    checkpoint = Checkpoint.open(tmp_path / "f")
    other: Any = Net.build(scalar_type="bf16")
    other.conv1.freeze()

    assert "exact" == checkpoint.compared(model, optimizer)
    assert "exact" == checkpoint.compared(
        checkpoint.build(), OPTIMIZERS["Adam"](learning_rate=0.01)
    )
    assert (
        "not exact: frozen  -> conv1.weight, optimizer.learning_rate 0.01 -> 0.5, "
        "loss other -> mine"
    ) == checkpoint.compared(
        other.cast("f32"), OPTIMIZERS["Adam"](learning_rate=0.5), {"loss": ("mine", "other")}
    )
    assert "not exact: scalar type f32 -> bf16" == checkpoint.compared(
        Net.build(scalar_type="bf16"), optimizer
    )


def settings_of(kind: str) -> dict[str, Any]:
    """Settings for a layer of any kind: its defaults, and these where it has none."""
    dense = Dense.builder(inputs=4, outputs=4)
    given: dict[str, Any] = {"inputs": 4, "outputs": 4, "filter": 2, "count": 7, "body": dense}
    given |= {
        "options": {"one": dense, "other": dense},
        "chosen": "one",
        "branches": (dense, dense),
    }
    builder = getattr(rooms, kind).builder
    wanted = fields_of(builder) if isinstance(builder, type) else ()
    missing = MISSING
    return {
        each.name: given.get(each.name, 2)
        for each in wanted
        if each.name == "inputs"
        or (each.init and each.default is missing and each.default_factory is missing)
    }


@pytest.mark.parametrize("kind", rooms.KINDS)
@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
def test_every_kind_of_layer_is_read_back(kind: str, scalar_type: str, tmp_path: Path) -> None:
    made = getattr(rooms, kind).builder(**settings_of(kind)).build(seed=1, scalar_type=scalar_type)
    made.save(tmp_path / "f")
    found = ag.load(tmp_path / "f")
    found.save(tmp_path / "g")

    assert type(made) is type(found)
    assert made.describe() == found.describe()
    assert (tmp_path / "f").read_bytes() == (tmp_path / "g").read_bytes()


# -- training states -------------------------------------------------------------------


@pytest.mark.parametrize("scalar_type", ["f32", "bf16"])
@pytest.mark.parametrize("rate", [0.01, Cosine(peak=0.01, warmup=2)], ids=["number", "schedule"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resumed_training_ends_in_the_same_bytes(
    name: str, rate: Any, scalar_type: str, tmp_path: Path
) -> None:
    data, settings = (IMAGES, CLASSES), {"learning_rate": rate}
    model, optimizer = Net.build(seed=1, scalar_type=scalar_type), OPTIMIZERS[name](**settings)
    for report in fit(model, optimizer, data, epochs=3, batch_size=20, seed=5):
        save(tmp_path / str(report.epoch), model, optimizer, report.progress.describe())

    checkpoint = Checkpoint.open(tmp_path / "1")
    rebuilt = checkpoint.build()
    given = Net.build(seed=2, scalar_type=scalar_type), OPTIMIZERS[name](**settings)
    given[1].learning_rate = optimizer.learning_rate
    checkpoint.restore(*given)
    for again in ((rebuilt, checkpoint.build_optimizer(rebuilt)), given):
        for report in fit(*again, data, progress=Progress(**checkpoint.progress)):
            save(tmp_path / "again", *again, report.progress.describe())

            assert (tmp_path / str(report.epoch)).read_bytes() == (tmp_path / "again").read_bytes()


def test_a_snapshot_is_of_its_moment(tmp_path: Path) -> None:
    optimizer = OPTIMIZERS["Adam"]()
    model = trained(optimizer)
    progress = {"best": [0.5]}
    save(tmp_path / "f", model, optimizer, progress)
    snapshot = Snapshot.of(model, optimizer, progress)
    next(fit(model, optimizer, (IMAGES, CLASSES), epochs=2, batch_size=20))
    progress["best"].append(0.6)
    snapshot.write(tmp_path / "g")

    assert (tmp_path / "f").read_bytes() == (tmp_path / "g").read_bytes()


def test_a_state_is_restored_across_scalar_types_and_devices(tmp_path: Path) -> None:
    optimizer = OPTIMIZERS["Adam"]()
    model = trained(optimizer)
    save(tmp_path / "f", model, optimizer)
    with fake_devices():
        for device, scalar_type in (("host", "bf16"), ("fake:1", "f32"), ("fake:0", "bf16")):
            other = Net.build(device=device, scalar_type=scalar_type)
            follower = OPTIMIZERS["Adam"]()
            Checkpoint.open(tmp_path / "f").restore(other, follower)

            assert (device, scalar_type) == (str(other.device), str(other.scalar_type))
            expected = copy.deepcopy(model).cast(scalar_type)
            assert values(expected) == values(other)
            assert optimizer.count == follower.count
            x = ag.Tensor(IMAGES[:20], device=device, scalar_type=scalar_type)
            other(x).cross_entropy_loss(ag.Tensor(CLASSES[:20], device=device)).backward()
            other.update(follower)


def test_parts_are_restored_by_pattern(tmp_path: Path) -> None:
    Net.build(seed=1).save(tmp_path / "f")
    model = Wider.build(seed=2)
    before = values(model)
    Checkpoint.open(tmp_path / "f").restore(model, pattern="*.bias")
    after = values(model)

    assert ["model.dense1.bias"] == [name for name in after if after[name] != before[name]]
    assert after["model.dense1.bias"] == values(Net.build(seed=1))["model.dense1.bias"]
    assert "nothing in the model matches 'dense9.*'" in message_of(
        lambda: Checkpoint.open(tmp_path / "f").restore(model, pattern=["conv*", "dense9.*"]),
        SettingsError,
    )


# -- what does not fit changes nothing ---------------------------------------------------


def misfits() -> dict[str, Callable[[Checkpoint, Layer, Optimizer], None]]:
    """What is tried with a checkpoint of Net and Adam, a Net and an SGD with momentum."""
    return {
        "another model": lambda file, model, optimizer: file.restore(Wider.build()),
        "another optimizer": lambda file, model, optimizer: file.restore(model, optimizer),
        "a pattern that does not fit": lambda file, model, optimizer: file.restore(
            Wider.build(), pattern="conv*"
        ),
        "a pattern and an optimizer": lambda file, model, optimizer: file.restore(
            model, optimizer, pattern="conv*"
        ),
        "another setting": lambda file, model, optimizer: file.restore(
            model, OPTIMIZERS["Adam"](amsgrad=True)
        ),
    }


@pytest.mark.parametrize("case", misfits())
def test_the_target_is_unchanged_by_what_does_not_fit(case: str, tmp_path: Path) -> None:
    save(tmp_path / "f", trained(other := OPTIMIZERS["Adam"]()), other)
    optimizer = OPTIMIZERS["SGD"](momentum=0.9)
    model = trained(optimizer)
    before = values(model, optimizer)
    with pytest.raises(AutographError):
        misfits()[case](Checkpoint.open(tmp_path / "f"), model, optimizer)

    assert before == values(model, optimizer)


@pytest.mark.parametrize("fails_at", range(9))
def test_the_target_is_unchanged_if_writing_fails(
    fails_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "f", trained(other := OPTIMIZERS["Adam"]()), other)
    optimizer = OPTIMIZERS["Adam"](weight_decay=0.1)
    model = trained(optimizer, "bf16")
    before, writes = values(model, optimizer), []
    assign = ag.Tensor.__setitem__

    def failing(self: Any, key: Any, value: Any) -> None:
        writes.append(key)
        if len(writes) == fails_at + 1:
            raise KeyboardInterrupt
        assign(self, key, value)

    monkeypatch.setattr(ag.Tensor, "__setitem__", failing)
    if fails_at < 6:  # three tensors, of which each is written and its old value kept
        with pytest.raises(KeyboardInterrupt):
            Checkpoint.open(tmp_path / "f").restore(model, optimizer)

        assert before == values(model, optimizer)
    else:
        Checkpoint.open(tmp_path / "f").restore(model, optimizer)

        assert before != values(model, optimizer)


def test_a_state_cut_off_while_it_is_read_changes_nothing(tmp_path: Path) -> None:
    optimizer = OPTIMIZERS["Adam"]()
    model = trained(optimizer)
    save(tmp_path / "f", model, optimizer)
    next(fit(model, optimizer, (IMAGES, CLASSES), epochs=2, batch_size=20))
    before = values(model, optimizer)
    checkpoint = Checkpoint.open(tmp_path / "f")
    with (tmp_path / "f").open("r+b") as file:
        file.truncate(1000)

    message_of(lambda: checkpoint.restore(model, optimizer))
    assert before == values(model, optimizer)


# -- forged files: a right checksum, and anything inside ----------------------------------


def forged(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Path:
    """A checkpoint of a trained net with its document and arrays changed."""
    optimizer = OPTIMIZERS["Adam"]()
    snapshot = Snapshot.of(trained(optimizer), optimizer, {"epoch": 1})
    document = json.loads(json.dumps(snapshot.document))
    arrays = dict(snapshot.arrays)
    change(document, arrays)
    write(path, arrays, document)
    return path


def nested(depth: int) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": "Relu"}
    for _ in range(depth):
        told = {"kind": "Sequential", "name": "x", "fields": {"inner": told}}
    return told


Change = Callable[[dict[str, Any], dict[str, Any]], Any]
FORGED: dict[str, tuple[Change, str]] = {
    "no model": (lambda d, a: d.pop("model"), "model in its metadata is no dict"),
    "a model that is text": (lambda d, a: d.update(model="Net"), "is no dict"),
    "an unknown kind": (lambda d, a: d.update(model={"kind": "Other"}), "is not known here"),
    "a kind that names a module": (
        lambda d, a: d["model"]["fields"].update(relu1={"kind": "os.system"}),
        "relu1 is a os.system, which is not known here",
    ),
    "a tool of ours as kind": (
        lambda d, a: d.update(model={"kind": "from_description"}),
        "is not known here",
    ),
    "a kind that is a number": (lambda d, a: d.update(model={"kind": 7}), "not the description"),
    "fields named like methods": (
        lambda d, a: d["model"]["fields"].update(__class__={"kind": "Relu"}),
        "is not a declared layer",
    ),
    "a path as field": (
        lambda d, a: d["model"]["fields"].update({"../../x": {"kind": "Relu"}}),
        "is not a declared layer",
    ),
    "a setting too many": (
        lambda d, a: d["model"]["fields"]["relu1"].update(hook="import os"),
        "hook",
    ),
    "a wrong setting": (
        lambda d, a: d["model"]["fields"]["dense1"].update(outputs=-4),
        "greater than 0",
    ),
    "sizes that do not fit": (
        lambda d, a: d["model"]["fields"]["dense1"].update(inputs=5),
        "makes no model",
    ),
    "sizes beyond all memory": (
        lambda d, a: d.update(model={"kind": "Dense", "inputs": 10**12, "outputs": 10**12}),
        "tensors do not fit",
    ),
    "inputs beyond all memory": (
        lambda d, a: d["model"].update(input=[1, 10**9, 10**9]),
        "makes no model",
    ),
    "an input that is negative": (lambda d, a: d["model"].update(input=[1, -8, 8]), "load: "),
    "deeply nested layers": (lambda d, a: d.update(model=nested(40)), "tensors do not fit"),
    "many layers": (
        lambda d, a: d["model"].update(fields={f"a{i}": {"kind": "Relu"} for i in range(10**4)}),
        "too many layers",
    ),
    "a tie to nothing": (lambda d, a: d["model"].update(tie={"x": "y"}), "makes no model"),
    "a tie into settings": (
        lambda d, a: d["model"].update(tie={"conv1.stride": "conv1.weight"}),
        "makes no model",
    ),
    "a seed that is text": (lambda d, a: d.update(seed="0"), "seed in its metadata is no int"),
    "frozen paths that are text": (lambda d, a: d.update(frozen="x"), "frozen paths are no list"),
    "progress that is a list": (lambda d, a: d.update(progress=[]), "progress"),
    "updates that are half": (lambda d, a: d.update(updates=0.5), "updates"),
    "an unknown optimizer": (lambda d, a: d["optimizer"].update(kind="Other"), "no optimizer"),
    "an optimizer that is a list": (lambda d, a: d.update(optimizer=[]), "is no dict"),
    "a wrong learning rate": (
        lambda d, a: d["optimizer"].update(learning_rate=-1.0),
        "greater than or equal to 0",
    ),
    "an unknown schedule": (
        lambda d, a: d["optimizer"].update(learning_rate={"kind": "Other"}),
        "no schedule",
    ),
    "state without optimizer": (lambda d, a: d.pop("optimizer"), "a tensor of nothing"),
    "a tensor of nothing": (lambda d, a: a.update(x=np.zeros(1)), "a tensor of nothing"),
    "a tensor too many": (lambda d, a: a.update({"model.x": np.zeros(1)}), "do not fit"),
    "a tensor missing": (lambda d, a: a.pop("model.conv1.weight"), "do not fit"),
    "a tensor of another shape": (
        lambda d, a: a.update({"model.conv1.weight": np.zeros((3, 1, 3, 2), np.float32)}),
        "(3, 1, 3, 2)",
    ),
    "a tensor of another kind": (
        lambda d, a: a.update({"model.conv1.weight": np.zeros((3, 1, 3, 3), np.int32)}),
        "I32 (3, 1, 3, 3)",
    ),
    "state of no parameter": (
        lambda d, a: a.update({"optimizer.x.step": np.zeros((), np.int64)}),
        "which is no parameter here",
    ),
    "state missing": (lambda d, a: a.pop("optimizer.conv1.weight.moment1"), "does not fit"),
    "state of another shape": (
        lambda d, a: a.update({"optimizer.conv1.weight.moment1": np.zeros(3, np.float32)}),
        "does not fit",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_checkpoint_is_refused_and_changes_nothing(case: str, tmp_path: Path) -> None:
    change, says = FORGED[case]
    path = forged(tmp_path / "f", change)

    def everything() -> None:
        checkpoint = Checkpoint.open(path)
        model = checkpoint.build()
        checkpoint.build_optimizer(model)

    assert says in message_of(everything)
    optimizer = OPTIMIZERS["Adam"]()
    target = trained(optimizer)
    before = values(target, optimizer)
    try:
        Checkpoint.open(path).restore(target, optimizer)
    except CheckpointError:
        assert before == values(target, optimizer)


def told_of(kind: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(json.dumps(of_kind(kind)[0].describe()))
    return described


def huge() -> list[Any]:
    """Every kind of layer with each of its numbers, one after the other, beyond all reason."""
    found = []
    for kind in KNOWN:
        told = told_of(kind)
        for name, value in told.items():
            if type(value) is int:
                found += [(f"{kind}-{name}-{n}", {**told, name: n}) for n in (10**7, 2**62)]
    return [pytest.param(told, id=case) for case, told in found]


DENSE = {"kind": "Dense", "inputs": 4, "outputs": 4}
MANY: dict[str, dict[str, Any]] = {
    "repeats": {"kind": "Repeat", "body": {"kind": "Relu"}, "times": 10**8},
    "nested repeats": {
        "kind": "Repeat",
        "times": 10**5,
        "body": {"kind": "Repeat", "body": {"kind": "Relu"}, "times": 10**5},
    },
    "ties": {
        "kind": "Sequential",
        "name": "X",
        "input": [4],
        "fields": {f"a{i}": DENSE for i in range(1000)},
        "tie": {f"a{i}.weight": "a0.weight" for i in range(1, 1000)},
    },
    "layers": {
        "kind": "Sequential",
        "name": "X",
        "input": [4],
        "fields": {f"a{i}": DENSE for i in range(4900)},
    },
}


@pytest.mark.skipif(sys.platform == "win32", reason="has no alarm")
@pytest.mark.parametrize("told", [*huge(), *(pytest.param(MANY[name], id=name) for name in MANY)])
def test_no_size_in_a_description_takes_long(told: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "f", {}, {"model": told})
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it takes too long"))
    signal.alarm(20)  # of 8 seconds on a machine with nothing else to do
    try:
        with suppress(CheckpointError):
            load(tmp_path / "f")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_many_copies_of_many_layers_are_no_more_than_they_are(tmp_path: Path) -> None:
    inner = rooms.Repeat.builder(body=Dense.builder(outputs=6), times=12)
    model = (
        rooms.Repeat.builder(body=inner, times=24, resolved=())
        .infer(rooms.builders.shaped((6,)))[0]
        .build(seed=1)
    )
    model.save(tmp_path / "f")

    assert values(model) == values(load(tmp_path / "f"))


ODD: list[Any] = [None, 0, -1, 2, 10**9, 2**64, 0.5, "", "Relu", "Sequential", [], {}, [1], True]


def mutated(rng: random.Random, told: Any) -> Any:
    """A JSON value with something in it changed."""
    if isinstance(told, dict | list) and told and rng.random() < 0.9:
        made = copy.copy(told)
        key = rng.choice(list(made) if isinstance(made, dict) else range(len(made)))
        made[key] = mutated(rng, made[key])
        if isinstance(made, dict) and rng.random() < 0.2:
            made[rng.choice(("kind", "x", "inputs", "input", "tie", key))] = made.pop(key)
        return made
    return rng.choice([*ODD, told])


@pytest.mark.parametrize("seed", range(4))
def test_no_document_makes_anything_but_a_model_or_an_error(seed: int, tmp_path: Path) -> None:
    rng, held = random.Random(seed), dict[str, Any]()
    forged(tmp_path / "f", lambda d, a: held.update(document=d, arrays=a))
    for _ in range(100):
        document = mutated(rng, held["document"])
        if not isinstance(document, dict):
            continue
        write(tmp_path / "g", held["arrays"], document)
        try:
            checkpoint = Checkpoint.open(tmp_path / "g")
            model = checkpoint.build()
            checkpoint.build_optimizer(model)
        except CheckpointError as error:
            told = str(error)
        else:
            told = f"load: {sorted(values(model))}"

        assert told.startswith("load: ")


def test_loading_imports_no_module_that_a_file_names(tmp_path: Path) -> None:
    def change(document: dict[str, Any], arrays: dict[str, Any]) -> None:
        document["model"]["fields"]["relu1"] = {"kind": "wave"}
        document["optimizer"]["kind"] = "turtle"

    path = forged(tmp_path / "f", change)
    message_of(lambda: load(path))

    assert not {"wave", "turtle"} & sys.modules.keys()
