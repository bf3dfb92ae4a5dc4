"""MLX's quantizations: how each reads quants and scales, and weights that it holds exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

AFFINE = "affine"


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
    """Weights as MLX's quantization `mode` has them, exactly.

    Affine: `weight = scale * quant + bias`. For a float mode the quant is the bits of its float.

    quants: uint8 (N, K). scales: float32 (N, K / group); in a float mode uint8. biases: float32
    (N, K / group); in a float mode None.
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
