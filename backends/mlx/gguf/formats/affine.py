"""Raw blocks as MLX's affine quantization."""

from __future__ import annotations

import numpy as np

from backends.mlx.gguf.formats.block_format import BlockFormat
from backends.mlx.gguf.formats.mlx_view import MLXView

# MLX's affine kernels have these group sizes (mlx/backend/metal/kernels/quantized.h).
MLX_GROUPS = (128, 64, 32)


def affine_view(fmt: BlockFormat, blocks: np.ndarray) -> MLXView | None:
    """Reads uint8 (N, row_bytes) `blocks` as affine groups.

    The group is the largest that MLX has and in which all sub-blocks agree. None
    if the sub-blocks do not merge to 32 weights, or a scale or bias is not finite.
    Raises ValueError if `blocks` is not a matrix of whole blocks.
    """
    rows, columns = blocks.shape[0], fmt.columns(blocks.shape[1])
    unpacked = fmt.unpack(fmt.as_blocks(blocks))
    scales = unpacked.scales.reshape(rows, -1)
    # A quant q is stored as q + zero. Beyond the largest float it has no bias.
    with np.errstate(over="ignore", invalid="ignore"):
        biases = (unpacked.minima - unpacked.scales * fmt.affine.zero).reshape(rows, -1)
    if not (np.isfinite(scales).all() and np.isfinite(biases).all()):
        return None
    for group in MLX_GROUPS:
        if columns % group:
            continue
        merged = [_merge(factor, group // fmt.affine.group) for factor in (scales, biases)]
        if all(factor is not None for factor in merged):
            quants = (unpacked.quants + fmt.affine.zero).astype(np.uint8)
            return MLXView(quants.reshape(rows, columns), *merged, group, fmt.affine.bits)
    return None


def _merge(factor: np.ndarray, count: int) -> np.ndarray | None:
    """One value for each `count` neighbours of (N, groups), or None if any differ."""
    runs = factor.reshape(factor.shape[0], -1, count)
    return runs[:, :, 0] if (runs == runs[:, :, :1]).all() else None
