"""Forged checkpoints: a right checksum, and anything inside."""

from __future__ import annotations

import copy
import json
import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autograph import layers as rooms
from autograph.checkpoint import Checkpoint, Snapshot, load
from autograph.errors import CheckpointError
from autograph.files import write
from autograph.layers import Dense
from autograph.optim.describe import OPTIMIZERS

from ..layers.test_every_kind import KNOWN, of_kind
from .trained import trained, values
from .written import message_of


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
        "relu1 is a os.system, which is not known here"),
    "a tool of ours as kind": (
        lambda d, a: d.update(model={"kind": "from_description"}), "is not known here"),
    "a kind that is a number": (lambda d, a: d.update(model={"kind": 7}), "not the description"),
    "fields named like methods": (
        lambda d, a: d["model"]["fields"].update(__class__={"kind": "Relu"}),
        "is not a declared layer"),
    "a path as field": (lambda d, a: d["model"]["fields"].update({"../../x": {"kind": "Relu"}}),
                        "is not a declared layer"),
    "a setting too many": (lambda d, a: d["model"]["fields"]["relu1"].update(hook="import os"),
                           "hook"),
    "a wrong setting": (lambda d, a: d["model"]["fields"]["dense1"].update(outputs=-4),
                        "greater than 0"),
    "sizes that do not fit": (
        lambda d, a: d["model"]["fields"]["dense1"].update(inputs=5), "makes no model"),
    "sizes beyond all memory": (
        lambda d, a: d.update(model={"kind": "Dense", "inputs": 10**12, "outputs": 10**12}),
        "tensors do not fit"),
    "inputs beyond all memory": (
        lambda d, a: d["model"].update(input=[1, 10**9, 10**9]), "makes no model"),
    "an input that is negative": (lambda d, a: d["model"].update(input=[1, -8, 8]), "load: "),
    "deeply nested layers": (lambda d, a: d.update(model=nested(40)), "tensors do not fit"),
    "many layers": (lambda d, a: d["model"].update(
                        fields={f"a{i}": {"kind": "Relu"} for i in range(10**4)}),
                    "too many layers"),
    "a tie to nothing": (lambda d, a: d["model"].update(tie={"x": "y"}), "makes no model"),
    "a tie into settings": (lambda d, a: d["model"].update(tie={"conv1.stride": "conv1.weight"}),
                            "makes no model"),
    "a seed that is text": (lambda d, a: d.update(seed="0"), "seed in its metadata is no int"),
    "frozen paths that are text": (lambda d, a: d.update(frozen="x"), "frozen paths are no list"),
    "progress that is a list": (lambda d, a: d.update(progress=[]), "progress"),
    "updates that are half": (lambda d, a: d.update(updates=0.5), "updates"),
    "an unknown optimizer": (lambda d, a: d["optimizer"].update(kind="Other"), "no optimizer"),
    "an optimizer that is a list": (lambda d, a: d.update(optimizer=[]), "is no dict"),
    "a wrong learning rate": (
        lambda d, a: d["optimizer"].update(learning_rate=-1.0), "greater than or equal to 0"),
    "an unknown schedule": (lambda d, a: d["optimizer"].update(learning_rate={"kind": "Other"}),
                            "no schedule"),
    "state without optimizer": (lambda d, a: d.pop("optimizer"), "a tensor of nothing"),
    "a tensor of nothing": (lambda d, a: a.update(x=np.zeros(1)), "a tensor of nothing"),
    "a tensor too many": (lambda d, a: a.update({"model.x": np.zeros(1)}), "do not fit"),
    "a tensor missing": (lambda d, a: a.pop("model.conv1.weight"), "do not fit"),
    "a tensor of another shape": (
        lambda d, a: a.update({"model.conv1.weight": np.zeros((3, 1, 3, 2), np.float32)}),
        "(3, 1, 3, 2)"),
    "a tensor of another kind": (
        lambda d, a: a.update({"model.conv1.weight": np.zeros((3, 1, 3, 3), np.int32)}),
        "I32 (3, 1, 3, 3)"),
    "state of no parameter": (
        lambda d, a: a.update({"optimizer.x.step": np.zeros((), np.int64)}),
        "which is no parameter here"),
    "state missing": (lambda d, a: a.pop("optimizer.conv1.weight.moment1"), "does not fit"),
    "state of another kind": (
        lambda d, a: a.update({"optimizer.conv1.weight.step": np.array(3, np.uint8)}),
        "does not fit"),
    "state of another shape": (
        lambda d, a: a.update({"optimizer.conv1.weight.moment1": np.zeros(3, np.float32)}),
        "does not fit"),
}  # fmt: skip


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
    "nested repeats": {"kind": "Repeat", "times": 10**5,
                       "body": {"kind": "Repeat", "body": {"kind": "Relu"}, "times": 10**5}},
    "ties": {"kind": "Sequential", "name": "X", "input": [4],
             "fields": {f"a{i}": DENSE for i in range(1000)},
             "tie": {f"a{i}.weight": "a0.weight" for i in range(1, 1000)}},
    "layers": {"kind": "Sequential", "name": "X", "input": [4],
               "fields": {f"a{i}": DENSE for i in range(4900)}},
}  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="has no alarm")
@pytest.mark.parametrize("told", [*huge(), *(pytest.param(MANY[name], id=name) for name in MANY)])
def test_no_size_in_a_description_takes_long(told: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "f", {}, {"model": told})
    before = signal.signal(signal.SIGPROF, lambda *_: pytest.fail("it takes too long"))
    signal.setitimer(signal.ITIMER_PROF, 20)  # seconds of the processor
    try:
        with suppress(CheckpointError):
            load(tmp_path / "f")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


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
