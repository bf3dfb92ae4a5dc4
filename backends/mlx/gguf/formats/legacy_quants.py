"""Blocks of 32 weights with one scale taken apart: ggml's first formats.

Layouts: ggml-common.h (MIT).
"""

from __future__ import annotations

import numpy as np

from backends.mlx.gguf.formats.block_format import Unpacked, read_half


def unpack_q8_0(blocks: np.ndarray) -> Unpacked:
    """Q8_0: half d, 32 int8."""
    scales = read_half(blocks[:, 0:2])
    quants = blocks[:, 2:34].view(np.int8).astype(np.int16)
    return Unpacked(quants, scales, np.zeros_like(scales))
