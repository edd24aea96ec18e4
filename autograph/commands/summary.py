"""Print the shapes, parameters, multiply-adds and bytes of a declared model, for one sample.

Nothing is built: the declaration is enough.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from ..errors import DeclarationError
from ..layers import Layer, summary
from ..locate import class_of
from . import print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODULE:CLASS", help="or FILE.py:CLASS, a declared layer")
    parser.add_argument(
        "--input", type=sizes, metavar="1,28,28", help="shape of a sample, as declared unless said"
    )
    parser.add_argument("--scalar-type", default="f32", help="f32 unless said")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the chain as well")
    parser.add_argument("--json", action="store_true", help="as JSON")


def sizes(text: str) -> tuple[int, ...]:
    """(1, 28, 28) from 1,28,28."""
    try:
        return tuple(int(each) for each in text.replace("x", ",").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no shape; write 1,28,28") from None


def run(options: argparse.Namespace) -> int:
    model = class_of(options.model)
    if not issubclass(model, Layer):
        raise DeclarationError(
            f"{model.__name__} is no layer\n  write  class {model.__name__}(Layer):"
        )
    found = summary(model, options.input, scalar_type=options.scalar_type)
    if options.svg is not None:
        from ..drawing import drawing

        options.svg.write_text(drawing(found), "utf-8")
    if options.json:
        print_json(asdict(found))
    else:
        print(found)
    return 0
