"""Where arrays live: the host, or one of the accelerators beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import DeviceError
from .platforms import PLATFORMS, Array, Platform
from .scalar_type import is_scalar_type

_DEVICES: dict[tuple[str, int], Device] = {}
_BY_ARRAY_TYPE: dict[type, Platform] = {}


class Device:
    """A place for arrays: `Device.host()`, `Device.cuda(0)`, or by name: `Device("cuda:0")`.

    Wherever a device is wanted, its name does: "host" (also "cpu"), "cuda:0" (also "cuda").
    There is one object for each device, so `is` compares them.

    >>> Device("cpu") is Device.host()
    True
    """

    __slots__ = ("index", "kind", "name", "platform")

    kind: str
    index: int
    name: str
    platform: Platform

    def __new__(cls, name: str | Device) -> Device:
        if isinstance(name, Device):
            return name
        kind, colon, index = str(name).partition(":")
        kind = "host" if kind == "cpu" else kind
        if kind not in PLATFORMS or (colon and not index.isdecimal()) or (kind == "host" and colon):
            known = f"'host', 'cuda' or 'cuda:1'; known kinds: {', '.join(PLATFORMS)}"
            remedy = f"cast({str(name)!r})" if is_scalar_type(name) else known
            raise DeviceError(f"Device: there is no device {name!r}\n  write  {remedy}")
        return cls._get(kind, int(index or 0))

    @classmethod
    def _get(cls, kind: str, index: int) -> Device:
        device = _DEVICES.get((kind, index))
        if device is None:
            device = object.__new__(cls)
            device.kind, device.index, device.platform = kind, index, PLATFORMS[kind]
            device.name = "host" if kind == "host" else f"{kind}:{index}"
            device = _DEVICES.setdefault((kind, index), device)
        return device

    @staticmethod
    def host() -> Device:
        """The memory of this process."""
        return HOST

    @classmethod
    def cuda(cls, index: int = 0) -> Device:
        """An NVIDIA device. Whether it is there is found out when it is used."""
        return cls(f"cuda:{index}")

    @classmethod
    def of(cls, array: Array) -> Device:
        """The device that an array lives on."""
        if type(array) is np.ndarray:
            return HOST
        platform = _BY_ARRAY_TYPE.get(type(array))
        if platform is None:
            owners = [each for each in PLATFORMS.values() if each.owns(type(array))]
            if not owners:
                many = isinstance(array, list | tuple)
                parts = ", or give what it holds one by one" if many else ""
                raise DeviceError(
                    f"Device: a {type(array).__name__} is on no device\n"
                    f"  write  Tensor(...) or np.asarray(...) around it first{parts}"
                )
            platform = _BY_ARRAY_TYPE[type(array)] = owners[0]
        return cls._get(platform.name, platform.index_of(array))

    @property
    def is_host(self) -> bool:
        return self is HOST

    def put(self, array: Array) -> Array:
        """The same values on this device; the array itself if it is there already."""
        source = Device.of(array)
        if source is self:
            return array
        if not self.is_host:
            self.platform.check(self.index)
        if source.kind == self.kind:
            return self.platform.move(array, self.index)
        return self.platform.put(source.platform.get(array), self.index)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A new array of any values."""
        return self.platform.empty(shape, dtype, self.index)

    def synchronize(self) -> None:
        """Wait until everything asked of this device is done."""
        self.platform.synchronize(self.index)

    def memory(self) -> tuple[int, int]:
        """Free and total bytes."""
        return self.platform.memory(self.index)

    def info(self) -> dict[str, str]:
        """What a person wants to know of this device, by heading."""
        self.platform.check(self.index)
        return self.platform.describe(self.index)

    @staticmethod
    def available() -> list[Device]:
        """Every device that can be used now, the host first."""
        return [
            Device._get(kind, index)
            for kind, platform in PLATFORMS.items()
            for index in range(platform.count())
        ]

    def __reduce__(self) -> tuple[type[Device], tuple[str]]:
        return Device, (self.name,)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Device({self.name!r})"


HOST = Device._get("host", 0)
