"""Products of tensors, all of them made of matmul: outer, dot, tensordot, einsum."""

from collections.abc import Sequence
from itertools import combinations
from math import prod
from typing import Any

from ..errors import SettingsError, ShapeError
from ..scalar_type import ScalarType
from .axes import axis_of
from .cast import cast
from .elementwise import multiply
from .matmul import matmul
from .reduce import sum
from .shape import permute_dims, reshape
from .triangle import diagonal


def outer(a: Any, b: Any) -> Any:
    """(N,), (M,) -> (N, M): a[i] * b[j]."""
    return multiply(reshape(a, shape=(-1, 1)), reshape(b, shape=(1, -1)))


def vecdot(a: Any, b: Any, *, axis: int = -1) -> Any:
    """The sum of products along an axis; the other axes broadcast."""
    return _summed(multiply(a, b), axis)


def dot(a: Any, b: Any) -> Any:
    """NumPy's dot: of vectors their product, of matrices matmul, else the sum over the last
    axis of a and the one before the last of b."""
    if not a.shape or not b.shape:
        return multiply(a, b)
    if len(b.shape) == 1 or (len(a.shape) <= 2 and len(b.shape) == 2):
        return matmul(a, b)
    return tensordot(a, b, axes=((-1,), (-2,)))


def tensordot(
    a: Any, b: Any, *, axes: int | tuple[int | Sequence[int], int | Sequence[int]] = 2
) -> Any:
    """The sum over pairs of axes: the last of a with the first of b, or (those of a, those of b).

    >>> import numpy as np
    >>> tensordot(np.ones((2, 3, 4)), np.ones((4, 3, 5)), axes=((1, 2), (1, 0))).shape
    (2, 5)
    """
    if not isinstance(axes, tuple | list):
        axes = tuple(range(len(a.shape) - axes, len(a.shape))), tuple(range(axes))
    pairs = [tuple(each) if isinstance(each, tuple | list) else (each,) for each in axes]
    of_a, of_b = (
        [axis_of("tensordot", len(x.shape), axis) for axis in given]
        for x, given in zip((a, b), pairs, strict=True)
    )
    if [a.shape[i] for i in of_a] != [b.shape[i] for i in of_b]:
        raise ShapeError(
            f"tensordot: the axes that are summed differ\n"
            f"  a  {a.shape}  axes {tuple(of_a)}\n  b  {b.shape}  axes {tuple(of_b)}"
        )
    rest_a = [i for i in range(len(a.shape)) if i not in of_a]
    rest_b = [i for i in range(len(b.shape)) if i not in of_b]
    rows, columns = (tuple(x.shape[i] for i in rest) for x, rest in ((a, rest_a), (b, rest_b)))
    length = prod(a.shape[i] for i in of_a)
    left = reshape(permute_dims(a, axes=(*rest_a, *of_a)), shape=(prod(rows), length))
    right = reshape(permute_dims(b, axes=(*of_b, *rest_b)), shape=(length, prod(columns)))
    return reshape(matmul(left, right), shape=(*rows, *columns))


def _summed(x: Any, axis: int | tuple[int, ...]) -> Any:
    """The sum in the scalar type of x, which products have; that of integers is wider."""
    y = sum(x, axis=axis)
    return y if y.dtype == x.dtype else cast(y, scalar_type=ScalarType.of(x))


# -- einsum ----------------------------------------------------------------------------


def einsum(equation: str, *arrays: Any) -> Any:
    """The sum of products that letters for axes describe: "bij,bjk->bik" is matmul.

    A letter that the right side lacks is summed; without "->" the right side is the letters
    that occur once, in their order; "..." stands for axes that broadcast. The pairs with the
    smallest products are multiplied first.

    >>> import numpy as np
    >>> einsum("ij,j->i", np.ones((2, 3)), np.arange(3.0))
    array([3., 3.])
    """
    inputs, output = _letters(equation, arrays)
    sizes = _sizes(equation, inputs, arrays)
    terms = [_single(letters, x, sizes) for letters, x in zip(inputs, arrays, strict=True)]
    while len(terms) > 1:
        i, j = min(combinations(range(len(terms)), 2), key=lambda at: _cost(terms, at, sizes))
        rest = [term for at, term in enumerate(terms) if at not in (i, j)]
        kept = set(output).union(*(letters for letters, _ in rest))
        terms = [*rest, _pair(terms[i], terms[j], kept, sizes)]
    letters, x = terms[0]
    lone = tuple(i for i, letter in enumerate(letters) if letter not in output)
    if lone:
        x = _summed(x, lone)
    letters = [letter for letter in letters if letter in output]
    return permute_dims(x, axes=tuple(letters.index(letter) for letter in output))


