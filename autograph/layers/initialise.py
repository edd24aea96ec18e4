"""Initialisers: the first values of a parameter, as described values that builders take.

    Embedding.builder(rows=1000, outputs=64, initialise=Normal(deviation=0.02))

A fan is how many numbers go into, or come out of, each number that the parameter helps make;
whoever asks for a parameter says them. Values follow from the seed and the parameter's path.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PlainSerializer, PlainValidator, PositiveFloat

from ..philox import normals, uniforms
from ..settings import Described, frozen
from ..tensor import Parameter
from .site import Site

Key = tuple[int, int]
Values = np.ndarray[Any, np.dtype[np.float64]]
Fan = Literal["in", "out", "mean"]


class Initialiser(Described):
    """Base class of initialisers: write `values`."""

    def values(self, key: Key, shape: tuple[int, ...], fans: tuple[int, int]) -> Values:
        """The values of a parameter; `fans` are (in, out)."""
        raise NotImplementedError(f"{type(self).__name__} does not define values")

    def at(
        self,
        site: Site,
        name: str,
        shape: tuple[int, ...],
        fans: tuple[int, int] | None = None,
        zero_row: int | None = None,
    ) -> Parameter:
        """The parameter `name` of a site; its fans are the axes of a matrix unless said."""
        found = fans or (shape[0], prod(shape[1:]))

        def values(key: Key, count: int) -> Values:
            array = self.values(key, shape, found).reshape(shape)
            if zero_row is not None:
                array[zero_row] = 0.0
            return array

        return site.parameter(name, shape, values)


@frozen
class Zeros(Initialiser):
    """0 everywhere.

    >>> Zeros().values((0, 0), (2,), (1, 1))
    array([0., 0.])
    """

    def values(self, key: Key, shape: tuple[int, ...], fans: tuple[int, int]) -> Values:
        return np.zeros(shape)


@frozen
class Fill(Initialiser):
    """One value everywhere.

    >>> Fill(value=2.0).values((0, 0), (2,), (1, 1))
    array([2., 2.])
    """

    value: float

    def values(self, key: Key, shape: tuple[int, ...], fans: tuple[int, int]) -> Values:
        return np.full(shape, self.value)


@frozen
class Uniform(Initialiser):
    """Uniform in (-a, a); a is `bound`, or sqrt(2 / fan_in) as the layers take it by default.

    >>> float(np.abs(Uniform().values((0, 0), (8, 2), (8, 2))).max()) < 0.5
    True
    """

    bound: PositiveFloat | None = None

    def values(self, key: Key, shape: tuple[int, ...], fans: tuple[int, int]) -> Values:
        bound = sqrt(2 / fans[0]) if self.bound is None else self.bound
        return uniforms(key, prod(shape)) * 2 * bound - bound


@frozen
class Normal(Initialiser):
    """Normal around `mean`.

    >>> Normal(deviation=0.02).values((0, 0), (8, 2), (8, 2)).shape
    (16,)
    """

    deviation: PositiveFloat = 1.0
    mean: float = 0.0

    def values(self, key: Key, shape: tuple[int, ...], fans: tuple[int, int]) -> Values:
        return normals(key, prod(shape)) * self.deviation + self.mean


@frozen
class TruncatedNormal(Initialiser):
    """Normal, drawn anew wherever it falls beyond `limit` deviations.

    >>> float(np.abs(TruncatedNormal().values((0, 0), (99,), (1, 1))).max()) <= 2
    True
    """

    deviation: PositiveFloat = 1.0
    mean: float = 0.0
    limit: Annotated[float, Field(ge=0.1)] = 2.0

    def values(self, key: Key, shape: tuple[int, ...], fans: tuple[int, int]) -> Values:
        count, room = prod(shape), prod(shape)
        while True:
            room = 2 * room + 16
            drawn = normals(key, room)
            within = drawn[np.abs(drawn) <= self.limit]
            if len(within) >= count:
                return within[:count] * self.deviation + self.mean


@frozen
class He(Initialiser):
    """Deviation sqrt(gain / fan): keeps the variance through rectifiers (He, Zhang, Ren and
    Sun, 2015). Normal, or uniform of the same deviation.

    >>> He().values((0, 0), (8, 2), (8, 2)).shape
    (16,)
    """

    fan: Fan = "in"
    gain: PositiveFloat = 2.0
    uniform: bool = False

    def values(self, key: Key, shape: tuple[int, ...], fans: tuple[int, int]) -> Values:
        return _spread(key, shape, sqrt(self.gain / _fan(self.fan, fans)), self.uniform)


@frozen
class Glorot(Initialiser):
    """Deviation gain * sqrt(2 / (fan_in + fan_out)): keeps the variance both ways through
    sigmoid forms (Glorot and Bengio, 2010). Uniform, or normal of the same deviation.

    >>> Glorot().values((0, 0), (8, 2), (8, 2)).shape
    (16,)
    """

    gain: PositiveFloat = 1.0
    uniform: bool = True

    def values(self, key: Key, shape: tuple[int, ...], fans: tuple[int, int]) -> Values:
        return _spread(key, shape, self.gain / sqrt(_fan("mean", fans)), self.uniform)


@frozen
class Orthogonal(Initialiser):
    """Rows, or columns if there are fewer, at right angles and of length `gain` (Saxe,
    McClelland and Ganguli, 2014); further axes count as columns.

    >>> w = Orthogonal().values((0, 0), (2, 3), (2, 3)).reshape(2, 3)
    >>> bool(np.allclose(w @ w.T, np.eye(2)))
    True
    """

    gain: PositiveFloat = 1.0

    def values(self, key: Key, shape: tuple[int, ...], fans: tuple[int, int]) -> Values:
        rows, columns = shape[0], prod(shape[1:])
        tall, wide = max(rows, columns), min(rows, columns)
        q, r = np.linalg.qr(normals(key, tall * wide).reshape(tall, wide))
        q *= np.sign(np.diagonal(r))
        return self.gain * (q if rows >= columns else q.T)


def _fan(name: Fan, fans: tuple[int, int]) -> float:
    return {"in": fans[0], "out": fans[1], "mean": (fans[0] + fans[1]) / 2}[name]


def _spread(key: Key, shape: tuple[int, ...], deviation: float, uniform: bool) -> Values:
    if not uniform:
        return normals(key, prod(shape)) * deviation
    bound = sqrt(3) * deviation
    return uniforms(key, prod(shape)) * 2 * bound - bound


KINDS: dict[str, type[Initialiser]] = {
    each.__name__: each
    for each in (Fill, Glorot, He, Normal, Orthogonal, TruncatedNormal, Uniform, Zeros)
}


def initialiser_of(value: Any) -> Initialiser:
    """An initialiser, also from its description; kinds are those above alone."""
    if isinstance(value, Initialiser):
        return value
    settings = dict(value) if isinstance(value, dict) else {}
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"write an initialiser, one of {', '.join(KINDS)}")
    return KINDS[kind].from_settings(settings)


Initialise = Annotated[
    Initialiser, PlainValidator(initialiser_of), PlainSerializer(lambda value: value.describe())
]
