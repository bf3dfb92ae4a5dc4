"""What the weights of a program are said to be, and how far its results are from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from backends.mlx.gguf import formats
from backends.mlx.gguf.formats import BlockFormat

Read = Callable[[BlockFormat, np.ndarray], formats.MLXView | None]


class Claim:
    """Some rows of a weight: the exact ones, or those of the `view` that stands for them.

    Affine scales and biases are rounded once to the activations' type.
    """

    def __init__(
        self, fmt: BlockFormat, blocks: np.ndarray, view: formats.MLXView | None, dtype: str
    ) -> None:
        """blocks: uint8 (N, bytes per row). dtype: of the activations and the results."""
        self._dtype = dtype
        self._reach = formats.largest_magnitude(fmt, blocks)
        exact = formats.dequantize(fmt, blocks)
        self._exact = exact.astype(np.float64)
        self._gather_bound = None
        if view is None or view.mode != formats.AFFINE:
            self._weights, self._rows = self._exact, rounded(exact, dtype)
            # Only affine weights are computed; of the others a zero may have lost its sign.
            self._bits = view is None
            return
        view = view._replace(scales=rounded(view.scales, dtype), biases=rounded(view.biases, dtype))
        self._rows = self._weights = view.weights()
        # MLX dequantizes in the type itself: it rounds the product, then the sum.
        largest = np.maximum(np.abs(view.products()), np.abs(self._weights))
        self._gather_bound = formats.ulp(largest, dtype)

    def linear(self, x: np.ndarray, out: np.ndarray) -> tuple[float, float]:
        """The worst errors of `out`, x (M, K) times these rows, float32 (M, N).

        Returns that against the claimed weights as a fraction of `formats.linear_bound`, and that
        against the exact weights over its row's largest output.
        """
        x = x.astype(np.float64)
        product = x @ self._weights.T
        bound = formats.linear_bound(x, self._reach, product, self._dtype)
        return (
            worst_fraction(out, product, bound, self._dtype),
            worst_relative(out, x @ self._exact.T),
        )

    def wrong(self, out: np.ndarray) -> int:
        """How many elements of `out`, float32 (N, K), are not the weights of these rows."""
        if self._gather_bound is not None:
            return int((~(np.abs(out - self._rows) <= self._gather_bound)).sum())
        if self._bits:
            return int((out.view(np.uint32) != self._rows.view(np.uint32)).sum())
        return int((out != self._rows).sum())


def repacked_as(fmt: BlockFormat, blocks: np.ndarray, step: int) -> Read | None:
    """Which of `formats.VIEWS` repacking makes of uint8 (N, bytes per row); None if none holds it.

    step: rows that are read at a time.
    """
    chunks = [blocks[first : first + step] for first in range(0, len(blocks), step)]
    for read in formats.VIEWS:
        if all(read(fmt, chunk) is not None for chunk in chunks):
            return read
    return None


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """`values` rounded once to `dtype`, as float32."""
    return torch.from_numpy(values).to(getattr(torch, dtype)).float().numpy()


def worst_fraction(out: np.ndarray, exact: np.ndarray, bound: np.ndarray, dtype: str) -> float:
    """The worst |out - exact| / bound; infinite where `out` is not a number or wrongly infinite.

    An infinity of the right sign is no error where `exact` is beyond the type.
    """
    largest = torch.finfo(getattr(torch, dtype)).max
    overflow = np.isinf(out) & (np.sign(out) == np.sign(exact)) & (np.abs(exact) > largest)
    return _worst(np.where(overflow, exact, out), exact, bound)


def worst_relative(out: np.ndarray, exact: np.ndarray) -> float:
    """The worst |out - exact| of a row, over the largest |exact| of that row; (M, N) each."""
    scale = np.abs(exact).max(axis=-1, keepdims=True)
    return _worst(out, exact, np.maximum(scale, np.finfo(np.float64).tiny))


def _worst(out: np.ndarray, exact: np.ndarray, unit: np.ndarray) -> float:
    fraction = np.abs(out - exact) / unit
    return float(np.where(np.isnan(fraction), np.inf, fraction).max())
