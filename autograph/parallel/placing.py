"""Placing: layers of one model on several devices of this process, between which activations move.

    model.place({"block1": "cuda:0", "block2": "cuda:1"})

With micro-batches (`fit(..., micro_batches=4)`) the devices work at the same time, each on another
part of the batch (Huang and others: GPipe, 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..device import Device
from ..errors import SettingsError
from ..layers import Layer
from ..layers import hooks as layer_hooks
from ..layers.stored import named_tensors
from ..tensor import Tensor


def place(model: Layer, places: Mapping[str, Device | str]) -> None:
    """Move layers to devices, by path; what comes into them follows. All parameters and buffers
    have to be in one of the layers named."""
    layers = model.named_layers()
    chosen: dict[str, Device] = {}
    for path, name in places.items():
        if path not in layers or not path:
            known = ", ".join(each for each in layers if each and "." not in each)
            raise SettingsError(f"place: {path!r} is no layer\n  layers  {known}")
        chosen[path] = Device(name)
    for path in chosen:
        if any(path.startswith(f"{other}.") for other in chosen):
            raise SettingsError(f"place: {path} is inside of another layer that is named")
    tensors = named_tensors(model)
    left = [path for path in tensors if not any(path.startswith(f"{each}.") for each in chosen)]
    if left:
        raise SettingsError(
            f"place: some tensors are in no layer that is named\n  left  {', '.join(left[:8])}"
        )
    for path, device in chosen.items():
        layer = layers[path]
        layer.to(device)
        before = layer.__dict__.get("forward")
        if isinstance(before, _Placed):
            before.device = device
        else:
            layer.__dict__["forward"] = _Placed(layer, device, before)
    layer_hooks.watched += 1  # what was fused before is stale


def devices_of(model: Layer) -> dict[Device, int]:
    """The devices that a model's parameters and buffers are on, and their bytes there."""
    found: dict[Device, int] = {}
    for each in named_tensors(model).values():
        found[each.device] = found.get(each.device, 0) + each.nbytes
    return found


class _Placed:
    """A layer's forward on its device."""

    def __init__(self, layer: Layer, device: Device, before: Any) -> None:
        self.layer, self.device, self.before = layer, device, before

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        forward = self.before or type(self.layer).forward.__get__(self.layer)
        here = [each.to(self.device) if isinstance(each, Tensor) else each for each in inputs]
        return forward(*here, **settings)

    def __reduce__(self) -> Any:
        """A copy is placed as well."""
        return _Placed, (self.layer, self.device, self.before)
