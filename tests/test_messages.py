"""Every text of a refusal, whole: a change of wording is seen in review."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autograph import Tensor, grad, higher_order, no_grad, ops, using
from autograph.device import Device
from autograph.errors import (
    AutographError,
    DeclarationError,
    DeviceError,
    GraphError,
    IndexRangeError,
    NoKernelError,
    ScalarTypeError,
    SettingsError,
    ShapeError,
)
from autograph.expression import FUNCTIONS
from autograph.layers import Dense, Layer, sequential
from autograph.op import REGISTRY, Op
from autograph.ops.pointwise import pointwise
from autograph.scalar_type import ScalarType

from .fake_device import fake_devices


@sequential(input=(1,))
class Declared1(Layer):
    """Scores (N, 1) of numbers (N, 1)."""

    dense: Dense = Dense.builder(outputs=1)


def T(*shape: int, leaf: bool = False) -> Tensor:
    """Ones."""
    return Tensor(np.ones(shape, np.float32), requires_grad=leaf)


def walk_twice() -> None:
    x = T(1, leaf=True)
    y = (x * x).sum()
    y.backward()
    y.backward()


def use_what_is_spent() -> None:
    x = T(1, leaf=True)
    y = x * x
    y.sum().backward()
    y + 1.0


def write_what_was_recorded() -> None:
    x, w = T(2, leaf=True), T(2, leaf=True)
    y = (x * w).sum()
    with no_grad():
        w[...] = 0.0
    y.backward()


def differentiate_a_plain_graph_again() -> None:
    x = T(1, leaf=True)
    y = (x * x).sum()
    with higher_order():
        grad(y, [x])


def run_without_a_kernel() -> None:
    op = Op("lonely", "x")
    try:
        op(np.ones(2))
    finally:
        del REGISTRY["lonely"]


REFUSALS: list[tuple[str, Callable[[], Any], type[AutographError], str]] = [
    (
        "channels of conv2",
        lambda: ops.conv2(T(100, 1, 12, 12), T(16, 6, 5, 5)),
        ShapeError,
        """\
conv2: weight takes 6 channels, but x has 1
  x       (100, 1, 12, 12)  N C H W
  weight  (16, 6, 5, 5)  O C R S""",
    ),
    (
        "channels of conv2 in groups",
        lambda: ops.conv2(T(1, 6, 8, 8), T(4, 2, 3, 3), groups=2),
        ShapeError,
        """\
conv2: weight takes 2 channels in each of 2 groups, but x has 6
  x       (1, 6, 8, 8)  N C H W
  weight  (4, 2, 3, 3)  O C R S""",
    ),
    (
        "outputs of conv2 in groups",
        lambda: ops.conv2(T(1, 4, 8, 8), T(3, 2, 3, 3), groups=2),
        ShapeError,
        """\
conv2: 3 outputs are not divided by 2 groups
  x       (1, 4, 8, 8)  N C H W
  weight  (3, 2, 3, 3)  O C R S""",
    ),
    (
        "axes of conv2",
        lambda: ops.conv2(T(4, 8, 8), T(3, 2, 3, 3)),
        ShapeError,
        """\
conv2: x and weight have 4 axes each
  x       (4, 8, 8)  N C H W
  weight  (3, 2, 3, 3)  O C R S""",
    ),
    (
        "bias of conv2",
        lambda: ops.conv2(T(1, 2, 8, 8), T(3, 2, 3, 3), T(4)),
        ShapeError,
        """\
conv2: bias does not fit the outputs of weight
  x       (1, 2, 8, 8)  N C H W
  weight  (3, 2, 3, 3)  O C R S
  bias    (4,)  O""",
    ),
    (
        "a filter larger than the image",
        lambda: ops.conv2(T(1, 2, 4, 4), T(3, 2, 5, 5)),
        ShapeError,
        """\
