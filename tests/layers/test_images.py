"""Convolutions, pools and resampling beside torch's functions, over their settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph import ops
from autograph.errors import SettingsError, ShapeError

from .comparison import assert_close

X1, X2, X3 = (3, 4, 11), (2, 4, 7, 6), (2, 4, 6, 5, 7)

# ours, shapes of the inputs, settings, theirs, their words (ours where None)
CASES: list[tuple[str, list[tuple[int, ...]], dict[str, Any], str, dict[str, Any] | None]] = [
    ("conv1", [X1, (6, 4, 3), (6,)], {"stride": 2, "padding": 1}, "conv1d", None),
    ("conv3", [X3, (6, 4, 3, 2, 3), (6,)], {}, "conv3d", None),
    ("conv3", [X3, (6, 2, 3, 2, 3)], {"stride": (2, 1, 2), "padding": (1, 0, 2), "groups": 2},
     "conv3d", None),
    ("conv3", [X3, (4, 1, 2, 2, 2)], {"dilation": (2, 1, 3), "groups": 4}, "conv3d", None),
    ("conv_transpose1", [X1, (4, 5, 3), (5,)], {"stride": 2, "output_padding": 1},
     "conv_transpose1d", None),
    ("conv_transpose2", [X2, (4, 3, 3, 2), (3,)], {}, "conv_transpose2d", None),
    ("conv_transpose2", [X2, (4, 3, 3, 2)],
     {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "groups": 2},
     "conv_transpose2d", None),
    ("conv_transpose2", [X2, (4, 3, 3, 2), (3,)],
     {"stride": (1, 2), "padding": 1, "output_padding": (2, 3), "dilation": (3, 4)},
     "conv_transpose2d", None),
    ("conv_transpose2", [X2, (4, 1, 3, 3)], {"dilation": (2, 1), "groups": 4}, "conv_transpose2d",
     None),
    ("conv_transpose3", [X3, (4, 3, 3, 2, 2), (3,)], {}, "conv_transpose3d", None),
    ("conv_transpose3", [X3, (4, 3, 3, 2, 2), (6,)],
     {"stride": (2, 1, 2), "padding": (1, 0, 1), "output_padding": (1, 0, 1), "groups": 2},
     "conv_transpose3d", None),
    ("conv_transpose3", [X3, (4, 3, 3, 2, 2)],
     {"padding": 1, "output_padding": (1, 1, 0), "dilation": (2, 2, 1)}, "conv_transpose3d", None),
    ("max_pool1", [X1], {"filter": 3, "stride": 2, "padding": 1}, "max_pool1d",
     {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool", [(0, 4, 7, 6)], {"filter": 2, "dilation": 2}, "max_pool2d",
     {"kernel_size": 2, "dilation": 2}),
    ("mean_pool1", [X1], {"filter": 3}, "avg_pool1d", {"kernel_size": 3}),
    ("max_pool3", [X3], {"filter": 2}, "max_pool3d", {"kernel_size": 2}),
    ("max_pool3", [X3], {"filter": (3, 2, 3), "stride": (1, 2, 2), "padding": 1}, "max_pool3d",
     {"kernel_size": (3, 2, 3), "stride": (1, 2, 2), "padding": 1}),
    ("mean_pool3", [X3], {"filter": (3, 2, 3), "stride": 2, "padding": (1, 1, 0)}, "avg_pool3d",
     {"kernel_size": (3, 2, 3), "stride": 2, "padding": (1, 1, 0)}),
    ("adaptive_mean_pool", [X1], {"size": 4}, "adaptive_avg_pool1d", {"output_size": 4}),
    ("adaptive_mean_pool", [X2], {"size": (3, None)}, "adaptive_avg_pool2d",
     {"output_size": (3, None)}),
    ("adaptive_mean_pool", [X3], {"size": (1, 2, 9)}, "adaptive_avg_pool3d",
     {"output_size": (1, 2, 9)}),
    ("adaptive_max_pool", [X1], {"size": 4}, "adaptive_max_pool1d", {"output_size": 4}),
    ("adaptive_max_pool", [X2], {"size": (3, 2)}, "adaptive_max_pool2d", {"output_size": (3, 2)}),
    ("adaptive_max_pool", [X3], {"size": (4, 1, 3)}, "adaptive_max_pool3d",
     {"output_size": (4, 1, 3)}),
    ("upsample", [X1], {"scale": 2}, "interpolate", {"scale_factor": 2}),
    ("upsample", [X2], {"size": (10, 4)}, "interpolate", {"size": (10, 4)}),
    ("upsample", [X1], {"scale": 1.7, "mode": "linear"}, "interpolate",
     {"scale_factor": 1.7, "mode": "linear"}),
    ("upsample", [X2], {"scale": 2, "mode": "linear"}, "interpolate",
     {"scale_factor": 2, "mode": "bilinear"}),
    ("upsample", [X2], {"size": (5, 9), "mode": "linear", "corners": True}, "interpolate",
     {"size": (5, 9), "mode": "bilinear", "align_corners": True}),
    ("upsample", [X3], {"scale": 2, "mode": "linear"}, "interpolate",
     {"scale_factor": 2, "mode": "trilinear"}),
    ("upsample", [X2], {"size": (9, 13), "mode": "cubic"}, "interpolate",
     {"size": (9, 13), "mode": "bicubic"}),
    ("upsample", [X2], {"scale": 3, "mode": "cubic", "corners": True}, "interpolate",
     {"scale_factor": 3, "mode": "bicubic", "align_corners": True}),
    ("upsample", [X2], {"size": (3, 4), "mode": "area"}, "interpolate",
     {"size": (3, 4), "mode": "area"}),
    ("pixel_shuffle", [(2, 12, 3, 5)], {"factor": 2}, "pixel_shuffle", {"upscale_factor": 2}),
    ("pixel_unshuffle", [(2, 3, 6, 4)], {"factor": 2}, "pixel_unshuffle", {"downscale_factor": 2}),
    ("unfold", [X2], {"filter": (3, 2), "stride": (1, 2), "padding": (1, 0), "dilation": (2, 1)},
     "unfold", {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0), "dilation": (2, 1)}),
    ("fold", [(2, 24, 30)],
     {"size": (7, 6), "filter": (3, 2), "padding": (0, 1), "stride": (1, 1), "dilation": (1, 2)},
     "fold",
     {"output_size": (7, 6), "kernel_size": (3, 2), "padding": (0, 1), "stride": 1,
      "dilation": (1, 2)}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("ours", "shapes", "settings", "theirs", "words"), CASES)
def test_functions_of_images_are_torchs(
    ours: str,
    shapes: list[tuple[int, ...]],
    settings: dict[str, Any],
    theirs: str,
    words: dict[str, Any] | None,
    dtype: Any,
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    given = [ag.Tensor(each, requires_grad=True) for each in arrays]
    y = getattr(ops, ours)(*given, **settings)
    others = [torch.tensor(each, requires_grad=True) for each in arrays]
    z = getattr(torch.nn.functional, theirs)(*others, **(settings if words is None else words))
    assert_close(y, z, dtype)
    dy = rng.normal(size=y.shape).astype(dtype)
    y.backward(dy)
    z.backward(torch.tensor(dy))
    for a, b in zip(given, others, strict=True):
        scale = float(np.abs(b.grad.numpy()).max(initial=1.0))
        assert_close(a.grad.numpy() / scale, b.grad.numpy() / scale, dtype)


def test_of_equal_values_the_first_in_the_window_gets_the_gradient() -> None:
    x = ag.Tensor(np.zeros((1, 1, 2, 2, 2)), requires_grad=True)

    ops.max_pool3(x, filter=2).backward(np.ones((1, 1, 1, 1, 1)))

    assert x.grad.numpy().reshape(-1).tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("backends", [(ag.NUMPY,), (ag.NUMPY, ag.NATIVE)])
@pytest.mark.parametrize("fused", [False, True])
def test_of_several_nan_the_last_in_the_window_gets_the_gradient(
    fused: bool, backends: Any
) -> None:
    values = np.array([[[[1, np.nan, 2, np.nan], [np.nan, 3, 4, 5]]]], np.float32)
    x, one = ag.Tensor(values, requires_grad=True), ag.Tensor(np.ones((1, 1, 1, 1), np.float32))
    with ag.using(*backends):
        y = ops.conv2_relu_max_pool2(x, one, filter=2) if fused else ops.max_pool2(x, filter=2)
        y.sum().backward()

    assert x.grad.tolist() == [[[[0, 0, 0, 1], [1, 0, 0, 0]]]]  # as torch's


def test_a_nan_stays_where_it_is() -> None:
    x = np.zeros((1, 1, 6))
    x[0, 0, 0] = np.nan

    y = ops.upsample(x, scale=2, mode="linear")

    assert np.isnan(y[0, 0]).tolist() == [True, True, True] + [False] * 9


def test_global_pools() -> None:
    x = np.arange(24.0).reshape(2, 3, 2, 2)

    np.testing.assert_array_equal(ops.global_mean_pool(x), x.mean(axis=(2, 3)))
    np.testing.assert_array_equal(ops.global_max_pool(x), x.max(axis=(2, 3)))


def test_what_does_not_fit_is_refused() -> None:
    x, w = np.zeros(X2), np.zeros((3, 2, 3, 3))

    with pytest.raises(ShapeError, match="conv_transpose2: weight takes 3 channels"):
        ops.conv_transpose2(x, w)
    with pytest.raises(SettingsError, match="output_padding is less than the stride"):
        ops.conv_transpose2(x, np.zeros((4, 2, 3, 3)), output_padding=1)
    with pytest.raises(ShapeError, match="conv3: x and weight have 5 axes"):
        ops.conv3(x, w)
    with pytest.raises(ShapeError, match="the filter is longer than the padded axis"):
        ops.unfold(x, filter=9)
    with pytest.raises(SettingsError, match="give size or scale"):
        ops.upsample(x)
    with pytest.raises(ShapeError, match="not divided by factor²"):
        ops.pixel_shuffle(x, factor=3)
