"""How far results are from what they should be, as single numbers for a report."""

from __future__ import annotations

import numpy as np

# The types of activations and outputs, and their largest finite values.
LARGEST = {"float32": 3.4028234663852886e38, "float16": 65504.0, "bfloat16": 3.3895313892515355e38}


def worst_fraction(out: np.ndarray, exact: np.ndarray, bound: np.ndarray, dtype: str) -> float:
    """The worst |out - exact| / bound; infinite where `out` is not a number or wrongly infinite.

    An infinity of the right sign is no error where `exact` is beyond the type.
    """
    overflow = np.isinf(out) & (np.sign(out) == np.sign(exact)) & (np.abs(exact) > LARGEST[dtype])
    return _worst(np.where(overflow, exact, out), exact, bound)


def worst_relative(out: np.ndarray, exact: np.ndarray) -> float:
    """The worst |out - exact| of a row, over the largest |exact| of that row; (M, N) each."""
    scale = np.abs(exact).max(axis=-1, keepdims=True)
    return _worst(out, exact, np.maximum(scale, np.finfo(np.float64).tiny))


def _worst(out: np.ndarray, exact: np.ndarray, unit: np.ndarray) -> float:
    fraction = np.abs(out - exact) / unit
    return float(np.where(np.isnan(fraction), np.inf, fraction).max())
