"""Blocks of 4-bit floats (E2M1) taken apart. Quants are the floats doubled: integers.

Layouts: block_mxfp4 and block_nvfp4 of ggml (ggml-common.h, MIT). Floats: OCP Microscaling
Formats 1.0.
"""

from __future__ import annotations

import numpy as np

from backends.mlx.gguf.formats.block_format import Unpacked, no_minima
from backends.mlx.gguf.formats.fields import nibbles

_DOUBLED = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int16)


def unpack_mxfp4(blocks: np.ndarray) -> Unpacked:
    """MXFP4: exponent byte e, 16 bytes of nibbles; weight = 2**(e - 127) float."""
    scales = np.ldexp(np.float32(1), blocks[:, 0:1].astype(np.int32) - 128)
    return _unpacked(nibbles(blocks[:, 1:17], 16), scales)


def unpack_nvfp4(blocks: np.ndarray) -> Unpacked:
    """NVFP4: 4 scales (E4M3, the sign bit does not count), 32 bytes of nibbles, 8 for each 16
    weights; weight = scale float. The scale 0x7F, not a number, stands for 0."""
    bits = blocks[:, 0:4]
    exponent, mantissa = bits.astype(np.int32) >> 3 & 15, (bits & 7).astype(np.float32)
    scales = np.where(
        exponent == 0, np.ldexp(mantissa, -10), np.ldexp(8 + mantissa, exponent - 11)
    ) * (bits != 0x7F)
    return _unpacked(nibbles(blocks[:, 4:36], 8), scales)


def _unpacked(indices: np.ndarray, scales: np.ndarray) -> Unpacked:
    scales = scales.astype(np.float32)
    return Unpacked(_DOUBLED[indices], scales, no_minima(scales))