conv2: the filter is larger than the padded image
  x       (1, 2, 4, 4)  N C H W
  weight  (3, 2, 5, 5)  O C R S""",
    ),
    (
        "a stride of 0",
        lambda: ops.conv2(T(1, 2, 4, 4), T(3, 2, 3, 3), stride=0),
        SettingsError,
        """\
conv2: stride is 0
  write an int of at least 1, or a pair of them""",
    ),
    (
        "no groups",
        lambda: ops.conv2(T(1, 2, 4, 4), T(3, 2, 3, 3), groups=0),
        SettingsError,
        """\
conv2: groups is 0
  write an int of at least 1""",
    ),
    (
        "a window larger than the image",
        lambda: ops.mean_pool2(T(1, 1, 4, 4), filter=5),
        ShapeError,
        """\
mean_pool2: the filter is larger than the padded image
  x       (1, 1, 4, 4)  N C H W
  filter  (5, 5)""",
    ),
    (
        "padding beyond the window",
        lambda: ops.max_pool2(T(1, 1, 4, 4), filter=2, padding=2),
        SettingsError,
        """\
max_pool2: padding is more than half of the filter
  filter   (2, 2)
  padding  (2, 2)""",
    ),
    (
        "features of linear",
        lambda: ops.linear(T(4, 3), T(5, 2)),
        ShapeError,
        """\
linear: weight takes 5 features, but x has 3
  x       (4, 3)
  weight  (5, 2)""",
    ),
    (
        "bias of linear",
        lambda: ops.linear(T(4, 3), T(3, 2), T(3)),
        ShapeError,
        """\
linear: bias does not fit the outputs of weight
  weight  (3, 2)  inputs outputs
  bias    (3,)""",
    ),
    (
        "features of matmul",
        lambda: T(2, 3) @ T(2, 3),
        ShapeError,
        """\
matmul: b takes 2 features, but a has 3
  a       (2, 3)
  b       (2, 3)""",
    ),
    (
        "matmul of a number",
        lambda: T() @ T(2, 3),
        ShapeError,
        """\
matmul: b takes 2 features, but a has none
  a       ()
  b       (2, 3)""",
    ),
    (
        "batches of matmul",
        lambda: T(2, 2, 3) @ T(3, 3, 2),
        ShapeError,
        """\
matmul: batches do not broadcast
  a       (2, 2, 3)
  b       (3, 3, 2)""",
    ),
    (
        "shapes that do not broadcast",
        lambda: T(2, 3) + T(2),
        ShapeError,
        """\
add: shapes do not broadcast
  a       (2, 3)
  b       (2,)""",
    ),
    (
        "a shape to broadcast to",
        lambda: T(2, 3).broadcast_to((3, 3)),
        ShapeError,
        """\
broadcast_to: the shape does not fit
  x      (2, 3)
  shape  (3, 3)""",
    ),
    (
        "a shape that is not filled",
        lambda: T(2, 3).reshape(4, -1),
        ShapeError,
        """\
reshape: 6 elements do not fill the shape
  x      (2, 3)
  shape  (4, -1)""",
    ),
    (
        "axes named twice",
        lambda: T(2, 3).permute_dims(0, 0),
        SettingsError,
        """\
permute_dims: axes (0, 0) are not the axes of x
  x  (2, 3)
  write each of 0 to 1 once""",
    ),
    (
        "shapes to join",
        lambda: ops.concat(T(2, 3), T(3, 3), axis=1),
        ShapeError,
        """\
concat: shapes differ outside axis 1
  arrays[0]  (2, 3)
  arrays[1]  (3, 3)""",
    ),
    (
        "nothing to join",
        lambda: ops.concat(),
        ShapeError,
        """\
concat: there is nothing to join
  write  concat([a, b], axis=0)""",
    ),
    (
        "an axis out of range",
        lambda: T(2, 3).sum(axis=2),
        IndexRangeError,
        """\
sum: axis 2 is out of range
  x has 2 axes: write -2 to 1""",
    ),
    (
        "an axis twice",
        lambda: T(2, 3).sum(axis=(0, -2)),
        SettingsError,
        """\
