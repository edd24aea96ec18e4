"""Read digits with a trained model: python -m examples.mnist.predict FILE IMAGE...

IMAGE is a PNG or other picture file (with Pillow: pip install pillow), or the number of a test
image of MNIST. A picture is made grey, and turned if its background is bright.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import autograph as ag
from autograph.data.mnist_files import mnist_arrays


def picture(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture file as (28, 28) bytes, bright on dark as in MNIST."""
    try:
        from PIL import Image
    except ImportError:
        raise ag.errors.DataError(
            f"predict: reading {path} needs Pillow\n  pip install pillow"
        ) from None
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L").resize((28, 28)))
    except (OSError, ValueError) as error:
        raise ag.errors.DataError(f"predict: {path} is no picture ({error})") from None
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return 255 - pixels if edge.mean() > 127 else pixels


def read(image: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture file, or a test image by its number."""
    if not image.isdecimal() or Path(image).exists():
        return picture(Path(image))
    images = mnist_arrays().test.images
    if int(image) >= len(images):
        raise ag.errors.DataError(
            f"predict: there is no test image {image}\n  write 0 to {len(images) - 1}"
        )
    pixels: np.ndarray[Any, np.dtype[np.uint8]] = images[int(image), 0]
    return pixels


def probabilities(model: Any, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(N, 28, 28) bytes -> (N, 10)."""
    x = ag.Tensor(images[:, None]).to(model.device).scaled_cast(model.scalar_type, 1 / 255)
    with ag.no_grad():
        scores = model(x).cast("f64").numpy()
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the digit of each image, and how sure the model is of each."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.mnist.predict",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("file", type=Path, help="checkpoint that examples.mnist has saved")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture, or test image number")
    parser.add_argument("--device", default="host")
    options = parser.parse_args(arguments)
    model = ag.load(options.file, device=options.device)
    found = probabilities(model, np.stack([read(image) for image in options.images]))
    for image, row in zip(options.images, found, strict=True):
        others = "  ".join(f"{digit}: {share:.1%}" for digit, share in enumerate(row))
        print(f"{image}: {row.argmax()}  ({others})")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ag.errors.AutographError, FileNotFoundError) as error:
        sys.exit(str(error))
