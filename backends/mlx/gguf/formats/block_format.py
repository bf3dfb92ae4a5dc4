"""The record that describes one GGUF block format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Unpacked(NamedTuple):
    """Blocks taken apart: `weight = scale * quant + minimum`, sub-block by sub-block.

    quants: int16 (blocks, weights a block), the stored integers, zero point removed.
    scales: float32 (blocks, sub-blocks), exact products of the stored factors.
    minima: float32 (blocks, sub-blocks), exact too.
    """

    quants: np.ndarray
    scales: np.ndarray
    minima: np.ndarray


def read_half(field: np.ndarray) -> np.ndarray:
    """Reads uint8 (blocks, 2) as float32 (blocks, 1)."""
    return np.ascontiguousarray(field).view(np.float16).astype(np.float32)


@dataclass(frozen=True)
class Affine:
    """How a format reads as an affine quantization.

    bits: bits of a quant.
    group: weights that share a scale and a minimum (the sub-block).
    signed: quants run over [-2**(bits-1), 2**(bits-1)) instead of [0, 2**bits).
    """

    bits: int
    group: int
    signed: bool

    @property
    def zero(self) -> int:
        """What must be added to a quant to make it unsigned."""
        return 1 << (self.bits - 1) if self.signed else 0

    @property
    def quant_range(self) -> tuple[int, int]:
        """The smallest and the largest quant."""
        return -self.zero, (1 << self.bits) - 1 - self.zero


@dataclass(frozen=True)
class BlockFormat:
    """One GGUF block format, a row of `table.FORMATS`.

    name: ggml's name of the type, as in the GGUF file's documentation.
    ggml_id: ggml's number of the type, as stored in a GGUF file.
    block_weights: weights in a block (a super-block for the K-quants).
    block_bytes: bytes of a block.
    header: the Metal header, in `kernels/`, that defines the format's policy struct.
    affine: the format as an affine quantization, or None where it has no such form.
    unpack: takes uint8 (blocks, block_bytes) apart; None where `affine` is None.
    """

    name: str
    ggml_id: int
    block_weights: int
    block_bytes: int
    header: str
    affine: Affine | None
    unpack: Callable[[np.ndarray], Unpacked] | None

    @property
    def alignment(self) -> int:
        """Alignment in bytes of every block, up to 16, when the first block has 16."""
        return min(16, self.block_bytes & -self.block_bytes)

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.block_bytes / self.block_weights

    def columns(self, row_bytes: int) -> int:
        """Weights K in a row of `row_bytes` bytes.

        Raises ValueError if the row is not a whole number of blocks.
        """
        if row_bytes <= 0 or row_bytes % self.block_bytes:
            raise ValueError(
                f"{self.name}: expected rows of a multiple of {self.block_bytes} bytes, "
                f"found {row_bytes}"
            )
        return row_bytes // self.block_bytes * self.block_weights

    def row_bytes(self, columns: int) -> int:
        """Bytes in a row of `columns` weights.

        Raises ValueError if the row is not a whole number of blocks.
        """
        if columns <= 0 or columns % self.block_weights:
            raise ValueError(
                f"{self.name}: expected a multiple of {self.block_weights} columns, found {columns}"
            )
        return columns // self.block_weights * self.block_bytes

    def as_blocks(self, blocks: np.ndarray) -> np.ndarray:
        """Views uint8 (rows, row_bytes) as (rows * blocks a row, block_bytes).

        Raises ValueError if the dtype, the rank or the row's length does not fit.
        """
        if blocks.dtype != np.uint8 or blocks.ndim != 2:
            raise ValueError(
                f"{self.name}: expected uint8 blocks of shape (rows, row_bytes), "
                f"found {blocks.dtype} {blocks.shape}"
            )
        self.columns(blocks.shape[1])
        return np.ascontiguousarray(blocks).reshape(-1, self.block_bytes)
