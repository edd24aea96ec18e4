"""How families of ops are declared: with the settings of another function, as the gradient of
another op, on the samples that follow from another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np

from ..errors import AutographError, ShapeError
from ..op import Op, signature_of
from ..outline import NUMBER, Outline
from ..plan import outlined

KEYWORD, REQUIRED = Parameter.KEYWORD_ONLY, Parameter.empty
Note = tuple[Op, tuple[Any, ...], dict[str, Any]]


def taking(source: Any = None, **more: Any) -> Callable[[Callable[..., Any]], Any]:
    """Let a function with `**settings` have the keywords of another (or its own), and more with
    defaults."""

    def taken(function: Any) -> Any:
        found = signature(source or function).parameters.values()
        own = [each for each in found if each.kind is KEYWORD]
        own += [Parameter(name, KEYWORD, default=default) for name, default in more.items()]
        function.__signature__ = Signature(own)
        return function

    return taken


def alike(op: Op, names: str, **settings: Any) -> None:
    """Say that the outputs of an op are like these of its inputs; its settings with defaults."""
    places = [op.inputs.index(name) for name in names.split()]

    @taking(**settings)
    def outline(*inputs, **settings):
        return tuple([inputs[at].like() for at in places])

    op.outlined_by(outline)


class Noted(np.ndarray[Any, Any]):
    """An array that notes which ops it is given to, and passes that on to what they answer."""

    __apply_rank__ = 0
    notes: list[Note]

    @classmethod
    def of(cls, array: Any, notes: list[Note]) -> Noted:
        found: Noted = np.asarray(array).view(cls)
        found.notes = notes
        return found

    @classmethod
    def __apply__(cls, op: Op, inputs: Sequence[Any], settings: dict[str, Any]) -> Any:
        notes = next(each.notes for each in inputs if isinstance(each, cls))
        plain = tuple(x.view(np.ndarray) if isinstance(x, cls) else x for x in inputs)
        absent = [None] * (len(op.inputs) - len(plain))
        notes.append((op, (*plain, *absent), settings))
        y = op(*plain, **settings)
        return tuple(cls.of(x, notes) for x in y) if isinstance(y, tuple) else cls.of(y, notes)


def asked(backward: Op, *forward: Op, **more: Any) -> None:
    """Test an op on what the gradient rules of others ask of it, on their samples, and let it
    refuse what none of them asks; `more`: settings of theirs that it does not have."""
    if "dy" in backward.inputs:
        undoing(backward, *forward, **more)

    def samples(rng: Any) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        for op in forward:
            for each, inputs, settings in questions(op, rng):
                if each is backward:
                    yield inputs, settings

    backward.sampled_by(samples)


def undoing(backward: Op, *forward: Op, **more: Any) -> None:
    """Let the outline of a gradient refuse what no run of the ops that it is of leaves: its inputs
    and outputs are theirs by their names, or by these and a d, the one of no name is theirs that
    it is not given. Where it is not given all that they need, it refuses nothing."""
    outline: Any = backward.outline
    assert outline is not None

    @wraps(outline)
    def fitting(*inputs, **settings):
        pairs = zip(backward.inputs, inputs, strict=False)
        given = {name: each for name, each in pairs if each is not None}
        try:
            answer = outline(*inputs, **settings)
            made = answer if isinstance(answer, tuple) else (answer,)
            for op in forward:
                wrong = _misfits(backward, op, given, made, settings | more)
                if not wrong:
                    return answer
        except (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
            if isinstance(error, AutographError):
                raise
            op, wrong = forward[-1], [f"  {name:<8}{each}" for name, each in given.items()]
        sides = "\n".join(wrong)
        raise ShapeError(f"{backward.name}: the inputs are of no {op.name}\n{sides}")

    backward.outlined_by(fitting)


def _misfits(
    backward: Op,
    op: Op,
    given: dict[str, Outline],
    made: Sequence[Outline],
    settings: dict[str, Any],
) -> list[str]:
    """What among the inputs of a gradient is not as a run of the op leaves it, in lines."""
    others = [name for name in op.inputs if name not in backward.inputs]
    names = [name[1:] for name in backward.outputs] if len(made) > 1 else others
    inputs = {n: each for n, each in zip(names, made, strict=False) if n in others} | given
    known, required = op._settings or ({}, set())
    if not (set(op.inputs[: op.required]) <= inputs.keys() and required <= settings.keys()):
        return []
    kept = {name: settings[name] for name in (*required, *known) if name in settings}
    left = outlined(op, [inputs.get(name) for name in op.inputs], kept)
    wanted = dict(zip((*op.outputs, *op.saves), left, strict=True))
    return [
        f"  {name:<8}{each}\n  wanted  {y}"
        for name, each in given.items()
        if (y := wanted.get(name, wanted.get(name[1:]) if name[0] == "d" else None)) is not None
        and (each.shape != y.shape or each.layout == NUMBER or not _kindred(each, y))
    ]


def _kindred(a: Outline, b: Outline) -> bool:
    a_type, b_type = a.scalar_type, b.scalar_type
    return a_type is b_type or (a_type.is_float and b_type.is_float)


def questions(op: Op, rng: Any) -> Iterator[Note]:
    """What an op's gradient rules ask on its samples: with all gradients wanted and with all but
    the first; of several outputs with a gradient for all and for all but the first."""
    assert op.samples is not None
    for arrays, settings in op.samples(rng):
        plan = op.plan([signature_of(each) for each in arrays], settings)
        given, answer = op.run(plan, arrays)
        results, count = answer if isinstance(answer, tuple) else (answer,), len(op.outputs)
        own, saved = results[:count], dict(zip(op.saves, results[count:], strict=True))
        notes: list[Note] = []
        slopes = [Noted.of(rng.normal(size=y.shape), notes) for y in own]
        for positions, rule, _, asks in op.gradients:
            wanted = tuple(given[at] is not None for at in positions or ())
            for needs in dict.fromkeys((wanted, (False, *wanted[1:]))) if asks else (None,):
                more = {} if needs is None else {"needs": needs}
                back = rule(own if count > 1 else own[0], *given, **saved, **plan.settings, **more)
                for each in (slopes, [None, *slopes[1:]]) if count > 1 else slopes:
                    back(each)
        yield from notes


def adjoint(op: Op, name: str) -> Op:
    """Declare the gradient of an op in its first input, in which it is linear: it takes dy, the
    other inputs, the `shape` of the first and the op's settings, and the op is its gradient."""
    back = Op(name, " ".join(("dy", *op.inputs[1:])), promotes="dy")

    @taking(op.outline, shape=REQUIRED)
    def outline(dy, *others, shape, **settings):
        return dy.like(shape=tuple(shape))

    def forward_rule(y, x, *others, **settings):
        shape = tuple(x.shape)
        return lambda dy: back(dy, *others, shape=shape, **settings)

    def back_rule(dx, dy, *others, shape, **settings):
        return lambda ddx: op(ddx, *others, **settings)

    back.outlined_by(outline)
    op.gradient(op.inputs[0])(forward_rule)
    back.gradient("dy")(back_rule)
    asked(back, op)
    return back
