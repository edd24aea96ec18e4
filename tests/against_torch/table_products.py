"""Products, linear algebra, losses and what is made of several ops, beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from autograph import ops

from .cases import shape_of
from .table_draws import (
    WIDE,
    Rng,
    along,
    functional,
    indices,
    logit,
    normal,
    of,
    one,
    row,
    shown,
    two,
)

# fmt: off
MATRIX_NORMS = "fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf")
EQUATIONS = (
    "ij,jk->ik", "bij,bjk->bik", "ij->ji", "ii->i", "ii", "i,j->ij", "ij,ij->", "abc,cd,da->b",
    "...ij,...jk->...ik", "ab,ac->bc", "abi,abi->ab", "ab,ab->ab", "ab->", "iij->j", "a,a->",
    "ab,b,bc",
)


# products and linear algebra


def _matrices(rng: Rng) -> Any:
    n, k, m = (int(i) for i in rng.integers(1, 5, size=3))
    batch = [(), (2,), (3, 1)][rng.integers(0, 3)]
    a = normal(rng, (*batch, n, k) if rng.random() < 0.7 else (k,), 1.0)
    b = normal(rng, (*[(), (2,)][rng.integers(0, 2)], k, m) if rng.random() < 0.7 else (k,), 1.0)
    return [a, b], {}


def _square(rng: Rng, positive: bool = False) -> np.ndarray[Any, Any]:
    n = int(rng.integers(1, 5))
    x = rng.normal(size=(*[(), (2,)][rng.integers(0, 2)], n, n))
    return x @ x.swapaxes(-1, -2) + 2 * np.eye(n) if positive else x + 3 * np.eye(n)


def _matrix(rng: Rng) -> np.ndarray[Any, Any]:
    """Of any sides, and far from losing a rank."""
    n, m = (int(i) for i in rng.integers(1, 5, size=2))
    x = rng.normal(size=(*[(), (2,)][rng.integers(0, 2)], n, m))
    return np.asarray(x + 3 * np.eye(n, m))


def _einsum(rng: Rng) -> Any:
    sizes = {letter: int(rng.integers(1, 5)) for letter in "abcdij"}
    equation = str(rng.choice(EQUATIONS))
    sizes |= {"k": 3}
    terms = equation.split("->")[0].replace("...", "d").split(",")
    inputs = [normal(rng, tuple(sizes[c] for c in term), 1.0) for term in terms]
    return inputs, {"equation": equation}


row("matmul", torch.matmul, _matrices)
row("outer", torch.outer, of((3,), (4,)))
row("dot", torch.dot, of((4,), (4,), scale=1.0))
row("tensordot", lambda a, b, axes: torch.tensordot(a, b, dims=axes),
    of((2, 3, 4), (4, 3, 5), scale=1.0, axes=((1, 2), (1, 0))))
row("einsum", lambda *xs, equation: torch.einsum(equation, *xs), _einsum,
    ours=lambda *xs, equation: ops.einsum(equation, *xs), types=WIDE)
row("solve", torch.linalg.solve,
    lambda rng: ([(a := _square(rng)), normal(rng, (*a.shape[:-1], 3), 1.0)], {}), types=WIDE)
row("inv", torch.linalg.inv, lambda rng: ([_square(rng)], {}), types=WIDE)
row("det", torch.linalg.det, lambda rng: ([_square(rng)], {}), types=WIDE)
row("cholesky", lambda x, upper: torch.linalg.cholesky(x, upper=upper),
    lambda rng: ([_square(rng, positive=True)], {"upper": bool(rng.random() < 0.5)}), types=WIDE)
row("eigh", torch.linalg.eigvalsh, lambda rng: ([_square(rng, positive=True)], {}),
    ours=lambda x: ops.eigh(x)[0], types=WIDE)  # vectors are defined up to their sign
row("qr", lambda x: shown(torch.linalg.qr(x)), lambda rng: ([_matrix(rng)], {}), types=WIDE)
row("slogdet", lambda x: shown(torch.linalg.slogdet(x)), lambda rng: ([_square(rng)], {}),
    types=WIDE)
row("pinv", torch.linalg.pinv, lambda rng: ([_matrix(rng)], {}), types=WIDE)
row("matrix_rank", torch.linalg.matrix_rank, lambda rng: ([_matrix(rng)], {}), types=WIDE,
    values=True)
row("matrix_power", torch.linalg.matrix_power,
    lambda rng: ([_square(rng)], {"n": int(rng.integers(-2, 5))}), types=WIDE)
row("cross", lambda a, b: torch.linalg.cross(a, b), of((2, 3), (2, 3)))
row("svdvals", torch.linalg.svdvals, of((2, 3, 4)), types=WIDE)
row("matrix_norm", lambda x, ord: torch.linalg.matrix_norm(x, ord),
    of((2, 3, 4), ord=lambda rng: MATRIX_NORMS[rng.integers(0, 8)]), types=WIDE)
row("cross_entropy_loss", functional.cross_entropy,
    lambda rng: ([normal(rng, (n := int(rng.integers(1, 6)), 4)), indices(rng, 4, (n,))], {}))
row("linear", lambda x, w, b: functional.linear(x, w.T, b), of((2, 3), (3, 4), (4,), scale=1.0))
row("cast", lambda x, scalar_type: x.to(torch.float64), of((2, 3), scalar_type="f64"))

# functions that are made of these ops

row("clip", lambda x: torch.clamp(x, -1, 2), one(), ours=lambda x: ops.clip(x, -1.0, 2.0))
row("flatten", lambda x: x.flatten(), one(), ours=lambda x: ops.flatten(x))
row("unflatten", lambda x: x.unflatten(-1, (2, -1)), of((3, 4)),
    ours=lambda x: ops.unflatten(x, axis=-1, shape=(2, -1)))
row("transpose", lambda x: x.permute(2, 0, 1), of((2, 3, 4)),
    ours=lambda x: ops.transpose(x, (2, 0, 1)))
row("moveaxis", lambda x, axis: x.moveaxis(axis, 0), along(),
    ours=lambda x, axis: ops.moveaxis(x, axis, 0))
row("squeeze", lambda x: x.squeeze(), one(), ours=lambda x: ops.squeeze(x))
row("expand_dims", lambda x, axis: x.unsqueeze(axis), along(),
    ours=lambda x, axis: ops.expand_dims(x, axis=axis))
row("masked_select", lambda x, mask: x.masked_select(mask),
    lambda rng: ([(given := two(numbers=False)(rng)[0])[0], given[1] > 0], {}))
row("norm", lambda x, axis: torch.linalg.vector_norm(x, 3, axis), along(empty=False),
    ours=lambda x, axis: ops.norm(x, ord=3, axis=axis))
row("prelu", lambda x, slope: functional.prelu(x, slope), of((2, 3, 4), (3,)))
row("nextafter", torch.nextafter, two(numbers=False), types=WIDE, values=True)

# losses, norms and attention, whose sums halves are to round once


def pairs_of(x: Callable[[Any], Any], target: Callable[[Any], Any]) -> Callable[[Rng], Any]:
    """Functions of random numbers from 0.05 to 0.95, as predictions and targets."""

    def draw(rng: Rng) -> Any:
        shape = tuple(3 * max(size, 1) for size in shape_of(rng, 1))
        both = rng.uniform(0.05, 0.95, size=(2, *shape))
        return [x(both[0]), target(both[1])], {"reduction": str(rng.choice(["mean", "sum"]))}

    return draw


def same(x: Any) -> Any:
    return x


def off_centre(*shapes: tuple[int, ...]) -> Callable[[Rng], Any]:
    """Inputs of these shapes, the first with a mean that may be far from 0."""

    def draw(rng: Rng) -> Any:
        x, *rest = (normal(rng, shape) for shape in shapes)
        return [x + rng.normal() * rng.choice([0, 1, 10]), *rest], {}

    return draw


for _name, _theirs, _x, _t in (
    ("mse_loss", "mse_loss", logit, logit), ("l1_loss", "l1_loss", logit, logit),
    ("huber_loss", "huber_loss", logit, logit),
    ("smooth_l1_loss", "smooth_l1_loss", logit, logit),
    ("bce_loss", "binary_cross_entropy", same, same),
    ("bce_with_logits_loss", "binary_cross_entropy_with_logits", logit, same),
    ("kl_loss", "kl_div", np.log, same),
):
    row(_name, getattr(functional, _theirs), pairs_of(_x, _t))
row("layer_norm", lambda x, w, b: functional.layer_norm(x, w.shape, w, b),
    off_centre((20, 90), (90,), (90,)))
row("rms_norm", lambda x, w: functional.rms_norm(x, w.shape, w, 1e-6), of((5, 9), (9,)))
row("group_norm", lambda x, w, b: functional.group_norm(x, 3, w, b),
    off_centre((4, 6, 9, 12), (6,), (6,)), ours=lambda x, w, b: ops.group_norm(x, w, b, groups=3))
row("batch_norm", lambda x, w, b: functional.batch_norm(x, None, None, w, b, True),
    off_centre((4, 6, 90), (6,), (6,)))
row("scaled_dot_product_attention",
    lambda q, k, v, causal: functional.scaled_dot_product_attention(q, k, v, is_causal=causal),
    of((2, 5, 4), (2, 5, 4), (2, 5, 3), scale=1.0, causal=lambda rng: bool(rng.random() < 0.5)))
# fmt: on
