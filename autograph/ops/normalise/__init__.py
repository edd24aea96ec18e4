"""Normalisation: values brought to mean 0 and variance 1 over some axes, then scaled and shifted.

Which axes is what tells the ops apart: the features of a sample (`layer_norm`), groups of its
channels (`group_norm`, `instance_norm`), a channel over the batch (`batch_norm`).
"""

from .add_norm import add_layer_norm
from .batch_norm import batch_norm, batch_norm_fixed
from .channels import batch_norm_relu, batch_norm_relu_pair
from .group_norm import group_norm, instance_norm
from .layer_norm import layer_norm
from .rms_norm import rms_norm

__all__ = [
    "add_layer_norm",
    "batch_norm",
    "batch_norm_fixed",
    "batch_norm_relu",
    "batch_norm_relu_pair",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "rms_norm",
]
