"""autograph: deep learning that a person can read in an afternoon."""

from . import ops
from .tensor import *
