"""Data sets by what a person writes on a command line: a name, or a file."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from .dataset import Dataset
from .named import SPECIES, TrainTest, fashion_mnist, iris, mnist
from .partition import train_test_split
from .points import SYNTHETIC, synthetic
from .sources import read_csv, read_images, read_numpy, read_safetensors

NAMES = ("mnist", "fashion", "iris", *SYNTHETIC)
DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"
)  # fmt: skip
FILES = "FILE.csv, FILE.npz, FILE.safetensors, or a folder of pictures by class"


def choose(
    name: str, *, seed: int = 0, test_share: float = 0.2, target: str | int = -1
) -> TrainTest:
    """What to train and to test on: a data set of `NAMES`, or a file or folder.

    What comes in one piece is cut: `test_share` of it to test on. `target` is a CSV's column.
    """
    if name in ("mnist", "fashion"):
        return mnist() if name == "mnist" else fashion_mnist()
    if name in SYNTHETIC:  # the test's points are other points
        return TrainTest(synthetic(name, 400, seed=seed), synthetic(name, 200, seed=seed + 1))
    whole = iris() if name == "iris" else _from_file(name, target)
    return train_test_split(whole, test_share, seed=seed)


def class_names(name: str) -> tuple[str, ...]:
    """The names of the classes of a set of `NAMES`, where they have any."""
    return {"mnist": DIGITS, "fashion": CLOTHES, "iris": SPECIES}.get(name, ())


def _from_file(name: str, target: str | int) -> Dataset:
    path = Path(name)
    if not path.exists():
        raise DataError(
            f"data: there is no data set {name!r}, and no such file\n"
            f"  write one of  {', '.join(NAMES)},\n  or  {FILES}"
        )
    if path.is_dir():
        return read_images(path, (32, 32)).data
    match path.suffix.lower():
        case ".csv":
            return read_csv(path, target=target).data
        case ".npz":
            return read_numpy(path)
        case ".safetensors":
            return read_safetensors(path)
    raise DataError(f"data: {name} is of no kind that can be read\n  write  {FILES}")
