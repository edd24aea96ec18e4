"""Read inputs with a trained model: FILE is a checkpoint, each INPUT a picture, a .npy array of
samples, or the number of a test sample of --data.

For each sample the class with the largest score is printed, and its probability.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import load
from ..data.catalogue import choose, class_names
from ..data.sources import read_picture
from ..errors import DataError
from ..layers import Layer
from ..locate import class_of
from ..probe import probabilities
from ..tensor import Tensor, no_grad
from . import print_json, table

Array = np.ndarray[Any, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="a checkpoint")
    add("inputs", nargs="+", metavar="INPUT", help="picture, .npy file, or a test sample's number")
    add("--data", default="mnist", help="whose test samples the numbers mean; mnist unless said")
    add("--device", default="host", help="host, cuda or cuda:N")
    add("--layer", action="append", default=[], metavar="MODULE:CLASS", help="own layers of FILE")
    add("--scores", action="store_true", help="all probabilities, not the largest alone")
    add("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Print what the model says of each sample."""
    if not options.file.exists():
        raise FileNotFoundError(2, "no such file", str(options.file))
    layers = [class_of(each) for each in options.layer]
    model = load(options.file, layers=layers, device=options.device)
    names = class_names(options.data)
    rows: list[dict[str, Any]] = []
    for given in options.inputs:
        with no_grad():
            scores = model(samples(given, model, options.data)).cast("f64").numpy()
        for i, row in enumerate(probabilities(scores)):
            best = int(row.argmax())
            label = names[best] if len(names) == len(row) else str(best)
            name = given if i == 0 else f"{given}[{i}]"
            told = {"input": name, "class": label, "probability": round(float(row[best]), 6)}
            every = [round(float(each), 6) for each in row]
            rows.append({**told, "probabilities": every} if options.scores else told)
    if options.json:
        print_json(rows)
        return 0
    heads = list(rows[0])
    print(table(heads, [[_shown(row[head]) for head in heads] for row in rows], "probability"))
    return 0


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1%}"
    return " ".join(f"{each:.3f}" for each in value) if isinstance(value, list) else str(value)


def samples(given: str, model: Layer, data: str) -> Tensor:
    """The samples that an argument means, (N, ...), in the model's scalar type."""
    if given.isdecimal() and not Path(given).exists():
        test = choose(data).test
        if int(given) >= len(test):
            raise DataError(f"{data} has no test sample {given}\n  write 0 to {len(test) - 1}")
        place: dict[str, Any] = {"device": model.device, "scalar_type": model.scalar_type}
        return next(test.batches(1, order=np.array([int(given)]), **place)).inputs
    if not Path(given).exists():
        raise FileNotFoundError(2, "no such file", given)
    array = np.load(given, allow_pickle=False) if given.endswith(".npy") else picture(given, model)
    scale = 1 / 255 if array.dtype == np.uint8 else 1.0
    return Tensor(array).to(model.device).scaled_cast(model.scalar_type, scale)


def picture(path: str, model: Layer) -> Array:
    """A picture file as the model's input (1, C, H, W), u8; dark on bright is turned if grey."""
    shape = getattr(model._builder, "input", None)
    if shape is None or len(shape) != 3:
        raise DataError(f"{path}: this model reads no pictures\n  its input is {shape}")
    pixels = read_picture(path, shape)[None]
    edge = np.concatenate([pixels[..., 0, :], pixels[..., -1, :]], axis=-1)
    return 255 - pixels if shape[0] == 1 and edge.mean() > 127 else pixels
