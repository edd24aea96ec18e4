"""What kernels on an NVIDIA device are made with: a compiler, a launcher, a stream, and parts.

`compile` turns a CUDA source and its constants into machine code anywhere; `launch` runs it.
CuPy is imported on first use, by the kernels beside the ops and inside functions here.
"""
