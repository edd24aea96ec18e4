"""Which neighbours of a sequential layer run as one op. The fields stay what they are.

On a CUDA device the longest run of layers that fits a multiprocessor is one op, `ops.chain`; where
it does not fit, and on the host, a few neighbours are fused at a time. `why_not_fused` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import ops
from ..errors import AutographError
from ..graph import Node
from ..op import Fixed
from ..ops.chain.stages import DoesNotFit, Layers
from ..outline import Outline
from ..scalar_type import ScalarType
from ..tensor import Parameter, Tensor, is_recording, is_training
from ..tensor.chained import apply_chain
from . import (
    BatchNorm2,
    Conv2,
    Dense,
    Flatten,
    Gelu,
    MaxPool2,
    MeanPool2,
    Relu,
    Sigmoid,
    Tanh,
    base,
)
from .base import Layer


def conv_relu_pool(conv: Conv2, relu: Relu, pool: MaxPool2) -> Callable[[Tensor], Tensor] | None:
    """Convolution, bias, relu and max pooling."""
    if pool.filter[0] * pool.filter[1] > 254:
        return None
    settings = {
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        "filter": pool.filter,
        "pool_stride": pool.stride,
        "pool_padding": pool.padding,
    }
    run = ops.conv2_relu_max_pool2.fixed(**settings)
    return lambda x: run(x, conv.weight, conv.bias)


def dense_relu(dense: Dense, relu: Relu) -> Callable[[Tensor], Tensor]:
    """Dense layer and relu."""
    return lambda x: ops.linear_relu(x, dense.weight, dense.bias)


def dense_gelu(dense: Dense, gelu: Gelu) -> Callable[[Tensor], Tensor] | None:
    """Dense layer and gelu by tanh, on a device; elsewhere one after the other."""
    if not gelu.approximate or dense.bias is None:
        return None

    def run(x: Tensor) -> Tensor:
        if x.device.is_host:
            return gelu(dense(x))
        return ops.linear_gelu_tanh(x, dense.weight, dense.bias)

    return run


def norm_relu(norm: BatchNorm2, relu: Relu) -> Callable[[Tensor], Tensor] | None:
    """Batch norm of a training step and relu, on a device; elsewhere one after the other."""
    if norm.weight is None or norm.bias is None or norm.momentum is None:
        return None

    def run(x: Tensor) -> Tensor:
        if x.device.is_host or x.ndim != 4 or not is_training():
            return relu(norm(x))
        y = ops.batch_norm_relu(
            x, norm.weight, norm.bias, norm.running_mean, norm.running_variance,
            momentum=norm.momentum, epsilon=norm.epsilon,
        )  # fmt: skip
        return y if y.scalar_type is x.scalar_type else y.cast(x.scalar_type)

    return run


# The longest match at a place is taken.
FUSIONS: tuple[tuple[tuple[type[Layer], ...], Callable[..., Any]], ...] = (
    ((Conv2, Relu, MaxPool2), conv_relu_pool),
    ((Dense, Relu), dense_relu),
    ((Dense, Gelu), dense_gelu),
    ((BatchNorm2, Relu), norm_relu),
)


def fused(layers: Sequence[Layer], *, chained: bool = True) -> Iterator[Callable[[Any], Any]]:
    """What runs in place of the layers, one after the other: chains and neighbours, or these."""
    at = 0
    while at < len(layers):
        run, count = _match(layers, at)
        chain = chain_at(layers, at) if chained else None
        if chain is not None and len(chain.layers) >= count:
            run, count = chain, len(chain.layers)
        yield run
        at += count


def _match(layers: Sequence[Layer], at: int) -> tuple[Callable[[Any], Any], int]:
    """What runs in place of the layers that begin there, and how many those are."""
    for kinds, make in FUSIONS:
        here = layers[at : at + len(kinds)]
        if tuple(type(each) for each in here) == kinds and not any(map(is_watched, here)):
            run = make(*here)
            if run is not None:
                return _located(run, here), len(here)
    return layers[at], 1


def is_watched(layer: Layer) -> bool:
    """Whether somebody wants this layer's own output."""
    return "forward" in layer.__dict__


def _located(run: Callable[[Any], Any], layers: Sequence[Layer]) -> Callable[[Any], Any]:
    """The fused run; where it fails the layers run one by one, so that the error has its place."""

    def call(x: Any) -> Any:
        try:
            return run(x)
        except AutographError:
            for layer in layers:
                x = layer(x)
            return x

    return call


# -- chains ----------------------------------------------------------------------------------


