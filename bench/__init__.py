"""Benchmarks: kernels on an NVIDIA GPU, on Apple's instruction set, on a Mac; exports."""
