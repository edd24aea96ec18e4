"""The command line: what it prints, what it refuses and how, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import autograph as ag
from autograph.__main__ import main
from autograph.commands import COMMANDS

from ..fresh import printed

ROOT = Path(__file__).parents[2]
LENET5 = "examples.mnist.lenet5:LeNet5"


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_help_lists_the_commands_and_each_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main([])
    listed = told(capsys)

    for name in COMMANDS:
        assert f"\n  {name} " in listed
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert 0 == ended.value.code
        assert "exit codes" in told(capsys)


def test_a_command_that_is_not_there_is_a_wrong_question() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["trian"])

    assert 2 == ended.value.code


def test_help_loads_no_engine_and_nothing_that_takes_long() -> None:
    code = "import sys; from autograph.__main__ import main; main([]); print(*sys.modules)"

    loaded = {name.split(".")[0] for name in printed(code).split()}
    assert not loaded & {"llvmlite", "rich", "textual", "matplotlib", "cupy"}


def test_doctor_finds_this_machine_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["doctor", "--json"])

    found = json.loads(told(capsys))
    assert found["healthy"]
    assert np.__version__ == found["versions"]["numpy"]
    assert "loss" in found["checks"]["training host f32"]


def test_devices_begin_with_the_host(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["devices", "--json"])

    assert "host" == json.loads(told(capsys))[0]["device"]


def test_a_summary_of_a_declared_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert 0 == main(["summary", LENET5, "--json", "--svg", str(tmp_path / "lenet5.svg")])

    found = json.loads(told(capsys))
    assert 46_920 == found["parameters"]
    assert (tmp_path / "lenet5.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(("arguments", "says"), [
    (["summary", "nowhere:Model"], "there is no module nowhere; run this in the folder"),
    (["summary", "examples.mnist.lenet5:Net"], "no class Net; its layers are LeNet5"),
    (["summary", "lenet5"], "write MODULE:CLASS"),
    (["inspect", "nothing.safetensors"], "there is no file nothing.safetensors"),
    (["train"], "there is no model; write train MODULE:CLASS"),
    (["train", LENET5, "--epochs", "0"], "epochs 0 Input should be greater than 0"),
    (["train", LENET5, "--data", "moons"], "there is no data set 'moons'"),
    (["train", LENET5, "--optimizer", "Sgd", "--data", "xor"], "there is no optimizer 'Sgd'"),
    (["train", LENET5, "--set", "seed"], "write NAME=VALUE"),
    (["view", "nowhere"], "nowhere is no run"),
    (["bench", "nothing"], "there is no bench 'nothing'"),
    (["predict", "nothing.safetensors", "1"], "there is no file nothing.safetensors"),
])  # fmt: skip
def test_errors_are_one_line_with_the_remedy(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(arguments)

    error = capsys.readouterr().err
    assert 1 == code
    assert 1 == error.count("\n")
    assert error.startswith(f"autograph {arguments[0]}: ")
    assert says in error


def test_a_model_is_trained_inspected_and_asked(
    points: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, table = tmp_path / "points.safetensors", tmp_path / "log.csv"
    options = ["--data", "gaussians", "--epochs", "3", "--batch-size", "20", "--json"]
    options += ["--checkpoint", str(file), "--csv", str(table), "--learning-rate", "0.2"]

    assert 0 == main(["train", points, *options])
    records = [json.loads(line) for line in told(capsys).splitlines()]
    assert [1, 2, 3] == [each["epoch"] for each in records]
    assert records[-1]["test_accuracy"] > 0.9
    assert "gradient_norm/dense1.weight" in table.read_text().splitlines()[0]

    assert 0 == main(["inspect", str(file), "--verify"])
    said = told(capsys)
    assert "dense1  Dense(" in said
    assert "optimizer SGD(" in said

    np.save(tmp_path / "samples.npy", np.array([[0.5, 0.5], [-0.5, -0.5]], np.float32))
    assert 0 == main(["predict", str(file), str(tmp_path / "samples.npy"), "--json"])
    assert ["1", "0"] == [each["class"] for each in json.loads(told(capsys))]
    assert 0 == main(["predict", str(file), "0", "7", "--data", "gaussians"])
    assert "probability" in told(capsys)


def test_a_damaged_file_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ag.save(tmp_path / "model.safetensors", ag.layers.Dense.builder(inputs=2, outputs=2).build())
    data = bytearray((tmp_path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(data)

    assert 1 == main(["inspect", str(tmp_path / "model.safetensors"), "--verify"])
    assert "its checksum is wrong" in capsys.readouterr().err


def test_settings_come_from_a_file_and_flags_stand_above_it(
    points: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "settings.toml").write_text(
        f'model = "{points}"\ndata = "xor"\nepochs = 9\nrun = "run"\n'
        "[optimizer]\nkind = 'Adam'\nlearning_rate = { kind = 'Cosine', peak = 0.01 }\n"
    )

    above = ["--epochs", "2", "--set", "optimizer.beta1=0.8"]

    assert 0 == main(["train", "--config", "settings.toml", *above])
    assert "[2/2]" in told(capsys)
    asked = json.loads((tmp_path / "run" / "asked.json").read_text())
    assert (2, "xor") == (asked["epochs"], asked["data"])
    assert {"kind": "Cosine", "peak": 0.01} == asked["optimizer"]["learning_rate"]
    assert 0.8 == asked["optimizer"]["beta1"]

    constant = ["--set", "optimizer.learning_rate=0.01"]
    assert 0 == main(["train", "--config", "run/asked.json", "--epochs", "3", *constant])
    assert "[3/3]" in told(capsys)
    assert 0 == main(["train", "--config", "run/asked.json"])
    assert "nothing to do: run has its 3 epochs" in capsys.readouterr().err


def test_a_run_is_viewed_as_text(points: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["train", points, "--data", "circle", "--epochs", "2", "--run", "run"])
    told(capsys)

    assert 0 == main(["view", "run", "--once"])

    seen = told(capsys)
    for part in ("ended  epoch 2 of 2", "loss  ━ train  ━ test", "recall", "░", "dense1.weight"):
        assert part in seen


def test_the_schema_of_settings_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["train", "--schema"])

    found = json.loads(told(capsys))
    assert {"model", "data", "epochs", "optimizer", "seed"} <= set(found["properties"])
    assert "SGD" in found["properties"]["optimizer"]["properties"]["kind"]["enum"]
    assert ["model"] == found["required"]


def test_kernels_are_compiled_ahead(points: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["warmup", points, "--batch-size", "4"])

    assert (0 if ag.NATIVE.available else 1) == code
    assert "compile" in told(capsys)
