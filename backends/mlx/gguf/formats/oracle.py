"""The exact weights of raw blocks, and the bound that errors are measured against."""

from __future__ import annotations

import numpy as np

import gguf
from backends.mlx.gguf.formats.block_format import BlockFormat


def dequantize(fmt: BlockFormat, blocks: np.ndarray) -> np.ndarray:
    """Weights float32 (rows, K) of `blocks`, uint8 (rows, row_bytes).

    Computed by the `gguf` package, whose result is bit-equal to ggml's, or by `fmt.unpack` for
    a type that the package does not decode; the tests compare both with ggml's own functions.
    Raises ValueError if `blocks` is not a matrix of whole blocks.
    """
    whole = fmt.as_blocks(blocks)
    try:
        return gguf.dequantize(blocks, gguf.GGMLQuantizationType(fmt.ggml_id))
    except NotImplementedError:
        quants, scales, minima = fmt.unpack(whole)
        products = np.repeat(scales, fmt.group, axis=1) * quants
        weights = products + np.repeat(minima, fmt.group, axis=1)
        return weights.reshape(blocks.shape[0], -1)


def largest_magnitude(fmt: BlockFormat, blocks: np.ndarray) -> np.ndarray:
    """For each weight, the largest magnitude that its sub-block can represent.

    Returns float32 (rows, K). The tolerance of a product is stated in these
    units: an error of one quantization step matters the same wherever it falls.
    """
    scales, minima = fmt.unpack(fmt.as_blocks(blocks))[1:]
    lowest, highest = fmt.quants
    reach = np.maximum(np.abs(scales * lowest + minima), np.abs(scales * highest + minima))
    return np.repeat(reach, fmt.group, axis=1).reshape(blocks.shape[0], -1)
