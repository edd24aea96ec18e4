"""Every op by name, and the functions that are made of them."""

from inspect import isfunction

from ..op import REGISTRY, Op
from .activations import (
    celu,
    elu,
    gelu,
    gelu_tanh,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    mish,
    prelu,
    relu6,
    selu,
    silu,
    softplus,
    softsign,
)
from .arrange import (
    chunk,
    expand_dims,
    flatten,
    flip,
    meshgrid,
    moveaxis,
    pixel_shuffle,
    pixel_unshuffle,
    repeat,
    roll,
    split,
    squeeze,
    stack,
    swapaxes,
    tile,
    transpose,
    unbind,
    unflatten,
)
from .attention import scaled_dot_product_attention
from .batch_rows import gather_rows
from .broadcast import broadcast_to, sum_to
from .cast import cast, scaled_cast
from .comparison import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
)
from .confusion import tally_confusion, tally_top
from .conv import conv1, conv3
from .conv2 import conv2, conv2_dweight, conv2_dx
from .conv2.pooled import (
    conv2_relu_max_pool2,
    conv2_relu_max_pool2_back,
    conv2_relu_max_pool2_dweight,
)
from .conv_transpose import conv_transpose1, conv_transpose2, conv_transpose3
from .counting import (
    bincount,
    histogram,
    masked_select,
    nonzero,
    nonzero_flat,
    one_hot,
    unique,
    unique_all,
)
from .decompose import cross, eigh, matrix_power, matrix_rank, pinv, qr, slogdet
from .dropout import dropout
from .elementwise import (
    abs,
    accumulate,
    add,
    clip,
    clip_both,
    clip_high,
    clip_low,
    copysign,
    divide,
    floor_divide,
    hypot,
    lerp,
    logsigmoid,
    masked_fill,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    reciprocal,
    relu,
    remainder,
    sigmoid,
    sign,
    square,
    subtract,
    where,
)
from .embedding import embedding
from .index import assign, frozen_key, index, index_accumulate
from .likelihood import cross_entropy, negative_likelihood, nll_loss
from .linalg import cholesky, cofactor, det, inv, matrix_norm, solve
from .linear import linear, linear_back, linear_dweight
from .linear.gelu import linear_gelu_tanh, linear_gelu_tanh_back
from .linear.relu import linear_relu, linear_relu_back, linear_relu_dweight
from .loss import cross_entropy_loss, tally, tally_loss
from .losses import (
    absolute_error,
    bce_loss,
    bce_with_logits_loss,
    binary_entropy,
    cosine_loss,
    cosine_similarity,
    hinge,
    hinge_loss,
    huber,
    huber_loss,
    kl_loss,
    l1_loss,
    logit_entropy,
    mse_loss,
    relative_entropy,
    smooth_l1_loss,
    squared_error,
)
from .matmul import matmul
from .neighbour import nextafter
from .normalise import (
    add_layer_norm,
    batch_norm,
    batch_norm_fixed,
    batch_norm_relu,
    batch_norm_relu_pair,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from .packed_attention import packed_attention
from .pad import pad, pad_constant
from .pointwise import Pointwise, pointwise
from .pool import (
    adaptive_max_pool,
    adaptive_mean_pool,
    global_max_pool,
    global_mean_pool,
    max_pool,
    max_pool1,
    max_pool3,
    mean_pool,
    mean_pool1,
    mean_pool3,
)
from .pool2 import max_pool2, mean_pool2
from .positions import positional_encoding
from .products import dot, einsum, outer, tensordot, vecdot
from .random import advance, random_words
from .recurrent import gru_steps, lstm_steps
from .reduce import all, any, argmax, argmin, count_nonzero, max, mean, min, sum
from .reduce.product import prod
from .resample import resample, resample_dx, upsample
from .rounding import ceil, floor, nan_to_num, replace_non_finite, round, trunc
from .scan import cummax, cummin, cumprod, cumsum
from .scatter import gather, scatter, scatter_add, take_along_axis, take_along_axis_dx
from .shape import concat, copy, permute_dims, reshape
from .softmax import log_softmax, softmax
from .sort import argsort, searchsorted, sort, topk
from .statistics import euclidean_norm, logsumexp, norm, power_norm, std, var
from .svd import svd, svdvals
from .take import assign_at, flat_index, index_add, index_at, take
from .transcendental import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    rsqrt,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)
from .transfer import transfer
from .triangle import diagonal, trace, tril, triu
from .update import adam_update, sgd_update, tick
from .update.adam_variants import adamax_update, nadam_update, radam_update
from .update.follow import follow
from .update.large_models import adafactor_update, lamb_update, lion_update
from .update.muon import muon_update
from .update.product import sgd_product_update
from .update.root_squares import adadelta_update, adagrad_update, rmsprop_update
from .update.together import adam_updates, sgd_updates
from .windows import fold, from_windows, unfold, windows

__all__ = sorted(
    name for name, each in list(globals().items()) if isinstance(each, Op) or isfunction(each)
)
