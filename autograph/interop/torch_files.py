"""torch's state dicts: read into a model, and written from one, as arrays or safetensors files.

Names and layouts are translated by the kind of each layer: torch keeps dense weights (outputs,
inputs), calls `running_variance` `running_var`, keeps both biases of an LSTM, and the three
projections of an attention in one matrix. Pickles (`.pt`) are not read: they hold programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckpointError, SettingsError
from ..files import read_foreign, write
from ..layers import GRU, LSTM, Dense, Dropout, Layer, MultiheadAttention, Prelu
from ..layers.stored import named_tensors
from ..tensor import Tensor, no_grad

Array = np.ndarray[Any, Any]
Names = Mapping[str, str]
IGNORED = "num_batches_tracked"  # of torch's batch normalisation, which mostly only counts
_THERE = {"running_variance": "running_var", "batches": IGNORED}


class Part(NamedTuple):
    """Some tensors of a layer and what torch keeps in their place, by names in the layer."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    read: Callable[..., list[Array]]  # ours of theirs
    write: Callable[..., list[Array]]  # theirs of ours


def load_torch(
    model: Layer, source: str | Path | Mapping[str, Any], *, names: Names | None = None
) -> None:
    """Fill a model with a torch state dict, or with a safetensors file of one.

    `names` says what a path is called there, of a layer or of a parameter: `{"conv1":
    "features.0", "head": ""}`. Nothing is written unless everything fits.
    """
    given = _arrays(source)
    tensors = named_tensors(model)
    values: dict[str, Array] = {}
    missing: list[str] = []
    for ours, theirs, part in _plan(model, names or {}):
        again = values.keys() >= set(ours)  # tied: a file may have it under its first name alone
        absent = [name for name in theirs if name not in given]
        if absent:
            missing += [] if again else absent
            continue
        read = dict(zip(ours, part.read(*[given.pop(name) for name in theirs]), strict=True))
        if again and any(values[path].tobytes() != read[path].tobytes() for path in ours):
            raise CheckpointError(
                f"load_torch: {theirs[0]} is tied here to {ours[0]}, and has other values there"
            )
        values |= read
    extra = [name for name in given if name.rpartition(".")[2] != IGNORED]
    if missing or extra:
        raise CheckpointError(
            f"load_torch: the names do not fit\n"
            f"  wanted and not there  {_few(missing)}\n"
            f"  there and not wanted  {_few(extra)}\n"
            f"  write  load_torch(model, source, names={{'path here': 'path there'}})"
        )
    wrong = [
        f"  {path}  {tensors[path].shape} here, {value.shape} there"
        for path, value in values.items()
        if tensors[path].shape != value.shape
    ]
    if wrong:
        raise CheckpointError("\n".join(["load_torch: shapes do not fit", *wrong[:8]]))
    with no_grad():
        for path, value in values.items():
            tensors[path][...] = Tensor(value, device=tensors[path].device)


def torch_state(model: Layer, *, names: Names | None = None) -> dict[str, Array]:
    """What `module.load_state_dict` wants of this model, as arrays: each name torch's.

    module.load_state_dict({k: torch.from_numpy(v) for k, v in torch_state(model).items()})
    """
    tensors = named_tensors(model)
    state: dict[str, Array] = {}
    for ours, theirs, part in _plan(model, names or {}):
        written = part.write(*[tensors[path].numpy() for path in ours])
        for name, value in zip(theirs, written, strict=True):
            if name in state:
                raise SettingsError(f"save_torch: two tensors are called {name}")
            state[name] = np.ascontiguousarray(value).reshape(value.shape)
    return state


def save_torch(path: str | Path, model: Layer, *, names: Names | None = None) -> None:
    """Write a model as a safetensors file that `safetensors.torch.load_file` reads."""
    write(path, torch_state(model, names=names))


def _plan(model: Layer, names: Names) -> Iterator[tuple[list[str], list[str], Part]]:
    """Every tensor of a model, with its name there; a tied one again for each of its paths."""
    unused = set(names)
    paths = {id(each): path for path, each in named_tensors(model).items()}
    for path, layer in model.named_layers().items():
        inside = named_tensors(layer)
        for part in _parts(layer):
            ours = [paths[id(inside[name])] for name in part.ours]
            theirs = [f"{path}.{name}".lstrip(".") for name in part.theirs]
            yield ours, [_renamed(each, names, unused) for each in theirs], part
    if unused:
        raise SettingsError(
            f"load_torch: names fit no path here: {', '.join(sorted(unused))}\n"
            f"  paths  {_few([each for each in model.named_layers() if each])}"
        )


