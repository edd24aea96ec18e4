"""Looking at a model: what the scene shows beyond the log, computed from a model and its data."""

from __future__ import annotations

import numpy as np

from ..data.catalogue import class_names
from ..data.named import TrainTest
from ..layers import Layer
from ..probe import confusion, norms, regions, scores
from .scene import Array, Picture, Scene

PICTURES = 24
PLANE = 44, 88  # rows and columns of pixels: 22 lines of 88 characters
TESTED = 10_000  # test samples looked at


def look(scene: Scene, model: Layer, data: TrainTest, name: str = "") -> None:
    """Fill in confusion, pictures, regions and norms, as far as the data have them."""
    test = data.test
    count = min(len(test), TESTED)
    found = scores(model, type(test)(test.inputs[:count], test.targets[:count], test.scale))
    targets = test.targets[:count]
    if found.ndim != 2 or targets.ndim != 1 or targets.dtype.kind not in "iu":
        return
    classes = class_names(name) or tuple(map(str, range(found.shape[1])))
    scene.classes = classes
    scene.confusion = confusion(found, targets)
    best = found.argmax(axis=1)
    if test.inputs.ndim == 4 and test.inputs.shape[1] in (1, 3):
        scene.pictures = [
            Picture(pixels(test.inputs[i]), classes[best[i]], classes[int(targets[i])])
            for i in chosen(best, targets)
        ]
    if test.inputs.shape[1:] == (2,):
        scene.extent = float(np.abs(data.train.inputs).max()) * 1.05
        scene.regions = regions(model, PLANE, scene.extent)
        scene.points, scene.targets = data.train.inputs, data.train.targets
    told = norms(model, data.train)
    for kind, kept in (("weight", scene.weight_norms), ("gradient", scene.gradient_norms)):
        prefix = f"{kind}_norm/"
        kept |= {k.removeprefix(prefix): v for k, v in told.items() if k.startswith(prefix)}


def chosen(found: Array, targets: Array) -> list[int]:
    """Which samples to show: some that are wrong, if there are, then the first that are right."""
    wrong = np.flatnonzero(found != targets)[: PICTURES // 3]
    right = np.flatnonzero(found == targets)[: PICTURES - len(wrong)]
    return [*wrong.tolist(), *right.tolist()]


def pixels(sample: Array) -> Array:
    """A sample (C, H, W) as an image (H, W) or (H, W, 3) from 0 to 1."""
    image = sample.astype(np.float64)
    low, high = image.min(), image.max()
    image = np.moveaxis((image - low) / ((high - low) or 1), 0, -1)
    return np.asarray(image[..., 0] if image.shape[-1] == 1 else image)
