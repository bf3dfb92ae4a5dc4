"""Writes MLX nodes for what was recognised: kernels of ours, or MLX's own operations."""
