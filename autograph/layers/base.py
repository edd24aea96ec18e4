"""Layer: a dataclass whose fields are parameters, buffers, layers and settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

from ..device import HOST, Device
from ..errors import AutographError, DeclarationError, GraphError, SettingsError
from ..outline import Outline
from ..scalar_type import F32, ScalarType
from ..tensor import Buffer, Parameter, Tensor
from ..tensor.staircase import version_of
from ..words import LAYER, unknown
from .builders import Builder, FieldsBuilder

if TYPE_CHECKING:
    from .hooks import Hook
    from .site import Site

T = TypeVar("T")
_LOOKED_UP = frozenset(("_named", "_runs"))


class Optimizer(Protocol):
    """What `Layer.update` needs; `autograph.optim` has the real ones."""

    def update(self, parameters: Mapping[str, Parameter]) -> None: ...


class Layer:
    """Base class of layers: declare one with `@sequential` or `@layer`.

    Parameters and buffers are found by walking the fields: a field may hold a `Parameter`, a
    `Buffer`, a `Layer`, None, or a list, tuple or dict of these; anything else is a setting.
    One path names each everywhere: `block1.conv2.weight`.
    """

    builder = FieldsBuilder()

    if TYPE_CHECKING:
        _builder: Builder[Any]
        _site: Site

    @classmethod
    def build(
        cls,
        *,
        device: Device | str = HOST,
        scalar_type: ScalarType | str = F32,
        seed: int = 0,
    ) -> Self:
        """This layer with its settings as declared and freshly initialised parameters."""
        made = cast(Builder[Self], cls.builder())
        return made.build(device=device, scalar_type=scalar_type, seed=seed)

    def forward(self, x: Any) -> Any:
        """What the layer computes."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *inputs: Tensor, **settings: Any) -> Tensor:
        try:
            return self.forward(*inputs, **settings)
        except AutographError as error:
            site = self.__dict__.get("_site")
            if site is not None and site.path and not _has_place(error):
                error.add_note(f"  in {site.name}")
            raise

    def __post_init__(self) -> None:
        """Refuse numbers where parameters belong: Dense(3, 2) is written Dense.builder(...)."""
        for each in fields(cast(Any, self)):
            value = self.__dict__.get(each.name)
            if isinstance(value, int) and str(each.type).startswith("Parameter"):
                name = type(self).__name__
                raise SettingsError(
                    f"{name}: {each.name} is the number {value}, and it holds a Parameter\n"
                    f"  write  {name}.builder(...).build()"
                )

    def __setattr__(self, name: str, value: Any) -> None:
        global _structure
        held = isinstance(self.__dict__.get(name), Parameter)
        if held and isinstance(value, Tensor) and not isinstance(value, Parameter):
            raise SettingsError(
                f"{type(self).__name__}.{name} is a Parameter, and stays one\n"
                f"  write  model.{name}[...] = x  to change its values\n"
                f"  or     model.{name} = Parameter(x)  for another"
            )
        _structure += 1
        object.__setattr__(self, name, value)

    if not TYPE_CHECKING:

        def __new__(cls, *unnamed: Any, **fields: Any) -> Self:
            """Tell what is written where a layer is called with settings: Dropout(0.5)."""
            own = vars(cls)
            given = unnamed or fields
            if given and "__dataclass_fields__" in own and "__fields_declared__" not in own:
                try:
                    signature(cls.__init__).bind(None, *unnamed, **fields)
                except TypeError:
                    raise SettingsError(
                        f"{cls.__name__}: a layer is built by its builder\n"
                        f"  write  {cls.__name__}.builder(...).build()"
                    ) from None
            return object.__new__(cls)

        def __getattr__(self, name: str) -> Any:
            raise unknown(type(self).__name__, name, LAYER, self)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has: not what is looked up once, which holds on to this layer's parts."""
        return {name: each for name, each in self.__dict__.items() if name not in _LOOKED_UP}

    # -- parameters ---------------------------------------------------------------------

    def named_parameters(self) -> dict[str, Parameter]:
        """Parameters by path, in field order; one reached by two paths under its first."""
        known = self.__dict__.get("_named")
        if known is not None and known[0] == _structure:
            return dict(known[1])
        named = dict(_walk(self, "", Parameter, set()))
        if _is_fixed(self):
            self.__dict__["_named"] = (_structure, named)
        return dict(named)

    def named_buffers(self) -> dict[str, Buffer]:
        """Buffers by path, in field order."""
        return dict(_walk(self, "", Buffer, set()))

    def named_layers(self) -> dict[str, Layer]:
        """This layer (under "") and all layers in it by path."""
        return dict(_layers(self, ""))

    def parameters(self) -> list[Parameter]:
        """Parameters in field order."""
        return list(self.named_parameters().values())

    @property
    def parameter_count(self) -> int:
        """How many numbers the parameters hold."""
        return sum(each.size for each in self.parameters())

    @property
    def device(self) -> Device:
        """Where the first parameter is; the host if there is none."""
        return next((each.device for each in self.parameters()), HOST)

    @property
    def scalar_type(self) -> ScalarType:
        """What the first parameter is; F32 if there is none."""
        return next((each.scalar_type for each in self.parameters()), F32)

    def update(self, optimizer: Optimizer) -> None:
        """Step every parameter that has a gradient, and take the gradients."""
        if isinstance(optimizer, type) or not hasattr(optimizer, "update"):
            name = getattr(optimizer, "__name__", type(optimizer).__name__)
            raise SettingsError(
                f"{type(self).__name__}.update: {name} is no optimizer\n"
                f"  write  optimizer = SGD(learning_rate=0.1)  once, and  model.update(optimizer)"
            )
        named = self.named_parameters()
        for each in named.values():
            if each.grad is not None:
                break
        else:
            raise GraphError(
                f"{type(self).__name__}.update: no parameter has a gradient\n"
                f"  run  loss.backward()  first, outside of no_grad()"
            )
        optimizer.update(named)

    def to(self, device: Device | str) -> Self:
        """Move parameters and buffers to a device, in place."""
        target = Device(device)
        for each in [*self.parameters(), *self.named_buffers().values()]:
            if each.device is not target:
                _replace(each, target.put(each.array))
        return self

    def place(self, places: Mapping[str, Device | str]) -> Self:
        """Move layers to several devices, by path; activations follow. All parameters have to be
        in one of the layers named: `model.place({"body": "cuda:0", "head": "cuda:1"})`."""
        from ..parallel.placing import place

        place(self, places)
        return self

    def cast(self, scalar_type: ScalarType | str) -> Self:
        """Cast parameters and float buffers, in place."""
        target = ScalarType(scalar_type)
        for each in [*self.parameters(), *self.named_buffers().values()]:
            if each.scalar_type.is_float and each.scalar_type is not target:
                _replace(each, each.detach().cast(target).array)
        return self

    def freeze(self) -> Self:
        """Compute no gradients for the parameters of this layer."""
        for each in self.parameters():
            each.requires_grad = False
        return self

    def unfreeze(self) -> Self:
        """Compute gradients for the parameters of this layer."""
        for each in self.parameters():
            each.requires_grad = True
        return self

    # -- hooks --------------------------------------------------------------------------

    def on_forward(self, pattern: str, hook: Callable[[str, Any], Any]) -> Hook:
        """Have `hook(path, y)` called with what each layer answers whose path fits a pattern
        (this layer's own is ""); what it answers takes the place of y, unless it is None.

        The layers run by themselves then, not fused with others, and captured steps run eagerly.

        >>> model = Dense.builder(inputs=3, outputs=2).build()
        >>> with model.on_forward("", lambda path, y: print(y.shape)):
        ...     y = model(Tensor(np.ones((4, 3), np.float32)))
        (4, 2)
        """
        from .hooks import on_forward

        return on_forward(self, pattern, hook)

    def on_gradient(self, pattern: str, hook: Callable[[str, Tensor], Tensor | None]) -> Hook:
        """Have `hook(path, gradient)` called with the gradient that each backward finds for the
        parameters whose paths fit a pattern, of forwards that begin later; what it answers is
        added to `grad` in its place, unless it is None."""
        from .hooks import on_gradient

        return on_gradient(self, pattern, hook)

    # -- description ----------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """What this layer is, as a JSON value from which it can be built again."""
        return self._builder.describe()

    def save(self, path: str | Path) -> None:
        """Write this layer into one file; a file that was there stays until it is whole."""
        from .stored import save_layer

        save_layer(path, self)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        layers: Iterable[type[Layer]] = (),
        device: Device | str = HOST,
        scalar_type: ScalarType | str | None = None,
    ) -> Self:
        """A layer of this class from a file that `save` or a checkpoint wrote; refused, with
        what differs, if the file holds another. `layers` are own classes of its fields."""
        from .stored import load_layer

        return load_layer(cls, path, layers, device, scalar_type)

    def __repr__(self) -> str:
        from .summarize import outline_of_layer

        return outline_of_layer(self)

    def _repr_html_(self) -> str:
        """For notebooks."""
        from ..html import layer_html

        return layer_html(self)


