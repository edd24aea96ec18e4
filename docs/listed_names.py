"""A directive that lists the public names of a module or class with what each is: the reference.

```{listed-names} autograph.layers
```
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive


class ListedNames(Directive):
    """The names of a module's `__all__` (or its functions and classes), or the methods of a class,
    one row each."""

    required_arguments = 1
    optional_arguments = 0
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        module = named(self.arguments[0])
        rows = [(name, *told(name, getattr(module, name))) for name in names_of(module)]
        table = nodes.table()
        group = nodes.tgroup(cols=2)
        table += group
        for width in (40, 60):
            group += nodes.colspec(colwidth=width)
        body = nodes.tbody()
        group += body
        for _, call, what in rows:
            row = nodes.row()
            for content in (nodes.literal(text=call), marked(what)):
                entry = nodes.entry()
                paragraph = nodes.paragraph()
                paragraph += content
                entry += paragraph
                row += entry
            body += row
        return [table]


def named(place: str) -> Any:
    """The module, or the class of one, of a dotted name."""
    try:
        return import_module(place)
    except ModuleNotFoundError:
        module, _, name = place.rpartition(".")
        return getattr(import_module(module), name)


def names_of(module: Any) -> list[str]:
    """What the module offers: its `__all__`, without builders and modules."""
    if inspect.isclass(module):
        return [
            name
            for name in dir(module)
            if name[0] != "_" and inspect.getdoc(getattr(module, name)) and name not in dir(object)
        ]
    listed = getattr(module, "__all__", None)
    if listed is None:
        listed = [
            name
            for name, value in vars(module).items()
            if name[0] != "_" and getattr(value, "__module__", "") == module.__name__
        ]
    return [
        name
        for name in listed
        if not (name.endswith("Builder") and name != "Builder")
        and not inspect.ismodule(getattr(module, name))
    ]


def told(name: str, value: Any) -> tuple[str, str]:
    """How it is called, and the first paragraph of what it says of itself."""
    source = getattr(value, "builder", None) if inspect.isclass(value) else value
    outline = None if inspect.isclass(value) else getattr(value, "outline", None)
    settings = inspect.isclass(source) and source is not type
    try:
        call = f"{name}.builder{arguments(source)}" if settings else name
        if not settings and inspect.isroutine(value):
            call = f"{name}{arguments(value)}"
        elif outline is not None:
            call = f"{name}{arguments(outline)}"
    except (TypeError, ValueError):
        call = name
    text = inspect.getdoc(value) or ""
    if outline is not None:
        text = inspect.getdoc(outline) or ""
    elif not (inspect.isclass(value) or callable(value) or isinstance(value, property)):
        text = f"The {type(value).__name__.lower()} {value}."
    return call, " ".join(text.split("\n\n")[0].split())


def arguments(function: Any) -> str:
    """The arguments of a call by name, with their defaults."""
    found = []
    for each in inspect.signature(function).parameters.values():
        if each.name == "self":
            continue
        if each.kind is each.KEYWORD_ONLY and not any(one.startswith("*") for one in found):
            found.append("*")
        stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        default = each.default
        if default is each.empty:
            found.append(f"{stars}{each.name}")
        elif inspect.isfunction(default):
            found.append(f"{each.name}={default.__name__}")
        else:
            plain = isinstance(default, bool | int | float | str | tuple | type(None))
            found.append(f"{each.name}={default!r}" if plain else f"{each.name}={default}")
    return f"({', '.join(found)})"


def marked(text: str) -> nodes.inline:
    """Text with what stands between backticks as code."""
    line = nodes.inline()
    for i, part in enumerate(text.split("`")):
        line += nodes.literal(text=part) if i % 2 else nodes.Text(part)
    return line


def setup(app: Any) -> dict[str, bool]:
    """Told to Sphinx."""
    app.add_directive("listed-names", ListedNames)
    return {"parallel_read_safe": True}
