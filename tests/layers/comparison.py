"""A layer beside the torch module that it should equal: outputs, all gradients, statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import autograph as ag

RELATIVE = {np.float32: 1.3e-6, np.float64: 1e-7}
ABSOLUTE = {np.float32: 1e-5, np.float64: 1e-7}


def assert_close(found: Any, expected: Any, dtype: Any = np.float64, what: str = "") -> None:
    """Within the figures that this library is held to beside torch."""
    found, expected = as_array(found), as_array(expected)

    assert found.shape == expected.shape, what
    np.testing.assert_allclose(
        found, expected, rtol=RELATIVE[dtype], atol=ABSOLUTE[dtype], err_msg=what
    )


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """Tensors of either library, and numbers, as arrays."""
    if isinstance(value, ag.Tensor):
        return value.numpy()
    return value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)


def share_weights(layer: ag.Layer, module: Any, names: Mapping[str, str]) -> None:
    """Give the module the layer's parameters; `names` tells its name for each path."""
    import torch

    with torch.no_grad():
        for path, name in names.items():
            values = layer.named_parameters()[path].numpy()
            target = module.get_parameter(name)
            target.copy_(torch.tensor(oriented(values, tuple(target.shape))))


def oriented(values: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Ours (inputs, outputs) as theirs (outputs, inputs), where that differs."""
    return values if values.shape == shape and not _is_square(shape) else values.T.copy()


def _is_square(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and shape[0] == shape[1]


def compare(
    layer: Any,
    module: Any,
    x: np.ndarray[Any, Any],
    names: Mapping[str, str] | None = None,
    seed: int = 0,
) -> None:
    """Outputs, the gradient of x, and the gradients of the parameters in `names`."""
    import torch

    dtype = x.dtype.type
    share_weights(layer, module, names or {})
    ours = ag.Tensor(x, requires_grad=True)
    theirs = torch.tensor(x, requires_grad=True)
    y, z = layer(ours), module(theirs)
    assert_close(y, z, dtype, "output")
    dy = np.random.default_rng(seed).normal(size=y.shape).astype(dtype)
    y.backward(dy)
    z.backward(torch.tensor(dy))
    assert_close(ours.grad, theirs.grad, dtype, "the gradient of x")
    for path, name in (names or {}).items():
        gradient = module.get_parameter(name).grad
        found = layer.named_parameters()[path].grad.numpy()
        assert_close(oriented(found, tuple(gradient.shape)), gradient, dtype, path)
