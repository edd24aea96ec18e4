"""Data sets by name, ready to train on.

`iris.csv` beside this file holds the rows as Fisher printed them.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .dataset import Dataset
from .mnist_files import Splits, fashion_mnist_arrays, mnist_arrays
from .sources import read_csv

SPECIES = "setosa", "versicolor", "virginica"


class TrainTest(NamedTuple):
    """What to train on and what to test on."""

    train: Dataset
    test: Dataset


def mnist(folder: str | Path | None = None) -> TrainTest:
    """MNIST: images (N, 1, 28, 28) scaled to [0, 1], and digits (N,).

    Yann LeCun and Corinna Cortes; 60,000 images to train on, 10,000 to test on.
    """
    return _scaled(mnist_arrays(folder))


def fashion_mnist(folder: str | Path | None = None) -> TrainTest:
    """Fashion-MNIST: images (N, 1, 28, 28) scaled to [0, 1], and classes (N,).

    Xiao, Rasul and Vollgraf, 2017; 60,000 images to train on, 10,000 to test on.
    """
    return _scaled(fashion_mnist_arrays(folder))


def _scaled(splits: Splits) -> TrainTest:
    return TrainTest(*[Dataset(each.images, each.labels, scale=1 / 255) for each in splits])


def iris() -> Dataset:
    """Iris: lengths (150, 4) in centimetres, of sepal and petal, and species (150,), 0 to 2.

    Anderson measured the flowers and Fisher published them: The use of multiple measurements in
    taxonomic problems, Annals of Eugenics 7 (1936).

    >>> iris().inputs[0].tolist()
    [5.1, 3.5, 1.4, 0.2]
    """
    return read_csv(Path(__file__).with_name("iris.csv"), target="species").data
