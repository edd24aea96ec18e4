"""Models in files: what a layer is and its tensors by path, read back with or without its class.

What an optimizer or a run adds to such a file is in `autograph.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from ..device import HOST, Device
from ..errors import AutographError, CheckpointError, ScalarTypeError, SettingsError
from ..files import File, read, write
from ..header import Entry, shown
from ..outline import Outline
from ..scalar_type import F32, ScalarType
from ..tensor import Buffer, Parameter, Tensor, no_grad
from ..tensor.staircase import version_of
from .base import Layer
from .builders import Builder
from .declared import Declared
from .describe import differences, from_description
from .site import Site

L = TypeVar("L", bound=Layer)
Array = np.ndarray[Any, Any]

PREFIX = "model."
SHOWN = 12  # differences in one message
LAYERS_LIMIT = 5_000  # in one file
TIES_LIMIT = 50_000  # ties times layers: each tie looks at all of them
REPEATED = ("times", "layers")  # settings that say how often something is built


def document_of(model: Layer) -> dict[str, Any]:
    """What of a model is not in its tensors, as a JSON value."""
    frozen = [path for path, w in model.named_parameters().items() if not w.requires_grad]
    told = {"model": model.describe(), "seed": model.__dict__["_site"].seed}
    return {**told, "frozen": frozen} if frozen else told


def named_tensors(model: Layer) -> dict[str, Tensor]:
    """Parameters and buffers by path."""
    return {**model.named_parameters(), **model.named_buffers()}


def arrays_of(named: Mapping[str, Tensor], prefix: str = PREFIX) -> dict[str, Array]:
    """The values on the host, by the names that files give them; tensors that are on the host
    already share their memory with these."""
    return {f"{prefix}{path}": each.numpy() for path, each in named.items()}


def save_layer(path: str | Path, model: Layer) -> None:
    """Write a model into one file."""
    write(path, arrays_of(named_tensors(model)), document_of(model))


def load_layer(
    cls: type[L],
    path: str | Path,
    layers: Iterable[type[Layer]] = (),
    device: Device | str = HOST,
    scalar_type: ScalarType | str | None = None,
) -> L:
    """A model of this class from a file; refused if the file holds another."""
    with read(path) as file:
        told = file.metadata.get("model")
        if isinstance(told, dict) and "__fields_declared__" in cls.__dict__:
            declared = cast(Any, cls.builder()).resolved()
            there = _completed(told, [*layers, cls])
            refuse_differences(path, cls.__name__, declared.describe(), there)
        model = build(file, layers=[*layers, cls], device=device, scalar_type=scalar_type)
    if not isinstance(model, cls):
        raise CheckpointError(
            f"load: {path}: it holds another layer\n"
            f"  wanted  {cls.__name__}\n  file    {type(model).__name__}"
        )
    return model


# -- building from a file --------------------------------------------------------------


def build(
    file: File,
    *,
    layers: Iterable[type[Layer]] = (),
    device: Device | str = HOST,
    scalar_type: ScalarType | str | None = None,
) -> Layer:
    """The model that a file describes, with its values. Shapes are compared before any memory
    is set aside for them. Scalar types are those of the file; or where one is asked for, what
    a model of it has."""
    device, seed = Device(device), _seed(file)
    frozen = file.metadata.get("frozen", [])
    if not isinstance(frozen, list):
        raise CheckpointError(f"load: {file.path}: its frozen paths are no list")
    model = _outlined(file, layers, seed, ScalarType(scalar_type or F32))
    named = named_tensors(model)
    outlines = {path: each.outline for path, each in named.items()}
    chosen = _matched(file, outlines, None)
    arrays = file.take(chosen.values())
    for path, name in chosen.items():
        value = Tensor.borrow(arrays[name])
        if scalar_type is not None:
            value = value.cast(outlines[path].scalar_type)
        _fill(named[path], value.to(device).array)
    for path, w in model.named_parameters().items():
        w.requires_grad = path not in frozen
    _place(model, device=device, scalar_type=model.scalar_type, is_blank=False)
    return model


def _outlined(
    file: File, layers: Iterable[type[Layer]], seed: int, scalar_type: ScalarType
) -> Layer:
    """The model of a description, its tensors without values."""
    told = file.metadata.get("model")
    count, ties = _sizes(told)
    if count > LAYERS_LIMIT or count * ties > TIES_LIMIT:
        raise CheckpointError(
            f"load: {file.path}: it describes too many layers, or ties\n"
            f"  limits  {LAYERS_LIMIT} layers, {TIES_LIMIT} layers times ties"
        )
    try:
        builder = from_description(told, layers)  # type: ignore[arg-type]
        builder = builder.resolved() if isinstance(builder, Declared) else builder
        return _blank(builder, seed, scalar_type)
    except CheckpointError as error:
        raise CheckpointError(f"load: {file.path}: {error}") from None
    except Exception as error:  # whatever the layers make of settings that nobody wrote
        raise CheckpointError(
            f"load: {file.path}: its description makes no model\n  {error}"
        ) from error


def _completed(told: Any, layers: Iterable[type[Layer]]) -> Any:
    """A description with the defaults of settings that came after it was written."""
    if max(_sizes(told)) > LAYERS_LIMIT:
        return told
    try:
        return from_description(told, layers).describe()
    except (AutographError, RecursionError):
        return told


def _sizes(told: Any) -> tuple[int, int]:
    """How many layers a description makes, and how many ties it has."""
    held, layers, ties = [(told, 1)], 0, 0
    while held and layers <= LAYERS_LIMIT:
        each, often = held.pop()
        if isinstance(each, dict):
            counts = [each[name] for name in REPEATED if type(each.get(name)) is int]
            if not each.get("resolved"):  # copy by copy
                often = prod([often, *(max(count, 0) for count in counts)])
            layers += often * ("kind" in each)
            ties += len(each["tie"]) if isinstance(each.get("tie"), dict) else 0
        inner = each.values() if isinstance(each, dict) else each
        if isinstance(each, dict | list):
            held += [(part, often) for part in inner]
    return layers, ties


def _seed(file: File) -> int:
    seed = file.metadata.get("seed", 0)
    if type(seed) is not int:
        raise CheckpointError(f"load: {file.path}: its seed is no number\n  file  {shown(seed)}")
    return seed


def _blank(builder: Builder[Any], seed: int, scalar_type: ScalarType = F32) -> Layer:
    """The layer of a builder, its tensors without values."""
    site = Site(HOST, scalar_type, seed, root=builder.kind, is_blank=True)
    return builder.place(site)


def _place(model: Layer, **changes: Any) -> None:
    """Change what the layers of a model know of their place."""
    for each in model.named_layers().values():
        site: Site | None = each.__dict__.get("_site")
        if site is not None:
            each.__dict__["_site"] = replace(site, **changes)


def reseed(model: Layer, seed: int) -> None:
    """Make a model what it were if another seed had built it, but for its tensors: whatever
    its layers keep that follows from the seed is replaced."""
    before = model.__dict__["_site"].seed
    if seed == before:
        return
    old, new = (_blank(model._builder, each).named_layers() for each in (before, seed))
    for path, each in model.named_layers().items():
        for name, value in (new[path].__dict__ if path in new else {}).items():
            plain = not isinstance(value, Tensor | Layer | list | dict) and name[0] != "_"
            if plain and value != old[path].__dict__[name]:
                setattr(each, name, value)
    _place(model, seed=seed)


def _fill(blank: Tensor, array: Array) -> None:
    """Give a tensor that has only an outline its values: it is an ordinary one from then on,
    and one object still where layers share it."""
    blank.__class__ = Parameter if isinstance(blank, Parameter) else Buffer
    blank._array, blank.outline = array, Outline.of(array)


# -- restoring into a model ------------------------------------------------------------


def staged(
    file: File, model: Layer, pattern: str | Sequence[str] | None = None
) -> list[tuple[Tensor, Tensor]]:
    """(tensor of the model, its new value where and what it is) for what a file holds of it.

    Everything is checked here, and nothing written. Without a pattern the file must describe
    this very model; with one, only the tensors whose paths match are looked at.
    """
    if pattern is None:
        own = {type(each) for each in model.named_layers().values()}
        told = _completed(file.metadata.get("model"), own)
        refuse_differences(file.path, "the model", model.describe(), told)
    named = named_tensors(model)
    outlines = {path: each.outline for path, each in named.items()}
    chosen = _matched(file, outlines, pattern)
    arrays = file.take(chosen.values())
    values = []
    for path, name in chosen.items():
        target = named[path]
        value = Tensor.borrow(arrays[name]).cast(target.scalar_type).to(target.device)
        values.append((target, value))
    return values


@contextmanager
def exchanged(pairs: Sequence[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Write new values into tensors, the old ones into what held the new; where that or the block
    fails, they have the old ones again, as if nobody had written them."""
    counts = [(version_of(target), version_of(target).count) for target, _ in pairs]
    done = 0
    try:
        with no_grad():
            for target, value in pairs:
                _swap(target, value)
                done += 1
        yield
    except BaseException:
        with no_grad():
            for target, value in pairs[:done]:
                _swap(target, value)
        for version, count in counts:
            version.count = count
        raise


