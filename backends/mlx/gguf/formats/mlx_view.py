"""GGUF blocks as MLX's quantizations: which of them hold a block's weights exactly, and how.

MLX has an affine quantization of several widths, and some whose quants are 4-bit floats. What
`lowering` repacks, and what the documents say of it, is decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backends.mlx.gguf.formats.block_format import BlockFormat

AFFINE = "affine"
# The weights that share a scale in MLX's affine kernels (mlx/backend/metal/kernels/quantized.h).
AFFINE_GROUPS = (128, 64, 32)


@dataclass(frozen=True)
class FloatMode:
    """A quantization whose quants are floats E2M1: `weight = scale * float`.

    group: weights that share a scale. scales: float64, the number of each byte of a scale from 0
    on, ascending; the bytes beyond them are negative or not finite.
    """

    group: int
    scales: np.ndarray

    bits = 4


_EXPONENT, _MANTISSA = np.divmod(np.arange(127), 8)
_E4M3 = np.where(_EXPONENT == 0, _MANTISSA * 2.0**-9, (8 + _MANTISSA) * np.exp2(_EXPONENT - 10.0))
_E8M0 = np.exp2(np.arange(255) - 127.0)
# Scales as in mlx/backend/metal/kernels/fp8.h. MLX's third such mode, mxfp8, holds of GGUF's types
# only what mxfp4 holds in half the bits.
FLOAT_MODES = {"mxfp4": FloatMode(32, _E8M0), "nvfp4": FloatMode(16, _E4M3)}

_MAGNITUDES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
# The float E2M1 of each quant of 4 bits, as in mlx/backend/metal/kernels/fp4.h.
E2M1 = np.concatenate([_MAGNITUDES, -_MAGNITUDES])


class MLXView(NamedTuple):
    """Weights (N, K) as MLX's quantization `mode` has them, exactly.

    Affine: `weight = scale * quant + bias`. For a float mode the quant is the bits of its float.

    quants: uint8 (N, K), below 2**bits. scales: float32 (N, K / group); in a float mode uint8.
    biases: float32 (N, K / group); in a float mode None.
    """

    quants: np.ndarray
    scales: np.ndarray
    biases: np.ndarray | None
    group: int
    bits: int
    mode: str = AFFINE

    def products(self) -> np.ndarray:
        """`scale * quant` without the bias, float64 (N, K)."""
        if self.mode == AFFINE:
            return self._wide(self.scales) * self.quants
        return self._wide(FLOAT_MODES[self.mode].scales[self.scales]) * E2M1[self.quants]

    def weights(self) -> np.ndarray:
        """The weights, float64 (N, K)."""
        products = self.products()
        return products if self.biases is None else products + self._wide(self.biases)

    def _wide(self, factor: np.ndarray) -> np.ndarray:
        return np.repeat(factor.astype(np.float64), self.group, axis=1)


def affine_view(fmt: BlockFormat, blocks: np.ndarray) -> MLXView | None:
    """Reads uint8 (N, row_bytes) `blocks` as affine groups.

    The group is the largest that MLX has and in which all sub-blocks agree. None if the sub-blocks
    do not merge to 32 weights, or a scale or bias is not finite.

    Raises:
        ValueError: `blocks` is not a matrix of whole blocks.
    """
    rows, columns = blocks.shape[0], fmt.columns(blocks.shape[1])
    unpacked = fmt.unpack(fmt.as_blocks(blocks))
    scales = unpacked.scales.reshape(rows, -1)
    # A quant q is stored as q + zero. Beyond the largest float it has no bias.
    with np.errstate(over="ignore", invalid="ignore"):
        biases = (unpacked.minima - unpacked.scales * fmt.affine.zero).reshape(rows, -1)
    if not (np.isfinite(scales).all() and np.isfinite(biases).all()):
        return None
    for group in AFFINE_GROUPS:
        if columns % group:
            continue
        merged_scales = _merged(scales, group // fmt.group)
        merged_biases = _merged(biases, group // fmt.group)
        if merged_scales is not None and merged_biases is not None:
            quants = (unpacked.quants + fmt.affine.zero).astype(np.uint8).reshape(rows, columns)
            return MLXView(quants, merged_scales, merged_biases, group, fmt.affine.bits)
    return None


def _merged(factor: np.ndarray, count: int) -> np.ndarray | None:
    """One value for each `count` neighbours of (N, groups), or None if any differ."""
    runs = factor.reshape(factor.shape[0], -1, count)
    return runs[:, :, 0] if (runs == runs[:, :, :1]).all() else None


def float_view(fmt: BlockFormat, blocks: np.ndarray) -> MLXView | None:
    """Reads uint8 (N, row_bytes) `blocks` in the float mode that the row of `fmt` names.

    Scales are matched as numbers: the view has the byte that MLX reads as a block's scale, which
    need not be the block's own byte. A zero loses its sign. None if `fmt` names no mode or a scale
    is no number of it.

    Raises:
        ValueError: `blocks` is not a matrix of whole blocks.
    """
    if fmt.mlx_mode is None:
        return None
    mode = FLOAT_MODES[fmt.mlx_mode]
    unpacked = fmt.unpack(fmt.as_blocks(blocks))
    # Quants are the floats doubled.
    scales = 2 * unpacked.scales.astype(np.float64).reshape(blocks.shape[0], -1)
    found = np.searchsorted(mode.scales, scales).clip(max=len(mode.scales) - 1)
    if not (mode.scales[found] == scales).all():
        return None
    quants = _codes(fmt)[unpacked.quants - fmt.quants[0]].reshape(blocks.shape[0], -1)
    return MLXView(quants, found.astype(np.uint8), None, mode.group, mode.bits, fmt.mlx_mode)


def _codes(fmt: BlockFormat) -> np.ndarray:
    """The E2M1 bits of each quant of `fmt`, from the lowest on."""
    lowest, highest = fmt.quants
    codes = np.zeros(highest - lowest + 1, np.uint8)
    # Of the two zeros the positive one stays.
    for code in reversed(range(len(E2M1))):
        codes[int(2 * E2M1[code]) - lowest] = code
    return codes


# In the order in which repacking tries them: a float mode takes fewer bits than the affine form of
# the same weights, and rounds no scale to the type of the activations.
VIEWS: tuple[Callable[[BlockFormat, np.ndarray], MLXView | None], ...] = (float_view, affine_view)


class Form(NamedTuple):
    """What repacking makes of a type.

    group: weights that share a scale, at least: affine groups are wider where neighbours agree.
    certain: every tensor with scales that MLX has gets this form; else only those whose
    neighbouring groups agree.
    """

    mode: str
    bits: int
    group: int
    certain: bool


def form(fmt: BlockFormat) -> Form:
    """What repacking makes of tensors of `fmt`: the first of `VIEWS` that its row allows."""
    if fmt.mlx_mode is not None:
        mode = FLOAT_MODES[fmt.mlx_mode]
        return Form(fmt.mlx_mode, mode.bits, mode.group, certain=True)
    narrowest = min(AFFINE_GROUPS)
    return Form(AFFINE, fmt.affine.bits, max(fmt.group, narrowest), fmt.group >= narrowest)
