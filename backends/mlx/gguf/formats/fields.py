"""Fields of blocks as numbers: how every family of types stores some of its parts."""

from __future__ import annotations

import numpy as np


def half(field: np.ndarray) -> np.ndarray:
    """uint8 (blocks, 2), a half float, as float32 (blocks, 1)."""
    return np.ascontiguousarray(field).view(np.float16).astype(np.float32)


def nibbles(field: np.ndarray, run: int) -> np.ndarray:
    """uint8 (blocks, n) as int16 (blocks, 2 n): of each `run` bytes the low halves, then the
    high ones."""
    runs = field.reshape(len(field), -1, 1, run)
    halves = np.concatenate([runs & 15, runs >> 4], axis=2)
    return halves.reshape(len(field), -1).astype(np.int16)


def bit_pairs(field: np.ndarray) -> np.ndarray:
    """uint8 (blocks, 64) as int16 (blocks, 256): of each 32 bytes the pairs of bits from bit 0
    on, then those from 2, 4 and 6 on."""
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    pairs = field.reshape(-1, 2, 1, 32) >> shifts & 3
    return pairs.reshape(-1, 256).astype(np.int16)
