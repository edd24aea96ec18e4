"""Gradient rules that are a single op: which one, and of which values, is seen by asking a rule
once with symbols in place of arrays. They need no closure for each node, and no look at arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from ..op import Op
from ..outline import Outline

DY = -1  # the place of the incoming gradient; others are of (y, *inputs, *saved)


class Asked(NamedTuple):
    """An op that a rule has asked for, and the symbols of what it answers."""

    op: Op
    inputs: Sequence[Any]
    settings: Mapping[str, Any]
    answers: tuple[Symbol, ...]


class Symbol:
    """Stands for an array, of which it knows the outline; ops of it are noted, and whatever else a
    rule may want of it is refused."""

    __slots__ = ("asked", "outline", "place")

    __apply_rank__ = 0
    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, place: int, outline: Outline | None, asked: list[Asked]) -> None:
        self.place, self.outline, self.asked = place, outline, asked

    @staticmethod
    def __apply__(op: Op, inputs: Sequence[Any], settings: Mapping[str, Any]) -> Any:
        asked = next(each.asked for each in inputs if type(each) is Symbol)
        answers = tuple([Symbol(at, None, asked) for at in range(len(op.outputs))])
        asked.append(Asked(op, inputs, settings, answers))
        return answers[0] if len(answers) == 1 else answers

    def _known(self) -> Outline:
        if self.outline is None:
            raise TypeError("nothing is known of what an op answers to symbols")
        return self.outline

    @property
    def shape(self) -> tuple[int, ...]:
        return self._known().shape

    @property
    def ndim(self) -> int:
        return self._known().ndim

    @property
    def size(self) -> int:
        return self._known().size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._known().scalar_type.dtype

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a symbol has no values")

    __bool__ = __eq__ = __ne__ = __array__ = __array_function__ = _refuse


def bound_to(
    rule: Callable[..., Any],
    op: Op,
    inputs: Sequence[Outline | None],
    outputs: Sequence[Outline],
    settings: Mapping[str, Any],
) -> tuple[Callable[..., Any], list[int]] | None:
    """A rule of `op` for these outlines, of outputs with what is saved: what runs it, from dy and
    values of (y, *inputs, *saved), and the places of those. None where it is not a single op."""
    asked: list[Asked] = []
    values = [
        None if each is None else Symbol(at, each, asked)
        for at, each in zip(count(), (outputs[0], *inputs, *outputs[1:]))
    ]
    given, saved = values[1 : 1 + len(inputs)], values[1 + len(inputs) :]
    try:
        closure = rule(values[0], *given, **dict(zip(op.saves, saved, strict=True)), **settings)
        found = closure(Symbol(DY, outputs[0], asked))
    except Exception:  # it asks for more than an outline says
        return None
    if len(asked) != 1 or any(type(each) is not Symbol for each in asked[0].inputs):
        return None
    back, wants, more, answers = asked[0]
    places = [each.place for each in wants]
    order = [_place(each, answers) for each in (found if _several(found) else [found])]
    if back.saves or places.count(DY) != 1 or DY in order or _holds_symbol(tuple(more.values())):
        return None
    at = places.index(DY)
    lies = [outputs[0] if each.place == DY else each._known() for each in wants]
    run = back.bound(lies, more, at)
    if at:
        run = _with_dy_at(at, run)
    if order != list(range(len(answers))) or _several(found) != (len(answers) > 1):
        run = _in_order(run, order if _several(found) else order[0], len(answers))
    return run, [*places[:at], *places[at + 1 :]]


def _several(found: Any) -> bool:
    return isinstance(found, tuple | list)


def _place(answer: Any, answers: Sequence[Symbol]) -> int | None:
    """Which answer of an op this is: None for no gradient, DY for anything else."""
    if answer is None:
        return None
    return next((i for i, each in enumerate(answers) if each is answer), DY)


def _holds_symbol(setting: Any) -> bool:
    if isinstance(setting, slice):
        return _holds_symbol((setting.start, setting.stop, setting.step))
    return any(map(_holds_symbol, setting)) if _several(setting) else type(setting) is Symbol


def _with_dy_at(at: int, run: Callable[..., Any]) -> Callable[..., Any]:
    """What takes dy at a place as a function of (dy, *kept)."""
    return lambda dy, *kept: run(*kept[:at], dy, *kept[at:])


def _in_order(
    run: Callable[..., Any], order: Sequence[int | None] | int | None, count: int
) -> Callable[..., Any]:
    """What answers `count` gradients, with these of them in these places; or with one alone."""

    def chosen(*given: Any) -> Any:
        found = run(*given)
        answers = found if count > 1 else (found,)
        if order is None or isinstance(order, int):
            return None if order is None else answers[order]
        return [None if i is None else answers[i] for i in order]

    return chosen