_structure = 0  # raised by every assignment to a field of a layer: what was found may be stale


def _is_fixed(layer: Layer) -> bool:
    """Whether the structure changes by assignment to fields alone."""
    return not any(
        isinstance(item, list | dict)
        for each in layer.named_layers().values()
        for _, item in _items(each, "")
    )


def _replace(tensor: Tensor, array: Any) -> None:
    """Give a leaf or buffer another array; its gradient, made for the old one, goes."""
    tensor._array, tensor.outline = array, Outline.of(array)
    version_of(tensor).count += 1
    if isinstance(tensor, Parameter) and tensor.requires_grad:
        tensor.grad = None


def _has_place(error: BaseException) -> bool:
    return any(note.startswith("  in ") for note in getattr(error, "__notes__", ()))


def _items(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What a layer, list, tuple or dict holds, by path."""
    if isinstance(value, Layer):
        if not hasattr(type(value), "__dataclass_fields__"):
            name = type(value).__name__
            raise DeclarationError(
                f"{name} is not declared\n"
                f"  write  @layer  above  class {name}(Layer):  with a field for each layer,\n"
                f"         name: Dense = Dense.builder(...), and without __init__"
            )
        names = [field.name for field in fields(cast(Any, value))]
        items: Any = ((name, value.__dict__.get(name)) for name in names)
    elif isinstance(value, dict):
        items = value.items()
    else:
        items = enumerate(value)
    return ((f"{path}.{name}".lstrip("."), item) for name, item in items)


def _walk(value: Any, path: str, kind: type[T], seen: set[int]) -> Iterator[tuple[str, T]]:
    for name, item in _items(value, path):
        if isinstance(item, kind):
            if id(item) not in seen:
                seen.add(id(item))
                yield name, item
        elif isinstance(item, Layer | list | tuple | dict):
            yield from _walk(item, name, kind, seen)


def _layers(value: Any, path: str) -> Iterator[tuple[str, Layer]]:
    if isinstance(value, Layer):
        yield path, value
    for name, item in _items(value, path):
        if isinstance(item, Layer | list | tuple | dict):
            yield from _layers(item, name)
