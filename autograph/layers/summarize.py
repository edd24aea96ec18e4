"""Summary: shapes, parameters, multiply-adds and bytes of a model, from its declaration alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, cast

from ..errors import DeclarationError
from ..scalar_type import F32, ScalarType
from ..tensor.blank import counting
from .base import Layer
from .builders import Builder, shaped
from .declared import Declared
from .site import Site


@dataclass(frozen=True)
class Row:
    """One layer, for one sample."""

    path: str
    kind: str
    shape: tuple[int, ...]  # of the output, without the batch
    parameters: int
    multiply_adds: int
    bytes: int  # of the output


@dataclass(frozen=True)
class Summary:
    """What a model will be; nothing is built for it."""

    name: str
    input: tuple[int, ...]
    rows: tuple[Row, ...]
    parameters: int
    multiply_adds: int

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "parameters", "multiply-adds", "bytes")
        lines = [("input", "", str(self.input), "", "", "")]
        lines += [
            (
                each.path,
                each.kind,
                str(each.shape),
                f"{each.parameters:,}" if each.parameters else "",
                f"{each.multiply_adds:,}" if each.multiply_adds else "",
                f"{each.bytes:,}",
            )
            for each in self.rows
        ]
        activations = sum(each.bytes for each in self.rows)
        total = (f"{self.parameters:,}", f"{self.multiply_adds:,}", f"{activations:,}")
        lines.append((self.name, "", "", *total))
        widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]

        def text(line: tuple[str, ...]) -> str:
            left = [line[i].ljust(widths[i]) for i in range(3)]
            return "  ".join([*left, *[line[i].rjust(widths[i]) for i in range(3, 6)]]).rstrip()

        return "\n".join(map(text, [head, *lines]))

    def _repr_html_(self) -> str:
        """For notebooks."""
        from ..html import summary_html

        return summary_html(self)


def summary(
    model: type[Layer] | Layer | Builder[Any],
    input: tuple[int, ...] | None = None,
    *,
    scalar_type: ScalarType | str = F32,
) -> Summary:
    """The summary of a declared layer, its builder or a built one, for one sample of shape
    `input` (as declared unless said), in a scalar type."""
    made: Any = model if isinstance(model, Builder) else None
    if made is None:
        made = model._builder if isinstance(model, Layer) else cast(Any, model).builder()
    shape = input or getattr(made, "input", None)
    if shape is None:
        raise DeclarationError(
            f"summary: the shape of a sample of {made.kind} is not known\n"
            f"  write  summary(model, input=(1, 28, 28))"
        )
    wanted = ScalarType(scalar_type)
    x = shaped(tuple(shape), wanted)
    resolved, _ = made.infer(x)
    layer = resolved.place(Site.blank(x.outline, made.kind))
    rows: list[Row] = []
    _observe(layer, rows)
    with counting() as total:
        layer(x)
    order = list(layer.named_layers())
    rows.sort(key=lambda row: order.index(row.path))
    return Summary(made.kind, tuple(shape), tuple(rows), layer.parameter_count, total[0])


def _observe(model: Layer, rows: list[Row]) -> None:
    """Have each layer of a blank model note a row when it runs, that is innermost or has
    parameters of its own."""
    for path, layer in model.named_layers().items():
        if isinstance(layer._builder, Declared):
            continue
        inner = [name for name in layer.named_layers() if name]
        within = tuple(f"{name}." for name in inner)
        if not inner or any(not name.startswith(within) for name in layer.named_parameters()):
            layer.__dict__["forward"] = _noting(path, layer, layer.forward, rows)


def _noting(path: str, layer: Layer, forward: Any, rows: list[Row]) -> Any:
    def note(*inputs: Any, **settings: Any) -> Any:
        with counting() as cost:
            y = forward(*inputs, **settings)
        count = layer.parameter_count
        rows.append(Row(path, layer._builder.kind, y.shape[1:], count, cost[0], y.nbytes))
        return y

    return note


def outline_of_layer(layer: Layer) -> str:
    """A built layer in lines: each innermost layer with its settings, and the parameters."""
    named = {path: each for path, each in layer.named_layers().items() if path}
    lines = [f"{_declaration(layer)} on {layer.device} in {layer.scalar_type}"]
    width = max((len(path) for path in named), default=0)
    for path, each in named.items():
        if not isinstance(getattr(each, "_builder", None), Declared):
            lines.append(f"  {path:<{width}}  {_declaration(each)}")
    if layer.parameter_count:
        lines.append(f"  {layer.parameter_count:,} parameters")
    return "\n".join(lines)


def _declaration(layer: Layer) -> str:
    """The name of a layer, with the settings of one that was not declared from others."""
    made = getattr(layer, "_builder", None)
    if made is None or isinstance(made, Declared):
        return type(layer).__name__
    settings = [
        f"{each.name}={value}"
        for each in fields(made)
        if not _parts(getattr(made, each.name))
        and (value := _short(getattr(made, each.name))) != _short(each.default)
    ]
    return f"{made.kind}({', '.join(settings)})"


def _short(value: Any) -> str:
    same = isinstance(value, tuple) and len(set(map(repr, value))) == 1
    return str(value[0] if same else value)


def _parts(value: Any) -> bool:
    """Whether a setting holds builders: the layers that they made have lines of their own."""
    held = value if isinstance(value, tuple) else (value,)
    return any(isinstance(each, Builder) for each in held)