def _swap(target: Tensor, value: Tensor) -> None:
    before = Tensor(target)
    try:
        target[...] = value
        value[...] = before
    except BaseException:
        target[...] = before
        raise


def _matched(
    file: File, outlines: Mapping[str, Outline], pattern: str | Sequence[str] | None
) -> dict[str, str]:
    """The name in the file of each path that is wanted; refused where the two do not fit."""
    there = {name.removeprefix(PREFIX): each for name, each in file.entries.items()
             if name.startswith(PREFIX)}  # fmt: skip
    here = dict(outlines)
    if pattern is not None:
        patterns = [pattern] if isinstance(pattern, str) else list(pattern)
        for each in patterns:
            if not any(fnmatchcase(path, each) for path in here):
                raise SettingsError(
                    f"restore: nothing in the model matches {each!r}\n  paths  {', '.join(here)}"
                )
        here = {p: o for p, o in here.items() if any(fnmatchcase(p, each) for each in patterns)}
        there = {path: each for path, each in there.items() if path in here}
    wrong = [
        (path, _words(here.get(path)), _words(there.get(path)))
        for path in [*here, *(path for path in there if path not in here)]
        if path not in here or path not in there or not _fits(here[path], there[path])
    ]
    if wrong:
        raise CheckpointError(_listed(f"load: {file.path}: its tensors do not fit", wrong))
    return {path: f"{PREFIX}{path}" for path in here}


def _fits(here: Outline, there: Entry) -> bool:
    if here.shape != there.shape:
        return False
    try:
        return ScalarType(there.dtype).kind == here.scalar_type.kind
    except ScalarTypeError:
        return False


def _words(each: Outline | Entry | None) -> str:
    if each is None:
        return "absent"
    return f"{each.shape} {each.scalar_type}" if isinstance(each, Outline) else str(each)


def refuse_differences(path: str | Path, name: str, here: Any, there: Any) -> None:
    """Refuse a description that is not the one at hand, and say where they differ."""
    try:
        found = list(differences(here, there))
    except RecursionError:
        found = [("", "", "nested too deeply")]
    if found:
        raise CheckpointError(_listed(f"load: {path}: it does not fit {name}", found))


def _listed(head: str, found: Sequence[tuple[str, Any, Any]]) -> str:
    lines = [head]
    for place, here, there in found[:SHOWN]:
        lines.append(f"  {place or 'the top'}")
        lines += [f"    here  {_brief(here)}", f"    file  {_brief(there)}"]
    if len(found) > SHOWN:
        lines.append(f"  and {len(found) - SHOWN} more")
    return "\n".join(lines)


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."