def _letters(equation: str, arrays: Sequence[Any]) -> tuple[list[list[str]], list[str]]:
    """The letters of each input and of the output; those of "..." are numbers, counted from
    the last."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(arrays):
        raise SettingsError(
            f"einsum: {len(parts)} operands are written, {len(arrays)} given\n  {equation}"
        )
    inputs, most = [], 0
    for part, x in zip(parts, arrays, strict=True):
        named = part.replace("...", "")
        rest = len(x.shape) - len(named)
        if (named and not named.isalpha()) or rest < 0 or (rest and "..." not in part):
            raise ShapeError(f"einsum: {part!r} does not fit an operand {x.shape}\n  {equation}")
        most = max(most, rest)
        inputs.append(_expanded(part, rest))
    if arrow:
        output = _expanded(right, most if "..." in right else 0)
    else:
        once = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
        output = [*_expanded("...", most), *once]
    known = {letter for letters in inputs for letter in letters}
    if len(set(output)) < len(output) or not known.issuperset(output):
        raise SettingsError(
            f"einsum: each letter on the right stands once, and on the left too\n  {equation}"
        )
    return inputs, output


def _expanded(part: str, rest: int) -> list[str]:
    before, _, after = part.partition("...")
    return [*before, *(str(i) for i in range(rest, 0, -1)), *after]


def _sizes(equation: str, inputs: Sequence[Sequence[str]], arrays: Sequence[Any]) -> dict[str, int]:
    """The size of each letter; 1 broadcasts."""
    sizes: dict[str, int] = {}
    for letters, x in zip(inputs, arrays, strict=True):
        for letter, size in zip(letters, x.shape, strict=True):
            known = sizes.setdefault(letter, size)
            if known == 1:
                sizes[letter] = size
            elif size not in (1, known):
                raise ShapeError(
                    f"einsum: {letter!r} is {known} and {size}\n  {equation}\n  operands  "
                    + ", ".join(str(each.shape) for each in arrays)
                )
    return sizes


def _single(letters: list[str], x: Any, sizes: dict[str, int]) -> tuple[list[str], Any]:
    """An operand with each letter once (its diagonal) and without axes that broadcast."""
    letters = list(letters)
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            i = letters.index(letter)
            j = letters.index(letter, i + 1)
            x = diagonal(x, axis1=i, axis2=j)
            letters = [each for at, each in enumerate(letters) if at not in (i, j)] + [letter]
    kept = [i for i, letter in enumerate(letters) if x.shape[i] == sizes[letter]]
    if len(kept) < len(letters):
        x = reshape(x, shape=tuple(x.shape[i] for i in kept))
    return [letters[i] for i in kept], x


def _cost(terms: Sequence[Any], at: tuple[int, int], sizes: dict[str, int]) -> int:
    return prod(sizes[letter] for letter in {*terms[at[0]][0], *terms[at[1]][0]})


def _pair(a: Any, b: Any, kept: set[str], sizes: dict[str, int]) -> tuple[list[str], Any]:
    """Two operands as one: a batched matmul, or a product where nothing is summed."""
    (of_a, x), (of_b, y) = _reduced(a, b, kept), _reduced(b, a, kept)
    both = [letter for letter in of_a if letter in of_b]
    batch = [letter for letter in both if letter in kept]
    summed = [letter for letter in both if letter not in kept]
    rows = [letter for letter in of_a if letter not in both]
    columns = [letter for letter in of_b if letter not in both]
    groups = batch, rows, columns, summed
    b_size, m, n, k = (prod(sizes[letter] for letter in group) for group in groups)
    x = permute_dims(x, axes=tuple(of_a.index(letter) for letter in (*batch, *rows, *summed)))
    order = (*batch, *summed, *columns)
    if not summed or not (rows or columns):
        order = (*batch, *columns, *summed)
    y = permute_dims(y, axes=tuple(of_b.index(letter) for letter in order))
    letters = [*batch, *rows, *columns]
    if not summed:
        z = multiply(reshape(x, shape=(b_size, m, 1)), reshape(y, shape=(b_size, 1, n)))
    elif batch and not (rows or columns):
        z = vecdot(reshape(x, shape=(b_size, k)), reshape(y, shape=(b_size, k)))
    else:
        z = matmul(reshape(x, shape=(b_size, m, k)), reshape(y, shape=(b_size, k, n)))
    return letters, reshape(z, shape=tuple(sizes[letter] for letter in letters))


def _reduced(term: Any, other: Any, kept: set[str]) -> tuple[list[str], Any]:
    """A term summed over the letters that nothing else has."""
    letters, x = term
    lone = [i for i, c in enumerate(letters) if c not in kept and c not in other[0]]
    if lone:
        x = _summed(x, tuple(lone))
    return [letter for i, letter in enumerate(letters) if i not in lone], x
