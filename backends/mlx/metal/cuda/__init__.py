"""The kernels as CUDA sources, to run and race them on an NVIDIA GPU. A proxy, not Apple."""

from backends.mlx.metal.cuda.cuda_source import INCLUDE_DIRS, cuda_source, entry_symbol, rewrite

__all__ = ["INCLUDE_DIRS", "cuda_source", "entry_symbol", "rewrite"]
