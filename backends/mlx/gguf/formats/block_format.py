"""The record that describes one GGUF block format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Unpacked(NamedTuple):
    """Blocks taken apart: `weight = scale * quant + minimum`, sub-block by sub-block.

    quants: int16 (blocks, weights a block), the stored integers, zero point removed, or what
    the codebook has in their place.
    scales: float32 (blocks, sub-blocks), exact products of the stored factors.
    minima: float32 (blocks, sub-blocks), exact too; `no_minima` where the format has none.
    """

    quants: np.ndarray
    scales: np.ndarray
    minima: np.ndarray


def no_minima(scales: np.ndarray) -> np.ndarray:
    """Minima that change no sum: -0.0, since +0.0 would take the sign of a negative zero."""
    return np.full_like(scales, -0.0)


# The widths that MLX's affine quantization has.
AFFINE_BITS = (2, 3, 4, 5, 6, 8)


@dataclass(frozen=True)
class Affine:
    """How a format reads as an affine quantization: `weight = scale * (quant + zero) + bias`.

    bits: bits of a quant, a width that MLX has.
    group: weights that share a scale and a minimum (the sub-block).
    zero: what must be added to a quant to make it unsigned.
    """

    bits: int
    group: int
    zero: int

    @property
    def signed(self) -> bool:
        """Whether there are quants below 0."""
        return self.zero > 0


@dataclass(frozen=True)
class BlockFormat:
    """One GGUF block format, a row of `table.FORMATS`.

    name: ggml's name of the type, as in the GGUF file's documentation.
    ggml_id: ggml's number of the type, as stored in a GGUF file.
    block_weights: weights in a block (a super-block for the K-quants).
    block_bytes: bytes of a block.
    header: the Metal header, in `kernels/types/`, that defines the format's policy struct.
    group: weights that share a scale and a minimum (the sub-block).
    quants: the smallest and the largest quant, see `Unpacked`.
    unpack: takes uint8 (blocks, block_bytes) apart.
    mlx_mode: MLX's quantization with 4-bit floats of the same numbers, if it has one ("mxfp4"); the
    quants then are the floats doubled.
    """

    name: str
    ggml_id: int
    block_weights: int
    block_bytes: int
    header: str
    group: int
    quants: tuple[int, int]
    unpack: Callable[[np.ndarray], Unpacked]
    mlx_mode: str | None = None

    @property
    def affine(self) -> Affine:
        """The quants as the affine quantization with the fewest bits that holds them."""
        lowest, highest = self.quants
        needed = (highest - lowest).bit_length()
        bits = next(bits for bits in AFFINE_BITS if bits >= needed)
        return Affine(bits, self.group, -lowest)

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
