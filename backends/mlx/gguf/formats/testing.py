"""Blocks for tests: of tame scales, from ggml's own quantizers, and adversarial ones."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from backends.mlx.gguf.formats.block_format import BlockFormat
from backends.mlx.gguf.formats.oracle import dequantize

# Different blocks that `blocks` draws from, and those decoded at a time to find them.
_POOL, _TRIED = 128, 2048


def libgguf():
    """The package with ggml's own functions; skips the test where there is no such package."""
    return pytest.importorskip("libgguf", reason="libgguf: no wheel for this Python and machine")


def weights(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Weights float32 (rows, columns) as trained ones look: a scale for each row, and a
    run of zeros and an outlier, which give sub-blocks without scale and wide ones."""
    rng = np.random.default_rng((seed, rows, columns))
    values = rng.standard_normal((rows, columns), np.float32)
    values *= np.exp(rng.normal(-3.0, 1.0, (rows, 1))).astype(np.float32)
    values[0, :40] = 0.0
    values[-1, columns // 2] *= 40.0
    return values


def quantize(fmt: BlockFormat, values: np.ndarray) -> np.ndarray:
    """Blocks uint8 (rows, row_bytes) of float32 (rows, columns), by ggml's quantizer.

    The first call for some types takes ggml up to 15 seconds, to search its grids.
    """
    columns = values.shape[1]
    importance = np.ones(columns, np.float32)
    blocks = libgguf().quantize_rows(values, fmt.ggml_id, imatrix=importance)
    return np.asarray(blocks).view(np.uint8).reshape(values.shape[0], fmt.row_bytes(columns))


def quantized(fmt: BlockFormat, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Blocks uint8 (rows, row_bytes) of trained-looking weights, by ggml's quantizer."""
    return quantize(fmt, weights(rows, columns, seed))


def dequantize_by_ggml(fmt: BlockFormat, blocks: np.ndarray) -> np.ndarray:
    """Weights float32 (rows, columns) of uint8 (rows, row_bytes), by ggml's C functions."""
    return np.asarray(libgguf().dequantize_rows(blocks, fmt.ggml_id))


def blocks(fmt: BlockFormat, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Blocks uint8 (rows, row_bytes) of arbitrary quants and tame scales: the largest weight of
    a block has a magnitude in [1/16, 1)."""
    row_bytes = fmt.row_bytes(columns)
    pool = _tame(fmt)
    rng = np.random.default_rng((seed, rows, columns))
    chosen = rng.integers(0, len(pool), rows * row_bytes // fmt.block_bytes)
    return pool[chosen].reshape(rows, row_bytes)


def random_bytes(fmt: BlockFormat, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Blocks of arbitrary bytes: negative, huge, subnormal and non-finite scales too."""
    rng = np.random.default_rng((seed, rows, columns))
    return rng.integers(0, 256, (rows, fmt.row_bytes(columns)), np.uint8)


def adversarial(fmt: BlockFormat, columns: int) -> np.ndarray:
    """Blocks uint8 (rows, row_bytes), one of them in each row twisted, wherever its scales are:
    equal bytes throughout, or one halfword that as a half is zero, subnormal, one, the largest,
    infinite or not a number, of both signs."""
    equal = np.repeat(np.array([[0x00], [0x55], [0xAA], [0xFF]], np.uint8), fmt.block_bytes, 1)
    found = [equal]
    halves = np.array([0x0000, 0x0001, 0x03FF, 0x3C00, 0x7BFF, 0x7C00, 0x7E00], "<u2")
    for half in np.concatenate([halves, halves | 0x8000]):
        for at in range(0, fmt.block_bytes - 1, 2):
            found.append(_tame(fmt)[at % _POOL].copy()[None])
            found[-1][0, at : at + 2] = half[None].view(np.uint8)
    rest = blocks(fmt, sum(map(len, found)), columns)
    rest[:, -fmt.block_bytes :] = np.concatenate(found)
    return rest


@cache
def _tame(fmt: BlockFormat) -> np.ndarray:
    """uint8 (_POOL, block_bytes): the first tame ones among blocks of arbitrary bytes."""
    found = np.empty((0, fmt.block_bytes), np.uint8)
    seed = 0
    while len(found) < _POOL:
        tried = random_bytes(fmt, _TRIED, fmt.block_weights, seed)
        with np.errstate(all="ignore"):
            largest = np.abs(dequantize(fmt, tried)).max(axis=1)
        found = np.concatenate([found, tried[(largest >= 1 / 16) & (largest < 1)]])
        seed += 1
    return found[:_POOL]
