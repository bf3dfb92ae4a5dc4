"""Blocks of 128 or 256 weights of two or three values and one scale taken apart.

Layouts: block_q1_0, block_tq1_0 and block_tq2_0 of ggml (ggml-common.h, MIT). The scale is
repeated for each 32 weights, so that the sub-blocks are as wide as other formats'.
"""

from __future__ import annotations

import numpy as np

from backends.mlx.gguf.formats.block_format import Unpacked, no_minima
from backends.mlx.gguf.formats.fields import bit_pairs, half


def unpack_q1_0(blocks: np.ndarray) -> Unpacked:
    """Q1_0: half d, 16 bytes of bits; weight = d or, where the bit is 0, -d."""
    bits = np.unpackbits(blocks[:, 2:18], axis=1, bitorder="little").astype(np.int16)
    return _with_scale(2 * bits - 1, blocks[:, 0:2])


def unpack_tq1_0(blocks: np.ndarray) -> Unpacked:
    """TQ1_0: 52 bytes of up to five digits in base 3, half d; weight = d (digit - 1).

    A byte is a fraction of 256, its first digit the first after the point. 32 bytes hold
    weights 0-159, 16 bytes weights 160-239, 4 bytes weights 240-255; byte i of b bytes has
    digit n of weight b n + i.
    """
    parts = [(blocks[:, 0:32], 5), (blocks[:, 32:48], 5), (blocks[:, 48:52], 4)]
    # Digit n: what a multiplication by 3**n leaves behind the point, times 3.
    digits = [
        (field * np.uint8(3**n)).astype(np.int16) * 3 >> 8
        for field, count in parts
        for n in range(count)
    ]
    return _with_scale(np.concatenate(digits, axis=1) - 1, blocks[:, 52:54])


def unpack_tq2_0(blocks: np.ndarray) -> Unpacked:
    """TQ2_0: 64 bytes of bit pairs, half d; weight = d (pair - 1)."""
    return _with_scale(bit_pairs(blocks[:, 0:64]) - 1, blocks[:, 64:66])


def _with_scale(quants: np.ndarray, d: np.ndarray) -> Unpacked:
    scales = np.repeat(half(d), quants.shape[1] // 32, axis=1)
    return Unpacked(quants, scales, no_minima(scales))
