"""Embedding and its gradient on a CUDA device."""

from ..backends import CUDA
from .batch_rows.cuda_added import added_rows_cuda
from .batch_rows.cuda_kernels import gather_cuda
from .embedding import embedding, embedding_dweight


@embedding.kernel(CUDA)
def embedding_cuda(x, weight, *, padding):
    return gather_cuda(weight, x)


@embedding_dweight.kernel(CUDA, when=lambda dy, x, **settings: dy.size > 0)
def embedding_dweight_cuda(dy, x, *, rows, padding):
    dweight = added_rows_cuda(rows, x.reshape(-1), dy.reshape(-1, dy.shape[-1]))
    if padding is not None:
        dweight[padding] = 0
    return dweight
