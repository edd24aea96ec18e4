"""Gradient clipping: by the norm of all gradients together, or value by value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import ops
from ..errors import SettingsError
from ..tensor import Parameter, Tensor, no_grad

SMALL = 1e-6  # added to the norm, as torch does


def global_norm(gradients: Iterable[Tensor]) -> Tensor:
    """The square root of the sum of all squares, in the accumulator type; no waiting."""
    total: Any = None
    for each in gradients:
        wide = each.cast(each.scalar_type.accumulator)
        squares = (wide * wide).sum()
        total = squares if total is None else total + squares.to(total.device)
    if total is None:
        return Tensor(0.0)
    norm: Tensor = ops.sqrt(total)
    return norm


def clip_norm(parameters: Iterable[Parameter], limit: float) -> Tensor:
    """Scale the gradients of `parameters` so that their global norm is at most `limit`; the
    norm before.

    >>> x = Parameter([3.0, 4.0])
    >>> (x * x).sum().backward()
    >>> clip_norm([x], 1.0).item()
    10.0
    """
    _check("clip_norm", limit)
    having = [each for each in parameters if each.grad is not None]
    with no_grad():
        gradients = [each.grad for each in having if each.grad is not None]
        norm = global_norm(gradients)
        for each, gradient in zip(having, _scaled(gradients, norm, limit), strict=True):
            each.grad = gradient
    return norm


def clip_value(parameters: Iterable[Parameter], limit: float) -> None:
    """Limit every gradient element of `parameters` to -limit .. limit."""
    _check("clip_value", limit)
    with no_grad():
        for each in parameters:
            if each.grad is not None:
                each.grad = _limited(each.grad, limit)


def clipped(gradients: Sequence[Any], norm: float | None, value: float | None) -> Sequence[Tensor]:
    """The gradients after an optimizer's own clipping; first by value, then by norm."""
    if value is not None:
        gradients = [_limited(each, value) for each in gradients]
    if norm is not None:
        gradients = _scaled(gradients, global_norm(gradients), norm)
    return gradients


def _check(name: str, limit: float) -> None:
    if not limit >= 0:
        raise SettingsError(f"{name}: limit is {limit}\n  write a number from 0 on")


def _scaled(gradients: Sequence[Tensor], norm: Tensor, limit: float) -> list[Tensor]:
    scale = ops.minimum(limit / (norm + SMALL), 1.0)
    return [each * scale.to(each.device).cast(each.scalar_type) for each in gradients]


def _limited(gradient: Tensor, limit: float) -> Tensor:
    y: Tensor = ops.maximum(ops.minimum(gradient, limit), -limit)
    return y
