"""Each op beside the function of PyTorch that it is compared with, and how its cases are drawn."""

from __future__ import annotations

from . import table_places, table_products, table_values  # noqa: F401 - they fill the rows
from .table_draws import ROWS as ROWS

# Ops that no row names, and why.
ELSEWHERE = {
    "accumulate": "adds in place, compared through every gradient",
    "assign": "compared as x[key] = y in test_indexing",
    "assign_at": "compared as x[key] = y in test_indexing",
    "cofactor": "compared as the gradient of det",
    "extreme_dx": "compared as the gradient of max",
    "flat_index": "compared as x[key] in test_indexing",
    "index_accumulate": "compared as the gradient of views",
    "index_at": "compared as x[key] in test_indexing",
    "replace_non_finite": "compared as nan_to_num in test_extremes",
    "svd": "vectors are defined up to their sign; its values are compared as svdvals",
    "scaled_cast": "PyTorch has none",
    "transfer": "moves, and computes nothing",
}
