"""Blocks of 32 weights with one scale taken apart: ggml's first formats.

Layouts: ggml-common.h (MIT).
"""

from __future__ import annotations

import numpy as np

from backends.mlx.gguf.formats.block_format import Unpacked, no_minima
from backends.mlx.gguf.formats.fields import half, nibbles


def unpack_q8_0(blocks: np.ndarray) -> Unpacked:
    """Q8_0: half d, 32 int8."""
    return _signed(blocks, blocks[:, 2:34].view(np.int8).astype(np.int16))


def unpack_q4_0(blocks: np.ndarray) -> Unpacked:
    """Q4_0: half d, 16 bytes of nibbles; weight = d (q - 8)."""
    return _signed(blocks, nibbles(blocks[:, 2:18], 16) - 8)


def unpack_q4_1(blocks: np.ndarray) -> Unpacked:
    """Q4_1: half d, half m, 16 bytes of nibbles; weight = d q + m."""
    return _with_minimum(blocks, nibbles(blocks[:, 4:20], 16))


def unpack_q5_0(blocks: np.ndarray) -> Unpacked:
    """Q5_0: half d, 4 bytes of fifth bits, 16 bytes of nibbles; weight = d (q - 16)."""
    return _signed(blocks, nibbles(blocks[:, 6:22], 16) + _fifth_bits(blocks[:, 2:6]) - 16)


def unpack_q5_1(blocks: np.ndarray) -> Unpacked:
    """Q5_1: half d, half m, 4 bytes of fifth bits, 16 bytes of nibbles; weight = d q + m."""
    return _with_minimum(blocks, nibbles(blocks[:, 8:24], 16) + _fifth_bits(blocks[:, 4:8]))


def _fifth_bits(field: np.ndarray) -> np.ndarray:
    """uint8 (blocks, 4), bit i of weight i, as int16 (blocks, 32) of 0 and 16."""
    return np.unpackbits(field, axis=1, bitorder="little").astype(np.int16) << 4


def _signed(blocks: np.ndarray, quants: np.ndarray) -> Unpacked:
    scales = half(blocks[:, 0:2])
    return Unpacked(quants, scales, no_minima(scales))


def _with_minimum(blocks: np.ndarray, quants: np.ndarray) -> Unpacked:
    return Unpacked(quants, half(blocks[:, 0:2]), half(blocks[:, 2:4]))
