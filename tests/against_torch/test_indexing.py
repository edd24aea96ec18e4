"""`x[key]` and `x[key] = y` agree with PyTorch, for random keys of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed:  pip install torch")

from autograph import Tensor  # noqa: E402
from autograph.tensor.indexing import put  # noqa: E402

Rng = np.random.Generator


def random_key(rng: Rng, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Ints, slices with positive steps (PyTorch has no others), new axes, one ellipsis, index
    arrays that broadcast, masks."""
    rows = int(rng.integers(1, 4))
    key: list[Any] = []
    axis = 0
    masks = 0
    while axis < len(shape):
        size = shape[axis]
        kind = int(rng.integers(0, 7))
        if kind == 0:
            key.append(int(rng.integers(-size, size)))
        elif kind == 1:
            low, high = sorted(int(i) for i in rng.integers(-size, size + 1, size=2))
            key.append(slice(low, high, int(rng.integers(1, 3))))
        elif kind == 2:
            key += [None, slice(None)]
        elif kind == 3:
            key.append(rng.integers(-size, size, size=(rows,) if rng.random() < 0.6 else (2, 1)))
        elif kind == 4 and not masks:
            masks = 1 if axis + 1 == len(shape) or rng.random() < 0.5 else 2
            mask = np.zeros(shape[axis : axis + masks], bool)
            places = rng.permutation(mask.size)[: min(rows, mask.size)]
            mask.reshape(-1)[places] = True
            if len(places) < rows:
                rows = 1 if len(places) == 1 else rows
            key.append(mask)
            axis += masks - 1
        elif kind == 5 and not any(each is Ellipsis for each in key):
            key.append(Ellipsis)
            axis += int(rng.integers(0, len(shape) - axis))
        else:
            key.append(slice(None))
        axis += 1
    if any(each is Ellipsis for each in key):  # it covers what the others leave
        return tuple(key)
    return tuple(key[: int(rng.integers(1, len(key) + 1))])


def theirs(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(torch.tensor(each) if isinstance(each, np.ndarray) else each for each in key)


def cases(samples: int, seed: int) -> Any:
    for sample in range(10 * samples):
        rng = np.random.default_rng([seed, sample])
        shape = tuple(int(i) for i in rng.integers(1, 5, size=rng.integers(1, 5)))
        x, key = rng.normal(size=shape), random_key(rng, shape)
        try:
            yield rng, x, key, torch.tensor(x)[theirs(key)]
        except IndexError:
            continue  # arrays that do not broadcast


def test_a_key_chooses_as_in_torch_and_repeated_indices_add_up(
    torch_samples: int, torch_seed: int
) -> None:
    for rng, x, key, expected in cases(torch_samples, torch_seed):
        mine, other = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y = mine[key]
        assert tuple(expected.shape) == y.shape, key
        assert np.array_equal(expected.numpy(), y.numpy()), key
        dy = rng.normal(size=y.shape)
        y.backward(Tensor(dy))
        other[theirs(key)].backward(torch.tensor(dy))
        assert np.allclose(other.grad.numpy(), mine.grad.numpy(), rtol=1e-12, atol=1e-12), key


def test_a_key_is_written_as_in_torch(torch_samples: int, torch_seed: int) -> None:
    for rng, x, key, part in cases(torch_samples, torch_seed):
        for value in (2.5, rng.normal(size=part.shape[-1:])):
            mine, other = Tensor(x), torch.tensor(x)
            put(mine, key, value)
            other[theirs(key)] = torch.as_tensor(value, dtype=torch.float64)
            repeated = sum(isinstance(each, np.ndarray) and each.dtype != bool for each in key)
            if isinstance(value, float) or not repeated:  # else which stays is not said
                assert np.array_equal(other.numpy(), mine.numpy()), key
