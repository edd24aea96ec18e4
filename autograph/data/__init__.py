"""Data sets and where they come from."""

from .choose import choose
from .dataset import Batch, Dataset
from .iris import iris
from .named import TrainTest, fashion_mnist, mnist
from .partition import class_weights, train_test_split
from .prefetch import mapped, prefetched
from .sources import Labelled, read_csv, read_images, read_numpy, read_safetensors
from .synthetic import synthetic
from .through import transformed

__all__ = [
    "Batch",
    "Dataset",
    "Labelled",
    "TrainTest",
    "choose",
    "class_weights",
    "fashion_mnist",
    "iris",
    "mapped",
    "mnist",
    "prefetched",
    "read_csv",
    "read_images",
    "read_numpy",
    "read_safetensors",
    "synthetic",
    "train_test_split",
    "transformed",
]
