"""Raw blocks as one of MLX's quantizations with 4-bit floats."""

from __future__ import annotations

import numpy as np

from backends.mlx.gguf.formats.block_format import BlockFormat
from backends.mlx.gguf.formats.mlx_view import E2M1, FLOAT_MODES, MLXView


def float_view(fmt: BlockFormat, blocks: np.ndarray) -> MLXView | None:
    """Reads uint8 (N, row_bytes) `blocks` in the mode that the row of `fmt` names.

    Scales are matched as numbers: the view has the byte that MLX reads as a block's scale, which
    need not be the block's own byte. A zero loses its sign. None if `fmt` names no mode or a scale
    is no number of it.
    Raises ValueError if `blocks` is not a matrix of whole blocks.
    """
    if fmt.mlx_mode is None:
        return None
    mode = FLOAT_MODES[fmt.mlx_mode]
    unpacked = fmt.unpack(fmt.as_blocks(blocks))
    # Quants are the floats doubled.
    scales = 2 * unpacked.scales.astype(np.float64).reshape(blocks.shape[0], -1)
    found = np.searchsorted(mode.scales, scales).clip(max=len(mode.scales) - 1)
    if not (mode.scales[found] == scales).all():
        return None
    quants = _codes(fmt)[unpacked.quants - fmt.quants[0]].reshape(blocks.shape[0], -1)
    return MLXView(quants, found.astype(np.uint8), None, mode.group, mode.bits, fmt.mlx_mode)


def _codes(fmt: BlockFormat) -> np.ndarray:
    """The E2M1 bits of each quant of `fmt`, from the lowest on."""
    lowest, highest = fmt.quants
    codes = np.zeros(highest - lowest + 1, np.uint8)
    # Of the two zeros the positive one stays.
    for code in reversed(range(len(E2M1))):
        codes[int(2 * E2M1[code]) - lowest] = code
    return codes
