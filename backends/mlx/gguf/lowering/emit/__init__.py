"""Writes MLX nodes for what was recognised: fused kernels, or MLX's own quantized operations."""
