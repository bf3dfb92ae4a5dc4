"""Blocks for tests: real ones, made by ggml's own quantizers, and adversarial ones."""

from __future__ import annotations

import libgguf
import numpy as np

from backends.mlx.gguf.formats.block_format import BlockFormat


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
    """Blocks uint8 (rows, row_bytes) of float32 (rows, columns), by ggml's quantizer."""
    columns = values.shape[1]
    importance = np.ones(columns, np.float32)
    blocks = libgguf.quantize_rows(values, fmt.ggml_id, imatrix=importance)
    return np.asarray(blocks).view(np.uint8).reshape(values.shape[0], fmt.row_bytes(columns))


def blocks(fmt: BlockFormat, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Blocks uint8 (rows, row_bytes) of trained-looking weights."""
    return quantize(fmt, weights(rows, columns, seed))


def random_bytes(fmt: BlockFormat, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Blocks of arbitrary bytes: negative, huge, subnormal and non-finite scales too."""
    rng = np.random.default_rng((seed, rows, columns))
    return rng.integers(0, 256, (rows, fmt.row_bytes(columns)), np.uint8)