sum: axis (0, -2) names an axis twice
  write each axis once""",
    ),
    (
        "an axis that is no int",
        lambda: T(2, 3).sum(axis=1.5),
        SettingsError,
        """\
sum: axis is 1.5
  write an int, a tuple of ints or None""",
    ),
    (
        "the largest of nothing",
        lambda: T(0, 3).max(axis=0),
        ShapeError,
        """\
max: an empty axis has none
  x     (0, 3)
  axis  0""",
    ),
    (
        "the place of the largest of nothing",
        lambda: T(0).argmax(),
        ShapeError,
        """\
argmax: an empty axis has none
  x     (0,)
  axis  None""",
    ),
    (
        "targets of another number",
        lambda: T(4, 3).cross_entropy_loss(Tensor([0, 1])),
        ShapeError,
        """\
cross_entropy_loss: one class index for each row of x
  x       (4, 3)  N classes
  target  (2,)  N""",
    ),
    (
        "targets that are no classes",
        lambda: T(2, 3).cross_entropy_loss(T(2)),
        ScalarTypeError,
        """\
cross_entropy_loss: target holds class indices, and is f32
  write  target.cast('i64')""",
    ),
    (
        "a class that is not there",
        lambda: T(2, 3).cross_entropy_loss(Tensor([0, 3])),
        IndexRangeError,
        """\
cross_entropy_loss: target[1] = 3 is not a class
  x has 3 classes: write 0 to 2""",
    ),
    (
        "scores without classes",
        lambda: T(2, 0).cross_entropy_loss(Tensor([0, 3])),
        ShapeError,
        """\
cross_entropy_loss: x has no classes
  x       (2, 0)  N classes
  target  (2,)  N""",
    ),
    (
        "an index out of range",
        lambda: T(2, 3)[2],
        IndexRangeError,
        """\
index: 2 is out of range for axis 0
  x  (2, 3)
  write -2 to 1""",
    ),
    (
        "too many indices",
        lambda: T(2, 3)[0, 0, 0],
        IndexRangeError,
        """\
index: 3 indices for 2 axes
  x    (2, 3)
  key  (0, 0, 0)""",
    ),
    (
        "a step of 0",
        lambda: T(2, 3)[::0],
        SettingsError,
        """\
index: a slice has step 0
  write a step of 1 or more""",
    ),
    (
        "an index tensor out of range",
        lambda: T(2, 3)[[0, 5]],
        IndexRangeError,
        """\
take: index 5 at (1,) is out of range
  write -2 to 1""",
    ),
    (
        "indices that are floats",
        lambda: T(2, 3)[T(2)],
        ScalarTypeError,
        """\
take: indices are f32
  write integers: indices.cast('i64')""",
    ),
    (
        "a value that does not fit",
        lambda: T(2, 3).__setitem__(0, T(2)),
        ShapeError,
        """\
assign: y does not fit the part of x
  x     (2, 3)
  part  (3,)
  y     (2,)""",
    ),
    (
        "assignment in a graph",
        lambda: (T(2, leaf=True) * 1.0).__setitem__(0, 1.0),
        GraphError,
        """\
assign: writing into a tensor is not recorded
  write  ag.ops.where(mask, y, x), or write under  with ag.no_grad():""",
    ),
    (
        "one number of many",
        lambda: T(2).item(),
        ShapeError,
        """\
item: a number is wanted, and x has 2 elements
  x  (2,)
  write  x.tolist(), or reduce it: x.sum().item()""",
    ),
    (
        "rows of different lengths",
        lambda: Tensor([[1.0], [1.0, 2.0]]),
        ShapeError,
        """\
Tensor: rows of different lengths
  write lists of one length""",
    ),
    (
        "an array of text",
        lambda: Tensor(np.array(["a"])),
        ScalarTypeError,
        """\
Tensor: arrays of <U1 are not taken
  write  array.astype(...) with one of """
        + ", ".join(each.value for each in ScalarType),
    ),
    (
        "a scalar type that is not there",
        lambda: ScalarType("float"),
        ScalarTypeError,
        """\
