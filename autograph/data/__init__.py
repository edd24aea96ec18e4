"""Data sets and where they come from."""

from .dataset import Batch, Dataset
from .named import fashion_mnist, mnist

__all__ = ["Batch", "Dataset", "fashion_mnist", "mnist"]
