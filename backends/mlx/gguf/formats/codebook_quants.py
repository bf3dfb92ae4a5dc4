"""Blocks whose stored numbers choose from a codebook taken apart: the IQ types.

Layouts: ggml-common.h (MIT). The codebooks are the `gguf` package's, which also looks them up
here: in blocks whose scale is 1, so that its weights are quants times known small numbers.
"""

from __future__ import annotations

import numpy as np

import gguf
from backends.mlx.gguf.formats.block_format import Unpacked, no_minima
from backends.mlx.gguf.formats.fields import half, nibbles

_ONE = np.array([1.0], np.float16).view(np.uint8)


def unpack_iq4_nl(blocks: np.ndarray) -> Unpacked:
    """IQ4_NL: half d, 16 bytes of nibbles."""
    return _unpack("IQ4_NL", blocks, np.ones((blocks.shape[0], 1)))


def unpack_iq4_xs(blocks: np.ndarray) -> Unpacked:
    """IQ4_XS: half d, 8 pairs of high bits and 8 low nibbles of scales, 128 bytes of nibbles."""
    high = _words(blocks[:, 2:4], "<u2") >> np.arange(0, 16, 2, np.uint16) & 3
    return _unpack("IQ4_XS", blocks, (nibbles(blocks[:, 4:8], 1) | high << 4) - 32)


def unpack_iq2_xxs(blocks: np.ndarray) -> Unpacked:
    """IQ2_XXS: half d, 8 times 8 bytes, whose 4 highest bits are a scale."""
    return _unpack("IQ2_XXS", blocks, _quarters(_words(blocks[:, 2:66], "<u8") >> 60))


def unpack_iq2_xs(blocks: np.ndarray) -> Unpacked:
    """IQ2_XS: half d, 32 halfwords, 16 nibbles of scales."""
    return _unpack("IQ2_XS", blocks, _quarters(nibbles(blocks[:, 66:74], 1)))


def unpack_iq2_s(blocks: np.ndarray) -> Unpacked:
    """IQ2_S: half d, 72 bytes of quants and signs, 16 nibbles of scales."""
    return _unpack("IQ2_S", blocks, _quarters(nibbles(blocks[:, 74:82], 1)))


def unpack_iq3_xxs(blocks: np.ndarray) -> Unpacked:
    """IQ3_XXS: half d, 64 bytes of quants, 8 words whose 4 highest bits are a scale."""
    return _unpack("IQ3_XXS", blocks, 2 * _quarters(_words(blocks[:, 66:98], "<u4") >> 28))


def unpack_iq3_s(blocks: np.ndarray) -> Unpacked:
    """IQ3_S: half d, 104 bytes of quants and signs, 8 nibbles of scales."""
    return _unpack("IQ3_S", blocks, 1 + 2 * nibbles(blocks[:, 106:110], 1))


def unpack_iq1_s(blocks: np.ndarray) -> Unpacked:
    """IQ1_S: half d, 32 bytes of quants, 8 halfwords with a scale in bits 12-14. Quants are in
    eighths."""
    return _unpack("IQ1_S", blocks, _odd_eighths(_words(blocks[:, 34:50], "<u2") >> 12 & 7))


def unpack_iq1_m(blocks: np.ndarray) -> Unpacked:
    """IQ1_M: 48 bytes of quants, 4 halfwords of 4 scales and a quarter of the half d. Quants are
    in eighths."""
    words = _words(blocks[:, 48:56], "<u2")
    scales = words[:, :, None] >> np.array([0, 3, 6, 9], np.uint16) & 7
    quarters = words >> 12 << np.array([0, 4, 8, 12], np.uint16)
    d = np.bitwise_or.reduce(quarters, axis=1, keepdims=True).view(np.float16)
    one = blocks.copy()
    one[:, 49:56:2] = blocks[:, 49:56:2] & 15 | np.array([0x00, 0x00, 0xC0, 0x30], np.uint8)
    factors = _odd_eighths(scales.reshape(-1, 16))
    return _divide("IQ1_M", one, d.astype(np.float32), factors)


def _unpack(name: str, blocks: np.ndarray, factors: np.ndarray) -> Unpacked:
    """Blocks that start with a half d. factors: (blocks, sub-blocks), scale = d factor."""
    one = blocks.copy()
    one[:, 0:2] = _ONE
    return _divide(name, one, half(blocks[:, 0:2]), factors)


def _divide(name: str, one: np.ndarray, d: np.ndarray, factors: np.ndarray) -> Unpacked:
    """one: the blocks with d = 1; where a factor is 0 too, the quants do not count."""
    factors = factors.astype(np.float32)
    weights = gguf.dequantize(one, gguf.GGMLQuantizationType[name]).reshape(*factors.shape, -1)
    quants = weights / np.where(factors == 0, 1, factors)[:, :, None]
    scales = d * factors
    return Unpacked(quants.reshape(one.shape[0], -1).astype(np.int16), scales, no_minima(scales))


def _words(field: np.ndarray, dtype: str) -> np.ndarray:
    """uint8 (blocks, bytes) as little-endian integers of `dtype`."""
    return np.ascontiguousarray(field).view(dtype)


def _quarters(scales: np.ndarray) -> np.ndarray:
    return (scales.astype(np.float32) + 0.5) * 0.25


def _odd_eighths(scales: np.ndarray) -> np.ndarray:
    return (2 * scales.astype(np.float32) + 1) * 0.125
