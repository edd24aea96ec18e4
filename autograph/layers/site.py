"""Site: where a layer is built, and how its parameters get their first values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from ..device import HOST, Device
from ..outline import Outline
from ..philox import normals, stream, uniforms
from ..scalar_type import ScalarType
from ..tensor import Buffer, Parameter
from ..tensor.blank import BlankBuffer, BlankParameter, blank


@dataclass(frozen=True)
class Site:
    """A place in a model: device, scalar type, seed and path. The path keys the randomness,
    so that a layer's first values do not depend on what else is built."""

    device: Device
    scalar_type: ScalarType
    seed: int = 0
    path: str = ""
    root: str = ""
    is_blank: bool = False

    @classmethod
    def blank(cls, outline: Outline, root: str = "") -> Site:
        """A place where parameters have outlines alone."""
        return cls(HOST, outline.scalar_type, root=root, is_blank=True)

    def child(self, name: str | int) -> Site:
        """The place of a field."""
        return replace(self, path=f"{self.path}.{name}".lstrip("."))

    @property
    def name(self) -> str:
        """The place in words: LeNet5.conv1."""
        return f"{self.root}.{self.path}".rstrip(".")

    def uniform(self, name: str, shape: tuple[int, ...], bound: float) -> Parameter:
        """Values in (-bound, bound)."""

        def values(key: tuple[int, int], count: int) -> Any:
            return uniforms(key, count) * 2 * bound - bound

        return self.parameter(name, shape, values)

    def normal(self, name: str, shape: tuple[int, ...], deviation: float) -> Parameter:
        """Normal values around 0."""
        return self.parameter(name, shape, lambda key, count: normals(key, count) * deviation)

    def constant(self, name: str, shape: tuple[int, ...], value: float) -> Parameter:
        """One value everywhere."""
        return self.parameter(name, shape, lambda key, count: np.full(count, value))

    def parameter(
        self, name: str, shape: tuple[int, ...], values: Callable[[tuple[int, int], int], Any]
    ) -> Parameter:
        """A parameter of `values(key, count)`, the key chosen by seed and path."""
        if self.is_blank:
            return blank(Outline(shape, self.scalar_type, HOST), BlankParameter)
        key = stream(self.seed, self.child(name).path)
        array = values(key, prod(shape)).reshape(shape)
        return Parameter(array.astype(self.scalar_type.dtype), device=self.device)

    def buffer(
        self,
        shape: tuple[int, ...],
        value: float = 0.0,
        scalar_type: ScalarType | None = None,
    ) -> Buffer:
        """A buffer of one value."""
        wanted = scalar_type or self.scalar_type
        if self.is_blank:
            return blank(Outline(shape, wanted, HOST), BlankBuffer)
        return Buffer(np.full(shape, value, wanted.dtype), device=self.device)