def _renamed(path: str, names: Names, unused: set[str]) -> str:
    """A path with the longest part of its beginning that has another name renamed."""
    parts = path.split(".")
    for count in range(len(parts), -1, -1):
        head = ".".join(parts[:count])
        if head in names:
            unused.discard(head)
            return ".".join(filter(None, [names[head], *parts[count:]]))
    return path


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return (shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")) or "nothing"


def _parts(layer: Layer) -> Iterator[Part]:
    """How the tensors of one layer, without those of layers in it, stand in torch."""
    if isinstance(layer, Dropout):
        return  # its counter is ours alone
    if isinstance(layer, LSTM | GRU):
        yield from _recurrent(layer)
    elif isinstance(layer, MultiheadAttention):
        yield from _attention(layer)
    else:
        for name, value in vars(layer).items():
            if isinstance(value, Tensor):
                there = "weight" if isinstance(layer, Prelu) else _THERE.get(name, name)
                turned = isinstance(layer, Dense) and name == "weight"
                yield _one(name, there, _turned if turned else _same)


def _one(ours: str, theirs: str, change: Callable[..., list[Array]]) -> Part:
    return Part((ours,), (theirs,), change, change)


def _same(*arrays: Array) -> list[Array]:
    return list(arrays)


def _turned(*arrays: Array) -> list[Array]:
    return [each.T for each in arrays]


def _recurrent(layer: LSTM | GRU) -> Iterator[Part]:
    """`weight_ih_l0`, `weight_hh_l0_reverse`, ...; an LSTM here has the sum of its biases."""
    for i in range(len(layer.weight_h)):
        end = f"l{i // layer.directions}" + ("_reverse" if i % layer.directions else "")
        yield _one(f"weight_x.{i}", f"weight_ih_{end}", _turned)
        yield _one(f"weight_h.{i}", f"weight_hh_{end}", _turned)
        if isinstance(layer, LSTM) and layer.projection:
            yield _one(f"projection.{i}", f"weight_hr_{end}", _turned)
        both = (f"bias_ih_{end}", f"bias_hh_{end}")
        if isinstance(layer, GRU):
            if layer.bias_x:
                yield Part((f"bias_x.{i}", f"bias_h.{i}"), both, _same, _same)
        elif layer.bias:
            yield Part((f"bias.{i}",), both, lambda a, b: [a + b], lambda a: [a, np.zeros_like(a)])


def _attention(layer: MultiheadAttention) -> Iterator[Part]:
    """`in_proj_weight` (3 E, E) is query, key and value one under the other."""
    inner = ("query", "key", "value")
    if layer.key.shape == layer.query.shape:
        yield Part(
            inner,
            ("in_proj_weight",),
            lambda whole: [each.T for each in np.split(whole, 3)],
            lambda *parts: [np.concatenate([each.T for each in parts])],
        )
    else:
        yield from (_one(name, f"{name[0]}_proj_weight", _turned) for name in inner)
    yield _one("output", "out_proj.weight", _turned)
    if layer.output_bias is not None:
        biases = tuple(f"{name}_bias" for name in inner)
        yield Part(
            biases,
            ("in_proj_bias",),
            lambda whole: np.split(whole, 3),
            lambda *parts: [np.concatenate(parts)],
        )
        yield _one("output_bias", "out_proj.bias", _same)


def _arrays(source: str | Path | Mapping[str, Any]) -> dict[str, Array]:
    """The arrays of a file or of a dict of arrays, tensors or torch's tensors."""
    if isinstance(source, Mapping):
        return {name: _array(value) for name, value in source.items()}
    if Path(source).suffix in (".pt", ".pth", ".bin", ".pkl"):
        raise CheckpointError(
            f"load_torch: {source}: pickles hold programs and are not read\n"
            f"  write, in torch,  safetensors.torch.save_file(module.state_dict(), path)"
        )
    with read_foreign(source) as file:
        return dict(file.tensors)


def _array(value: Any) -> Array:
    if isinstance(value, Tensor):
        return value.numpy()
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    return np.asarray(value)
