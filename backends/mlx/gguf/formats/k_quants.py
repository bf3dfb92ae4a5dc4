"""K-quant super-blocks of 256 weights taken apart.

Layouts: block_q2_K to block_q6_K of ggml (ggml-common.h, MIT).
"""

from __future__ import annotations

import numpy as np

from backends.mlx.gguf.formats.block_format import Unpacked, no_minima
from backends.mlx.gguf.formats.fields import bit_pairs, half, nibbles


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


def _six_bit_factors(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales and minima, float32 (blocks, 8), of the first 16 bytes of Q4_K and Q5_K."""
    scales, minima = _six_bit_pairs(blocks[:, 4:16])
    return half(blocks[:, 0:2]) * scales, -half(blocks[:, 2:4]) * minima


def _bit_planes(field: np.ndarray) -> np.ndarray:
    """uint8 (blocks, 32) as uint8 (blocks, 256): bit s of byte i belongs to weight 32 s + i."""
    shifts = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    return (field.reshape(-1, 1, 32) >> shifts & 1).reshape(-1, 256)


def unpack_q2_k(blocks: np.ndarray) -> Unpacked:
    """Q2_K: 16 bytes of scales (low nibble) and minima, 64 of bit pairs, half d, half dmin."""
    factors = blocks[:, 0:16].astype(np.int16)
    scales = half(blocks[:, 80:82]) * (factors & 15).astype(np.float32)
    minima = -half(blocks[:, 82:84]) * (factors >> 4).astype(np.float32)
    return Unpacked(bit_pairs(blocks[:, 16:80]), scales, minima)


def unpack_q3_k(blocks: np.ndarray) -> Unpacked:
    """Q3_K: 32 bytes of third bits, 64 of bit pairs, 12 of six-bit scales, half d.

    Bytes 0-7 of the scales: the low nibbles of scales 0-7, then, high, of 8-15. Bytes 8-11:
    their two high bits, in four planes.
    """
    third = _bit_planes(blocks[:, 0:32]).astype(np.int16) << 2
    low, high = blocks[:, 96:104], blocks[:, 104:108]
    pairs = np.concatenate([high >> shift & 3 for shift in (0, 2, 4, 6)], axis=1)
    factors = (nibbles(low, 8) | pairs << 4).astype(np.float32) - 32
    scales = half(blocks[:, 108:110]) * factors
    quants = bit_pairs(blocks[:, 32:96]) + third - 4
    return Unpacked(quants, scales, no_minima(scales))


def unpack_q4_k(blocks: np.ndarray) -> Unpacked:
    """Q4_K: half d, half dmin, 12 bytes of scales and minima, 128 bytes of nibbles.

    Byte 32 j + i of the nibbles holds weight 64 j + i (low) and 64 j + 32 + i (high).
    """
    return Unpacked(nibbles(blocks[:, 16:144], 32), *_six_bit_factors(blocks))


def unpack_q5_k(blocks: np.ndarray) -> Unpacked:
    """Q5_K: as Q4_K, with 32 bytes of fifth bits before the nibbles.

    Bit s of byte i belongs to weight 32 s + i.
    """
    fifth = _bit_planes(blocks[:, 16:48]).astype(np.int16)
    quants = nibbles(blocks[:, 48:176], 32) + (fifth << 4)
    return Unpacked(quants, *_six_bit_factors(blocks))


def unpack_q6_k(blocks: np.ndarray) -> Unpacked:
    """Q6_K: 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales, half d.

    Each half of 128 weights is four runs of 32. Runs 0 and 1 are the low nibbles
    of the half's first and second 32 bytes, runs 2 and 3 the high ones; bit pair
    `run` of the half's 32 high bytes completes them.
    """
    quants = (nibbles(blocks[:, 0:128], 64) | bit_pairs(blocks[:, 128:192]) << 4) - 32
    scales = half(blocks[:, 208:210]) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    return Unpacked(quants, scales, no_minima(scales))
