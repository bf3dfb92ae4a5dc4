"""K-quant super-blocks of 256 weights taken apart.

Layouts: block_q4_K and block_q6_K of ggml (ggml-common.h, MIT).
"""

from __future__ import annotations

import numpy as np

from backends.mlx.gguf.formats.block_format import Unpacked


def _half(field: np.ndarray) -> np.ndarray:
    """Reads uint8 (blocks, 2) as float32 (blocks, 1)."""
    return np.ascontiguousarray(field).view(np.float16).astype(np.float32)


def _six_bit_pairs(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reads the 12 bytes that hold 8 six-bit scales and 8 six-bit minima.

    Bytes 0-3: scales 0-3, bytes 4-7: minima 0-3, six low bits each. Bytes 8-11:
    four low bits of scales 4-7 and of minima 4-7; their two high bits are the
    ones that bytes 0-3 and 4-7 leave free.
    """
    first, second, low = field[:, 0:4], field[:, 4:8], field[:, 8:12]
    scales = np.concatenate([first & 63, low & 15 | first >> 6 << 4], axis=1)
    minima = np.concatenate([second & 63, low >> 4 | second >> 6 << 4], axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def unpack_q4_k(blocks: np.ndarray) -> Unpacked:
    """Q4_K: half d, half dmin, 12 bytes of scales and minima, 128 bytes of nibbles.

    Byte 32 j + i of the nibbles holds weight 64 j + i (low) and 64 j + 32 + i (high).
    """
    scales, minima = _six_bit_pairs(blocks[:, 4:16])
    nibbles = blocks[:, 16:144].reshape(-1, 4, 1, 32)
    quants = np.concatenate([nibbles & 15, nibbles >> 4], axis=2)
    return Unpacked(
        quants.reshape(-1, 256).astype(np.int16),
        _half(blocks[:, 0:2]) * scales,
        -_half(blocks[:, 2:4]) * minima,
    )


def unpack_q6_k(blocks: np.ndarray) -> Unpacked:
    """Q6_K: 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales, half d.

    Each half of 128 weights is four runs of 32. Runs 0 and 1 are the low nibbles
    of the half's first and second 32 bytes, runs 2 and 3 the high ones; bit pair
    `run` of the half's 32 high bytes completes them.
    """
    low = blocks[:, 0:128].reshape(-1, 2, 2, 32)
    nibbles = np.concatenate([low & 15, low >> 4], axis=2)
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts & 3
    quants = (nibbles | high << 4).reshape(-1, 256).astype(np.int16) - 32
    scales = _half(blocks[:, 208:210]) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    return Unpacked(quants, scales, np.zeros_like(scales))
