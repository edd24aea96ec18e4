"""Microseconds of dense products by our own kernel, for tiles of several sizes, and by cublasLt:
`python -m benches.device_products`. It decides `tile._BLOCKS` and where the library begins."""

from __future__ import annotations

import cupy

from autograph.backends.cuda import lt, tile
from autograph.backends.cuda.stream import enter, stream_of
from autograph.ops.linear import cuda_kernels

from .device_kernels import BF16, F32, device_time, normal

SIZES = ((100, 256, 128), (100, 128, 84), (128, 784, 256), (1000, 256, 128), (1000, 128, 84),
         (1000, 84, 10), (256, 1024, 1024))  # fmt: skip


def main() -> None:
    enter(0)
    stream = stream_of(0)
    for dtype in (F32, BF16):
        for m, k, n in SIZES:
            a, b = normal(m, k, dtype=dtype), normal(k, n, dtype=dtype)
            found = {}
            for blocks in (64, 128, 256):
                tile._BLOCKS = blocks
                for each in (cuda_kernels._product, cuda_kernels._matrices):
                    each.cache_clear()
                lt.is_faster = lambda *sizes: False
                found[f"{blocks} {tile.tile_of(m, n)}"] = device_time(
                    lambda a=a, b=b: cuda_kernels.product_cuda(a, b), stream
                )
            found["cublasLt"] = device_time(lambda a=a, b=b: lt.matmul(a, b), stream)
            times = "  ".join(f"{name} {took:.2f}" for name, took in found.items())
            print(f"{dtype!s:9} {m} {k} {n}: {times}")
    cupy.cuda.Device().synchronize()


if __name__ == "__main__":
    main()
