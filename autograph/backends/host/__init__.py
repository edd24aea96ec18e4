"""The host engine: kernels compiled for this processor, run by a pool of native threads."""
