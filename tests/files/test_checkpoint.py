"""Checkpoints: what was saved is restored to the bit, and what does not fit changes nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import MISSING
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import layers as rooms
from autograph.checkpoint import Checkpoint, Snapshot, save
from autograph.errors import AutographError, CheckpointError, SettingsError
from autograph.files import read, write
from autograph.layers import Dense, Layer
from autograph.optim import Cosine, Optimizer
from autograph.optim.describe import OPTIMIZERS
from autograph.train import Progress, fit

from ..fake_device import fake_devices
from ..fresh import printed
from ..golden import make_checkpoint
from .trained import CLASSES, IMAGES, Net, Residual, Tied, Wider, trained, values
from .written import message_of

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
    x = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)

    found = printed(code, tmp_path / "f").strip()
    assert model(ag.Tensor(x)).numpy().tobytes().hex() == found


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


GOLDEN = Path(__file__).parents[1] / "golden"


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


def test_no_encoding_of_the_machine_is_trusted(tmp_path: Path) -> None:
    told = printed(
        "import sys, warnings; warnings.simplefilter('error')\n"
        "import autograph as ag\n"
        "from autograph.layers import Dense\n"
        "model = Dense.builder(inputs=2, outputs=1).build()\n"
        "ag.save(sys.argv[1], model)\n"
        "with ag.profile() as p: model(ag.ones((1, 2)))\n"
        "p.save_trace(sys.argv[1] + '.json')\n"
        "print(ag.load(sys.argv[1]).weight.shape)",
        tmp_path / "model",
        PYTHONWARNDEFAULTENCODING="1",
    )

    assert "(2, 1)\n" == told
