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
            for content in (nodes.literal(text=call), nodes.inline(text=what)):
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
    """How it is called, and the first sentence of what it says of itself."""
    source = getattr(value, "builder", None) if inspect.isclass(value) else value
    settings = inspect.isclass(source) and source is not type
    try:
        call = f"{name}.builder{inspect.signature(source)}" if settings else name
        if not settings and inspect.isfunction(value):
            call = f"{name}{inspect.signature(value)}"
    except (TypeError, ValueError):
        call = name
    for word, instead in (("(self, ", "("), ("(self)", "()"), (" -> None", ""), ("*, ", "")):
        call = call.replace(word, instead)
    call = call.replace("'", "")
    if len(call) > 120:
        call = f"{name}(...)"
    text = inspect.getdoc(value) or ""
    if not text and getattr(value, "outline", None) is not None:
        text = inspect.getdoc(value.outline) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return call, paragraph


def setup(app: Any) -> dict[str, bool]:
    """Told to Sphinx."""
    app.add_directive("listed-names", ListedNames)
    return {"parallel_read_safe": True}