ScalarType: there is no scalar type 'float'
  write one of  bool, u8, u16, u32, u64, i8, i16, i32, i64, f16, bf16, f32, f64""",
    ),
    (
        "u64 with a signed type",
        lambda: Tensor(np.ones(2, np.uint64)) + Tensor(np.ones(2, np.int8)),
        ScalarTypeError,
        """\
promote: no integer type holds both u64 and i8
  cast one first, for example  x.cast('i64')""",
    ),
    (
        "a number that does not fit",
        lambda: Tensor(np.ones(2, np.uint8)) + 300,
        ScalarTypeError,
        """\
add: b = 300 does not fit u8
  u8 holds 0 to 255
  cast the tensor first: x.cast('i64')""",
    ),
    (
        "a list as an input",
        lambda: ops.add([1.0], 2),
        DeviceError,
        """\
Device: a list is on no device
  write  Tensor(...) or np.asarray(...) around it first, or give what it holds one by one""",
    ),
    (
        "a setting that is not there",
        lambda: ops.conv2(T(1, 2, 4, 4), T(3, 2, 3, 3), strid=2),
        SettingsError,
        """\
conv2: settings do not fit
  given  strid
  takes  stride, padding, dilation, groups""",
    ),
    (
        "an input too few",
        lambda: ops.add(T(2)),
        SettingsError,
        """\
add: takes a, b
  given    1 inputs
  missing  b""",
    ),
    (
        "an input too many",
        lambda: ops.add(T(2), T(2), T(2)),
        SettingsError,
        """\
add: takes a, b
  given    3 inputs
  missing  none""",
    ),
    (
        "an op of a name that is taken",
        lambda: Op("add", "a b"),
        SettingsError,
        """\
Op: there is an op 'add' already
  write another name, or use REGISTRY['add']""",
    ),
    (
        "an expression outside of the language",
        lambda: pointwise("bad", "x", "x.sum()"),
        SettingsError,
        """\
expression: 'x.sum()' is not in the language
  in         x.sum()
  functions  """
        + ", ".join(FUNCTIONS),
    ),
    (
        "an op without a kernel",
        run_without_a_kernel,
        NoKernelError,
        """\
lonely: no kernel for f64 on host
  kernels  none
  to add one: @lonely.kernel(BACKEND)""",
    ),
    (
        "a second backward",
        walk_twice,
        GraphError,
        """\
backward: backward has run on this tensor already (sum)
  run forward again, or keep the graph: backward(retain_graph=True)""",
    ),
    (
        "a spent tensor",
        use_what_is_spent,
        GraphError,
        """\
multiply: backward has used up the graph of this tensor
  run forward again, or keep the graph: backward(retain_graph=True),
  or take the value alone: x.detach()""",
    ),
    (
        "a value written after it was recorded",
        write_what_was_recorded,
        GraphError,
        """\
backward: b of multiply was written after the forward that needs its old value
  version  0 when recorded, 1 now
  run forward again, or write into a copy: x = x.copy()""",
    ),
    (
        "a forward outside of higher order",
        differentiate_a_plain_graph_again,
        GraphError,
        """\
sum: recorded outside of higher_order()
  run the forward inside it as well:  with ag.higher_order(): ...""",
    ),
    (
        "backward of a constant",
        lambda: T(2).sum().backward(),
        GraphError,
        """\
backward: this tensor records no graph
  it was made under no_grad(), or from tensors without requires_grad=True""",
    ),
    (
        "backward of many values",
        lambda: T(2, leaf=True).backward(),
        ShapeError,
        """\
backward: only a scalar needs no gradient, and y has 2 elements
  y  (2,)
  write  y.backward(gradient), or  y.sum().backward()""",
    ),
    (
        "a model called like a function",
        lambda: Declared1(),
        DeclarationError,
        """\
