"""Training settings: what a training is asked, as one validated value with a JSON schema."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, TypeAdapter

from ..optim.describe import OPTIMIZERS
from ..settings import Described, frozen

Share = Annotated[float, Field(gt=0, lt=1)]


def says(what: str) -> Any:
    """What a setting is, for help and schema."""
    return Field(description=what)


@frozen
class TrainSettings(Described):
    """What a training is asked.

    >>> TrainSettings(model="examples.mnist.lenet5:LeNet5").epochs
    10
    """

    OPTIMIZER: ClassVar[dict[str, Any]] = {"kind": "SGD", "learning_rate": 0.05, "momentum": 0.9}

    model: Annotated[str, says("MODULE:CLASS of a declared layer")]
    data: Annotated[str, says("a data set's name, a file, or a folder of pictures")] = "mnist"
    target: Annotated[str | int, says("the column of a CSV that is the target; the last")] = -1
    test_share: Annotated[Share, says("of data in one piece, to test on; 0.2")] = 0.2
    device: Annotated[str, says("host, cuda or cuda:N; the host")] = "host"
    scalar_type: Annotated[str, says("f32, bf16, f16 or f64; f32")] = "f32"
    epochs: Annotated[PositiveInt, says("the horizon of schedules; 10")] = 10
    batch_size: Annotated[PositiveInt, says("samples in a step; 100")] = 100
    test_batch_size: Annotated[PositiveInt, says("samples tested at once; 1000")] = 1000
    seed: Annotated[int, says("of first weights, shuffling and splits; 0")] = 0
    loss: Annotated[Literal["cross_entropy", "mse"], says("cross_entropy or mse")] = "cross_entropy"
    optimizer: Annotated[dict[str, Any], says("its kind, or its description as JSON; SGD")] = Field(
        default_factory=lambda: dict(TrainSettings.OPTIMIZER)
    )
    run: Annotated[str | None, says("folder for settings, logs and checkpoints")] = None
    checkpoint: Annotated[str | None, says("one file, written after each epoch")] = None

    @classmethod
    def flags(cls) -> list[tuple[str, type, str]]:
        """(name, type, help) of each setting that is a flag."""
        properties = TypeAdapter(cls).json_schema()["properties"]
        kinds: dict[str, type] = {"integer": int, "number": float}
        return [
            (name, kinds.get(told.get("type", ""), str), told["description"])
            for name, told in properties.items()
            if name != "model"
        ]


def schema() -> dict[str, Any]:
    """The JSON schema of a settings file."""
    told: dict[str, Any] = TypeAdapter(TrainSettings).json_schema()
    told["properties"]["optimizer"] |= {
        "properties": {"kind": {"enum": sorted(OPTIMIZERS)}},
        "required": ["kind"],
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **told}