def described(layer: Any) -> tuple[Any, ...] | str:
    """What a chain calls a layer; or why it takes none of these."""
    if is_watched(layer):
        return "somebody watches what it answers"
    kind = type(layer)
    if kind is Conv2:
        if layer.groups != 1 or layer.dilation != (1, 1):
            return "it has groups or a dilation"
        return "conv2", layer.stride, layer.padding, layer.bias is not None
    if kind is Dense:
        return "linear", layer.bias is not None
    if kind in (MaxPool2, MeanPool2):
        if layer.padding != (0, 0):
            return "it has a padding"
        if layer.filter[0] * layer.filter[1] > 254:
            return "its window has more than 254 places"
        name = "max_pool2" if kind is MaxPool2 else "mean_pool2"
        return name, layer.filter, layer.stride
    plain = {Flatten: "flatten", Relu: "relu", Tanh: "tanh", Sigmoid: "sigmoid"}
    return (plain[kind],) if kind in plain else f"chains have no {kind.__name__}"


class Chain:
    """A run of layers as one op where it can be, else as neighbours."""

    def __init__(self, layers: Sequence[Layer], kinds: Layers) -> None:
        self.layers, self.kinds = layers, kinds
        self._settings = Fixed(layers=kinds)
        self.apart = list(fused(layers, chained=False))
        self._reasons: dict[Any, str] = {}
        self._seen = base._structure
        self._parameters = self._found()

    def _found(self) -> list[Parameter]:
        """Weight and bias of each layer that has them."""
        return [
            getattr(layer, name)
            for layer, kind in zip(self.layers, self.kinds, strict=True)
            if kind[0] in ("conv2", "linear")
            for name in ("weight", "bias")[: 1 + kind[-1]]
        ]

    def parameters(self) -> list[Parameter] | None:
        """Those there are now; None where somebody has made another chain of the layers."""
        if self._seen != base._structure:
            if tuple(map(described, self.layers)) != self.kinds:
                return None
            self._seen, self._parameters = base._structure, self._found()
        return self._parameters

    def __call__(self, x: Any) -> Any:
        if isinstance(x, Tensor) and x.outline.device.kind == "cuda":
            parameters = self.parameters()
            inputs = () if parameters is None else (x, *parameters)
            outlines, nodes = [each.outline for each in inputs], [each.node for each in inputs]
            if inputs and not self.reason(outlines, nodes):
                try:
                    return apply_chain(inputs, outlines, nodes, self._settings)
                except AutographError:
                    pass  # the layers one by one say where it fails
        for run in self.apart:
            x = run(x)
        return x

    def reason(self, outlines: Sequence[Outline], nodes: Sequence[Node | None]) -> str:
        """Why the layers do not run as one op on x: nothing where they do."""
        has_dx = trained = False
        if is_recording() and any(nodes):
            x, *parameters = nodes
            has_dx, trained = x is not None, True
            if not all(parameters):
                return "some of its parameters are frozen"
        key = trained, has_dx, *outlines
        found = self._reasons.get(key)
        if found is None:
            found = self._reasons[key] = self.misfit(*outlines, trained=trained, has_dx=has_dx)
        return found

    def misfit(self, x: Outline, *outlines: Outline, trained: bool, has_dx: bool) -> str:
        from ..ops.chain.configure import first_for

        if any(each.device is not x.device for each in outlines):
            return f"x is on {x.device}, and the parameters are not"
        if len(x.shape) != (2 if self.kinds[0][0] == "linear" else 4):
            return f"x has the shape {x.shape}"
        try:
            for head in ("loss", "gradient") if trained else ("scores",):
                first_for(x, outlines, self.kinds, head, has_dx)
        except (DoesNotFit, AutographError) as why:
            return str(why)
        return ""


def chain_at(layers: Sequence[Layer], at: int) -> Chain | None:
    """The longest chain that begins there; None where none does."""
    kinds: list[tuple[Any, ...]] = []
    for layer in layers[at:]:
        kind = described(layer)
        if isinstance(kind, str):
            break
        kinds.append(kind)
    here = layers[at : at + len(kinds)]
    return Chain(here, tuple(kinds)) if kinds else None


def why_not_fused(
    model: Layer,
    shape: tuple[int, ...],
    *,
    scalar_type: ScalarType | str | None = None,
    training: bool = True,
) -> str | None:
    """Why a sequential model does not run as one op on inputs of this shape (with the batch axis)
    on a CUDA device: None where it does.

    >>> model = Dense.builder(inputs=3, outputs=2).build()
    >>> why_not_fused(model, (10, 3))
    'Dense is not sequential'
    """
    if getattr(model, "__kind__", "") != "Sequential":
        return f"{type(model).__name__} is not sequential"
    layers = {name: model.__dict__[name] for name in model.__fields_declared__}  # type: ignore[attr-defined]
    kinds = {name: described(layer) for name, layer in layers.items()}
    for name, kind in kinds.items():
        if isinstance(kind, str):
            return f"{name}: {kind}"
    chain = Chain(list(layers.values()), tuple(kinds.values()))  # type: ignore[arg-type]
    parameters = chain.parameters() or ()
    if training and any(w.node is None for w in parameters):
        return "some of its parameters are frozen"
    wanted = model.scalar_type if scalar_type is None else ScalarType(scalar_type)
    x = Outline(tuple(shape), wanted, model.device)
    outlines = [w.outline for w in parameters]
    return chain.misfit(x, *outlines, trained=training, has_dx=False) or None