Declared1: a layer is built by its declaration
  write  Declared1.build(seed=0)""",
    ),
    (
        "a seed that is no number",
        lambda: Dense.builder(inputs=1, outputs=1).build(seed="a"),
        SettingsError,
        """\
build: seed is 'a'
  write  an int from 0 on: build(seed=0)""",
    ),
    (
        "a backend by its name",
        lambda: using("numpy").__enter__(),
        SettingsError,
        """\
using: 'numpy' is not a Backend
  write  using(ag.NUMPY)""",
    ),
    (
        "a gradient unlike its tensor",
        lambda: (T(2, leaf=True) * 1.0).backward(np.ones(3)),
        ShapeError,
        """\
backward: the gradient is not like the tensor
  tensor    host f32 (2,)
  gradient  host f32 (3,)""",
    ),
    (
        "grad of what is in no graph",
        lambda: grad(T(1, leaf=True).sum(), [T(2)]),
        GraphError,
        """\
grad: wrt[0] is not part of a graph
  make it a leaf before the forward: requires_grad=True""",
    ),
    (
        "a gradient of integers",
        lambda: Tensor([1], requires_grad=True),
        GraphError,
        """\
requires_grad: a i64 tensor has no gradient
  write  x.cast('f32') first""",
    ),
    (
        "freezing what was computed",
        lambda: setattr(T(1, leaf=True) * 1.0, "requires_grad", False),
        GraphError,
        """\
requires_grad: this tensor was computed
  write  x.detach()""",
    ),
    (
        "grad of what is no leaf",
        lambda: setattr(T(1), "grad", T(1)),
        GraphError,
        """\
grad: only leaves keep a gradient
  make one with requires_grad=True""",
    ),
    (
        "grad of another shape",
        lambda: setattr(T(1, leaf=True), "grad", T(2)),
        ShapeError,
        """\
grad: the gradient is not like the tensor
  tensor    host f32 (1,)
  gradient  host f32 (2,)""",
    ),
    (
        "a copy of a graph",
        lambda: copy.deepcopy(T(1, leaf=True) * 1.0),
        GraphError,
        """\
copy: this tensor is part of a graph
  write  x.detach()""",
    ),
]


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [row[1:] for row in REFUSALS],
    ids=[row[0].replace(" ", "_") for row in REFUSALS],
)
def test_a_refusal_says(
    function: Callable[[], Any], error: type[AutographError], text: str
) -> None:
    with pytest.raises(error) as caught:
        function()

    assert text == str(caught.value)
    assert type(caught.value) is error


def test_inputs_on_two_devices() -> None:
    with fake_devices():
        x, weight = Tensor([[1.0]], device="fake:1"), T(1, 1)
        with pytest.raises(DeviceError) as caught:
            ops.linear(x, weight)
        with pytest.raises(DeviceError) as beside:
            x + np.ones(1)
        with pytest.raises(DeviceError) as written:
            x[...] = weight

    assert str(caught.value) == (
        "linear: inputs are on different devices\n"
        "  x       fake:1\n"
        "  weight  host\n"
        "  move one: x.to(device)"
    )
    assert str(beside.value) == (
        "add: inputs are on different devices\n"
        "  tensor   fake:1\n"
        "  ndarray  host\n"
        "  move it: Tensor(array, device='fake:1')"
    )
    assert str(written.value) == (
        "assign: the value is on another device\n"
        "  x      fake:1\n"
        "  value  host\n"
        "  write  value.to(x.device)"
    )


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(DeviceError) as caught:
        Device("gpu")

    assert str(caught.value) == (
        "Device: there is no device 'gpu'\n"
        "  write  'host', 'cuda' or 'cuda:1'; known kinds: host, cuda"
    )


@pytest.mark.parametrize("error", AutographError.__subclasses__(), ids=lambda each: each.__name__)
def test_every_error_is_a_builtin_too(error: type[AutographError]) -> None:
    """So that callers who know no autograph can catch it."""
    builtin = error.__mro__[2]

    assert builtin.__module__ == "builtins"
    assert builtin not in (Exception, BaseException)
